"""What readers of an inverted file may do: search, calibrate, look up and save."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, message
from orthant.index.flat import Flat
from orthant.index.ivf.drift import Drift, imbalance_of
from orthant.index.ivf.files import write_ivf
from orthant.index.ivf.lists import Lists
from orthant.index.ivf.searching import Ready, Request, ready_for, run
from orthant.index.vamana.calibration import KS, Calibration, measure, self_recall
from orthant.kernels.clustering.list_rank import GROUP
from orthant.kernels.topk import check_answers
from orthant.kernels.warmup import ensure_compiling, is_ready, wait
from orthant.quantization.inverted import IVFCodec
from orthant.threads import ReadersWriterLock, Turn
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, IndexStats, Metric
from orthant.validate import as_allowed, as_ids, as_vectors, check_count, check_effort, check_metric

__all__ = ["IVFReading", "Settings"]

_CALIBRATION_QUERIES = 400
_DEFAULT_SHARE, _LEAST_LISTS = 16, 8
"""Without a calibration one in so many lists is looked into, and so many at least."""

_LEAST_NEIGHBOURS, _LEAST_DEPTH = 4, 64
"""So many neighbours' worth of candidates are read at least; codes alone, which are compared again, cost nothing."""

_SCAN_SHARE = 4


@dataclass(frozen=True)
class Settings:
    """Checked parameters of ``IVF``.

    Attributes
    ----------
    lists : int or None
        Lists.
    quantizer : object
        Unfitted, or None.
    keep_vectors : bool
        Whether full vectors are kept.
    rerank : int
        Candidates for each neighbour.
    seed : int
        Of the training.
    scan_below : int
        Vectors below which everything is compared.
    """

    lists: int | None
    quantizer: Any
    keep_vectors: bool
    rerank: int
    seed: int
    scan_below: int


