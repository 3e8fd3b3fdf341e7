"""Bytes against recall of a compression report: one self-contained page, or a picture."""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, message
from orthant.evaluation.ann.figures import COLOURS, PAGE_STYLE, check_plotting, html_table
from orthant.quantization.comparing import Candidate, CompressionReport

__all__ = ["check_plot", "render_page", "render_svg", "write_plot"]

_ENDINGS = (".html", ".png", ".json")
_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 34, 44
_SERIES = (("recall", "codes alone"), ("recall_rescored", "rescored"))


def check_plot(path: str | Path) -> Path:
    """Make sure that a file can be written, before minutes are spent measuring.

    Parameters
    ----------
    path : str or Path
        A name that ends in ``.html``, ``.png`` or ``.json``.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    InputError
        Another ending, or a folder that does not exist.
    MissingExtraError
        A picture without matplotlib.
    """
    found = Path(path)
    if found.suffix not in _ENDINGS:
        raise InputError(message(f"a plot {found.name!r}", f"a name that ends in {', '.join(_ENDINGS)}", "rename it"))
    if not found.parent.is_dir():
        raise InputError(message(f"a plot in {found.parent}", "a folder that exists", "create it first"))
    if found.suffix == ".png":
        check_plotting()
    return found


def write_plot(report: CompressionReport, path: str | Path) -> Path:
    """Write a report as a page, a picture or JSON, by the ending of the name.

    Parameters
    ----------
    report : CompressionReport
        What ``quantization.report`` returned.
    path : str or Path
        A name that ends in ``.html``, ``.png`` or ``.json``; a file of that name is replaced.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    InputError, MissingExtraError
        As ``check_plot``.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from orthant.quantization import report
    >>> X = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)
    >>> found = report(X, candidates=["lvq8", "lvq4"])
    >>> write_plot(found, tempfile.mkdtemp() + "/codes.html").name
    'codes.html'
    """
    target = check_plot(path)
    if target.suffix == ".json":
        data = (json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n").encode()
    elif target.suffix == ".html":
        data = render_page(report).encode()
    else:
        data = _picture(report)
    write_bytes_atomically(target, data)
    return target


def _best(report: CompressionReport, key: str) -> list[Candidate]:
    """The candidates that no smaller one reaches."""
    out: list[Candidate] = []
    for c in sorted(report.candidates, key=lambda c: (c.bytes_per_vector, -getattr(c, key))):
        if not out or getattr(c, key) > getattr(out[-1], key):
            out.append(c)
    return out


def render_svg(report: CompressionReport) -> str:
    """Draw bytes, logarithmic, against recall with and without rescoring.

    Parameters
    ----------
    report : CompressionReport
        What to draw.

    Returns
    -------
    str
        An ``svg`` element without outside references. A line joins what nothing smaller reaches.
    """
    sizes = [c.bytes_per_vector for c in report.candidates]
    low, high = math.log2(max(1, min(sizes))) - 0.3, math.log2(max(sizes)) + 0.3
    floor = math.floor(min(c.recall for c in report.candidates) * 10) / 10
    floor = min(floor, 0.9)

    def place(size: float, recall: float) -> tuple[float, float]:
        x = _LEFT + (math.log2(max(size, 1)) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
        return x, _TOP + (1 - recall) / (1 - floor) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="bytes against recall">']
    for power in range(math.ceil(low), math.floor(high) + 1):
        x, bottom = place(2.0**power, floor)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:.1f}" font-size="12" text-anchor="middle">{2**power}</text>')
    for step in range(6):
        recall = floor + (1 - floor) * step / 5
        y = place(1, recall)[1]
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" font-size="12" text-anchor="end">{recall:.2f}</text>')
    for (key, label), colour in zip(_SERIES, COLOURS, strict=False):
        path = " ".join("{:.1f},{:.1f}".format(*place(c.bytes_per_vector, getattr(c, key))) for c in _best(report, key))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        for c in report.candidates:
            x, y = place(c.bytes_per_vector, getattr(c, key))
            title = html.escape(f"{c.name}, {label}: {c.bytes_per_vector} bytes, recall {getattr(c, key):.3f}")
            chosen = c.name == report.recommended and (key == "recall_rescored") == report.rescore
            circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if chosen else 3.5}" fill="{colour}">'
            parts.append(f"{circle}<title>{title}</title></circle>")
    parts += _legend()
    return "\n".join([*parts, "</svg>"])


def _legend() -> Iterator[str]:
    for i, ((_, label), colour) in enumerate(zip(_SERIES, COLOURS, strict=False)):
        x = _LEFT + 130 * i
        yield f'<rect x="{x}" y="8" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{x + 16}" y="17" font-size="12">{label}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    label = "bytes per vector"
    yield f'<text x="{middle}" y="{_HEIGHT - 6}" font-size="12" text-anchor="middle">{label}</text>'
    yield f'<text x="14" y="{_HEIGHT / 2}" font-size="12" transform="rotate(-90 14 {_HEIGHT / 2})">recall</text>'


def render_page(report: CompressionReport) -> str:
    """Return one HTML page with the plot, the table and the recommendation; it asks for nothing from outside.

    Parameters
    ----------
    report : CompressionReport
        What to show.

    Returns
    -------
    str
        A complete document.
    """
    title = f"{report.rows:,} vectors of {report.dim} dimensions: bytes against recall@{report.k}"
    head = ["codes", "bytes", "recall", "± (95 %)", f"recall, {report.rescored_rows} rescored", "ms", "ms, rescored"]
    rows = [
        [c.name, c.bytes_per_vector, c.recall, c.recall_halfwidth, c.recall_rescored, c.latency_ms,
         c.latency_rescored_ms]
        for c in report.candidates
    ]  # fmt: skip
    said = "".join(f"<p>{html.escape(line)}</p>" for line in (report.reason, *report.notes))
    about = f"{report.queries:,} queries, score {report.metric}. Milliseconds are of a scan of all these codes."
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{PAGE_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{render_svg(report)}{said}"
        f"{html_table(head, rows)}<p>{html.escape(about)}</p></body></html>\n"
    )


def _picture(report: CompressionReport) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (key, label), colour in zip(_SERIES, COLOURS, strict=False):
        points = [(c.bytes_per_vector, getattr(c, key)) for c in report.candidates]
        axes.plot(*zip(*points, strict=True), "o", ms=4, color=colour, label=label)
        best = [(c.bytes_per_vector, getattr(c, key)) for c in _best(report, key)]
        axes.plot(*zip(*best, strict=True), "-", lw=1.2, color=colour)
    for c in report.candidates:
        axes.annotate(
            c.name, (c.bytes_per_vector, c.recall), fontsize="x-small", xytext=(3, -8), textcoords="offset points"
        )
    axes.set(xlabel="bytes per vector", ylabel=f"recall@{report.k}", xscale="log")
    axes.set_title(report.reason, fontsize="small")
    axes.legend(fontsize="small")
    axes.grid(visible=True, alpha=0.3)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    return held.getvalue()
