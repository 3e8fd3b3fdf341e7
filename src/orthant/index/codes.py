"""A scan over compressed codes whose best rows are scored again with the full vectors, where these lie."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, OrthantError, StoreCorruptedError, message
from orthant.index.flat import Flat
from orthant.index.vamana.calibration import EFFORTS, KS, Calibration, measure
from orthant.kernels import bitmaps
from orthant.kernels.topk import check_answers
from orthant.quantization.choices import coding_of
from orthant.quantization.coding import Coding
from orthant.types import BitmapArray, CodeArray, FloatArray, Hits, IdArray, IndexStats, Metric, SearchCost
from orthant.validate import as_allowed, as_ids, as_vectors, check_count, check_effort, check_fraction

__all__ = ["CodeIndex"]

_TRAINING_ROWS = 65_536
_CALIBRATION_QUERIES = 200
_TILE_ROWS = 8192
_FILES = ("codes.npy", "ids.npy", "header.json")


class CodeIndex:
    """Scan compressed vectors, and rescore the best with the full vectors.

    For vectors that are to stay on disk while little memory holds their codes; made by :meth:`over`, and by a
    collection that was compressed. A search reads every code, so its time grows with the rows; where memory allows,
    ``Graph`` is quicker from some ten thousand rows on. Scores are exact.

    Parameters
    ----------
    coding : Coding
        Fitted.
    name : str
        What it is called, as for ``quantization.choices.named_choice``.
    ids : ndarray of shape (n,), int64
        Ascending.
    codes : ndarray of shape (n, code_size), uint8
        Their codes.
    blocks : sequence of (matrix, ids) or (matrix, ids, inverse_norms)
        The full vectors, of these ids at least, as for ``Flat.over``.
    dim : int
        Their dimension.
    rescored_rows : int, default 50
        Rows that are scored again where a search says nothing, for up to 10 neighbours; more in proportion.
    recall : float, optional
        Instead, the share of the true neighbours that such a search is to find, once that is calibrated.

    Notes
    -----
    Cost of a search: ``n`` codes of ``code_size`` bytes, read once for each tile of queries, and ``effort`` full
    vectors for each query. Memory: ``code_size + 8`` bytes a row, mapped, and for binary codes a copy; under cosine 4
    more for the length that a code stands for, which the first search computes, unless codes are of unit vectors.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
    >>> index = CodeIndex.over([(X, np.arange(1000))], dim=32, metric="l2", codes="lvq4")
    >>> index.search(X[:3], k=1).ids.ravel().tolist(), index.code_size
    ([0, 1, 2], 20)
    """

    def __init__(
        self,
        coding: Coding,
        name: str,
        ids: IdArray,
        codes: CodeArray,
        blocks: Sequence[Sequence[Any]],
        *,
        dim: int,
        rescored_rows: int = 50,
        recall: float | None = None,
    ) -> None:
        self.name = name
        self.rescored_rows = check_count(rescored_rows, name="rescored_rows")
        self.recall = None if recall is None else check_fraction(recall, name="recall")
        self._coding, self._ids, self._codes, self._blocks = coding, ids, codes, list(blocks)
        self._vectors = Flat.over(self._blocks, dim=dim, metric=coding.metric)
        self._rows = coding.rows(codes)
        self._calibration: Calibration | None = None

    @classmethod
    def over(
        cls,
        blocks: Iterable[Sequence[Any]],
        *,
        dim: int,
        metric: Metric = "cosine",
        codes: str = "lvq8",
        rescored_rows: int = 50,
        recall: float | None = None,
        live: BitmapArray | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CodeIndex:
        """Learn codes from vectors where they lie, and encode them.

        Parameters
        ----------
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            As for ``Flat.over``.
        dim : int
            Dimension.
        metric : {"cosine", "dot", "l2"}, default "cosine"
            Score.
        codes : str, default "lvq8"
            As for ``quantization.choices.named_choice``.
        rescored_rows : int, default 50
            Rows that are scored again.
        recall : float, optional
            As for the class.
        live : ndarray of uint64, optional
            Bitmap over ids; rows outside are left out.
        progress : callable of (done, total), optional
            Called after each tile of rows.

        Returns
        -------
        CodeIndex
            Ready to search.

        Raises
        ------
        InputError
            No vectors, an unknown name, or blocks that do not fit.
        """
        held = list(blocks)
        vectors = Flat.over(held, dim=dim, metric=metric, live=live)
        ids = np.sort(vectors.ids())
        if not len(ids):
            raise InputError(message("no vectors to code", "at least one", "add vectors first"))
        chosen = ids[np.linspace(0, len(ids) - 1, min(len(ids), _TRAINING_ROWS)).astype(np.int64)]
        coding = coding_of(codes, dim=dim, metric=metric).fit(vectors.reconstruct(chosen))
        table = _encoded(coding, vectors, ids, progress)
        return cls(coding, codes, ids, table, held, dim=dim, rescored_rows=rescored_rows, recall=recall)

    def extended(
        self, blocks: Iterable[Sequence[Any]], *, removed: npt.ArrayLike | None = None, threads: int | None = None
    ) -> CodeIndex:
        """Return an index that also covers further blocks, without some ids; nothing is learned anew.

        Parameters
        ----------
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            As for ``over``.
        removed : array-like of shape (m,), int, optional
            Ids to leave out.
        threads : int, optional
            Not needed; encoding uses the shared pool.

        Returns
        -------
        CodeIndex
            The larger one.

        Raises
        ------
        InputError
            An id that is present already.
        """
        held = list(blocks)
        kept = np.ones(len(self._ids), dtype=bool) if removed is None else ~np.isin(self._ids, as_ids(removed))
        fresh = Flat.over(held, dim=self.dim, metric=self.metric)
        more = np.sort(fresh.ids())
        if np.isin(more, self._ids[kept]).any():
            raise InputError(message("ids that are in the index", "new ones", "remove them first"))
        ids = np.concatenate([self._ids[kept], more])
        table = np.concatenate([self._codes[kept], _encoded(self._coding, fresh, more, None)])
        order = np.argsort(ids, kind="stable")
        out = CodeIndex(
            self._coding,
            self.name,
            ids[order],
            table[order],
            [*self._blocks, *held],
            dim=self.dim,
            rescored_rows=self.rescored_rows,
            recall=self.recall,
        )
        out._calibration = self._calibration
        return out

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._vectors.dim

    @property
    def metric(self) -> Metric:
        """Score."""
        return self._vectors.metric

    @property
    def code_size(self) -> int:
        """Bytes of a code."""
        return self._coding.code_size

    @property
    def calibration(self) -> Calibration | None:
        """Recall by rescored rows, once it was measured."""
        return self._calibration

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._ids)

    def ids(self) -> IdArray:
        """Return all ids, shape (n,), int64, ascending."""
        return self._ids

    def search(
        self,
        Q: npt.ArrayLike,
        k: int = 10,
        *,
        allowed: BitmapArray | npt.ArrayLike | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return the k nearest of each query, as far as their codes show them.

        Parameters
        ----------
        Q : array-like of shape (q, dim)
            Queries.
        k : int, default 10
            Neighbours wanted.
        allowed : uint64 bitmap over ids, bool mask, or array of ids, optional
            Restricts the answer.
        effort : int, optional
            Rows that are scored again.
        recall : float, optional
            Share of the true neighbours wanted; chooses the rows that are scored again by calibration.
        threads : int, optional
            Threads.

        Returns
        -------
        Hits
            With exact scores; ``cost.plan`` is ``"codes"`` or ``"codes-filtered"``.

        Raises
        ------
        InputError
            Settings out of range, or both ``effort`` and ``recall``.
        """
        begun = time.perf_counter()
        queries = as_vectors(Q, dim=self.dim, name="queries", nonzero=self.metric == "cosine", single=True)
        check_answers(k, queries=len(queries), held=len(self._ids))
        check_effort(effort, recall, threads)
        depth, expected = self._depth(k, effort, recall)
        bitmap = None if allowed is None else self._places(as_allowed(allowed))
        compared = len(self._ids) if bitmap is None else bitmaps.count_bits(bitmap)
        places, _ = self._rows.best(queries, min(depth, len(self._ids)), allowed=bitmap, threads=threads)
        ids = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        counts = np.zeros(len(queries), dtype=np.int64)
        for i, found in enumerate(places):
            rows = np.sort(self._ids[found[found >= 0]])
            exact = self._vectors.score_ids(queries[i], rows)
            best = np.argsort(-exact, kind="stable")[:k]
            best = best[np.isfinite(exact[best])]
            counts[i] = len(best)
            ids[i, : len(best)], scores[i, : len(best)] = rows[best], exact[best]
        details = {"effort": depth, "expected_recall": expected, "codes": self.name}
        read = len(queries) * (compared * self.code_size + 4 * min(depth, compared) * self.dim)
        plan = "codes" if bitmap is None else "codes-filtered"
        cost = SearchCost(plan, len(queries) * compared, time.perf_counter() - begun, read, details)
        return Hits(ids, scores, counts, cost)

    def default_depth(self, k: int) -> tuple[int, float | None]:
        """Return what a search that asks for neither effort nor recall does.

        Parameters
        ----------
        k : int
            Neighbours wanted.

        Returns
        -------
        effort : int
            Rows that are scored again.
        expected : float or None
            Mean recall that was measured at it; None before calibration.
        """
        return self._depth(k, None, None)

    def _depth(self, k: int, effort: int | None, recall: float | None) -> tuple[int, float | None]:
        if effort is not None:
            return max(k, effort), None
        usual = -(-self.rescored_rows * max(k, 10) // 10)
        wanted = self.recall if recall is None else recall
        if wanted is None or self._calibration is None:
            return usual, self._expected(k, usual)
        return self._calibration.choose(k, wanted)

    def _expected(self, k: int, depth: int) -> float | None:
        """Mean recall at the largest calibrated effort that is not beyond a depth."""
        table = {} if self._calibration is None else self._calibration.table
        known = min((each for each in table if each >= k), default=None)
        points = [] if known is None else [mean for effort, mean, _ in table[known] if effort <= depth * known / k]
        return points[-1] if points else None

    def _places(self, allowed: Any) -> BitmapArray:
        if allowed.dtype == np.uint64:
            inside = bitmaps.contains_rows(allowed, self._ids)
        elif allowed.dtype == np.bool_:
            inside = np.zeros(len(self._ids), dtype=bool)
            known = self._ids < len(allowed)
            inside[known] = allowed[self._ids[known]]
        else:
            inside = np.isin(self._ids, allowed)
        return bitmaps.from_mask(inside)

    def score_ids(self, q: npt.ArrayLike, ids: npt.ArrayLike) -> FloatArray:
        """Return one query's exact scores with given ids.

        Parameters
        ----------
        q : array-like of shape (dim,)
            The query.
        ids : array-like of shape (m,), int
            Ids.

        Returns
        -------
        ndarray of shape (m,), float32
            -inf where an id is absent.
        """
        return self._vectors.score_ids(q, ids)

    def calibrate(self, queries: npt.ArrayLike | None = None, *, seed: int = 0) -> Calibration | None:
        """Measure recall by rescored rows, so that ``recall=`` is kept from now on.

        Parameters
        ----------
        queries : array-like of shape (q, dim), optional
            Real queries. Left out, 200 rows are searched for as if they had not been added.
        seed : int, default 0
            Of the choice of rows.

        Returns
        -------
        Calibration or None
            None for fewer than two rows.

        Notes
        -----
        Cost: a scan of all full vectors and of all codes for the sample.
        """
        if len(self._ids) < 2:
            return None
        own = np.zeros(0, np.int64)
        if queries is None:
            rng = np.random.default_rng(seed)
            own = np.sort(rng.choice(self._ids, min(len(self._ids), _CALIBRATION_QUERIES), replace=False))
            asked = self._vectors.reconstruct(own)
        else:
            asked = as_vectors(queries, dim=self.dim, name="queries", nonzero=self.metric == "cosine", single=True)
        extra = len(own) > 0
        most, deep = min(max(KS), len(self._ids) - 1), min(max(EFFORTS), len(self._ids) - 1)
        live = bitmaps.from_rows(self._ids)
        truth = self._vectors.search(asked, most + extra, allowed=live).ids
        places = self._rows.best(asked, deep + extra)[0]
        listed = np.where(places < 0, -1, self._ids[places])
        if extra:
            truth, listed = _without(truth, own, most), _without(listed, own, deep)
        exact = np.stack([self._vectors.score_ids(q, row) for q, row in zip(asked, listed, strict=True)])

        def search(k: int, effort: int) -> IdArray:
            order = np.argsort(-exact[:, :effort], axis=1, kind="stable")[:, :k]
            return np.take_along_axis(listed, order, axis=1)

        source = "held-out rows" if extra else "queries"
        self._calibration = measure(search, truth, source=source, rows=len(self._ids))
        return self._calibration

    def check(self) -> list[str]:
        """Return what is wrong; empty when all is well."""
        return [] if bool((np.diff(self._ids) > 0).all()) else ["ids out of order"]

    def stats(self) -> IndexStats:
        """Return counts and bytes.

        Returns
        -------
        IndexStats
            ``memory_bytes`` counts codes, ids and lengths, not the full vectors, which lie elsewhere.
        """
        details = {
            "plan": "codes",
            "codes": self.name,
            "code_size": self.code_size,
            "rescored_rows": self.rescored_rows,
            "recall": self.recall,
            "calibration": None if self._calibration is None else self._calibration.as_dict(),
        }
        n, size = len(self._ids), self._rows.row_bytes + 8
        return IndexStats("CodeIndex", n, 0, self.dim, self.metric, n * size, float(size if n else 0), details)

    def save_links(self, path: str | Path) -> None:
        """Write codes and what made them, without the vectors.

        Parameters
        ----------
        path : str or Path
            A new folder.
        """
        folder = Path(path)
        folder.mkdir(parents=True)
        np.save(folder / _FILES[0], np.ascontiguousarray(self._codes), allow_pickle=False)
        np.save(folder / _FILES[1], np.ascontiguousarray(self._ids), allow_pickle=False)
        self._coding.save(folder)
        header = {
            "name": self.name,
            "dim": self.dim,
            "metric": self.metric,
            "rescored_rows": self.rescored_rows,
            "recall": self.recall,
            "calibration": None if self._calibration is None else self._calibration.as_dict(),
        }
        (folder / _FILES[2]).write_text(json.dumps(header, allow_nan=False))

    @classmethod
    def attach(cls, path: str | Path, blocks: Iterable[Sequence[Any]], *, live: BitmapArray | None = None) -> CodeIndex:
        """Open what ``save_links`` wrote, over vectors where they lie.

        Parameters
        ----------
        path : str or Path
            The folder.
        blocks : iterable of (matrix, ids) or (matrix, ids, inverse_norms)
            As for ``over``.
        live : ndarray of uint64, optional
            Bitmap over ids; rows outside are not returned.

        Returns
        -------
        CodeIndex
            Codes are mapped.

        Raises
        ------
        StoreCorruptedError
            Files that do not belong together, such as codes of another quantizer.
        """
        folder = Path(path)
        try:
            header = json.loads((folder / _FILES[2]).read_text())
            codes = np.load(folder / _FILES[0], mmap_mode="r", allow_pickle=False)
            ids = np.load(folder / _FILES[1], allow_pickle=False)
            coding = Coding.load(folder, metric=header["metric"])
            held, dim = list(blocks), int(header["dim"])
            kept = np.isin(ids, Flat.over(held, dim=dim, metric=header["metric"], live=live).ids())
            if codes.shape != (len(ids), coding.code_size):
                raise InputError(message(f"codes of shape {codes.shape}", "those of the quantizer", "build anew"))
            if not kept.all():
                codes, ids = codes[kept], ids[kept]
            settings = {"rescored_rows": header["rescored_rows"], "recall": header["recall"]}
            out = cls(coding, header["name"], ids, codes, held, dim=dim, **settings)
            if header["calibration"] is not None:
                out._calibration = Calibration.from_dict(header["calibration"])
        except (ValueError, KeyError, TypeError, AttributeError, OSError, OrthantError) as error:
            raise StoreCorruptedError(
                message(f"codes at {folder} that do not fit together ({error})", "what was saved", "build them anew")
            ) from error
        return out


def _encoded(coding: Coding, vectors: Flat, ids: IdArray, progress: Callable[[int, int], None] | None) -> CodeArray:
    out = np.empty((len(ids), coding.code_size), dtype=np.uint8)
    for start in range(0, len(ids), _TILE_ROWS):
        tile = slice(start, start + _TILE_ROWS)
        out[tile] = coding.encode(vectors.reconstruct(ids[tile]))
        if progress is not None:
            progress(min(start + _TILE_ROWS, len(ids)), len(ids))
    return out


def _without(ids: IdArray, own: IdArray, count: int) -> IdArray:
    """Take each query's own id out of its row."""
    return np.stack([row[row != mine][:count] for row, mine in zip(ids, own, strict=True)])
