"""What to do about figures that stand out, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orthant.collection.diagnosis.report import Estimate

__all__ = ["advise"]

# Where a rule speaks: values that the interval as a whole must pass, so that chance does not advise.
_RECALL = 0.95
_QUARTER_GAP = 0.05
_SKEWNESS = 2.0
_NEVER = 0.1
_COMMON = 0.3
_EQUAL = 0.01
_REDUCIBLE = 0.25
_SPREAD = 0.1
_HIGH_DIMENSION = 40


def advise(
    figures: Mapping[str, Estimate], facts: Mapping[str, Any], curves: Mapping[str, Any], *, dim: int, vectors: int
) -> list[str]:
    """Return what to do, most important first.

    Parameters
    ----------
    figures : mapping of str to Estimate
        What was measured.
    facts : mapping
        What has no interval.
    curves : mapping
        Recall by difficulty among others.
    dim, vectors : int
        Size of the space.

    Returns
    -------
    list of str
        Sentences; empty where nothing stands out. A rule speaks only where the whole interval is beyond its line.
    """
    return [
        line
        for line in (*_searches(figures, facts, curves), *_shape(figures, facts, dim), *_room(facts, vectors))
        if line
    ]


def _searches(figures: Mapping[str, Estimate], facts: Mapping[str, Any], curves: Mapping[str, Any]) -> list[str]:
    out, recall = [], figures["recall"]
    if recall.high < _RECALL:
        out.append(
            f"Searches find {recall.value:.3f} of the true neighbours. Pass recall=0.99 to search, or finish() so that "
            "the graph is calibrated anew."
        )
    quarters = curves.get("recall_by_local_dimension") or []
    if quarters and quarters[0].estimate.low - quarters[-1].estimate.high > _QUARTER_GAP:
        out.append(
            f"Queries in regions of high local dimension find {quarters[-1].estimate.value:.3f} of their neighbours, "
            f"others {quarters[0].estimate.value:.3f}. The mean hides it: ask for more recall where those matter."
        )
    if "local_dimension" in figures and figures["local_dimension"].low > _HIGH_DIMENSION:
        out.append(
            "The local dimension is high: a graph needs more effort here, and a reduction to fewer dimensions "
            "loses more."
        )
    for name in facts.get("order", {}).get("flagged", ()):
        out.append(
            f"In small graphs, inserting {name} changed recall by more than random orders differ. If records arrive "
            "sorted, add them within bulk(), which builds the graph in random order."
        )
    return out


def _shape(figures: Mapping[str, Estimate], facts: Mapping[str, Any], dim: int) -> list[str]:
    out = []
    if figures["equal_to_another"].low > _EQUAL:
        share = figures["equal_to_another"].value
        out.append(
            f"{share:.1%} of the records have the same vector as another one. "
            "Find them with duplicates(), or orthant dedup."
        )
    hubs, never, common = (figures.get(n) for n in ("hubness_skewness", "never_a_neighbour", "mean_cosine"))
    if hubs is not None and hubs.low > _SKEWNESS:
        out.append(
            f"Some records are neighbours of very many others (skewness {hubs.value:.1f}). They turn up in unrelated "
            "results: look at boilerplate, and search with mode='hybrid' or rerank."
        )
    if never is not None and never.low > _NEVER:
        out.append(
            f"In samples, {never.value:.0%} of the records are in nobody's list of ten: "
            "only a query close to them finds them."
        )
    if common is not None and common.low > _COMMON:
        out.append(
            f"Unrelated records have a cosine of {common.value:.2f} on average: all vectors share a direction. "
            "Thresholds on cosines must lie far above it."
        )
    effective = figures.get("effective_dimension")
    if effective is not None and effective.high < _REDUCIBLE * dim:
        out.append(
            f"The variance fills about {effective.value:.0f} of {dim} dimensions: try codes (`compress`) "
            "and a reduction (transforms.Reduction) before buying memory."
        )
    if facts["length"]["relative_spread"] > _SPREAD:
        out.append(
            "Vectors differ in length: under 'dot' long ones win, under 'cosine' length is ignored. "
            "Be sure which is meant."
        )
    return out


def _room(facts: Mapping[str, Any], vectors: int) -> list[str]:
    found = facts["room"]
    if not found["records_exceed_it"]:
        return []
    return [
        f"A published curve of free vectors serves every pair of about {found['documents_at_this_dimension']:,} "
        f"documents at this dimension, and there are {vectors:,}"
        + (" (the curve is extrapolated here)" if found["extrapolated"] else "")
        + ". Where queries combine attributes freely, use hybrid search or several vectors per text."
    ]
