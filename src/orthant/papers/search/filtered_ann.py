"""The `filtered-ann` row of the catalogue: arXiv 2507.21989."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

_ROWS = 6_000
_QUERIES = 120
_K = 10
_RECALL = 0.95
# Settings are chosen a little above the recall, so that few miss it on other queries; who does by more has missed it.
_ABOVE, _SLACK = 0.015, 0.01


def _inputs(seed: int) -> tuple[Any, npt.NDArray[Any], npt.NDArray[Any], list[int]]:
    """Draw rows of short texts with their attributes; tuning queries come first, judging ones behind them."""
    from orthant.datasets.readers.filtered import short_text_filters

    data, rng = short_text_filters(seed=seed), np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(data.base))[:_ROWS])
    chosen = rng.permutation(len(data.queries))[: 2 * _QUERIES]
    X = data.base[rows].astype(np.float64)
    unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    parts = {
        kind: type(one)(one.kind, one.column, [one.values[i] for i in rows], one.asked)
        for kind, one in data.filters.items()
    }
    return parts, np.ascontiguousarray(unit), data.queries, chosen.tolist()


def _measure(arm: Any, X: Any, Q: Any, filters: Any, chosen: list[int], fallback: float = math.inf) -> Figures:
    """Choose the setting on the first half of the queries; return recall and bits of comparisons on the second."""
    from orthant.evaluation.filtered.asking import ask_all, exact_answers

    halves = []
    for part in (chosen[:_QUERIES], chosen[_QUERIES:]):
        asked = ask_all(filters, part)
        kept = [(i, one) for i, one in zip(part, asked, strict=True) if len(one.rows) > _K]
        queries = np.ascontiguousarray(Q[[i for i, _ in kept]])
        ones = [one for _, one in kept]
        halves.append((queries, ones, exact_answers(X, queries, ones, _K, "cosine")))

    def run(half: Any, setting: Any) -> tuple[float, float]:
        queries, ones, truth = half
        found = [arm.ask(queries[i : i + 1], _K, one, setting) for i, one in enumerate(ones)]
        recalls = truth.recall(np.stack([ids for ids, _ in found]), queries, X, "cosine")
        return float(np.nanmean(recalls)), float(np.mean([math.log2(max(spent, 1)) for _, spent in found]))

    settings = arm.settings()
    setting = next((one for one in settings if run(halves[0], one)[0] >= _RECALL + _ABOVE), settings[-1])
    recall, bits = run(halves[1], setting)
    # Who misses the recall would scan in the end.
    return {"bits": bits if recall >= _RECALL - _SLACK else max(bits, fallback), "recall": recall}


def _specialist(kind: str, name: str, ablate: Callable[..., Any]) -> Callable[[int], Trial]:
    def measure(seed: int) -> Trial:
        """Vectors compared for recall 0.95 by a graph made for the filter, and by what serves every filter."""
        from orthant.evaluation.filtered.specialists import make_arm

        parts, X, Q, chosen = _inputs(seed)
        filters, shared = parts[kind], {}  # type: tuple[Any, dict[str, Any]]

        def made(one: str) -> Any:
            return make_arm(one, X, filters, "cosine", shared=shared, threads=1, seed=seed)

        scan = _measure(made("scan"), X, Q, filters, chosen)
        rest = (X, Q, filters, chosen, scan["bits"])
        return Trial(
            measured=_measure(made(name), *rest),
            baseline=_measure(made("post-filter"), *rest),
            alternatives={
                "scan of what fits": scan,
                "two-hop walk of one graph": _measure(made("two-hop"), *rest),
                "planner": _measure(made("planner"), *rest),
            },
            ablated=_measure(ablate(made, X, filters, seed), *rest),
        )

    return measure


def _without_short_ranges(made: Callable[[str], Any], X: Any, filters: Any, seed: int) -> Any:
    """The same graph, of which no link holds for a range that begins behind the first row."""
    from orthant.evaluation.filtered import specialists
    from orthant.kernels.graph.segments import FOREVER

    arm = specialists.make_arm("segment-graph", X, filters, "cosine", shared={}, threads=1, seed=seed)
    table = arm.index._table  # type: ignore[attr-defined]
    table[1][table[1] > 0] = FOREVER
    return arm


def _without_labels(made: Callable[[str], Any], X: Any, filters: Any, seed: int) -> Any:
    """The same graph, built as if no row had a label."""
    from orthant.evaluation.filtered.asking import labels_of
    from orthant.evaluation.filtered.specialists import of_labels
    from orthant.index.filtered import FilteredVamana

    class Heedless(FilteredVamana):
        def _links(self, **changes: Any) -> Any:
            return super()._links()

    return of_labels("heedless", Heedless(X, labels_of(filters), "cosine", seed=seed, threads=1))


def _planner(seed: int) -> Trial:
    """Vectors compared by the planner over all kinds, beside each of its ways alone."""
    from orthant.evaluation.filtered.specialists import make_arm

    parts, X, Q, chosen = _inputs(seed)
    found: dict[str, list[Figures]] = {}
    shared: dict[str, Any] = {}
    for filters in parts.values():
        bits = math.inf
        for name in ("scan", "planner", "post-filter", "two-hop"):
            arm = make_arm(name, X, filters, "cosine", shared=shared, threads=1, seed=seed)
            found.setdefault(name, []).append(_measure(arm, X, Q, filters, chosen, bits))
            bits = found["scan"][-1]["bits"]

    def mean(name: str) -> Figures:
        return {key: float(np.mean([one[key] for one in found[name]])) for key in ("bits", "recall")}

    return Trial(
        measured=mean("planner"),
        baseline=mean("post-filter"),
        alternatives={"scan of what fits": mean("scan"), "two-hop walk of one graph": mean("two-hop")},
    )


PAPER = Paper(
    key="filtered-ann",
    title=(
        "Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms on Transformer-based Embedding Vectors"
    ),
    arxiv="2507.21989",
    year=2025,
    wing="search",
    lives_in=(
        "orthant.index.vamana.planner",
        "orthant.index.filtered.vamana",
        "orthant.index.filtered.navigating",
        "orthant.index.filtered.segments",
        "orthant.evaluation.filtered.study",
    ),
    summary=(
        "Compares indexes that search under attribute conditions (equal to, within a range, member of a set) on text "
        "embeddings with thousands of dimensions, and finds that the winner changes with the kind and strictness of "
        "the condition. Useful to whoever must pick, or build, filtered search. Its place in Orthant: a planner that "
        "chooses between scanning the allowed rows, a filter-aware walk and an exclusion test, with the specialised "
        "indexes kept as arms of a harness."
    ),
    keywords=("filtered search", "metadata", "selectivity", "ACORN", "range filter", "query planning", "benchmark"),
    status="works",
    claims=(
        Claim(
            name="a-segment-graph-wins-ranges",
            sentence=(
                "On 6,000 sentence vectors of short texts, under ranges of the length of the text, a graph whose links "
                "know their ranges reaches recall@10 of 0.95 with fewer vectors compared per query (mean of log2) than "
                "a scan of the rows that fit, a two-hop walk over one graph, and the planner."
            ),
            data="real",
            run=_specialist("range", "segment-graph", _without_short_ranges),
            metric="bits",
            direction="lower",
            margin=0.5,
            ablation="links for ranges that begin behind the first row",
            needs=("minilm_short_texts", "movies", "papers", "medquad"),
            fresh_seeds=(101, 102),
            trained=False,
        ),
        Claim(
            name="links-that-heed-labels-win-labels",
            sentence=(
                "On the same vectors, under tags (source, kind, genres), Filtered-Vamana reaches recall@10 of 0.95 "
                "with fewer vectors compared per query than a scan, a two-hop walk over one graph, and the planner."
            ),
            data="real",
            run=_specialist("set", "filtered-vamana", _without_labels),
            metric="bits",
            direction="lower",
            # The ablated twin cleared a margin of 0.25 on one seed of two, so no effect of labels in links is claimed.
            margin=None,
            ablation="labels while links are chosen",
            needs=("minilm_short_texts", "movies", "papers", "medquad"),
            fresh_seeds=(101, 102),
            trained=False,
        ),
        Claim(
            name="planner-beside-its-ways",
            sentence=(
                "The planner beside each of its ways alone, mean over equality, range and set, at recall@10 of 0.95. "
                "It minimises time, in which a scan compares some sixty rows per step of a walk, and not comparisons."
            ),
            data="real",
            run=_planner,
            metric="bits",
            direction="lower",
            needs=("minilm_short_texts", "movies", "papers", "medquad"),
            fresh_seeds=(101, 102),
            trained=False,
        ),
    ),
)
