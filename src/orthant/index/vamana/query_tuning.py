"""Making a graph suit sample queries; how far outside queries held back lie, and what it brought for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.scan import scan
from orthant.index.vamana.building import Settings
from orthant.index.vamana.calibration import EFFORTS, KS, Calibration, measure, recall_of
from orthant.index.vamana.exact import block_set
from orthant.index.vamana.query_links import WIDTH, add_query_links
from orthant.index.vamana.query_sample import QuerySample
from orthant.index.vamana.state import State
from orthant.kernels.distances import norms
from orthant.kernels.graph.sketch import SKETCH_BYTES
from orthant.transforms.moments import SecondMoments, leading_directions
from orthant.types import FloatArray, Hits, IdArray, Metric

__all__ = ["QueryTuning", "tune_state"]

Walk = Callable[[FloatArray, int, int, npt.NDArray[np.int32]], Hits]

_LEARNING_EFFORT = 512
_RECALL = 0.95
_K = 10
_REACHED = 0.9975
_LEAST_GAIN = 0.03
"""Share of what a query reads that must be saved: less is within what another sample of queries would give."""
_ROWS = 8192
_PROBES = 256
_PROBE_EFFORT = 256
_SHARE_INSIDE = 0.95
_NO_SKIPS = np.zeros(0, np.int32)


@dataclass(frozen=True)
class QueryTuning:
    """How far queries are out of distribution, and the gain from learning on them, on held-out queries.

    Attributes
    ----------
    learned, held : int
        Queries learned from and judged by.
    distance_ratio : float
        Median distance from a query to its tenth nearest vector, over that from a vector to its own; about 1 for
        queries like the data.
    variance_outside : float
        Share of the queries' spread about the mean of the data that lies outside the directions which hold 95 % of the
        data's own; about 0.05 for queries like the data.
    gained : bool
        Whether queries read less than before for the same recall. If not, the links are what they were.
    recall : float
        The recall@10 at which both are compared: 0.95, or less where that is not reached.
    before, after : dict of str to float
        ``distances`` estimated, ``compared`` codes and ``bytes`` of both that a query reads at that recall;
        ``recall_at_64``, recall@10 at an effort of 64.
    linked : int
        Vectors that got links; 0 where nothing was gained.
    reduction : {"none", "data", "queries"}
        What the reduction was learned from.
    """

    learned: int
    held: int
    distance_ratio: float
    variance_outside: float
    gained: bool
    recall: float
    before: dict[str, float]
    after: dict[str, float]
    linked: int
    reduction: str

    @property
    def saved(self) -> float:
        """Share of the bytes of a query that are no longer read; below 0 where more are."""
        return 1 - self.after["bytes"] / max(self.before["bytes"], 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and ``stats``."""
        return {**asdict(self), "saved": self.saved}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> QueryTuning:
        """Return the report that a dictionary describes.

        Parameters
        ----------
        values : dict
            From ``as_dict``, perhaps by way of JSON.

        Returns
        -------
        QueryTuning
            Equal to the one described.
        """
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def __str__(self) -> str:
        """Return the report in words."""
        far = (
            f"{self.held} queries held back: {self.distance_ratio:.2f} times as far from the data as its own vectors, "
            f"{self.variance_outside:.0%} of their spread outside its main directions (5 % for the data)."
        )
        at = f"recall@10 of {self.recall:.3g}"
        cost = f"{self.before['distances']:.0f} comparisons per query before and {self.after['distances']:.0f} after"
        if self.gained:
            return f"{far} At {at}, {cost}; {self.saved:.0%} fewer bytes read. {self.linked} vectors got links."
        return f"{far} At {at}, {cost}: nothing gained, so the links stay as they were."


def tune_state(
    state: State, settings: Settings, sample: QuerySample, walk: Walk, *, threads: int | None
) -> tuple[QueryTuning, Calibration]:
    """Add links for queries where that makes other queries cheaper, and calibrate on those.

    Parameters
    ----------
    state : State
        The graph, which nobody else searches meanwhile; its arrays are its own.
    settings : Settings
        How it was built.
    sample : QuerySample
        Queries.
    walk : callable of (queries, k, effort, skips)
        Searches the graph as it stands and returns hits; skips is empty, or a slot per query to pass over.
    threads : int or None
        Threads.

    Returns
    -------
    report : QueryTuning
        What was found; the links are unchanged where nothing was gained.
    calibration : Calibration
        Of the graph as it is now, on the held queries.
    """
    judge = _Judge(state, sample.held, walk, threads)
    before, old = judge.curve(), state.links.copy()
    width, effort = min(WIDTH, state.live), max(_LEARNING_EFFORT, WIDTH)
    lists = walk(sample.learned, width, effort, _NO_SKIPS).ids
    linked = add_query_links(state, lists, settings.links(state.space.metric, threads))
    after = judge.curve()
    recall = min(_RECALL, max(point["recall"] for point in before), max(point["recall"] for point in after))
    figures = [_at_recall(curve, recall) for curve in (before, after)]
    gained = figures[1]["bytes"] < (1 - _LEAST_GAIN) * figures[0]["bytes"]
    if not gained:
        state.links[:], linked = old, 0
    ratio, outside = judge.outside(settings.seed)
    reduction = "none" if state.space.basis is None else "queries" if state.space.query_aware else "data"
    report = QueryTuning(
        learned=len(sample.learned),
        held=len(sample.held),
        distance_ratio=ratio,
        variance_outside=outside,
        gained=gained,
        recall=recall,
        before=figures[0],
        after=figures[1],
        linked=linked,
        reduction=reduction,
    )
    return report, judge.calibration()


