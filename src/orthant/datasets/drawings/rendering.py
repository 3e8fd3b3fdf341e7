"""Stroke drawings as grey pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthant.datasets.drawings.outlines import outlines
from orthant.errors import MissingExtraError, message
from orthant.validate import check_count, check_fraction

__all__ = ["render"]

_FINER = 4


def render(shapes: Sequence[str], *, side: int = 32, view: float = 24.0, stroke: float = 2.0) -> npt.NDArray[np.uint8]:
    """Draw the strokes of icons in black on transparent ground.

    Use it to give a picture encoder the drawings of ``load("icons_svg")``. Fills are not drawn.

    Parameters
    ----------
    shapes : sequence of str, length n
        What stands inside each ``svg`` element, such as ``Drawing.shapes``.
    side : int, default 32
        Pixels per side, 8 or more. Below about 20, neighbouring strokes of icons run together.
    view : float, default 24.0
        Side of the square that the coordinates are in.
    stroke : float, default 2.0
        Width of all strokes, in coordinates; ends and corners are round.

    Returns
    -------
    ndarray of shape (n, side, side, 4), uint8
        RGBA: black, with the ink as transparency.

    Raises
    ------
    MissingExtraError
        Pillow is not installed.
    InputError
        Shapes that cannot be read.

    Notes
    -----
    Drawn four times as large and averaged. Cost: about a millisecond per drawing.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        given = "drawings to render without Pillow installed"
        raise MissingExtraError(message(given, "the extra 'images'", "pip install 'orthant[images]'")) from error
    check_count(side, name="side", minimum=8)
    scale = side * _FINER / check_fraction(view, name="view", low=1e-3, high=1e6)
    width = max(1, round(check_fraction(stroke, name="stroke", low=0.0, high=view) * scale))
    out = np.zeros((len(shapes), side, side, 4), dtype=np.uint8)
    for place, text in enumerate(shapes):
        sheet = Image.new("L", (side * _FINER, side * _FINER))
        pen = ImageDraw.Draw(sheet)
        for line in outlines(text):
            points = [(z.real * scale - 0.5, z.imag * scale - 0.5) for z in line]
            if len(points) > 1:
                pen.line(points, fill=255, width=width, joint="curve")
            for x, y in (points[0], points[-1]):
                pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
        ink = np.asarray(sheet, dtype=np.float32).reshape(side, _FINER, side, _FINER).mean(axis=(1, 3))
        out[place, ..., 3] = np.round(ink).astype(np.uint8)
    return out
