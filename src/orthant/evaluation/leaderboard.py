"""Whether approximate search changes which encoder looks best: nDCG under exact search and through several graphs.

A leaderboard computed through an approximate index measures encoder and index together. This harness takes them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.evaluation.graph_engines import build_graph
from orthant.evaluation.judged_vectors import JudgedVectors
from orthant.index.flat import Flat
from orthant.measures.neighbours import recall_at_k
from orthant.measures.ranking import score_run
from orthant.measures.runs import run_from_arrays
from orthant.types import FloatArray, IdArray
from orthant.validate import check_count

__all__ = ["SETTINGS", "GraphSetting", "LeaderboardReport", "leaderboard_shift"]

_K = 10


@dataclass(frozen=True)
class GraphSetting:
    """How a graph is built and searched.

    Attributes
    ----------
    degree : int
        HNSW's M.
    construction : int
        Candidates kept while inserting.
    effort : int
        Candidates kept while searching, at least 10.
    """

    degree: int
    construction: int
    effort: int


SETTINGS: Mapping[str, GraphSetting] = {
    "under-configured": GraphSetting(4, 16, 10),
    "default": GraphSetting(16, 128, 64),
    "high": GraphSetting(16, 512, 256),
}
"""Below what any engine ships, what most ship, and towards what the study's authors came to recommend."""


