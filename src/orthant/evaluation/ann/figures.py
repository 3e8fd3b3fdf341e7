"""Curves of a comparison as one self-contained page and as a picture."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orthant.artifact import write_bytes_atomically
from orthant.errors import MissingExtraError, message

__all__ = [
    "COLOURS",
    "PAGE_STYLE",
    "check_plotting",
    "html_table",
    "render_page",
    "render_svg",
    "write_figures",
]

# Okabe and Ito's colours, told apart by most colour-blind readers; Orthant's own is the first.
COLOURS = (
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#332288",
    "#999999",
    "#117733",
    "#aa4499",
)
_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 16, 44
PAGE_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 2rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
th{border-bottom:1px solid #999}td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto}pre{white-space:pre-wrap;background:#f5f5f5;padding:1rem;font-size:12px}
"""


def check_plotting() -> None:
    """Make sure that a picture can be drawn, before hours are spent measuring.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(
            message("a picture without matplotlib", "the extra orthant[bench]", "run: pip install 'orthant[bench]'")
        )


def _kinds(result: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(entry["queries"] for entry in result["results"]))


def _curves(result: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str, list[tuple[float, float]]]]:
    names = list(dict.fromkeys(entry["engine"] for entry in result["results"]))
    for entry in result["results"]:
        if entry["queries"] == kind and entry["points"]:
            colour = COLOURS[names.index(entry["engine"]) % len(COLOURS)]
            yield entry["engine"], colour, [(p["recall"], p["qps"]) for p in entry["points"]]


def _axis_start(points: Sequence[tuple[float, float]]) -> float:
    lowest = min(recall for recall, _ in points)
    return max(0.0, min(0.95, math.floor(max(lowest, 0.8) * 20) / 20))


def render_svg(result: Mapping[str, Any], kind: str) -> str:
    """Draw recall against queries per second, the latter logarithmic.

    Parameters
    ----------
    result : mapping
        What ``run_ann`` returned.
    kind : str
        Of the queries.

    Returns
    -------
    str
        An ``svg`` element without outside references; empty text when nothing was measured.
    """
    curves = list(_curves(result, kind))
    points = [point for _, _, curve in curves for point in curve]
    if not points:
        return ""
    left = _axis_start(points)
    shown = [qps for recall, qps in points if recall >= left] or [qps for _, qps in points]
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)) + 1e-9)

    def place(recall: float, qps: float) -> tuple[float, float]:
        x = _LEFT + (recall - left) / max(1 - left, 1e-9) * (_WIDTH - _LEFT - _RIGHT)
        y = _TOP + (high - math.log10(max(qps, 1e-9))) / max(high - low, 1) * (_HEIGHT - _TOP - _BOTTOM)
        return x, y

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="recall against speed, {html.escape(kind)}">'
    ]
    parts += _grid(place, left, low, high)
    for row, (name, colour, curve) in enumerate(curves):
        seen = [(r, v) for r, v in curve if r >= left]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in seen))
        width = 3 if name == "orthant" else 1.5
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" points="{path}"/>')
        for r, v in seen:
            x, y = place(r, v)
            title = f"{html.escape(name)}: recall {r:.4f}, {v:,.0f} queries/s"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{title}</title></circle>')
        y = _TOP + 14 + 18 * row
        parts.append(f'<rect x="{_WIDTH - _RIGHT + 16}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT + 32}" y="{y}" font-size="12">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def _grid(place: Any, left: float, low: int, high: int) -> Iterator[str]:
    for step in range(6):
        recall = left + (1 - left) * step / 5
        x, bottom = place(recall, 10.0**low)
        yield f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18:.1f}" font-size="12" text-anchor="middle">{recall:.3g}</text>'
    for power in range(low, high + 1):
        x, y = place(left, 10.0**power)
        yield f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" font-size="12" text-anchor="end">{10**power:,}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 6}" font-size="12" text-anchor="middle">recall</text>'
    yield f'<text x="14" y="{_HEIGHT / 2}" font-size="12" transform="rotate(-90 14 {_HEIGHT / 2})">queries/s</text>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    head : sequence of str
        Titles of the columns.
    rows : sequence of sequences
        Cells; numbers stand at the right, None is "not reached".

    Returns
    -------
    str
        A ``table`` element.
    """
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = []
    for row in rows:
        marked = [f"<td{' class=n' if not isinstance(c, str) else ''}>{html.escape(_shown(c))}</td>" for c in row]
        lines.append(f"<tr>{''.join(marked)}</tr>")
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _shown(value: Any) -> str:
    if value is None:
        return "not reached"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def render_page(result: Mapping[str, Any]) -> str:
    """Return one HTML page with curves, tables and context; it asks for nothing from outside.

    Parameters
    ----------
    result : mapping
        What ``run_ann`` returned.

    Returns
    -------
    str
        A complete document.
    """
    import json

    data = result["context"]["data"]
    title = f"{data['name']}: {data['vectors']:,} vectors of {data['dim']} dimensions"
    body = [f"<h1>{html.escape(title)}</h1>"]
    levels = list(dict.fromkeys(level for entry in result["results"] for level in entry["qps_at"]))
    for kind in _kinds(result):
        body += [f"<h2>Queries: {html.escape(kind)}</h2>", render_svg(result, kind)]
        head = ["engine", *(f"queries/s at {level}" for level in levels), "build CPU s", "bytes per vector"]
        rows = [
            [e["engine"], *(e["qps_at"].get(level) for level in levels), e["build_cpu_s"], e["bytes_per_vector"]]
            for e in result["results"]
            if e["queries"] == kind
        ]
        body.append(html_table(head, rows))
    if result["kept"]:
        body.append("<h2>Recall asked and kept</h2>")
        keys = ("queries", "asked", "measured", "lower_95", "qps")
        body.append(html_table(keys, [[f"{one[key]:.4g}" if isinstance(one[key], float) else one[key] for key in keys]
                                  for one in result["kept"]]))  # fmt: skip
    if result["missing"]:
        body.append(
            "<h2>Missing</h2>" + html_table(("engine", "reason"), [list(m.values()) for m in result["missing"]])
        )
    context = html.escape(json.dumps(result["context"], indent=2, sort_keys=True))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{PAGE_STYLE}</style></head><body>{''.join(body)}<h2>Context</h2><pre>{context}</pre></body></html>\n"
    )


