"""``orthant search``: the hits of one query, explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.collection import Collection

__all__ = ["register"]

_SHOWN = 80


def register(app: typer.Typer) -> None:
    """Add the verb ``search``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("search", help="Search a collection by meaning, by words, or both.")
    def search(
        collection: str = typer.Argument(help="The collection's folder."),
        query: str = typer.Argument(
            None, help='Query text, with "a phrase", prefix*, +required and -excluded words. Not with --similar-to.'
        ),
        k: int = typer.Option(5, "-k", "--k", help="Hits wanted."),
        mode: str = typer.Option(None, help="dense, lexical, sparse, tokens or hybrid; default: hybrid if possible."),
        where: str = typer.Option(None, help='Filter as JSON, such as \'{"year": {"gte": 2000}}\'.'),
        space: str = typer.Option("default", help="Space of vectors, or of tokens."),
        offset: int = typer.Option(0, help="Hits to skip."),
        min_score: float = typer.Option(None, help="Drop hits below this score."),
        recall: float = typer.Option(None, help="Recall to ask for; default 0.95, 1 compares every vector."),
        effort: int = typer.Option(None, help="Instead of --recall: number of candidates that a graph search keeps."),
        exact: bool = typer.Option(False, "--exact", help="Compare every vector or token, as --recall 1 does."),
        syntax: str = typer.Option(None, help="operators (default), or plain: treat + - * and quotes as text."),
        dense_weight: float = typer.Option(None, help="Weight of the dense leg in hybrid search; default 0.4."),
        sparse_weight: float = typer.Option(None, help="Weight of the sparse leg in hybrid search; default 0: none."),
        fusion: str = typer.Option(None, help="minmax (default) or rrf, for hybrid search."),
        group_by: str = typer.Option(None, help="Group hits by the values of this field; -k then counts groups."),
        per_group: int = typer.Option(None, help="Hits per group; default 3."),
        facet: list[str] = typer.Option(None, help="Field to count facets of, over all matches; repeatable."),
        diversity: float = typer.Option(None, help="From 0 to 1: prefer hits that differ from those above them."),
        similar_to: list[str] = typer.Option(
            None, help="Instead of a query: id of a record to find similar ones to; repeatable."
        ),
        toward: list[str] = typer.Option(None, help="Text whose meaning is added to the query's vector; repeatable."),
        instead_of: list[str] = typer.Option(None, help="Text that --toward replaces; repeatable."),
        away: list[str] = typer.Option(None, help="Text whose meaning is removed from the query's vector; repeatable."),
        strength: float = typer.Option(None, help="From 0 to 2: strength of --toward and --away; default 1."),
        tokens: str = typer.Option(
            None, help="Folder of the model of the token vectors, for searches and reranking by tokens."
        ),
        token_weight: float = typer.Option(None, help="Weight of a token leg in hybrid search; none by default."),
        rerank: str = typer.Option(
            None, help="tokens, or tokens:SPACE: rerank the first 50 hits by stored token vectors."
        ),
        encoder: str = typer.Option(None, help="Needed if the collection was created with an encoder from a folder."),
        sparse: str = typer.Option(None, help="Folder of the sparse model, for --mode sparse and --sparse-weight."),
        explain: bool = typer.Option(False, "--explain", help="Show matched words and metadata of every hit."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.hits import print_hits
        from orthant.cli.output import fusion_settings, parse_json_object, print_json
        from orthant.cli.spaces.opening import opened_with
        from orthant.cli.spaces.tokens import is_tokens, token_weights, with_tokens

        condition = parse_json_object(where, name="--where")
        shared = {"k": k, "where": condition, "space": space, "offset": offset, "min_score": min_score}
        stages = {"group_by": group_by, "per_group": per_group, "facets": facet or None, "diversity": diversity}
        legs = fusion_settings(dense_weight, fusion, sparse_weight)
        told = {**legs, "effort": effort, "syntax": syntax, "mode": mode, **stages}
        steer = {"toward": toward, "instead_of": instead_of, "away": away, "strength": strength}
        told["steer"] = {name: value for name, value in steer.items() if value or value == 0} or None
        told |= {"rerank": rerank, **({} if token_weight is None else {"weights": {}})}
        asked = _asked(query, similar_to, told)
        with opened_with(collection, space=space, encoder=encoder, sparse=sparse) as opened:
            if tokens is not None:
                with_tokens(opened, tokens, space=space if is_tokens(opened, space) else None)
            if token_weight is not None:
                told["weights"] = token_weights(opened, legs, token_weight)
            _check_space(opened, mode, space, given=encoder is not None or token_weight is not None)
            if similar_to:
                result = opened.similar(similar_to, recall=recall, **shared)  # type: ignore[arg-type]
            else:
                part = _as_part(opened, space, asked)
                result = opened.search(part, recall=recall, exact=exact, explain=explain, **shared, **told)  # type: ignore[arg-type]
        if json:
            print_json({"query": query, **({"similar_to": similar_to} if similar_to else {}), **result.to_dict()})
        else:
            fields = sorted({name for hit in result for name in hit.metadata}) if explain else ()
            found = f"{len(result)} hit{'' if len(result) == 1 else 's'}"
            wanted = f"like {', '.join(similar_to)}" if similar_to else f"for {_short(asked)!r}"
            print_hits(f"{found} {wanted}", result, fields=fields)


def _asked(query: str | None, similar_to: list[str] | None, told: Mapping[str, Any]) -> str:
    """Return the query, or an empty text where examples stand in for it."""
    from orthant.errors import InputError, message

    if not similar_to:
        return _valid(query or "")
    idle = next((name for name, value in told.items() if value is not None), None)
    if query is not None or idle is not None:
        option = "toward or --away" if idle == "steer" else str(idle).replace("_", "-")
        given = "a query" if query is not None else f"--{option}"
        raise InputError(message(f"{given} beside --similar-to", "one of them", "leave one out"))
    return ""


def _short(query: str) -> str:
    return query if len(query) <= _SHOWN else query[: _SHOWN - 1] + "…"


def _valid(query: str) -> str:
    from orthant.errors import InputError, message

    if not query.strip():
        raise InputError(message("an empty query", "words to search for", "quote the query for the shell"))
    # A shell passes bytes that are no UTF-8 on as lone surrogates.
    if any(0xD800 <= ord(sign) <= 0xDFFF for sign in query):
        raise InputError(message(f"query {query!r}", "valid UTF-8", "check the encoding of the terminal"))
    return query


def _as_part(opened: Collection, space: str, asked: str) -> Any:
    """Return a JSON object as part of a record, where the vectors asked are those of records; a text as it is."""
    from orthant.cli.output import parse_json_object
    from orthant.collection.records.items import made_of_records

    held = opened.spaces.get(space)
    if not asked.lstrip().startswith("{") or held is None or not made_of_records(held.fingerprint):
        return asked
    return parse_json_object(asked, name="the query")


def _check_space(opened: Collection, mode: str | None, space: str, *, given: bool) -> None:
    """Say in terms of the command line what the library would say in terms of Python."""
    from orthant.cli.spaces.tokens import is_tokens, without_model
    from orthant.encoders.fingerprint import short_fingerprint
    from orthant.errors import InputError, NotFoundError, message

    definition = opened.spaces.get(space)
    if definition is None and space != "default":
        known = ", ".join(opened.spaces) or "none"
        raise NotFoundError(message(f"--space {space}", f"one of: {known}", "check the spelling, or leave it out"))
    lacking = without_model(opened)
    if lacking is not None and (mode == "tokens" or space == lacking):
        given_text = f"token vectors of space {lacking!r}, whose model is not at hand"
        raise InputError(message(given_text, "that model", "name its folder with --tokens"))
    if is_tokens(opened, space):
        return
    if mode in ("dense", "hybrid") and not given and (definition is None or definition.encoder is None):
        made_by = (
            None if definition is None or definition.fingerprint is None else short_fingerprint(definition.fingerprint)
        )
        raise InputError(
            message(
                f"--mode {mode} for space {space!r}, which has no encoder at hand",
                f"the encoder {made_by}" if made_by else "a space whose texts were encoded",
                "name its folder with --encoder, or search with --mode lexical"
                if made_by
                else "add the records again with --encoder static, or search with --mode lexical",
            )
        )