@dataclass(frozen=True)
class LeaderboardReport:
    """Quality of every encoder on every set, under exact search and under each setting.

    Attributes
    ----------
    encoders, sets : tuple of str
        Rows and columns.
    exact : ndarray of shape (encoders, sets), float64
        nDCG@10 under exact search.
    approximate : mapping of str to ndarray of shape (encoders, sets), float64
        nDCG@10 by setting, mean over the seeds.
    recall : mapping of str to ndarray of shape (encoders, sets), float64
        Recall@10 of the neighbours by setting, mean over the seeds.
    """

    encoders: tuple[str, ...]
    sets: tuple[str, ...]
    exact: npt.NDArray[np.float64]
    approximate: Mapping[str, npt.NDArray[np.float64]]
    recall: Mapping[str, npt.NDArray[np.float64]]

    def loss(self, setting: str) -> npt.NDArray[np.float64]:
        """Return the share of nDCG lost against exact search.

        Parameters
        ----------
        setting : str
            One of the settings.

        Returns
        -------
        ndarray of shape (encoders, sets)
            0 where exact search has no nDCG to lose; negative where approximation happened to help.
        """
        lost = self.exact - self.approximate[setting]
        return np.divide(lost, self.exact, out=np.zeros_like(lost), where=self.exact > 0)

    def moves(self, setting: str) -> npt.NDArray[np.int64]:
        """Return by how many positions each encoder moves, set by set and on the mean over the sets.

        Parameters
        ----------
        setting : str
            One of the settings.

        Returns
        -------
        ndarray of shape (encoders, sets + 1)
            Positions between 0 (kept) and encoders - 1; the last column is the mean's ranking.
        """
        return np.abs(_positions(_with_mean(self.approximate[setting])) - _positions(_with_mean(self.exact)))

    def figures(self, setting: str) -> dict[str, float]:
        """Return what a setting does to the leaderboard, in five numbers.

        Parameters
        ----------
        setting : str
            One of the settings.

        Returns
        -------
        dict of str to float
            ``ndcg_lost`` (mean share), ``largest_ndcg_lost``, ``positions_moved`` (largest on any set),
            ``positions_moved_on_the_mean`` (largest on the mean's ranking) and ``recall`` (mean).
        """
        loss, moves = self.loss(setting), self.moves(setting)
        return {
            "ndcg_lost": float(loss.mean()),
            "largest_ndcg_lost": float(loss.max()),
            "positions_moved": float(moves[:, :-1].max()),
            "positions_moved_on_the_mean": float(moves[:, -1].max()),
            "recall": float(self.recall[setting].mean()),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all tables as plain values for JSON."""
        return {
            "encoders": list(self.encoders),
            "sets": list(self.sets),
            "exact": self.exact.tolist(),
            "approximate": {name: table.tolist() for name, table in self.approximate.items()},
            "recall": {name: table.tolist() for name, table in self.recall.items()},
            "figures": {name: self.figures(name) for name in self.approximate},
        }

    def __str__(self) -> str:
        """Return one line per setting and one per encoder."""
        lines = []
        for name in self.approximate:
            f = self.figures(name)
            lines.append(
                f"{name}: recall@10 {f['recall']:.3f}, nDCG@10 lost {f['ndcg_lost']:.1%} on average and "
                f"{f['largest_ndcg_lost']:.1%} at most, up to {f['positions_moved']:.0f} position(s) moved"
            )
        means = _with_mean(self.exact)[:, -1]
        lines += [f"{self.encoders[i]}: nDCG@10 {means[i]:.4f} under exact search" for i in np.argsort(-means)]
        return "\n".join(lines)


def leaderboard_shift(
    sets: Sequence[JudgedVectors],
    *,
    engine: str = "faiss",
    settings: Mapping[str, GraphSetting] = SETTINGS,
    seeds: Sequence[int] = (0,),
) -> LeaderboardReport:
    """Rank encoders by nDCG@10 under exact search and through graphs of several settings.

    Use it to see how much of a difference between encoders is the index. Small corpora understate the effect: a graph
    over a few thousand vectors loses little.

    Parameters
    ----------
    sets : sequence of JudgedVectors
        Sets with the same encoders.
    engine : str, default "faiss"
        See `orthant.evaluation.graph_engines.build_graph`.
    settings : mapping of str to GraphSetting
        By name; under-configured, default and high unless given.
    seeds : sequence of int, default (0,)
        One build per seed; figures are means over them.

    Returns
    -------
    LeaderboardReport
        Tables over encoders and sets.

    Raises
    ------
    InputError
        No sets, sets with different encoders, fewer than two encoders, or no seed.
    MissingExtraError
        The engine is not installed.

    Notes
    -----
    Cost: one exact search and ``len(settings) * len(seeds)`` builds per encoder and set, in one thread.
    """
    if not sets or not seeds or not settings:
        raise InputError(message("no sets, seeds or settings", "at least one of each", "pass them"))
    encoders = tuple(sets[0].vectors)
    if len(encoders) < 2 or any(set(judged.vectors) != set(encoders) for judged in sets):
        raise InputError(
            message("sets with other or fewer than two encoders", "the same two or more", "encode them alike")
        )
    shape = (len(encoders), len(sets))
    exact = np.zeros(shape)
    approximate = {name: np.zeros(shape) for name in settings}
    recall = {name: np.zeros(shape) for name in settings}
    for j, judged in enumerate(sets):
        for i, encoder in enumerate(encoders):
            cell = _Cell(judged, encoder)
            exact[i, j] = cell.ndcg(cell.truth)
            for name, setting in settings.items():
                for seed in seeds:
                    found = cell.search(engine, setting, check_count(seed, name="seed", minimum=0))
                    approximate[name][i, j] += cell.ndcg(found) / len(seeds)
                    recall[name][i, j] += recall_at_k(found, cell.truth) / len(seeds)
    return LeaderboardReport(encoders, tuple(judged.name for judged in sets), exact, approximate, recall)


class _Cell:
    """One encoder on one set: what can be searched of it, and the exact answer."""

    def __init__(self, judged: JudgedVectors, encoder: str) -> None:
        documents, queries = judged.vectors[encoder]
        usable, asked = (np.flatnonzero((rows != 0).any(axis=1)) for rows in (documents, queries))
        self._judged, self._usable, self._asked = judged, usable, asked
        self._documents: FloatArray = documents[usable]
        self._queries: FloatArray = queries[asked]
        index = Flat(documents.shape[1])
        index.add(self._documents)
        self.truth: IdArray = index.search(self._queries, _K).ids

    def search(self, engine: str, setting: GraphSetting, seed: int) -> IdArray:
        graph = build_graph(
            engine, self._documents, degree=setting.degree, construction=setting.construction, seed=seed
        )
        return graph.search(self._queries, _K, effort=setting.effort)[0]

    def ndcg(self, rows: IdArray) -> float:
        names = [self._judged.document_ids[i] for i in self._usable]
        run = run_from_arrays(rows, query_ids=[self._judged.query_ids[i] for i in self._asked], document_ids=names)
        return score_run(run, self._judged.qrels, [f"ndcg@{_K}"])[f"ndcg@{_K}"].mean


def _with_mean(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.column_stack([table, table.mean(axis=1)])


def _positions(table: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    order = np.argsort(-table, axis=0, kind="stable")
    return np.argsort(order, axis=0, kind="stable")
