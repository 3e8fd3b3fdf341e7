"""What follows the ranking and takes a record out: rerank, minimum score, diversity, groups; each is run on its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orthant.collection.insight.outcome import Step
from orthant.collection.insight.trying import Trying, group_settings
from orthant.collection.results import Hit

__all__ = ["drop_behind", "said"]

_LESS_DIVERSITY = (0.75, 0.5, 0.25)


def said(hit: Hit) -> dict[str, Any]:
    """Return rank, score and legs of a hit.

    Parameters
    ----------
    hit : Hit
        Of any search.

    Returns
    -------
    dict
        JSON-ready.
    """
    return {
        "rank": hit.rank,
        "score": hit.score,
        "legs": {name: {"score": leg.score, "rank": leg.rank} for name, leg in hit.legs.items()},
    }


def drop_behind(inquiry: Trying) -> tuple[str, Hit | None] | None:
    """Find the stage behind the ranking that takes the record out.

    Parameters
    ----------
    inquiry : Trying
        Of a search with stages; its steps and changes are extended.

    Returns
    -------
    tuple of (str, Hit or None) or None
        The stage, and the hit as the last stage saw it; None where the record is no candidate of the stages.
    """
    options, stages = inquiry.options, inquiry.options.stages
    window, end = inquiry.window(options), options.offset + options.k
    first = inquiry.hit(inquiry.base(options))
    if stages.closed:
        if first is None:
            return None
        if first.rank > window:
            return _below_window(inquiry, first, window)
    if first is not None:
        inquiry.steps.append(Step("ranking", True, said(first)))
    path: list[tuple[str, Hit]] = [] if first is None else [("ranking", first)]
    for name in ("rerank", "min_score", "diversity"):
        after = _after(inquiry, name, path[-1][1] if path else None)
        if name == "min_score" and path and options.min_score is not None and path[-1][1].score < options.min_score:
            inquiry.steps.append(Step("min_score", False, {"score": path[-1][1].score, "min_score": options.min_score}))
            inquiry.attempt(min_score=path[-1][1].score)
            return "min_score", path[-1][1]
        if after is not None:
            before = path[-1][1].rank
            passed = after.rank <= end or stages.group_by is not None
            inquiry.steps.append(Step(name, passed, {"rank": after.rank, "score": after.score, "before": before}))
            path.append((name, after))
    if stages.group_by is not None:
        return _by_groups(inquiry, path[-1][1] if path else None)
    return (_by_page(inquiry, path), path[-1][1]) if path else None


def _below_window(inquiry: Trying, first: Hit, window: int) -> tuple[str, Hit]:
    inquiry.steps.append(Step("ranking", False, {**said(first), "candidates": window}))
    if inquiry.options.stages.reranker is None:
        inquiry.attempt(depth=first.rank)
        return "depth", first
    inquiry.attempt(rerank_depth=first.rank)
    inquiry.attempt(**_without(inquiry, "rerank"))
    return "rerank-depth", first


def _after(inquiry: Trying, name: str, before: Hit | None) -> Hit | None:
    """Return the hit behind a stage, by running the search up to it."""
    options, stages = inquiry.options, inquiry.options.stages
    if before is None:
        return None
    if name == "rerank" and stages.reranker is not None:
        alone = replace(stages, diversity=None)
        return inquiry.hit(inquiry.staged(replace(options, min_score=None, stages=alone)))
    if name == "diversity" and stages.diversity is not None:
        return inquiry.hit(inquiry.staged(options))
    return None


def _without(inquiry: Trying, stage: str) -> dict[str, Any]:
    """Return the arguments that leave a stage out, and with it what would then be without effect."""
    options, stages = inquiry.options, inquiry.options.stages
    out: dict[str, Any] = {stage: None}
    if stage == "rerank":
        out["rerank_depth"] = None
    other = stages.diversity if stage == "rerank" else stages.reranker
    if options.mode != "hybrid" and other is None and stages.group_by is None:
        out["depth"] = None
    return out


def _by_page(inquiry: Trying, path: list[tuple[str, Hit]]) -> str:
    """Say which stage moved the record off the page, and try to bring it back."""
    options = inquiry.options
    last, end = path[-1][1], options.offset + options.k
    if last.rank <= options.offset:
        inquiry.attempt(offset=0)
        return "page"
    inside = [i for i, (_, hit) in enumerate(path) if hit.rank <= end]
    stage = path[inside[-1] + 1][0] if inside and inside[-1] + 1 < len(path) else "page"
    if stage == "diversity":
        _try_less_diversity(inquiry, options.stages.diversity or 0.0)
    if stage == "rerank":
        inquiry.attempt(**_without(inquiry, "rerank"))
    inquiry.attempt(k=last.rank - options.offset)
    return stage


def _try_less_diversity(inquiry: Trying, diversity: float) -> None:
    for share in _LESS_DIVERSITY:
        less = {"diversity": round(share * diversity, 6)}
        if inquiry.hit(inquiry.search(inquiry.with_settings(inquiry.options, less))) is not None:
            inquiry.attempt(**less)
            return
    inquiry.attempt(**_without(inquiry, "diversity"))


def _by_groups(inquiry: Trying, hit: Hit | None) -> tuple[str, Hit | None] | None:
    options, stages = inquiry.options, inquiry.options.stages
    place = inquiry.group_place(options)
    if place is None:
        return None if hit is None else ("later", hit)
    rank, within = place
    key = inquiry.group_key(stages)
    details = {"group": None if key[0] == "row" else key[1], "rank": rank, "place": within}
    shown = {"offset": options.offset, "groups": stages.groups, "per_group": stages.per_group}
    inquiry.steps.append(Step("group", False, {**details, **shown}))
    inquiry.attempt(**group_settings(options, rank, within))
    on_page = options.offset < rank <= options.offset + stages.groups
    return ("group" if on_page else "groups"), hit
