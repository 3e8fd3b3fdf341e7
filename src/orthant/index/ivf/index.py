"""The inverted file: vectors in lists by their nearest centroid, codes in the lists, full vectors for the last word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, StoreCorruptedError, message, warn
from orthant.index.blocks import shown
from orthant.index.flat import Flat
from orthant.index.ivf.drift import Drift, held_out, imbalance_of, row_errors
from orthant.index.ivf.files import read_ivf
from orthant.index.ivf.filling import whole_blocks
from orthant.index.ivf.lists import Lists, bias_of
from orthant.index.ivf.reading import IVFReading, Settings
from orthant.index.vamana.calibration import Calibration
from orthant.quantization.inverted import IVFCodec, default_lists, default_quantizer
from orthant.quantization.product import ProductQuantizer
from orthant.quantization.residual import ResidualQuantizer
from orthant.types import CodeArray, FloatArray, IdArray, Metric
from orthant.validate import as_ids, as_vectors, check_count

__all__ = ["IVF"]

_LARGEST_ID = int(np.iinfo(np.int64).max)
_MOST_PARTS = 256
_REGROWN = 4


class IVF(IVFReading):
    """Approximate nearest neighbours by comparing codes in the few lists whose centroids are nearest.

    For large batches, for strict limits on memory (``keep_vectors=False`` leaves codes only, 8 to 64 times smaller than
    the vectors), and where building must be quick. One query at a time at high recall is answered faster by ``Graph``;
    below ``scan_below`` vectors everything is compared, exactly.

    Any mix of calls from any threads is safe: a search sees the vectors before or after a change, never half of it.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, at least 1.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score, larger is closer; ``"l2"`` is minus the squared Euclidean distance.
    lists : int, optional
        Lists. Left out, about twice the square root of the number of vectors when they are made. More than there are
        vectors to train on are cut to that many, with a warning, and ``retrain`` tries again.
    quantizer : ProductQuantizer or ResidualQuantizer, optional
        Its settings; a copy is fitted on what centroids leave over. Codes of 4 bits are scanned in registers, several
        times faster for each byte; codes of 8 bits have exact tables. Left out, 4 bits for about every four dimensions.
    codec : IVFCodec, optional
        Trained elsewhere, in place of ``lists`` and ``quantizer``; nothing is fitted then.
    keep_vectors : bool, default True
        Keep full vectors, for exact scores of the candidates. Without them scores are those of the codes, ``recall`` is
        not available, and memory is that of codes and ids.
    rerank : int, default 16
        Candidates for each neighbour at most, and as many as for four neighbours at least (64 where codes alone are
        kept). Too few lose neighbours whatever the effort. Candidates that cannot be among the best, going by how far
        codes were off so far, are not read.
    seed : int, default 0
        Of the training. Equal data, settings and seed give equal bytes on any number of threads.
    scan_below : int, default 4096
        Vectors below which there are no lists. Ignored where a codec is given.

    Raises
    ------
    InputError
        A parameter outside its range, or a codec beside settings that it replaces.

    Notes
    -----
    A vector x in list l is stood for by ``o_l + Q(x - o_l)``; a query's score with it is ``<q, o_l>`` plus a sum of
    table entries, and under l2 minus a number stored with the code. Lists are made once, when the vectors reach
    ``scan_below``, from all but a tenth of them (1000 at most), which tell what codes usually lose. A vector is then in
    its nearest list, or in one hardly farther where that empties a block of 64 codes, as searches read whole blocks.
    ``drift`` compares what comes later with that, a warning is given once when it is worse, and ``retrain`` makes lists
    anew.
    Cost of a search: q lists d products of bytes for the centroids, then effort / lists of all codes, then at most
    ``rerank`` full vectors for each neighbour. Cost to build: k-means, and encoding. Memory: ``estimate_memory``.

    References
    ----------
    Jégou, Douze, Schmid: Product quantization for nearest neighbor search. IEEE TPAMI 33(1), 2011, section 4.
    André, Kermarrec, Le Scouarnec: Cache locality is not enough: high-performance nearest neighbor search with product
    quantization fast scan. PVLDB 9(4), 2015, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.index import IVF
    >>> X = np.random.default_rng(0).standard_normal((5000, 32)).astype(np.float32)
    >>> index = IVF(32, metric="l2", lists=32)
    >>> ids = index.add(X)
    >>> index.search(X[:5], k=1).ids.ravel()
    array([0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        dim: int,
        metric: Metric = "cosine",
        *,
        lists: int | None = None,
        quantizer: ProductQuantizer | ResidualQuantizer | None = None,
        codec: IVFCodec | None = None,
        keep_vectors: bool = True,
        rerank: int = 16,
        seed: int = 0,
        scan_below: int = 4096,
    ) -> None:
        settings = _settings(dim, lists, quantizer, keep_vectors, rerank, seed, scan_below)
        super().__init__(dim, metric, settings)
        if codec is not None:
            _check_codec(codec, self._dim, self._metric, lists, quantizer)
            self._codec = codec
            empty = np.zeros((0, self._dim), np.float32)
            self._lists = Lists.of(codec, empty, np.zeros(0, np.int64))
            if not keep_vectors:
                self._flat = None

    def add(self, X: npt.ArrayLike, ids: npt.ArrayLike | None = None) -> IdArray:
        """Add vectors; nothing is added when anything is wrong.

        Parameters
        ----------
        X : array-like of shape (n, dim)
            Any real dtype and strides; copied as float32.
        ids : array-like of shape (n,), int, optional
            Distinct, non-negative, not in the index. Left out, numbering continues after the largest id ever given.

        Returns
        -------
        ndarray of shape (n,), int64
            The ids.

        Raises
        ------
        InputError
            An id is present already (listed), or a zero vector under cosine.
        DimensionError, DtypeError, NonFiniteError
            X does not fit.

        Notes
        -----
        The call that reaches ``scan_below`` makes the lists. Later ones cost O(n) for encoding, and a copy of all codes
        whenever a list has grown by a quarter.
        """
        matrix = as_vectors(X, dim=self._dim, nonzero=self._metric == "cosine")
        given = None if ids is None else as_ids(ids, count=len(matrix))
        with self._writer:
            if given is None:
                if self._next_id + len(matrix) > _LARGEST_ID:
                    raise InputError(message("no automatic ids left", "fewer than 2**63 - 1", "pass ids="))
                given = np.arange(self._next_id, self._next_id + len(matrix), dtype=np.int64)
            if not len(matrix):
                return given
            if self._codec is None or self._lists is None:
                told = self._add_flat(matrix, given)
            else:
                told = self._add_listed(self._codec, self._lists, matrix, given)
            self._next_id = max(self._next_id, int(given.max()) + 1)
        # Last, as a warning may be turned into an error.
        if told is not None:
            warn(told)
        return given

    def _add_flat(self, matrix: FloatArray, given: IdArray) -> str | None:
        flat = self._flat
        if flat is None:
            raise RuntimeError("an inverted file has neither lists nor vectors")
        with self._lock.writing():
            flat.add(matrix, given)
        if len(flat) < max(1, self._settings.scan_below):
            return None
        codec, made, drift = self._trained(flat)
        with self._lock.writing():
            self._codec, self._lists, self._drift = codec, made, drift
            if not self._settings.keep_vectors:
                self._flat = None
        return self._fewer(codec, "call retrain() once there are more vectors, or pass fewer lists")

    def _fewer(self, codec: IVFCodec, remedy: str) -> str | None:
        """Return what to tell where there are fewer lists than were asked for; vectors may still come."""
        wanted = self._settings.lists
        if wanted is None or codec.lists >= wanted:
            return None
        if not self._settings.keep_vectors:
            remedy = f"make a new index, whose scan_below is at least {wanted * 10 // 9 + 1}, or pass fewer lists"
        given = f"lists={wanted} with {codec.lists} vectors to train on, so {codec.lists} lists were made"
        return message(given, "at most as many lists as vectors", remedy)

    def _trained(self, flat: Flat) -> tuple[IVFCodec, Lists, Drift]:
        kept, ids = self._settings, flat.ids()
        rows = flat.reconstruct(ids)
        aside = held_out(len(rows), np.random.default_rng(kept.seed))
        sample = np.delete(rows, aside, axis=0)
        quantizer = None if kept.quantizer is None else type(kept.quantizer)(**kept.quantizer.get_params())
        lists = default_lists(len(rows)) if kept.lists is None else min(kept.lists, len(sample))
        codec = IVFCodec.train(sample, lists=lists, quantizer=quantizer, metric=self._metric, seed=kept.seed)
        labels = whole_blocks(codec.prepare(rows), codec.keys_, codec.assign(rows))
        codes = codec.encode(rows, labels)[1]
        made = Lists(codec, labels, codes, ids, bias_of(codec, labels, codes))
        errors = row_errors(codec, rows[aside], labels[aside], codes[aside])
        return codec, made, Drift.starting(errors, imbalance_of(made.counts()))

    def retrain(self) -> None:
        """Make lists and codes anew from the vectors as they are now, while searches go on.

        For an index of which ``drift()`` says that it is stale, or that has grown many times over. The calibration is
        dropped, as it was of other lists; a codec that was brought along is replaced by one trained here.

        Raises
        ------
        InputError
            The index keeps no vectors.

        Notes
        -----
        Cost: that of building. Below ``scan_below`` vectors nothing is done.
        """
        with self._writer:
            flat = self._vectors("retrain")
            if self._codec is None or not len(flat):
                return
            codec, made, drift = self._trained(flat)
            with self._lock.writing():
                self._codec, self._lists, self._drift = codec, made, drift
                self._calibration = None
        if (told := self._fewer(codec, "call it again once there are more vectors, or pass fewer lists")) is not None:
            warn(told)

    def _add_listed(self, codec: IVFCodec, lists: Lists, matrix: FloatArray, given: IdArray) -> str | None:
        present = given[np.isin(given, lists.ids)] if self._flat is None else np.zeros(0, np.int64)
        if len(present):
            given_text = f"{len(present)} id(s) already in the index: {shown(present)}"
            raise InputError(message(given_text, "new ids", "remove them first"))
        encoded = codec.encode(matrix)
        with self._lock.writing():
            if self._flat is not None:
                self._flat.add(matrix, given)
            self._lists = lists.added(codec, *encoded, given)
            told = self._watch(codec, self._lists, matrix, encoded)
            if self._calibration is not None and len(self) > _REGROWN * self._calibration.rows:
                # What was measured on a quarter of the vectors says little about all of them.
                self._calibration = None
        return told

    def _watch(
        self, codec: IVFCodec, lists: Lists, matrix: FloatArray, encoded: tuple[IdArray, CodeArray]
    ) -> str | None:
        errors = row_errors(codec, matrix, *encoded)
        if self._drift is None:
            self._drift = Drift.starting(errors, imbalance_of(lists.counts()))
            return None
        before, self._drift = self._drift, self._drift.seen(errors)
        now = replace(self._drift, imbalance=imbalance_of(lists.counts()))
        if not now.stale or before.stale:
            return None
        self._drift = now
        return message(
            f"vectors unlike those that the lists were trained on ({'; '.join(now.reasons)})",
            "vectors of the same kind",
            "call retrain()",
        )

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove vectors by id; ids that are not present are ignored.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        int
            How many were present.

        Raises
        ------
        InputError, DtypeError, DimensionError
            Not ids.

        Notes
        -----
        Cost O(n log m); lists of which a fifth is dead are laid out anew.
        """
        wanted = as_ids(ids)
        with self._writer, self._lock.writing():
            before = len(self)
            if self._codec is not None and self._lists is not None and len(wanted):
                self._lists = self._lists.without(self._codec, wanted)
            # Last, as it is first in additions: what lists name has a vector, whatever interrupts.
            if self._flat is not None:
                self._flat.remove(wanted)
            return before - len(self)

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = True) -> IVF:
        """Open an index that ``save`` wrote; every byte is verified first.

        Parameters
        ----------
        path : str or Path
            The folder.
        mmap : bool, default True
            Map codes and vectors instead of copying them into memory; a change copies the codes.

        Returns
        -------
        IVF
            The index, writable.

        Raises
        ------
        NotFoundError
            No index there.
        StoreCorruptedError
            A file is missing, cut or changed; the text names it.
        StoreVersionError
            A newer release wrote it.
        """
        dim, metric, (saved, flat, codec, lists) = read_ivf(path, mmap=mmap)
        try:
            names = ("keep_vectors", "rerank", "seed", "scan_below")
            out = cls(dim, metric, **{name: saved[name] for name in names})
            out._next_id = int(saved["next_id"])
            if saved["calibration"] is not None:
                out._calibration = Calibration.from_dict(saved["calibration"])
            if saved.get("drift") is not None:
                out._drift = Drift(**saved["drift"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreCorruptedError(
                message("an index with settings that do not fit together", "what was saved", "restore it from a copy")
            ) from error
        out._flat, out._codec, out._lists = flat, codec, lists
        return out

    @staticmethod
    def estimate_memory(
        n: int, dim: int, *, lists: int | None = None, code_size: int | None = None, keep_vectors: bool = True
    ) -> dict[str, int]:
        """Return what an index under "cosine" or "dot" will weigh, before it is built.

        Parameters
        ----------
        n, dim : int
            Vectors and their dimension.
        lists : int, optional
            As for the class.
        code_size : int, optional
            Bytes of a code. Left out, those of the default quantizer.
        keep_vectors : bool, default True
            As for the class.

        Returns
        -------
        dict of str to int
            Bytes by part, their ``"total"``, and ``"building"``, which the first call that makes lists needs besides.
            Under "l2" there are 4 bytes more for each vector; lists that grow have room for a quarter more.

        Raises
        ------
        InputError
            A number outside its range.
        """
        n, dim = check_count(n, name="n", minimum=0), check_count(dim, name="dim")
        count = default_lists(n) if lists is None else check_count(lists, name="lists")
        found = default_quantizer(dim, 0)
        size = (found.m + 1) // 2 if code_size is None else check_count(code_size, name="code_size")
        # Half a block of each list is empty on average.
        places = n + 32 * min(count, n)
        vectors = Flat.estimate_memory(n, dim)["total"] if keep_vectors else 0
        out = {"codes": places * size, "list_ids": places * 8, "marks": places // 8, "vectors": vectors}
        out["codec"] = count * dim * 4 + 16 * dim * 4
        # Centroids by bytes, and where the vector of each place lies: made by the first searches.
        out["at_hand"] = count * (-(-dim // 64) * 64 + 8) + 16 * dim * 4 + (places * 8 if keep_vectors else 0)
        return {**out, "total": sum(out.values()), "building": n * dim * 8}


def _settings(
    dim: Any, lists: int | None, quantizer: Any, keep_vectors: bool, rerank: int, seed: int, scan_below: int
) -> Settings:
    if lists is not None:
        check_count(lists, name="lists")
    if quantizer is not None:
        if not isinstance(quantizer, (ProductQuantizer, ResidualQuantizer)) or quantizer.bits not in (4, 8):
            expected = "a ProductQuantizer or ResidualQuantizer with 4 or 8 bits"
            raise InputError(message(f"quantizer={quantizer!r}", expected, "pass one, or leave it out"))
        if isinstance(quantizer, ProductQuantizer) and check_count(dim, name="dim") % quantizer.m:
            given = f"a quantizer of {quantizer.m} parts for dimension {dim}"
            raise InputError(message(given, "a divisor of the dimension", "choose another m"))
        books = quantizer.m if isinstance(quantizer, ProductQuantizer) else quantizer.levels
        if quantizer.bits == 4 and books > _MOST_PARTS:
            raise InputError(message(f"{books} codes of 4 bits", f"at most {_MOST_PARTS}", "take fewer, or 8 bits"))
    if not isinstance(keep_vectors, (bool, np.bool_)):
        raise InputError(message(f"keep_vectors={keep_vectors!r}", "True or False", "leave it out"))
    check_count(rerank, name="rerank")
    below = check_count(scan_below, name="scan_below", minimum=0)
    return Settings(lists, quantizer, bool(keep_vectors), rerank, check_count(seed, name="seed", minimum=0), below)


def _check_codec(codec: Any, dim: int, metric: Metric, lists: Any, quantizer: Any) -> None:
    if not isinstance(codec, IVFCodec):
        raise InputError(message(f"codec={type(codec).__name__}", "an IVFCodec", "train or load one"))
    if lists is not None or quantizer is not None:
        raise InputError(message("a codec beside lists or quantizer", "one of them", "leave the others out"))
    if codec.dim != dim:
        raise DimensionError(message(f"a codec of dimension {codec.dim}", f"{dim}", "train it on these vectors"))
    if codec.metric != metric:
        raise InputError(message(f"a codec for {codec.metric!r}", f"one for {metric!r}", "train it with that metric"))
