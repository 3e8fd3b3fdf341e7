"""``orthant why-not``: why a search does not return a record, and what would bring it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.insight.outcome import WhyNot

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``why-not``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("why-not", help="Explain why a search does not return a record. Exit 0: it does; 1: it does not.")
    def why_not(
        collection: str = typer.Argument(help="The collection's folder."),
        query: str = typer.Argument(help="The text that was searched for."),
        record_id: str = typer.Argument(metavar="ID", help="Id of the record that was expected."),
        k: int = typer.Option(5, "-k", "--k", help="Hits wanted."),
        mode: str = typer.Option(None, help="dense, lexical, sparse or hybrid; default: hybrid if possible."),
        where: str = typer.Option(None, help='Filter as JSON, such as \'{"year": {"gte": 2000}}\'.'),
        space: str = typer.Option("default", help="Vector space."),
        offset: int = typer.Option(0, help="Hits to skip."),
        min_score: float = typer.Option(None, help="Drop hits below this score."),
        recall: float = typer.Option(None, help="Recall to ask for: the share of the true neighbours to find."),
        effort: int = typer.Option(None, help="Instead of --recall: number of candidates that a graph search keeps."),
        depth: int = typer.Option(None, help="Candidates per leg of a hybrid search; default 200."),
        syntax: str = typer.Option(None, help="operators (default), or plain: treat + - * and quotes as text."),
        dense_weight: float = typer.Option(None, help="Weight of the dense leg in hybrid search; default 0.4."),
        sparse_weight: float = typer.Option(None, help="Weight of the sparse leg in hybrid search; default 0: none."),
        fusion: str = typer.Option(None, help="minmax (default) or rrf, for hybrid search."),
        diversity: float = typer.Option(None, help="From 0 to 1: prefer hits that differ from those above them."),
        group_by: str = typer.Option(None, help="Group hits by the values of this field."),
        groups: int = typer.Option(None, help="Groups wanted; default -k."),
        per_group: int = typer.Option(None, help="Hits per group; default 3."),
        toward: list[str] = typer.Option(None, help="Text whose meaning was added to the query's vector; repeatable."),
        instead_of: list[str] = typer.Option(None, help="Text that --toward replaced; repeatable."),
        away: list[str] = typer.Option(
            None, help="Text whose meaning was removed from the query's vector; repeatable."
        ),
        strength: float = typer.Option(None, help="From 0 to 2: strength of --toward and --away; default 1."),
        encoder: str = typer.Option(None, help="Needed if the collection was created with an encoder from a folder."),
        sparse: str = typer.Option(None, help="Folder of the sparse model, for --mode sparse and --sparse-weight."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import fusion_settings, parse_json_object, print_json
        from orthant.cli.spaces.opening import opened_with

        condition = parse_json_object(where, name="--where")
        wishes = {"toward": toward, "instead_of": instead_of, "away": away, "strength": strength}
        steer = {name: value for name, value in wishes.items() if value or value == 0} or None
        with opened_with(collection, space=space, encoder=encoder, sparse=sparse) as opened:
            why = opened.why_not(
                query,
                record_id,
                k=k,
                mode=mode,  # type: ignore[arg-type]
                where=condition,
                space=space,
                offset=offset,
                min_score=min_score,
                recall=recall,
                effort=effort,
                depth=depth,
                syntax=syntax,  # type: ignore[arg-type]
                diversity=diversity,
                group_by=group_by,
                groups=groups,
                per_group=per_group,
                steer=steer,
                **fusion_settings(dense_weight, fusion, sparse_weight),
            )
        if json:
            print_json({"query": query, **why.to_dict()})
        else:
            _show(why)
        raise typer.Exit(0 if why.found else 1)


def _show(why: WhyNot) -> None:
    from orthant.cli.output import print_table

    print(why.sentence, end="\n\n")
    rows = [(step.name, "passed" if step.passed else "DROPPED", _line(step.details)) for step in why.steps]
    print_table(f"Stages of a {why.mode} search", ("stage", "record", "figures"), rows)
    if why.changes:
        print_table(
            "What brings it in (each was searched for)", ("change",), [(str(change),) for change in why.changes]
        )


def _line(details: Mapping[str, Any]) -> str:
    parts = []
    for name, value in details.items():
        if isinstance(value, Mapping):
            parts.append(f"{name}: {_line(value)}")
        elif name == "failed" and value and isinstance(value[0], Mapping):
            parts.append("; ".join(failed["clause"] for failed in value))
        elif isinstance(value, list) and value:
            parts.append(f"{name} {' '.join(map(str, value))}")
        elif value not in (None, [], {}):
            parts.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(parts)
