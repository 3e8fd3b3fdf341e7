"""A vector for every character that follows from its picture and is never trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.glyphs.font import SIDE, BitmapFont, read_font
from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import check_count, check_fraction

__all__ = ["GlyphTable"]

_PIXELS = SIDE * SIDE
_BLOCK = 8_192
# Ideographs and Hangul are two thirds of the plane; measured from their dense mean, all letters point one way.
_CROWDED = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


class GlyphTable:
    """Vectors of characters by their shape, for all of Unicode: fixed, and equal on every machine up to rounding.

    Use it as the input of a text encoder that must read any script, letters it was not trained on, and texts in which
    letters were replaced by lookalikes; and to find such lookalikes. It knows shapes and nothing about meaning: "A" and
    "a" are strangers, "О" of Cyrillic and "O" of Latin are one.

    Parameters
    ----------
    dim : int, default 256, at most 256
        Principal components of the pixels that are kept. 256 keep all; fewer blur small differences between characters.
    identity : float, default 0.05, range 0 to 1
        Share of a code that belongs to the character and not to its look, so that twins remain two characters. At 0
        they, and all characters without ink, are one; at 1 nothing of the look is left.
    blur : int, default 1, range 0 to 4
        Times that neighbouring pixels are mixed before. At 0 a stroke one pixel aside is another stroke; too many
        make all letters alike.
    font : BitmapFont, str or Path, optional
        Where the pictures come from; a path as `read_font` takes. Left out, the shipped GNU Unifont.

    Attributes
    ----------
    fingerprint : str
        Of the font and the settings; equal fingerprints give equal vectors.
    components_ : ndarray of shape (dim, 256), float32
        The directions.
    mean_ : ndarray of shape (256,), float32
        The mean picture of those characters.

    Raises
    ------
    InputError
        A value out of range.
    NotFoundError
        No such font file.

    Notes
    -----
    Pixels p in {0, 1} of a 16 x 16 cell, blurred by (1 2 1) / 4 both ways, give ``g = normalize(V (p - mean))`` with V
    the leading principal directions over the font without ideographs and Hangul, and the vector is
    ``normalize((1 - identity) g + identity c)``, c being signs hashed from the code point, over sqrt(dim). A character
    without picture or ink has c alone. Several characters at once are drawn side by side and narrowed to one cell.

    The paper reads pixels in polar order and draws at 32 pixels; a rotation by V makes order immaterial, and Unifont
    has 16 pixels to tell. Its fixed small rotation of some scripts would part twins and is left out.
    Cost: 1 s for the directions, once per font and process; 256 dim per character.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3.

    Examples
    --------
    >>> table = GlyphTable()
    >>> table.rows("aб").shape
    (2, 256)
    >>> table.nearest("а", among="abcdefghijklmnopqrstuvwxyz", k=1)  # the Cyrillic letter
    [('a', 0.997)]
    """

    def __init__(
        self,
        *,
        dim: int = _PIXELS,
        identity: float = 0.05,
        blur: int = 1,
        font: BitmapFont | str | Path | None = None,
    ) -> None:
        self.dim = check_count(dim, name="dim", maximum=_PIXELS)
        self.identity = check_fraction(identity, name="identity")
        self.blur = check_count(blur, name="blur", minimum=0, maximum=4)
        self.font = font if isinstance(font, BitmapFont) else read_font(font)
        self.mean_, directions = _directions(self.font, self.blur)
        self.components_: FloatArray = directions[: self.dim]

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors."""
        return f"glyphs:{self.font.name}:{self.font.digest}:{self.dim}:{self.identity:g}:{self.blur}"

    def settings(self) -> dict[str, Any]:
        """Return what `from_settings` makes an equal table of.

        Returns
        -------
        dict
            JSON values: the arguments and the fingerprint.

        Raises
        ------
        InputError
            A font of one's own, which is not copied.
        """
        if self.font is not read_font():
            raise InputError(message("a table with a font of its own", "the shipped font", "make it anew from code"))
        return {"dim": self.dim, "identity": self.identity, "blur": self.blur, "fingerprint": self.fingerprint}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> GlyphTable:
        """Make a table of what `settings` returned.

        Parameters
        ----------
        settings : mapping
            The settings.

        Returns
        -------
        GlyphTable
            With the same vectors.

        Raises
        ------
        InputError
            Settings of a table whose vectors are others in this release.
        """
        given = dict(settings)
        told = given.pop("fingerprint")
        table = cls(**given)
        if table.fingerprint != told:
            raise InputError(message(f"the table {told}", f"{table.fingerprint}", "use the release that saved it"))
        return table

    def missing(self, characters: Iterable[str]) -> list[str]:
        """Return the characters that the font has no picture of; their vectors tell them apart and no more.

        Parameters
        ----------
        characters : iterable of str
            Characters or texts.

        Returns
        -------
        list of str
            Distinct, by code point.
        """
        points = sorted({ord(c) for text in characters for c in text})
        return [chr(point) for point, place in zip(points, self.font.places(points), strict=True) if place < 0]

    def rows(self, characters: str | npt.ArrayLike) -> FloatArray:
        """Return the vectors of characters.

        Parameters
        ----------
        characters : str, or array-like of shape (n,), int
            A text, or code points.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Unit vectors.

        Raises
        ------
        InputError
            A number that is no code point.
        """
        points = _code_points(characters)
        out = np.empty((len(points), self.dim), dtype=np.float32)
        for start in range(0, len(points), _BLOCK):
            part = points[start : start + _BLOCK]
            out[start : start + _BLOCK] = self._vectors(self.font.bitmaps(self.font.places(part)), part)
        return out

    def strings(self, strings: Sequence[str]) -> FloatArray:
        """Return one vector per string, drawn as a strip and narrowed to the cell of one character.

        Parameters
        ----------
        strings : sequence of str, length n
            Not empty. A string of one character has the vector that `rows` gives.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Unit vectors.

        Raises
        ------
        InputError
            An empty string.
        """
        if any(not text for text in strings):
            raise InputError(message("an empty string", "characters to draw", "leave it out"))
        pictures = np.zeros((len(strings), SIDE, SIDE), dtype=np.float32)
        for i, text in enumerate(strings):
            strip = np.concatenate(list(self.font.bitmaps(self.font.places(_code_points(text)))), axis=1)
            pictures[i] = strip.reshape(SIDE, SIDE, len(text)).mean(axis=2)
        return self._vectors(pictures, np.array([_hash_text(text) for text in strings], dtype=np.uint64))

    def nearest(self, character: str, *, among: str | None = None, k: int = 5) -> list[tuple[str, float]]:
        """Return the characters that look most like one.

        Parameters
        ----------
        character : str
            One character.
        among : str, optional
            Candidates; left out, all that the font has.
        k : int, default 5
            How many; fewer where there are fewer.

        Returns
        -------
        list of (str, float)
            Characters and cosines, the nearest first; the character itself is left out.

        Raises
        ------
        InputError
            Not one character, or k below 1.
        """
        if not isinstance(character, str) or len(character) != 1:
            raise InputError(message(f"{character!r}", "one character", "ask for each character in turn"))
        k = check_count(k, name="k")
        points = self.font.code_points if among is None else np.unique(_code_points(among))
        points = points[points != ord(character)]
        target = self.rows(character)[0]
        scores = np.concatenate(
            [self.rows(points[i : i + _BLOCK]) @ target for i in range(0, len(points), _BLOCK)] or [np.empty(0)]
        )
        best = np.argsort(-scores, kind="stable")[:k]
        return [(chr(points[i]), round(float(scores[i]), 3)) for i in best]

    def _vectors(self, pictures: FloatArray, keys: npt.NDArray[np.generic]) -> FloatArray:
        codes = _codes(keys, self.dim)
        seen = (_blurred(pictures, self.blur) - self.mean_) @ self.components_.T
        norms = np.linalg.norm(seen, axis=1, keepdims=True)
        drawn = np.asarray(pictures.any(axis=(1, 2)))[:, None] & (norms > 0)
        mixed = np.where(
            drawn, (1 - self.identity) * seen / np.where(norms > 0, norms, 1) + self.identity * codes, codes
        )
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)