def write_figures(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``ann.json``, ``ann.html`` and ``ann.png``.

    Parameters
    ----------
    result : mapping
        What ``run_ann`` returned.
    folder : Path
        Created if missing; files of these names are replaced.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed; nothing is written.
    """
    import json

    check_plotting()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "ann.json", folder / "ann.html", folder / "ann.png"]
    write_bytes_atomically(paths[0], (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
    write_bytes_atomically(paths[1], render_page(result).encode())
    _write_picture(result, paths[2])
    return paths


def _write_picture(result: Mapping[str, Any], path: Path) -> None:
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = _kinds(result) or ["none"]
    figure = Figure(figsize=(7 * len(kinds), 5), layout="constrained")
    FigureCanvasAgg(figure)
    for place, kind in enumerate(kinds):
        axes = figure.add_subplot(1, len(kinds), place + 1)
        points: list[tuple[float, float]] = []
        for name, colour, curve in _curves(result, kind):
            points += curve
            axes.plot(*zip(*curve, strict=True), "o-", ms=3, color=colour, label=name, lw=3 if name == "orthant" else 1)
        axes.set(title=f"queries: {kind}", xlabel="recall", ylabel="queries/s", yscale="log")
        if points:
            axes.set_xlim(_axis_start(points), 1.002)
            axes.legend(fontsize="small")
        axes.grid(visible=True, alpha=0.3)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    write_bytes_atomically(path, held.getvalue())