class IVFReading:
    """The half of ``IVF`` that changes nothing; not made by itself.

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
        self._codec: IVFCodec | None = None
        self._lists: Lists | None = None
        self._ready: Ready | None = None
        self._next_id = 0
        self._calibration: Calibration | None = None
        self._drift: Drift | None = None

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """Score of the index."""
        return self._metric

    @property
    def codec(self) -> IVFCodec | None:
        """Centroids and quantizer; None before there are enough vectors."""
        return self._codec

    @property
    def calibration(self) -> Calibration | None:
        """Recall by lists looked into, as last measured; None before."""
        return self._calibration

    def __len__(self) -> int:
        """Return the number of live vectors."""
        lists, flat = self._lists, self._flat
        return lists.live if lists is not None else len(flat) if flat is not None else 0

    def __repr__(self) -> str:
        return f"IVF(dim={self._dim}, metric={self._metric!r}, {len(self)} vectors)"

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
            Restricts the answer before the search, whatever its form. Few allowed vectors are compared one by one.
        effort : int, optional
            Lists looked into: more find more and take longer, in proportion. Left out, those that the calibration
            needs for a recall of 0.95, or one list in sixteen, but eight. More are taken where these hold too few
            candidates.
        recall : float, optional
            Share of the true neighbours wanted, from 0 to 1, instead of ``effort``; 1 compares everything. Kept by
            ``calibrate``, which runs by itself on held-out rows when it has not been called.
        threads : int, optional
            Threads for a batch; one query runs on one.

        Returns
        -------
        Hits
            ids (q, k) int64 padded with -1, scores (q, k) float32 padded with -inf, counts (q,). ``cost.plan`` is
            ``"lists"``, ``"lists-filtered"``, ``"scan-allowed"`` or ``"scan"``. Scores are those of the full vectors,
            or of the codes where these are all that is kept.

        Raises
        ------
        InputError
            k or effort below 1, a zero query under cosine, both effort and recall, or recall without vectors.
        DimensionError, DtypeError, NonFiniteError
            Q or ``allowed`` do not fit.
        """
        queries = as_vectors(Q, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
        wanted = check_answers(k, queries=len(queries), held=len(self))
        check_effort(effort, recall, threads)
        if recall is not None and self._flat is None:
            given, remedy = f"recall={recall} without vectors", "pass effort, or make the index with keep_vectors=True"
            raise InputError(message(given, "an index that can measure it", remedy))
        rows = as_allowed(allowed)
        if recall is not None and recall < 1 and self._lists is not None and self._calibration is None:
            self.calibrate()
        if self._flat is None:
            wait(GROUP)
        with self._lock.reading():
            codec, lists, flat = self._codec, self._lists, self._flat
            if codec is None or lists is None:
                return self._scan(queries, wanted, rows, threads)
            ready = is_ready(GROUP)
            few = rows is None and wanted * _SCAN_SHARE > lists.live
            if flat is not None and (not ready or recall == 1.0 or few):
                if not ready:
                    ensure_compiling(GROUP)
                return self._scan(queries, wanted, rows, threads)
            words = None if rows is None else lists.allowed_words(rows)
            share = 1.0 if words is None else float(lists.counts_of(words).sum()) / max(1, lists.live)
            probes, told = self._probes(codec, wanted, effort, recall, share)
            depth = self._depth(wanted)
            if flat is not None and words is not None:
                # A comparison of full vectors reads as much as that of so many codes.
                each = self._dim * 4 / codec.code_size
                if share * lists.live * each <= lists.live * probes / codec.lists + depth * each:
                    return self._scan(queries, wanted, rows, threads)
            request = Request(queries, wanted, probes, min(depth, max(1, lists.live)), words, threads)
            return run(self._at_hand(codec, lists), None if flat is None else flat._data, request, told=told)

    def _at_hand(self, codec: IVFCodec, lists: Lists) -> Ready:
        """Return what kernels read; threads that meet here at once make the same."""
        ready = self._ready = ready_for(codec, lists, self._ready)
        return ready

    def _scan(self, queries: FloatArray, k: int, rows: Any, threads: int | None) -> Hits:
        flat = self._flat
        return (Flat(self._dim, self._metric) if flat is None else flat).search(
            queries, k, allowed=rows, threads=threads
        )

    def _depth(self, k: int) -> int:
        least = _LEAST_DEPTH if self._flat is None else _LEAST_NEIGHBOURS * self._settings.rerank
        return max(least, k * self._settings.rerank)

    def _probes(
        self, codec: IVFCodec, k: int, effort: int | None, recall: float | None, share: float
    ) -> tuple[int, dict[str, Any]]:
        """Return how many lists to look into, and what to tell about it."""
        if effort is not None:
            return min(effort, codec.lists), {}
        calibration = self._calibration
        if calibration is None:
            # What a filter leaves lies farther away; how much farther, only a calibration tells.
            base = max(_LEAST_LISTS, codec.lists // _DEFAULT_SHARE) / max(share, 1e-6) ** 0.5
            return min(int(base), codec.lists), {}
        # The k nearest of a share are about the k / share nearest of all.
        reach = k if share >= 1 else int(np.ceil(k / max(share, 1e-9)))
        probes, expected = calibration.choose(min(reach, 1 << 30), 0.95 if recall is None else recall)
        told = {"expected_recall": round(float(expected), 4), "calibrated_on": calibration.source}
        return min(probes, codec.lists), told

    def calibrate(
        self, queries: npt.ArrayLike | None = None, *, seed: int = 0, threads: int | None = None
    ) -> Calibration | None:
        """Measure recall by lists looked into, so that ``recall=`` is kept from now on.

        Parameters
        ----------
        queries : array-like of shape (q, dim), optional
            Real queries, a few hundred. Left out, rows of the index stand in, each without itself. Queries that are
            unlike the rows need more than rows suggest: give them when you have them.
        seed : int, default 0
            Of the choice of rows.
        threads : int, optional
            Threads.

        Returns
        -------
        Calibration or None
            The measurements; None while everything is compared. Where even all lists fall short of a recall, more
            candidates are needed: raise ``rerank``.

        Raises
        ------
        InputError
            No queries, or an index without vectors to compare with.
        DimensionError, DtypeError, NonFiniteError
            Queries that do not fit.

        Notes
        -----
        Cost: an exact search for the sample, and one search for each number of lists tried.
        """
        given = None
        if queries is not None:
            given = as_vectors(queries, dim=self._dim, name="queries", nonzero=self._metric == "cosine", single=True)
            if not len(given):
                raise InputError(message("no queries", "at least one", "pass some, or leave queries out"))
        with self._writer:
            if self._codec is None or self._lists is None or self._lists.live < 2:
                return None
            if self._flat is None:
                expected = "an index with full vectors"
                raise InputError(message("calibrate() without vectors", expected, "make it with keep_vectors=True"))
            wait(GROUP)
            with self._lock.reading():
                made = self._measure(self._codec, self._lists, self._flat, given, seed, threads)
            self._calibration = made
        return made

    def _measure(
        self, codec: IVFCodec, lists: Lists, flat: Flat, given: FloatArray | None, seed: int, threads: int | None
    ) -> Calibration:
        most, own = min(max(KS), lists.live - 1), np.zeros(0, np.int64)
        if given is None:
            rng, ids = np.random.default_rng(seed), flat.ids()
            own = np.sort(rng.choice(ids, min(len(ids), _CALIBRATION_QUERIES), replace=False))
            given = flat.reconstruct(own)
        queries, more = given, int(len(own) > 0)
        truth = _others(flat.search(queries, most + 1, threads=threads).ids, own, most)

        ready = self._at_hand(codec, lists)

        def search(k: int, effort: int) -> IdArray:
            depth = min(self._depth(k) + more, lists.live)
            request = Request(queries, k + more, min(effort, codec.lists), depth, None, threads)
            return _others(run(ready, flat._data, request, told={}).ids, own, k)

        source = "queries" if not len(own) else "held-out rows"
        return measure(search, truth, source=source, rows=lists.live, lists=codec.lists)

    def drift(self) -> Drift | None:
        """Return how codes and lists do on vectors added since they were trained, beside those they were trained on.

        Returns
        -------
        Drift or None
            ``stale`` says whether ``retrain()`` is due and ``reasons`` why; None while there are no lists, or none that
            saw a vector.

        Notes
        -----
        Kept up to date by ``add`` from at most 1000 rows of each call. Cost O(lists).
        """
        with self._lock.reading():
            if self._drift is None or self._lists is None:
                return None
            return replace(self._drift, imbalance=imbalance_of(self._lists.counts()))

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

        Raises
        ------
        InputError
            An index without vectors.

        Notes
        -----
        A quick check that an index is sound. It flatters: a row leads to its own list. ``calibrate`` does not.
        """
        return self_recall(self, sample, k=k, seed=seed, threads=threads)

    def ids(self) -> IdArray:
        """Return the ids of all live vectors, shape (n,), int64."""
        with self._lock.reading():
            if self._flat is not None:
                return self._flat.ids()
            return np.zeros(0, np.int64) if self._lists is None else np.sort(self._lists.ids[self._lists.ids >= 0])

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
            The arguments do not fit, or the index keeps no vectors.
        """
        with self._lock.reading():
            return self._vectors("score_ids").score_ids(q, ids)

    def reconstruct(self, ids: npt.ArrayLike) -> FloatArray:
        """Return the stored vectors of given ids: as added, or what their codes stand for.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m, dim), float32
            Copies. Under cosine, codes stand for vectors of length about 1.

        Raises
        ------
        NotFoundError
            Ids that are not present (listed).
        """
        with self._lock.reading():
            if self._flat is not None:
                return self._flat.reconstruct(ids)
            codec, lists, wanted = self._codec, self._lists, as_ids(ids)
            if codec is None or lists is None:
                return Flat(self._dim).reconstruct(wanted)
            order = np.argsort(lists.ids, kind="stable")
            at = order[np.minimum(np.searchsorted(lists.ids, wanted, sorter=order), len(order) - 1)]
            missing = wanted[lists.ids[at] != wanted]
            if len(missing):
                raise NotFoundError(message(f"ids {missing[:5].tolist()}", "ids in the index", "check them with ids()"))
            return codec.decode(lists.labels()[at], lists.rows_of(at))

    def _vectors(self, verb: str) -> Flat:
        if self._flat is None:
            remedy = "make the index with keep_vectors=True"
            raise InputError(message(f"{verb}() without vectors", "an index with full vectors", remedy))
        return self._flat

    def stats(self) -> IndexStats:
        """Return counts and bytes.

        Returns
        -------
        IndexStats
            ``memory_bytes`` counts what the index holds or maps. ``details`` has the plan (``"lists"`` or ``"scan"``),
            bytes by part, the number of lists, the longest and the mean one, bytes of a code, the calibration,
            and whether the lists are stale, as ``drift`` finds.
        """
        with self._lock.reading():
            codec, lists, flat = self._codec, self._lists, self._flat
            base = (Flat(self._dim, self._metric) if flat is None else flat).stats()
            if codec is None or lists is None:
                return replace(base, kind="IVF", details={**base.details, "plan": "scan"})
            codec_bytes = sum(array.nbytes for array in codec.parts()[0].values())
            parts = {**lists.memory(), "codec": codec_bytes, "vectors": base.memory_bytes if flat is not None else 0}
            ready = self._ready
            parts["at_hand"] = ready.nbytes if ready is not None and ready.lists is lists else 0
            total = sum(parts.values())
            details = {
                "plan": "lists",
                "parts": parts,
                "lists": codec.lists,
                "longest_list": int(lists.filled.max(initial=0)),
                "mean_list": round(float(lists.filled.mean()), 2),
                "code_size": codec.code_size,
                "keeps_vectors": flat is not None,
                "calibration": None if self._calibration is None else self._calibration.as_dict(),
                "imbalance": round(imbalance_of(lists.counts()), 4),
                "stale": self._drift is not None and self._drift.stale,
            }
            return IndexStats(
                kind="IVF",
                count=lists.live,
                dead=lists.dead,
                dim=self._dim,
                metric=self._metric,
                memory_bytes=total,
                bytes_per_vector=total / max(1, lists.live + lists.dead),
                details=details,
            )

    def save(self, path: str | Path) -> None:
        """Write the index to a folder, replacing what it held in one step.

        Parameters
        ----------
        path : str or Path
            Folder; created if missing. It may be moved later: no absolute path is stored.

        Raises
        ------
        InputError
            The path is a file.
        """
        with self._writer:
            calibration = None if self._calibration is None else self._calibration.as_dict()
            kept = self._settings
            settings = {
                "next_id": self._next_id,
                "calibration": calibration,
                "drift": None if self._drift is None else self._drift.as_dict(),
                "keep_vectors": kept.keep_vectors,
                "rerank": kept.rerank,
                "seed": kept.seed,
                "scan_below": kept.scan_below,
            }
            parts: dict[str, Any] = {"flat": self._flat, "codec": self._codec, "lists": self._lists}
            write_ivf(path, dim=self._dim, metric=self._metric, settings=settings, **parts)


def _others(found: IdArray, own: IdArray, k: int) -> IdArray:
    """Return the first k of each row that are not the query itself."""
    if not len(own):
        return found[:, :k]
    return np.stack([row[row != mine][:k] for row, mine in zip(found, own, strict=True)])
