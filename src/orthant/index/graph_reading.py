"""What readers of a graph may do: search, calibrate, look up, check and save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, message, warn
from orthant.index.blocks import BlockSet, shown
from orthant.index.flat import Flat
from orthant.index.scan import scan, score_rows
from orthant.index.vamana import files
from orthant.index.vamana.building import Settings, drop
from orthant.index.vamana.calibration import KS, Calibration, measure, self_recall
from orthant.index.vamana.checking import problems
from orthant.index.vamana.exact import block_set
from orthant.index.vamana.planner import make_filter
from orthant.index.vamana.query_sample import QuerySample
from orthant.index.vamana.query_tuning import QueryTuning
from orthant.index.vamana.searching import Request, run
from orthant.index.vamana.state import State
from orthant.kernels.files.rows import release
from orthant.kernels.topk import check_answers
from orthant.kernels.warmup import ensure_compiling, is_ready, wait
from orthant.threads import ReadersWriterLock, Turn
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, IndexStats, Metric
from orthant.validate import as_allowed, as_ids, as_vectors, check_count, check_effort, check_metric

__all__ = ["GraphReading"]

_DEFAULT_EFFORT = 64
_NO_SKIPS = np.zeros(0, np.int32)
_CALIBRATION_QUERIES = 400
_LOOKED_UP = (64, 512)
_SOUND = 0.99
_SCAN_SHARE = 4
"""Asked for more than one in so many of all vectors, a scan is quicker than a walk."""


class GraphReading:
    """The half of ``Graph`` that changes nothing; not made by itself.

    Parameters
    ----------
    dim : int
        Dimension.
    metric : {"cosine", "dot", "l2"}
        Score.
    settings : Settings
        Checked parameters.
    """

    def __init__(self, dim: int, metric: Metric, settings: Settings) -> None:
        self._dim = check_count(dim, name="dim")
        self._metric = check_metric(metric)
        self._settings = settings
        self._lock = ReadersWriterLock()
        self._writer = Turn()
        self._flat: Flat | None = Flat(self._dim, self._metric)
        self._state: State | None = None
        self._fixed = False
        self._next_id = 0
        self._calibration: Calibration | None = None
        self._sample: QuerySample | None = None
        self._tuning: QueryTuning | None = None
        self._exact: BlockSet | None = None
        self._view: npt.NDArray[np.int64] | None = None

    def _forget(self) -> None:
        """Drop what was derived from the state before a change."""
        self._exact = self._view = None

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """Score of the index."""
        return self._metric

    @property
    def calibration(self) -> Calibration | None:
        """Recall by effort as last measured; None before."""
        return self._calibration

    @property
    def tuning(self) -> QueryTuning | None:
        """What learning from queries brought when it was last done; None before."""
        return self._tuning

    @property
    def queries(self) -> FloatArray | None:
        """Sample queries given before, shape (q, dim), distinct; None without any."""
        return None if self._sample is None else np.concatenate(self._sample.parts())

    def __len__(self) -> int:
        """Return the number of live vectors."""
        state, flat = self._state, self._flat
        return state.live if state is not None else len(flat) if flat is not None else 0

    def __repr__(self) -> str:
        return f"Graph(dim={self._dim}, metric={self._metric!r}, {len(self)} vectors)"

    def search(
        self,
        Q: npt.ArrayLike,
        k: int = 10,
        *,
        allowed: BitmapArray | IdArray | npt.NDArray[np.bool_] | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return about the k nearest live, allowed vectors of each query.

        Parameters
        ----------
        Q : array-like of shape (q, dim) or (dim,)
            Queries; non-zero under cosine.
        k : int, default 10
            Neighbours wanted, at least 1. Where there are fewer, rows are padded.
        allowed : uint64 bitmap over ids, bool mask over ids, or array of ids, optional
            Restricts the answer before the search, whatever its form.
        effort : int, optional
            Width of the beam: more finds more and takes longer, about in proportion. Below k it counts as k.
        recall : float, optional
            Share of the true neighbours wanted, from 0 to 1, instead of ``effort``; 1 compares everything. Kept by
            ``calibrate``, which runs by itself on held-out rows when it has not been called.
        threads : int, optional
            Threads for a batch; one query runs on one.

        Returns
        -------
        Hits
            ids (q, k) int64 padded with -1, scores (q, k) float32 padded with -inf, counts (q,). ``cost.plan`` is
            ``"graph"``, ``"graph-filtered"``, ``"scan-allowed"`` or ``"scan"``; ``cost.details`` has the effort and,
            where it was measured, the expected recall.

        Raises
        ------
        InputError
            k or effort below 1, a zero query under cosine, or both effort and recall.
        DimensionError, DtypeError, NonFiniteError
            Q or ``allowed`` do not fit.
        """
        queries = as_vectors(Q, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
        wanted = check_answers(k, queries=len(queries), held=len(self))
        check_effort(effort, recall, threads)
        rows = as_allowed(allowed)
        if recall is not None and recall < 1 and self._state is not None and self._calibration is None:
            self.calibrate()
        with self._lock.reading():
            state = self._state
            if state is None:
                if self._flat is None:
                    raise RuntimeError("a graph has neither links nor a flat part")
                return self._flat.search(queries, wanted, allowed=rows, threads=threads)
            ready = is_ready("graph")
            if not ready or recall == 1.0 or (rows is None and wanted * _SCAN_SHARE > state.live):
                hits = self._scan(state, queries, wanted, rows, threads)
                if not ready:
                    ensure_compiling("graph")
                return hits
            width, expected = self._effort(wanted, effort, recall)
            fewest = None if expected is None else self._fewest(wanted, width, recall)
            told: dict[str, Any] = {}
            if expected is not None:
                told["expected_recall"] = round(float(expected), 4)
                if self._calibration is not None:
                    # Rows say too little about queries that are unlike them.
                    told["calibrated_on"] = self._calibration.source
            request = self._request(queries, wanted, width, rows, threads, state, fewest=fewest)
            return run(state, request, told=told)

    def _request(
        self, queries: FloatArray, k: int, effort: int, rows: Any, threads: int | None, state: State,
        skips: npt.NDArray[np.int32] = _NO_SKIPS, fewest: int | None = None,
    ) -> Request:  # fmt: skip
        allowed = None if rows is None else make_filter(state, rows)
        # Where signs say little, as in few dimensions, codes of one cache line do as well.
        sketched = self._settings.sketch and state.space.dims > 64
        view = self._view
        if view is None:
            view = self._view = state.view(sketched=sketched, filtered=True)
            # What was built, or scanned until now, looked at every vector; a walk reads those that it needs.
            for X, _ in state.vectors.kept:
                release(X)
        fewest = effort if fewest is None else fewest
        return Request(queries, k, effort, fewest, allowed, self._settings.margin, sketched, threads, skips, view)

    def _effort(self, k: int, effort: int | None, recall: float | None) -> tuple[int, float | None]:
        if effort is not None:
            return effort, None
        if self._calibration is None:
            return max(_DEFAULT_EFFORT, 2 * k), None
        return self._calibration.choose(k, 0.95 if recall is None else recall)

    def _fewest(self, k: int, effort: int, recall: float | None) -> int:
        """Return how many allowed candidates keep the recall where next to none of those near a query are allowed.

        The k nearest of a share s are about the k / s nearest of all, for which the effort is e(k) + c (k / s - k)
        with c = (e(10 k) - e(k)) / 9 k. A share s of those candidates is allowed, which tends to c k.
        """
        wider, _ = self._effort(10 * k, None, recall)
        return max(1, -(-(wider - effort) // 9))

    def _scan(self, state: State, queries: FloatArray, k: int, rows: Any, threads: int | None) -> Hits:
        blocks = self._blocks(state)
        return scan(blocks, queries, k, metric=self._metric, selection=blocks.select(rows), threads=threads)

    def _blocks(self, state: State) -> BlockSet:
        blocks = self._exact
        if blocks is None:
            blocks = block_set(state, self._metric)
            self._exact = blocks
        return blocks

    def calibrate(
        self, queries: npt.ArrayLike | None = None, *, seed: int = 0, threads: int | None = None
    ) -> Calibration | None:
        """Measure recall by effort, so that ``recall=`` is kept from now on.

        Parameters
        ----------
        queries : array-like of shape (q, dim), optional
            Real queries, a few hundred. Left out, those that ``tune`` held back; without any, rows of the index stand
            in, each searched for as if it had not been added. Queries that are unlike the rows need more effort than
            rows suggest: give them when you have them.
        seed : int, default 0
            Of the choice of rows.
        threads : int, optional
            Threads.

        Returns
        -------
        Calibration or None
            The measurements, also as ``calibration``; None while there is no graph, since answers are exact.

        Raises
        ------
        DimensionError, DtypeError, NonFiniteError, InputError
            Queries that do not fit, or none at all.

        Notes
        -----
        The effort chosen is the smallest whose lower 95 % bound of the mean recall reaches what is asked. Cost: an
        exact search for the sample, about 1 s for 400 queries over 100,000 vectors.
        """
        given = None
        if queries is not None:
            given = as_vectors(queries, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
            if not len(given):
                raise InputError(message("no queries", "at least one", "pass some, or leave queries out"))
        with self._writer:
            state = self._state
            if state is None:
                return None
            if given is None and self._sample is not None:
                given = self._sample.held
            wait("graph")
            with self._lock.reading():
                made = self._measure(state, given, seed, threads)
            self._calibration = made
        return made

    def _measure(self, state: State, given: FloatArray | None, seed: int, threads: int | None) -> Calibration:
        blocks, most = self._blocks(state), min(max(KS), state.live - 1)
        skips, own = _NO_SKIPS, np.zeros(0, np.int64)
        if given is None:
            slots = state.nodes()
            rng = np.random.default_rng(seed)
            skips = np.sort(rng.choice(slots, min(len(slots), _CALIBRATION_QUERIES), replace=False)).astype(np.int32)
            own = state.ids[skips]
            given = blocks.vectors_of(blocks.locate(own))
        selection = blocks.select(None)
        found = scan(blocks, given, most + 1, metric=self._metric, selection=selection, threads=threads).ids
        if len(own):
            found = np.stack([row[row != mine][:most] for row, mine in zip(found, own, strict=True)])
        queries = given

        def search(k: int, effort: int) -> IdArray:
            return run(state, self._request(queries, k, effort, None, threads, state, skips)).ids

        source = "queries" if not len(own) else "held-out rows"
        return measure(search, found[:, :most], source=source, rows=state.live)

    def self_recall(self, sample: int = 1000, *, k: int = 10, seed: int = 0, threads: int | None = None) -> float:
        """Return the recall of rows of the index searched for as they are, at the default effort.

        Parameters
        ----------
        sample : int, default 1000
            Rows searched for at most.
        k : int, default 10
            Neighbours compared.
        seed : int, default 0
            Of the choice of rows.
        threads : int, optional
            Threads.

        Returns
        -------
        float
            Mean share of the true neighbours found, from 0 to 1; 1 for an empty index. Of equal scores any counts.

        Notes
        -----
        A quick check that an index is sound. It flatters: a row leads to its own neighbours. ``calibrate`` does not.
        Building looks 64 rows up in this way (k = 1), 512 where one is missed, and warns where less than 99 % of those
        find themselves.
        """
        return self_recall(self, sample, k=k, seed=seed, threads=threads)

    def _warn_if_unsound(self, threads: int | None) -> None:
        """Look some rows of a fresh graph up, and say so where they do not find themselves."""
        wait("graph")
        # Few tell a sound graph; one miss among them is looked into by more.
        share, rows = 1.0, 0
        for rows in _LOOKED_UP:
            share = self.self_recall(rows, k=1, threads=threads)
            if share >= _SOUND:
                break
        else:
            settings = self._settings
            warn(
                message(
                    f"a graph in which {share:.1%} of {rows} rows find themselves",
                    f"at least {_SOUND:.0%}",
                    f"raise degree (now {settings.degree}) or beam (now {settings.beam}), or search with more effort",
                )
            )

    def ids(self) -> IdArray:
        """Return the ids of all live vectors, shape (n,), int64, in the order of their slots."""
        with self._lock.reading():
            if self._state is None:
                return np.zeros(0, np.int64) if self._flat is None else self._flat.ids()
            return self._state.ids[self._state.live_slots()]

    def score_ids(self, q: npt.ArrayLike, ids: npt.ArrayLike) -> FloatArray:
        """Return one query's exact scores with given ids; see ``Flat.score_ids``.

        Parameters
        ----------
        q : array-like of shape (dim,)
            The query; non-zero under cosine.
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m,), float32
            Scores in the order of ``ids``; -inf where the id is absent.

        Raises
        ------
        DimensionError, DtypeError, NonFiniteError, InputError
            The arguments do not fit.
        """
        with self._lock.reading():
            if self._state is None:
                return Flat(self._dim).score_ids(q, ids) if self._flat is None else self._flat.score_ids(q, ids)
            query = as_vectors(q, dim=self._dim, name="query", nonzero=self._metric == "cosine", single=True)
            if len(query) != 1:
                raise InputError(message(f"{len(query)} queries", "one", "call score_ids once per query"))
            blocks = self._blocks(self._state)
            return score_rows(blocks, query, blocks.locate(as_ids(ids)), metric=self._metric)

    def reconstruct(self, ids: npt.ArrayLike) -> FloatArray:
        """Return the stored vectors of given ids.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m, dim), float32
            Copies, exactly as added.

        Raises
        ------
        NotFoundError
            Ids that are not present (listed).
        """
        wanted = as_ids(ids)
        with self._lock.reading():
            if self._state is None:
                return Flat(self._dim).reconstruct(ids) if self._flat is None else self._flat.reconstruct(wanted)
            blocks = self._blocks(self._state)
            rows = blocks.locate(wanted)
            missing = wanted[rows < 0]
            if len(missing):
                raise NotFoundError(message(f"ids {shown(missing)}", "ids in the index", "check them with score_ids"))
            return blocks.vectors_of(rows)

    def adjacency(self) -> npt.NDArray[np.int32]:
        """Return the links, shape (slots, room), int32: neighbours' slots, then -1; empty without a graph."""
        with self._lock.reading():
            state = self._state
            return np.zeros((0, 0), np.int32) if state is None else state.links[: state.used].copy()

    def slot_ids(self) -> IdArray:
        """Return the id of each slot, shape (slots,), int64; -1 where it is free or was removed."""
        with self._lock.reading():
            state = self._state
            if state is None:
                return np.zeros(0, np.int64)
            out = state.ids[: state.used].copy()
            out[state.is_dead(np.arange(state.used))] = -1
            return out

    def check(self) -> list[str]:
        """Return what is wrong: unreachable nodes, stray links, broken chains; empty when all is well."""
        with self._lock.reading():
            return [] if self._state is None else problems(self._state)

    def stats(self) -> IndexStats:
        """Return counts and bytes.

        Returns
        -------
        IndexStats
            ``memory_bytes`` counts what the index holds or maps: codes, links, ids and its own vectors, not those that
            lie elsewhere. ``details`` has the plan (``"graph"`` or ``"scan"``), bytes by part, mean links, twins
            (vectors equal to another's codes), dimensions and bits of the codes, and the calibration.
        """
        with self._lock.reading():
            state, flat = self._state, self._flat
            if state is None:
                base = (flat if flat is not None else Flat(self._dim, self._metric)).stats()
                return replace(base, kind="Graph", details={**base.details, "plan": "scan"})
            parts = state.memory()
            total = sum(parts.values())
            rows = state.links[: state.used]
            nodes = len(state.nodes())
            mapped = sum(
                parts[name] for name in ("sketches", "codes", "links") if not getattr(state, name).flags.writeable
            )
            details = {
                "plan": "graph",
                "parts": parts,
                "nodes": nodes,
                "twins": state.twin_count,
                "free": len(state.free),
                "mean_links": round(float((rows >= 0).sum() / max(nodes, 1)), 2),
                "dims": state.space.dims,
                "bits": state.space.bits,
                "variance_kept": round(state.space.kept, 4),
                "mapped_code_bytes": mapped,
                "writable": not self._fixed,
                "calibration": None if self._calibration is None else self._calibration.as_dict(),
                "tuning": None if self._tuning is None else self._tuning.as_dict(),
            }
            return IndexStats(
                kind="Graph",
                count=state.live,
                dead=state.dead_count,
                dim=self._dim,
                metric=self._metric,
                memory_bytes=total,
                bytes_per_vector=total / max(state.used, 1),
                details=details,
            )

    def save(self, path: str | Path) -> None:
        """Write the index with its vectors to a folder, replacing what it held in one step.

        Parameters
        ----------
        path : str or Path
            Folder; created if missing. It may be moved later: no absolute path is stored.

        Raises
        ------
        InputError
            The path is a file, or the index was made by ``over`` (``save_links`` writes those).
        """
        if self._fixed:
            raise InputError(
                message("save() on an index over the caller's arrays", "one that holds its vectors", "use save_links()")
            )
        self._save(path, vectors=True)

    def save_links(self, path: str | Path) -> None:
        """Write links and codes without the full vectors, for ``attach``.

        Parameters
        ----------
        path : str or Path
            Folder.

        Raises
        ------
        InputError
            The path is a file, or there is no graph yet.
        """
        if self._state is None:
            raise InputError(message("save_links() without a graph", "at least scan_below vectors", "use save()"))
        self._save(path, vectors=False)

    def _save(self, path: str | Path, *, vectors: bool) -> None:
        with self._writer:
            state = self._state
            calibration = None if self._calibration is None else self._calibration.as_dict()
            saved = {**files.plain(self._settings), "next_id": self._next_id, "calibration": calibration}
            saved["tuning"] = None if self._tuning is None else self._tuning.as_dict()
            if state is None:
                files.write_flat_part(path, self._flat or Flat(self._dim, self._metric), saved, self._sample)
                return
            if state.dead_count:
                # What is saved has no dead slots: the copy is mended, not what others search.
                state = state.copy()
                drop(state, np.zeros(0, np.int64), self._settings, threads=None, mend=True)
            files.write_graph(path, state, settings=saved, vectors=vectors, queries=self._sample)
