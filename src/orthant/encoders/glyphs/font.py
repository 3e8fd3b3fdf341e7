"""Bitmaps of characters: the shipped GNU Unifont, a .hex file, or an outline font drawn by Pillow."""

from __future__ import annotations

import hashlib
import importlib
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, MissingExtraError, NotFoundError, StoreCorruptedError, message
from orthant.types import FloatArray

__all__ = ["SIDE", "BitmapFont", "read_font"]

SIDE = 16
"""Pixels of a cell, across and down: the native size of Unifont, which larger cells would only repeat."""

_BYTES = SIDE * SIDE // 8
_SHIPPED = Path(__file__).parent / "unifont" / "glyphs.npz"
_OUTLINES = (".ttf", ".otf", ".ttc", ".pcf", ".bdf")
# Without a list of characters, outline fonts are drawn up to here: scripts of letters, punctuation, symbols.
_DRAWN_BELOW = 0x3100


class BitmapFont:
    """Characters as black-and-white pictures of 16 by 16 pixels.

    Made by `read_font`; make one yourself to bring bitmaps from elsewhere.

    Parameters
    ----------
    code_points : ndarray of shape (n,), int
        Distinct code points.
    bits : ndarray of shape (n, 32), uint8
        Pixels packed row by row from the top, the leftmost in the highest bit; ink is 1.
    name : str
        For the fingerprint.

    Attributes
    ----------
    code_points : ndarray of shape (n,), int64
        Ascending.
    digest : str
        Of name-independent content: equal for equal bitmaps.

    Raises
    ------
    InputError
        Shapes that do not fit, no characters, or a character twice.

    Examples
    --------
    >>> font = read_font()
    >>> len(font) > 50_000, "я" in font
    (True, True)
    """

    def __init__(self, code_points: npt.ArrayLike, bits: npt.ArrayLike, *, name: str) -> None:
        points, rows = np.asarray(code_points, dtype=np.int64), np.asarray(bits)
        if points.ndim != 1 or not len(points) or rows.shape != (len(points), _BYTES) or rows.dtype != np.uint8:
            given = f"code points of shape {points.shape} and bits of shape {rows.shape}, {rows.dtype}"
            raise InputError(message(given, f"(n,) and (n, {_BYTES}), uint8", "pack 256 pixels per character"))
        order = np.argsort(points, kind="stable")
        self.code_points = points[order]
        if (np.diff(self.code_points) == 0).any():
            raise InputError(message("a character twice", "distinct code points", "drop the repeated rows"))
        self._bits = np.ascontiguousarray(rows[order])
        self.name = name
        self.digest = hashlib.sha256(self.code_points.astype("<i8").tobytes() + self._bits.tobytes()).hexdigest()[:16]

    def __len__(self) -> int:
        """Return the number of characters."""
        return len(self.code_points)

    def __contains__(self, character: object) -> bool:
        """Return whether a character has a picture here."""
        return isinstance(character, str) and len(character) == 1 and bool(self.places([ord(character)])[0] >= 0)

    def places(self, code_points: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the row of each code point.

        Parameters
        ----------
        code_points : array-like of shape (n,), int
            Any code points.

        Returns
        -------
        ndarray of shape (n,), int64
            Places in `code_points`; -1 for a character without a picture.
        """
        wanted = np.asarray(code_points, dtype=np.int64).reshape(-1)
        found = np.minimum(np.searchsorted(self.code_points, wanted), len(self) - 1)
        return np.where(self.code_points[found] == wanted, found, -1)

    def bitmaps(self, places: npt.ArrayLike) -> FloatArray:
        """Return pictures by their rows.

        Parameters
        ----------
        places : array-like of shape (n,), int
            As from `places`; -1 gives an empty picture.

        Returns
        -------
        ndarray of shape (n, 16, 16), float32
            Ink is 1.
        """
        rows = np.asarray(places, dtype=np.int64).reshape(-1)
        pixels = np.unpackbits(self._bits[rows], axis=1).astype(np.float32)
        pixels[rows < 0] = 0
        return pixels.reshape(-1, SIDE, SIDE)


def read_font(path: str | Path | None = None, *, characters: Iterable[str] | None = None) -> BitmapFont:
    """Read the bitmaps of a font.

    The shipped one covers the basic plane of Unicode with one drawing per shape, so that letters of different scripts
    which look alike are alike to the pixel; it is what makes vectors equal on every machine. Bring another for
    characters beyond the plane, or for how things look in the font that your users see.

    Parameters
    ----------
    path : str or Path, optional
        A ``.hex`` file of Unifont, or an outline font (``.ttf``, ``.otf``), which Pillow draws. Left out, GNU Unifont
        15.0.01 as it comes with Orthant.
    characters : iterable of str, optional
        Characters to keep. Left out, all; of an outline font those below U+3100.

    Returns
    -------
    BitmapFont
        Those characters that the font has. Missing ones are not an error here: a table counts them.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        A file of another kind, or a font without any of the characters.
    MissingExtraError
        An outline font without Pillow (``pip install 'orthant[images]'``).
    StoreCorruptedError
        A ``.hex`` file with a line that is none.

    Notes
    -----
    An outline font draws a box for what it does not have: characters whose picture is that of an unassigned one are
    left out. Cost: about 0.1 s for the shipped font, once per process; some seconds for an outline font.

    Examples
    --------
    >>> len(read_font(characters="abc"))
    3
    """
    wanted = None if characters is None else {ord(c) for text in characters for c in text}
    if path is None:
        font = _shipped()
    else:
        file = Path(path)
        if not file.is_file():
            raise NotFoundError(message(f"the font {str(path)!r}", "a file", "check the path"))
        if file.suffix == ".hex":
            font = _hex(file)
        elif file.suffix.lower() in _OUTLINES:
            return _outline(file, wanted)
        else:
            raise InputError(message(f"a font {file.name!r}", f".hex or {' '.join(_OUTLINES)}", "convert it"))
    if wanted is None:
        return font
    places = font.places(sorted(wanted))
    places = places[places >= 0]
    if not len(places):
        raise InputError(message(f"{len(wanted)} characters", f"some that {font.name} has", "choose others"))
    return BitmapFont(font.code_points[places], font._bits[places], name=font.name)


@cache
def _shipped() -> BitmapFont:
    with np.load(_SHIPPED, allow_pickle=False) as stored:
        return BitmapFont(stored["code_points"], stored["bits"], name="unifont-15.0.01")


def _hex(file: Path) -> BitmapFont:
    points: list[int] = []
    rows: list[bytes] = []
    for number, line in enumerate(file.read_text(encoding="ascii", errors="replace").split("\n"), 1):
        if not line.strip():
            continue
        head, _, body = line.strip().partition(":")
        try:
            points.append(int(head, 16))
            rows.append(bytes.fromhex(body))
            known = len(rows[-1]) in (SIDE, _BYTES)
        except ValueError:
            known = False
        if not known:
            given = f"line {number} of {file.name}, {line[:40]!r}"
            raise StoreCorruptedError(message(given, "CODE:32 or 64 hexadecimal digits", "restore the file"))
    return BitmapFont(points, np.stack([_centred(row) for row in rows]), name=file.stem)


def _centred(row: bytes) -> npt.NDArray[np.uint8]:
    """A character of half width, 8 by 16, in the middle of its cell."""
    packed = np.frombuffer(row, dtype=np.uint8)
    if len(packed) == _BYTES:
        return packed
    cell = np.zeros((SIDE, SIDE), dtype=np.uint8)
    cell[:, 4:12] = np.unpackbits(packed[:, None], axis=1)
    return np.packbits(cell)


def _outline(file: Path, wanted: set[int] | None) -> BitmapFont:
    try:
        drawing: Any = importlib.import_module("PIL.ImageFont")
    except ImportError as error:
        raise MissingExtraError(
            message(f"the outline font {file.name}", "Pillow, which draws it", "run: pip install 'orthant[images]'")
        ) from error
    font = drawing.truetype(str(file), SIDE - 3)
    box = _drawn(font, "\uffff")
    points, rows = [], []
    for point in sorted(wanted) if wanted is not None else range(0x20, _DRAWN_BELOW):
        if unicodedata.category(chr(point)) in ("Cn", "Co", "Cs", "Cc"):
            continue
        picture = _drawn(font, chr(point))
        if not np.array_equal(picture, box) or chr(point).isspace():
            points.append(point)
            rows.append(picture)
    if not points:
        raise InputError(message(f"the font {file.name}", "one that has the characters", "choose another font"))
    return BitmapFont(points, np.stack(rows), name=file.stem)


def _drawn(font: Any, character: str) -> npt.NDArray[np.uint8]:
    image: Any = importlib.import_module("PIL.Image")
    canvas = image.new("L", (SIDE, SIDE), 0)
    pen: Any = importlib.import_module("PIL.ImageDraw").Draw(canvas)
    # Anchored at the baseline, in the middle: heights stay comparable, which tell "o" from "O".
    pen.text((SIDE / 2, SIDE - 4), character, fill=255, font=font, anchor="ms")
    return np.packbits(np.asarray(canvas) >= 128)
