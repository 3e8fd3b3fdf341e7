"""From leaf values to vectors: symbols, soft numbers, soft texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.records.binding import Binder, symbols
from orthant.encoders.records.rules import Fields
from orthant.encoders.records.walking import Leaf
from orthant.types import Encoder, EncodeReport, FloatArray, Role

__all__ = ["CELLS", "LeafVectors", "NumberCode"]

CELLS = 64
"""Cells of the finest grid of numbers; coarser ones have a quarter of it each."""

_GRIDS = (4, 16, 64)
_COMMON = 0.25
_LOG_TOP = float(np.log1p(1e12))
_WORD = re.compile(r"\w+")
_TEXTS_AT_ONCE = 64
_LIFT = "text"

_Key = tuple[str, Fields | None, Any]


class NumberCode:
    """Numbers as vectors: near ones near, by interpolation between random anchors on grids of three widths.

    The finest grid tells neighbours apart, the coarsest still sees a resemblance at a quarter of the range. A grid
    follows the quantiles of the field where it was fitted; otherwise it is logarithmic, up to 1e12 on either side.

    Parameters
    ----------
    dim : int
        Values per vector.
    seed : int
        Seed of the anchors.

    Notes
    -----
    With ``t`` the place between the anchors ``a_i`` and ``a_{i+1}`` of a grid, a number is ``(1 - t) a_i + t a_{i+1}``,
    normalised, summed over grids; a direction common to all numbers has 1/16 of the squared length.

    Examples
    --------
    >>> code = NumberCode(1024, 0)
    >>> near, same, far = code.vectors(np.array([10.0, 10.5, 60.0]), np.linspace(0, 64, 65))
    >>> bool(near @ same > 0.8 > 0.3 > near @ far)
    True
    """

    def __init__(self, dim: int, seed: int) -> None:
        names = [f"anchor {cells} {i}" for cells in _GRIDS for i in range(cells + 1)]
        self._anchors = np.split(symbols(names, dim, seed), np.cumsum([cells + 1 for cells in _GRIDS])[:-1])
        self._common = symbols(["number"], dim, seed)[0]

    def vectors(self, values: npt.NDArray[np.float64], knots: npt.NDArray[np.float64] | None) -> FloatArray:
        """Return one vector per number.

        Parameters
        ----------
        values : ndarray of shape (n,), float64
            Finite numbers.
        knots : ndarray of shape (m,), float64, or None
            Increasing borders of the field's cells; numbers beyond them are as the nearest one.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Of length about 1.
        """
        if knots is None:
            places = CELLS / 2 * (1 + np.sign(values) * np.log1p(np.abs(values)) / _LOG_TOP)
        else:
            places = np.interp(values, knots, np.linspace(0, CELLS, len(knots)))
        places = np.clip(places, 0, CELLS)
        out = np.zeros((len(values), len(self._common)), np.float32)
        for cells, anchors in zip(_GRIDS, self._anchors, strict=True):
            low = np.minimum((places * cells / CELLS).astype(np.int64), cells - 1)
            t = (places * cells / CELLS - low)[:, None].astype(np.float32)
            length = np.sqrt((1 - t) ** 2 + t**2)
            out += ((1 - t) * anchors[low] + t * anchors[low + 1]) / length
        share = np.float32(np.sqrt((1 - _COMMON**2) / len(_GRIDS)))
        return np.asarray(out * share + np.float32(_COMMON) * self._common)


class LeafVectors:
    """The vectors of a batch's leaves, each distinct value once.

    Parameters
    ----------
    binder : Binder
        Its dimension and seed; it also turns the vectors of texts into the larger space.
    numbers : NumberCode
        Of the same dimension and seed.
    knots : mapping of tuple of str to ndarray of shape (m,)
        Borders of the fitted fields.
    encoder : Encoder or None
        For texts; None takes their words as symbols.
    """

    def __init__(
        self,
        binder: Binder,
        numbers: NumberCode,
        knots: Mapping[Fields, npt.NDArray[np.float64]],
        encoder: Encoder | None,
    ) -> None:
        self._binder, self._numbers, self._knots, self._encoder = binder, numbers, knots, encoder

    def table(self, batch: Sequence[Leaf], role: Role) -> tuple[FloatArray, npt.NDArray[np.int64], EncodeReport]:
        """Return vectors, and which belongs to which leaf.

        Parameters
        ----------
        batch : sequence of Leaf
            m leaves.
        role : {"query", "document"}
            Told to the text encoder.

        Returns
        -------
        vectors : ndarray of shape (u, dim), float32
            One per distinct value.
        index : ndarray of shape (m,), int64
            Row of each leaf.
        report : EncodeReport
            Of the texts.
        """
        places: dict[_Key, int] = {}
        index = np.array([places.setdefault(_key(leaf), len(places)) for leaf in batch], dtype=np.int64)
        out = np.empty((len(places), self._binder.dim), np.float32)
        report = EncodeReport()
        groups: dict[tuple[str, Fields | None], list[tuple[int, Any]]] = {}
        for (kind, fields, value), place in places.items():
            groups.setdefault((kind, fields), []).append((place, value))
        for (kind, fields), members in groups.items():
            rows, values = [place for place, _ in members], [value for _, value in members]
            if kind == "symbol":
                out[rows] = symbols([f"value {value}" for value in values], self._binder.dim, self._binder.seed)
            elif kind == "number":
                out[rows] = self._numbers.vectors(np.array(values, np.float64), self._knots.get(fields or ()))
            elif self._encoder is None:
                out[rows] = self._by_words(values)
            else:
                out[rows], report = self._encoded(self._encoder, values, role)
        return out, index, report

    def _encoded(self, encoder: Encoder, texts: list[str], role: Role) -> tuple[FloatArray, EncodeReport]:
        X, report = encoder.encode_with_report(texts, role=role)
        wide = np.zeros((len(X), self._binder.dim), np.float32)
        lengths = np.linalg.norm(X, axis=1, keepdims=True)
        wide[:, : X.shape[1]] = X / np.where(lengths > 0, lengths, 1)
        wide = self._binder.bind(_LIFT, wide)
        blank = np.flatnonzero(lengths[:, 0] == 0)
        if len(blank):
            wide[blank] = symbols([f"text {texts[i]}" for i in blank.tolist()], self._binder.dim, self._binder.seed)
        return wide, report

    def _by_words(self, texts: list[str]) -> FloatArray:
        out = np.empty((len(texts), self._binder.dim), np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            # Sorted, so that equal sets of words give equal bits.
            bags = [
                sorted(set(_WORD.findall(text.lower()))) or [text] for text in texts[start : start + _TEXTS_AT_ONCE]
            ]
            known = {word: i for i, word in enumerate(sorted({word for bag in bags for word in bag}))}
            table = symbols([f"word {word}" for word in known], self._binder.dim, self._binder.seed)
            for i, bag in enumerate(bags, start):
                total = table[[known[word] for word in bag]].sum(axis=0)
                out[i] = total / max(float(np.linalg.norm(total)), 1e-6)
        return out


def _key(leaf: Leaf) -> _Key:
    return leaf.kind, leaf.fields if leaf.kind == "number" else None, leaf.value