def _at_recall(curve: Sequence[dict[str, float]], recall: float) -> dict[str, float]:
    """Interpolate what a query costs between the efforts around a recall."""
    recalls = np.maximum.accumulate([point["recall"] for point in curve])
    out = {
        name: float(np.exp(np.interp(recall, recalls, np.log([max(point[name], 1e-9) for point in curve]))))
        for name in ("distances", "compared", "bytes")
    }
    return {**out, "recall_at_64": next((p["recall"] for p in curve if p["effort"] == 64), curve[-1]["recall"])}


class _Judge:
    """Queries that were held back, with their true neighbours."""

    def __init__(self, state: State, held: FloatArray, walk: Walk, threads: int | None) -> None:
        self._state, self._held, self._walk = state, held, walk
        metric: Metric = state.space.metric
        self._blocks = block_set(state, metric)
        most = min(max(KS), state.live)
        self._truth = scan(
            self._blocks, held, most, metric=metric, selection=self._blocks.select(None), threads=threads
        ).ids

    def curve(self) -> list[dict[str, float]]:
        """Return recall@10 and costs for growing efforts."""
        out: list[dict[str, float]] = []
        count, k = len(self._held), min(_K, self._truth.shape[1])
        for effort in EFFORTS:
            hits = self._walk(self._held, k, effort, _NO_SKIPS)
            recall = float(recall_of(hits.ids, self._truth[:, :k]).mean())
            distances, compared = hits.cost.distances / count, hits.cost.details["compared"] / count
            read = distances * SKETCH_BYTES + compared * self._state.space.width
            out.append(
                {"effort": effort, "recall": recall, "distances": distances, "compared": compared, "bytes": read}
            )
            if recall >= _REACHED or effort > self._state.live:
                break
        return out

    def calibration(self) -> Calibration:
        """Return recall by effort of the graph as it stands."""
        return measure(
            lambda k, effort: self._walk(self._held, k, effort, _NO_SKIPS).ids,
            self._truth,
            source="queries",
            rows=self._state.live,
        )

    def outside(self, seed: int) -> tuple[float, float]:
        """Return the ratio of distances and the share of the spread; see ``QueryTuning``."""
        state, rng = self._state, np.random.default_rng(seed)
        nodes = state.nodes()
        chosen = np.sort(rng.choice(nodes, min(len(nodes), _ROWS), replace=False))
        rows = self._vectors(state.ids[chosen])
        probes = chosen[:: max(1, len(chosen) // _PROBES)][:_PROBES]
        own, k = self._vectors(state.ids[probes]), min(_K, self._truth.shape[1] - 1)
        near = self._walk(own, k, _PROBE_EFFORT, probes.astype(np.int32)).ids[:, -1]
        own, near = own[near >= 0], near[near >= 0]
        space = state.space
        embedded = space.embed(self._held, query=True)
        inner = _median_distance(space.embed(own), space.embed(self._vectors(near)))
        outer = _median_distance(embedded, space.embed(self._vectors(self._truth[:, k - 1])))
        moments = SecondMoments(embedded.shape[1])
        moments.update(space.embed(rows))
        directions, energies = leading_directions(moments.matrix(centred=False))
        kept = int(np.searchsorted(np.cumsum(energies), _SHARE_INSIDE * energies.sum())) + 1
        whole = float(np.einsum("ij,ij->", embedded, embedded, dtype=np.float64))
        inside = float(((embedded @ directions[:kept].T.astype(np.float32)).astype(np.float64) ** 2).sum())
        return outer / max(inner, 1e-12), max(0.0, 1 - inside / max(whole, 1e-300))

    def _vectors(self, ids: IdArray) -> FloatArray:
        return self._blocks.vectors_of(self._blocks.locate(ids))


def _median_distance(one: FloatArray, other: FloatArray) -> float:
    return float(np.median(norms(np.ascontiguousarray(one - other)))) if len(one) else 0.0