def _code_points(characters: str | npt.ArrayLike) -> npt.NDArray[np.int64]:
    if isinstance(characters, str):
        return np.fromiter(map(ord, characters), dtype=np.int64, count=len(characters))
    points = np.asarray(characters)
    if points.ndim != 1 or (len(points) and (points.dtype.kind not in "iu" or points.min() < 0)):
        given = f"characters of shape {points.shape}, {points.dtype}"
        raise InputError(message(given, "a text, or code points of shape (n,)", "pass a str"))
    if len(points) and points.max() > 0x10FFFF:
        raise InputError(message(f"the code point {int(points.max())}", "at most 0x10FFFF", "pass a str"))
    return points.astype(np.int64)


def _blurred(pictures: FloatArray, times: int) -> FloatArray:
    out = pictures
    for _ in range(times):
        for axis in (1, 2):
            wide = np.pad(out, [(1, 1) if a == axis else (0, 0) for a in range(3)])
            low, high = np.take(wide, range(SIDE), axis), np.take(wide, range(2, SIDE + 2), axis)
            out = 0.25 * low + 0.5 * out + 0.25 * high
    return out.reshape(len(out), _PIXELS)


@cache
def _directions(font: BitmapFont, blur: int) -> tuple[FloatArray, FloatArray]:
    """Mean and principal directions of pictures that have ink; float64, so that their signs are settled."""
    total, second, count = np.zeros(_PIXELS), np.zeros((_PIXELS, _PIXELS)), 0
    points = font.code_points
    crowded = np.any([(points >= low) & (points <= high) for low, high in _CROWDED], axis=0)
    places = np.flatnonzero(~crowded) if not crowded.all() else np.arange(len(font))
    for start in range(0, len(places), _BLOCK):
        pictures = font.bitmaps(places[start : start + _BLOCK])
        rows = _blurred(pictures[pictures.any(axis=(1, 2))], blur).astype(np.float64)
        total, second, count = total + rows.sum(axis=0), second + rows.T @ rows, count + len(rows)
    if not count:
        raise InputError(message(f"the font {font.name} without any ink", "drawn characters", "choose another font"))
    mean = total / count
    _, vectors = np.linalg.eigh(second / count - np.outer(mean, mean))
    vectors = vectors[:, ::-1].T
    signs = np.sign(vectors[np.arange(_PIXELS), np.abs(vectors).argmax(axis=1)])
    return mean.astype(np.float32), np.ascontiguousarray(vectors * signs[:, None], dtype=np.float32)


def _codes(keys: npt.NDArray[np.generic], dim: int) -> FloatArray:
    """Signs over sqrt(dim), mixed from key and column by SplitMix64: no state, the same everywhere."""
    state: Any = keys.astype(np.uint64)[:, None] * np.uint64(0x1_0000) + np.arange(1, dim + 1, dtype=np.uint64)
    state = state * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    bits = (state ^ (state >> np.uint64(31))) & np.uint64(1)
    return ((2.0 * bits - 1.0) / np.sqrt(dim)).astype(np.float32)


def _hash_text(text: str) -> int:
    if len(text) == 1:
        return ord(text)
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * 0x100000001B3) % (1 << 64)
    return value % (1 << 47) + (1 << 21)
