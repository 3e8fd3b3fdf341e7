"""Pictures of tables: bars and heat maps, drawn without a display."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_bytes_atomically
from orthant.errors import MissingExtraError, message

__all__ = ["draw_bars", "draw_heat_map"]


def _figure(width: float, height: float) -> tuple[Any, Any]:
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(
            message("a picture without matplotlib", "the extra orthant[bench]", "run: pip install 'orthant[bench]'")
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _write(figure: Any, path: str | Path) -> None:
    held = io.BytesIO()
    figure.savefig(held, format=Path(path).suffix[1:] or "png", dpi=110)
    write_bytes_atomically(path, held.getvalue())


def draw_bars(path: str | Path, values: Mapping[str, float], *, title: str) -> None:
    """Draw one horizontal bar per name, the first on top.

    Parameters
    ----------
    path : str or Path
        The picture; the ending decides the format.
    values : mapping of str to float
        Length of each bar.
    title : str
        What the bars show.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    figure, axes = _figure(8, 1.2 + 0.22 * len(values))
    places = np.arange(len(values))
    axes.barh(places, list(values.values()))
    axes.set_yticks(places, list(values), fontsize=7)
    axes.invert_yaxis()
    axes.set_title(title)
    _write(figure, path)


def draw_heat_map(
    path: str | Path, values: npt.NDArray[np.floating], *, rows: Sequence[str], columns: Sequence[str], title: str
) -> None:
    """Draw a table as colours, symmetric around zero.

    Parameters
    ----------
    path : str or Path
        The picture; the ending decides the format.
    values : ndarray of shape (rows, columns)
        Finite numbers.
    rows, columns : sequence of str
        Labels.
    title : str
        What the colours show.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    figure, axes = _figure(2.5 + 0.6 * len(columns), 1.5 + 0.22 * len(rows))
    bound = float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto")
    axes.set_xticks(np.arange(len(columns)), list(columns), rotation=45, ha="right", fontsize=7)
    axes.set_yticks(np.arange(len(rows)), list(rows), fontsize=7)
    figure.colorbar(image)
    axes.set_title(title, fontsize=9)
    _write(figure, path)
