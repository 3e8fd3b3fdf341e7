"""The sentence of an explanation: what dropped the record, with its figures, and the first change that brings it in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orthant.collection.insight.outcome import FailedClause, WhyNot
from orthant.collection.searching import SearchOptions

__all__ = ["say"]


def say(why: WhyNot, options: SearchOptions, *, failed: Sequence[FailedClause] = ()) -> str:
    """Return an explanation in words.

    Parameters
    ----------
    why : WhyNot
        The explanation without its sentence.
    options : SearchOptions
        The search's settings.
    failed : sequence of FailedClause, optional
        Clauses of the filter that keep the record out.

    Returns
    -------
    str
        One or two sentences.
    """
    reason = _REASONS[why.stage](why, options, failed)
    tried = f" Tried: {why.changes[0]}." if why.changes and why.stage != "found" else ""
    return f"{why.id!r} {reason}.{tried}"


def _details(why: WhyNot, name: str) -> dict[str, Any]:
    step = why.step(name)
    return {} if step is None else step.details


def _found(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"is in the result, at rank {why.rank} with score {why.score:.4g}"


def _missing(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    count, chunk = _details(why, "record")["records"], _details(why, "record").get("chunk")
    if chunk is not None:
        return f"is a document, which is searched by its chunks: ask for one of these, such as {chunk!r}"
    return f"is the id of no record: it was never added, or it was deleted ({count:,} records are there)"


def _filter(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"does not pass the filter: {'; '.join(map(str, failed))}"


def _steer(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    step = _details(why, "steering")
    moved = ""
    if step.get("score") is not None:
        moved = f", and by its vector the score fell from {step['score_without']:.4g} to {step['score']:.4g}"
    return f"is moved out by steer: without it, it is at rank {step['rank_without']}{moved}"


def _condition(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"breaks a condition that the query states: {', '.join(_details(why, 'lexical')['failed'])}"


def _no_text(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return "has no text, so no word of the query can be in it"


def _words(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"has none of the query's words ({', '.join(_details(why, 'lexical')['lacks']) or 'it states none'})"


def _lexical_too(why: WhyNot) -> str:
    words = _details(why, "lexical")
    if not words:
        return _sparse_too(why)
    said = {
        "no-text": "it has no text either",
        "words": f"it has none of the query's words ({', '.join(words['lacks'])})",
        "depth": f"by its words it is at rank {words.get('rank')} of {words.get('size')} looked at",
    }
    return (f"; {said[words['lost']]}" if words["lost"] in said else "") + _sparse_too(why)


def _no_vector(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"has no vector in space {options.space or options.tokens.leg!r}{_lexical_too(why)}"


def _no_query_vector(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"cannot be compared: the query has no token that the encoder knows{_lexical_too(why)}"


def _sparse_too(why: WhyNot) -> str:
    terms = _details(why, "sparse")
    said = {
        "no-query-terms": "the query has no weighted term",
        "no-terms": f"it has no weighted terms in space {terms.get('space')!r}",
        "terms": "it shares no weighted term with the query",
        "depth": f"by its weighted terms it is at rank {terms.get('rank')} of {terms.get('size')} looked at",
    }
    return f"; {said[terms['lost']]}" if terms.get("lost") in said else ""


def _terms(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    space = _details(why, "sparse")["space"]
    if why.stage == "no-terms":
        return f"has no weighted terms in space {space!r}: it was written without them, or the encoder knew none"
    if why.stage == "no-query-terms":
        return "cannot be compared: the query has no weighted term"
    return f"shares no weighted term with the query in space {space!r}, so the sparse leg did not bring it"


def _lost_in_graph(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    tokens = _details(why, "tokens")
    if tokens.get("lost") == "beam":
        place = f"truly at rank {tokens['true_rank']:,}, score {tokens['score']:.4g}"
        return (
            f"was not among the {tokens['effort']:,} candidates whose tokens were compared ({place}){_lexical_too(why)}"
        )
    dense = _details(why, "dense")
    how = "the walk over the graph did not come by it"
    if why.stage == "codes":
        how = "the walk came by it, but its compressed vector ranked it too low"
    place = f"truly at rank {dense['true_rank']:,} of {dense['size']:,} looked at, score {dense['score']:.4g}"
    return f"was missed by the graph at effort {dense['effort']:,} ({place}): {how}{_lexical_too(why)}"


def _depth(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    dense = _details(why, "dense")
    near = ""
    if "true_rank" in dense:
        near = f": by its vector it is at rank {dense['true_rank']:,}, score {dense['score']:.4g}"
    legs = f"the {options.mode} leg"
    if options.mode == "hybrid":
        legs = "either leg" if options.reach == 2 * options.depth else "any leg"
    return f"is not among the {options.depth:,} candidates of {legs}{near}{_lexical_too(why)}"


def _fusion(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    ranks = {name: leg["rank"] for name, leg in _details(why, "ranking")["legs"].items()}
    told = ", ".join(f"{name} {'not among its candidates' if rank is None else rank}" for name, rank in ranks.items())
    return f"is at rank {why.rank} with fused score {why.score:.4g} (ranks by leg: {told}), {_page_end(options)}"


def _min_score(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    return f"has score {why.score:.6g} at rank {why.rank}, below min_score={options.min_score:.6g}"


def _page_end(options: SearchOptions) -> str:
    return f"and the page holds ranks {options.offset + 1} to {options.offset + options.k}"


def _page(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    if why.rank is not None:
        return f"is at rank {why.rank} with score {why.score:.4g}, {_page_end(options)}"
    dense, words = _details(why, "dense"), _details(why, "lexical") or _details(why, "sparse")
    rank, score = dense.get("true_rank", words.get("rank")), dense.get("score", words.get("score"))
    return f"is at rank {rank:,} with score {score:.4g}, {_page_end(options)}"


def _rerank_depth(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    dense, words = _details(why, "dense"), _details(why, "lexical")
    rank = why.rank if why.rank is not None else dense.get("true_rank", words.get("rank"))
    return f"is ranked {rank:,} by the search, and only the first {options.stages.rerank_depth:,} are reranked"


def _rerank(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    step = _details(why, "rerank")
    moved = f"from rank {step['before']} to {step['rank']} (score {step['score']:.4g})"
    return f"is moved by the reranker {moved}, {_page_end(options)}"


def _diversity(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    step = _details(why, "diversity")
    moved = f"from rank {step['before']} to {step['rank']}"
    return (
        f"is moved by diversity={options.stages.diversity:g} {moved}, being like hits before it, {_page_end(options)}"
    )


def _group(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    step = _details(why, "group")
    return (
        f"is hit {step['place']:,} of its group {step['group']!r}, at rank {step['rank']}, "
        f"and {options.stages.per_group} of each group are shown"
    )


def _groups(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    step = _details(why, "group")
    first = options.offset + 1
    own = (
        "is a group of its own" if step["group"] is None else f"is hit {step['place']:,} of its group {step['group']!r}"
    )
    return f"{own}, at rank {step['rank']:,}, and groups {first} to {options.offset + options.stages.groups} are shown"


def _later(why: WhyNot, options: SearchOptions, failed: Sequence[FailedClause]) -> str:
    at = "" if why.rank is None else f" at rank {why.rank} with score {why.score:.4g}"
    return f"is among the candidates{at}, and what follows the ranking took it out"


_REASONS = {
    "found": _found,
    "missing": _missing,
    "filter": _filter,
    "steer": _steer,
    "condition": _condition,
    "no-vector": _no_vector,
    "no-query-vector": _no_query_vector,
    "no-text": _no_text,
    "words": _words,
    "no-query-terms": _terms,
    "no-terms": _terms,
    "terms": _terms,
    "beam": _lost_in_graph,
    "codes": _lost_in_graph,
    "depth": _depth,
    "fusion": _fusion,
    "rerank-depth": _rerank_depth,
    "rerank": _rerank,
    "min_score": _min_score,
    "diversity": _diversity,
    "group": _group,
    "groups": _groups,
    "page": _page,
    "later": _later,
}
