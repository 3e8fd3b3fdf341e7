"""Inverted lists: codes and ids side by side, list behind list, in blocks of 64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.kernels import bitmaps
from orthant.kernels.clustering.list_blocks import BLOCK, to_blocks, to_rows
from orthant.quantization.inverted import IVFCodec
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray

__all__ = ["Lists"]

_SLACK = 4
"""Lists that have grown get room for one in so many more."""

_MOST_PLACES = 1 << 32
"""Kernels number them by 32 bits."""

_DEAD_SHARE = 5
"""Above one dead in so many, lists are laid out anew."""


class Lists:
    """Codes, ids and, under l2, a bias for each place; a list is a run of blocks with room at its end.

    Parameters
    ----------
    codec : IVFCodec
        What the codes mean.
    labels : ndarray of shape (n,), int64
        List of each vector.
    codes : ndarray of shape (n, code_size), uint8
        Their codes.
    ids : ndarray of shape (n,), int64
        Their ids.
    bias : ndarray of shape (n,), float32, optional
        As ``bias_of`` gives; None except under l2.
    slack : bool, default False
        Leave room in every list, as suits lists that grow.

    Attributes
    ----------
    begins : ndarray of shape (lists + 1,), int64
        First block of each list, and the end.
    filled : ndarray of shape (lists,), int64
        Places of each list that were given out.
    codes : ndarray of shape (blocks, code_size, 64), uint8
        The codes.
    ids : ndarray of shape (blocks * 64,), int64
        Id of each place; -1 where it is free or dead.
    bias : ndarray of shape (blocks * 64,), float32, or None
        See above.
    words : ndarray of shape (blocks,), uint64
        Live places.
    version : int
        Rises with each change in place.

    Raises
    ------
    InputError
        More than 2**32 places.
    """

    def __init__(
        self,
        codec: IVFCodec,
        labels: IdArray,
        codes: CodeArray,
        ids: IdArray,
        bias: FloatArray | None,
        *,
        slack: bool = False,
    ) -> None:
        counts = np.bincount(labels, minlength=codec.lists).astype(np.int64)
        room = counts + (counts // _SLACK + 1 if slack else 0)
        self.begins = np.concatenate([[0], np.cumsum(-(-room // BLOCK))]).astype(np.int64)
        total = int(self.begins[-1]) * BLOCK
        if total > _MOST_PLACES:
            given = f"{total} places in lists"
            raise InputError(message(given, f"at most {_MOST_PLACES}", "divide the vectors among several indexes"))
        order = np.argsort(labels, kind="stable")
        starts = np.cumsum(counts) - counts
        places = self.begins[labels[order]] * BLOCK + np.arange(len(labels)) - starts[labels[order]]
        rows = np.zeros((total, codec.code_size), dtype=np.uint8)
        rows[places] = codes[order]
        self.codes = to_blocks(rows)
        self.ids = np.full(total, -1, dtype=np.int64)
        self.ids[places] = ids[order]
        self.bias = None
        if bias is not None:
            self.bias = np.zeros(total, dtype=np.float32)
            self.bias[places] = bias[order]
        self.filled = counts
        self.words = bitmaps.from_mask(self.ids >= 0)
        self.live, self.version = len(ids), 0

    @classmethod
    def of(cls, codec: IVFCodec, X: FloatArray, ids: IdArray) -> Lists:
        """Encode vectors and lay them out.

        Parameters
        ----------
        codec : IVFCodec
            What encodes them.
        X : ndarray of shape (n, d), float32
            Checked vectors.
        ids : ndarray of shape (n,), int64
            Their ids.

        Returns
        -------
        Lists
            Without room to grow.
        """
        labels, codes = codec.encode(X)
        return cls(codec, labels, codes, ids, bias_of(codec, labels, codes))

    @classmethod
    def around(cls, begins: IdArray, filled: IdArray, codes: CodeArray, ids: IdArray, bias: FloatArray | None) -> Lists:
        """Return lists around arrays that were saved, which may be read-only.

        Parameters
        ----------
        begins, filled, codes, ids, bias : ndarray
            As the attributes; shapes (lists + 1,), (lists,), (blocks, code_size, 64) and (blocks * 64,).

        Returns
        -------
        Lists
            Views of them.
        """
        out = cls.__new__(cls)
        out.begins, out.filled, out.codes, out.ids, out.bias = begins, filled, codes, ids, bias
        out.words = bitmaps.from_mask(ids >= 0)
        out.live, out.version = int((ids >= 0).sum()), 0
        return out

    @property
    def dead(self) -> int:
        """Places of removed vectors."""
        return int(self.filled.sum()) - self.live

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Places of each list that a scan passes over, shape (lists,)."""
        return np.diff(self.begins) * BLOCK

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the live vectors of each list, shape (lists,)."""
        return self.counts_of(self.words)

    def memory(self) -> dict[str, int]:
        """Return bytes by part."""
        out = {"codes": self.codes.nbytes, "list_ids": self.ids.nbytes, "marks": self.words.nbytes}
        out["bias"] = 0 if self.bias is None else self.bias.nbytes
        out["directory"] = self.begins.nbytes + self.filled.nbytes
        return out

    def labels(self) -> IdArray:
        """Return the list of each place, shape (blocks * 64,), int64."""
        return np.repeat(np.arange(len(self.filled), dtype=np.int64), self.sizes)

    def entries(self) -> tuple[IdArray, CodeArray, IdArray, FloatArray | None]:
        """Return labels, codes, ids and biases of all live vectors, list by list; shapes (n,), (n, code_size), (n,)."""
        live = np.flatnonzero(self.ids >= 0)
        bias = None if self.bias is None else self.bias[live]
        return self.labels()[live], to_rows(self.codes)[live], np.asarray(self.ids[live]), bias

    def rows_of(self, places: IdArray) -> CodeArray:
        """Return the codes at some places.

        Parameters
        ----------
        places : ndarray of shape (m,), int64
            Places.

        Returns
        -------
        ndarray of shape (m, code_size), uint8
            A copy.
        """
        return self.codes[places >> 6, :, places & 63]

    def added(self, codec: IVFCodec, labels: IdArray, codes: CodeArray, ids: IdArray) -> Lists:
        """Return lists that also hold these vectors: these, where they had room, or larger ones.

        Parameters
        ----------
        codec : IVFCodec
            What the codes mean.
        labels : ndarray of shape (m,), int64
            List of each vector.
        codes : ndarray of shape (m, code_size), uint8
            Their codes.
        ids : ndarray of shape (m,), int64
            New ids.

        Returns
        -------
        Lists
            Cost O(m), or O(n) where a list is full, which is once for each quarter that it grows.
        """
        bias = bias_of(codec, labels, codes)
        counts = np.bincount(labels, minlength=len(self.filled))
        if (self.filled + counts > self.sizes).any():
            old = self.entries()
            joined = None if bias is None or old[3] is None else np.concatenate([old[3], bias])
            kept = np.concatenate([old[0], labels]), np.concatenate([old[1], codes]), np.concatenate([old[2], ids])
            return Lists(codec, *kept, joined, slack=True)
        self._own()
        order = np.argsort(labels, kind="stable")
        starts = np.cumsum(counts) - counts
        at = labels[order]
        places = self.begins[at] * BLOCK + self.filled[at] + np.arange(len(at)) - starts[at]
        self.codes[places >> 6, :, places & 63] = codes[order]
        self.ids[places] = ids[order]
        if self.bias is not None and bias is not None:
            self.bias[places] = bias[order]
        self.filled += counts
        self.words = bitmaps.set_rows(self.words, places)
        self.live += len(ids)
        return self

    def without(self, codec: IVFCodec, ids: IdArray) -> Lists:
        """Return lists without some ids: these with marks, or others once a fifth is dead.

        Parameters
        ----------
        codec : IVFCodec
            What the codes mean.
        ids : ndarray of shape (m,), int64
            Ids; absent ones are ignored.

        Returns
        -------
        Lists
            Cost O(n log m).
        """
        places = np.flatnonzero(np.isin(self.ids, ids) & (self.ids >= 0))
        self._own()
        # In this order, and the words of what is added last: a place that is searched has an id, whatever interrupts.
        self.words = bitmaps.clear_rows(self.words, places)
        self.live -= len(places)
        self.ids[places] = -1
        if self.dead * _DEAD_SHARE > int(self.filled.sum()):
            return Lists(codec, *self.entries(), slack=True)
        return self

    def _own(self) -> None:
        """Copy what is mapped read-only, before it changes, and note that it does."""
        self.version += 1
        for name in ("codes", "ids", "bias", "filled"):
            array = getattr(self, name)
            if array is not None and not array.flags.writeable:
                setattr(self, name, array.copy())

    def allowed_words(self, allowed: npt.NDArray[np.generic]) -> BitmapArray:
        """Return which live places a filter allows.

        Parameters
        ----------
        allowed : ndarray
            From ``validate.as_allowed``: uint64 bitmap or bool mask over ids, or int64 ids.

        Returns
        -------
        ndarray of shape (blocks,), uint64
            A bitmap over places. Cost O(n).
        """
        live = self.ids >= 0
        if allowed.dtype == np.uint64:
            kept = bitmaps.contains_rows(allowed, np.where(live, self.ids, 0))  # type: ignore[arg-type]
        elif allowed.dtype == np.bool_:
            inside = live & (self.ids < len(allowed))
            kept = np.zeros(len(self.ids), dtype=bool)
            kept[inside] = allowed[self.ids[inside]]
        else:
            kept = np.isin(self.ids, allowed)
        return bitmaps.from_mask(kept & live)

    def counts_of(self, words: BitmapArray) -> npt.NDArray[np.int64]:
        """Return how many places of each list a bitmap marks.

        Parameters
        ----------
        words : ndarray of shape (blocks,), uint64
            The bitmap.

        Returns
        -------
        ndarray of shape (lists,), int64
            Counts.
        """
        each = np.bitwise_count(words) if hasattr(np, "bitwise_count") else _bit_counts(words)
        sums = np.concatenate([[0], np.cumsum(each, dtype=np.int64)])
        return sums[self.begins[1:]] - sums[self.begins[:-1]]


def _bit_counts(words: BitmapArray) -> npt.NDArray[np.int64]:
    bits = np.unpackbits(words.view(np.uint8)).reshape(len(words), 64)
    return bits.sum(axis=1, dtype=np.int64)


def bias_of(codec: IVFCodec, labels: IdArray, codes: CodeArray) -> FloatArray | None:
    """Return what the squared distance to a coded vector has of its own.

    Parameters
    ----------
    codec : IVFCodec
        The codec.
    labels : ndarray of shape (n,), int64
        Lists.
    codes : ndarray of shape (n, code_size), uint8
        Codes.

    Returns
    -------
    ndarray of shape (n,), float32, or None
        ``2 <o, r> + |r|^2`` for centroid o and rest r, so that ``|q - o - r|^2 = |q - o|^2 - 2 <q, r> + bias``; None
        where distances do not enter.
    """
    if codec.metric != "l2":
        return None
    rest = codec.quantizer_.decode(codes).astype(np.float64)
    base = codec.centroids_[labels].astype(np.float64)
    out = 2 * np.einsum("nd,nd->n", rest, base) + np.einsum("nd,nd->n", rest, rest)
    return out.astype(np.float32)
