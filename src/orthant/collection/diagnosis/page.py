"""The diagnosis as one page: plots as SVG inside the HTML, no script, nothing to load."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from orthant.collection.diagnosis.report import Bin, Diagnosis, Estimate, Histogram

__all__ = ["render"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 170, 8, 22
_CHARACTER = 6.4
"""Pixels that a character of a label takes, with some to spare."""
_ROUNDING = 1e-5
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;max-width:980px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin:1.8rem 0 .3rem}p{margin:.3rem 0 .6rem}
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0;width:420px}figcaption{font-size:.85rem;color:#51607a}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem 1rem .15rem 0;font-size:.9rem;vertical-align:top}
td.n{font-variant-numeric:tabular-nums}li{margin:.3rem 0}small,.quiet{color:#51607a}
svg text{font:11px system-ui,sans-serif;fill:#51607a}.bar{fill:#3b6fb6}.whisker{stroke:#c2571a;stroke-width:2}
.axis{stroke:#b6c0cf}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#e4e9f0}figcaption,small,.quiet{color:#9aa8bd}
svg text{fill:#9aa8bd}.bar{fill:#6fa3e6}}
"""
_LABELS = {
    "local_dimension": ("Local dimension, median", "how many coordinates the data needs around a record"),
    "local_dimension_p10": ("Local dimension, easiest tenth", ""),
    "local_dimension_p90": ("Local dimension, hardest tenth", "searches of a graph lose most there"),
    "local_dimension_of_queries": ("Local dimension at the queries", "far above the records': queries of another kind"),
    "two_neighbour_dimension": ("Dimension by two neighbours", "a second opinion, at the smallest scale"),
    "equal_to_another": ("Records with an equal vector", "share of the sample"),
    "hubness_skewness": ("Hubness (skewness)", "0: every record is a neighbour equally often; above 1: hubs"),
    "never_a_neighbour": ("Never a neighbour", "share of records that no list of ten names"),
    "mean_cosine": ("Mean cosine of two records", "0: directions cancel; near 1: all share one"),
    "evenness_of_directions": ("Evenness of directions", "1: isotropic"),
    "effective_dimension": ("Effective dimension", "dimensions that hold the variance"),
    "recall": ("Recall@10", "share of the true neighbours that a search with default settings finds"),
    "vectors_compared_per_query": ("Vectors compared per query", "median"),
    "kilobytes_read_per_query": ("Kilobytes read per query", "median"),
    "milliseconds_per_query": ("Milliseconds per query", "median, one at a time, without encoding the query"),
}
_PLOTS = (
    ("local_dimension", "Local dimension", "Records by local dimension. A long tail to the right are hard regions."),
    (
        "recall_by_local_dimension",
        "Recall by local dimension",
        "Queries in quarters, easiest first, with 95 % intervals.",
    ),
    ("recall_by_margin", "Recall by margin", "Quarters by the gap after the tenth neighbour; the smallest gap first."),
    ("times_a_neighbour", "Hubs", "How often a record of a sample is among the ten nearest of another."),
    ("nearest_cosine", "Closest other record", "Cosine of every sampled record with its most similar one."),
    ("similar", "Near-duplicates", "Share of records by cosine. Which cosine means duplicate depends on the encoder."),
    ("order", "Order of insertion", "Recall@10 of small graphs at little effort; random order as a range of builds."),
    ("length", "Length of vectors", "Euclidean length of the sampled vectors."),
)


def render(found: Diagnosis) -> str:
    """Return the page.

    Parameters
    ----------
    found : Diagnosis
        What was measured.

    Returns
    -------
    str
        HTML that needs no other file.
    """
    title = f"Diagnosis of {escape(found.path)}"
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>", f"<h1>{title}</h1>",
        f'<p class="quiet">Space {escape(found.space)}: {found.vectors:,} vectors of {found.dim} dimensions, '
        f"{escape(found.metric)}; {found.records:,} records. Measured on {found.sample['rows']:,} records with "
        f"{found.sample['neighbours']} exact neighbours each; queries: {escape(str(found.sample['queries']))}.</p>",
        "<h2>What to do</h2>", _advice(found), "<h2>Figures</h2>", _table(found), "<h2>Plots</h2>",
        '<div class="plots">', *(_figure(found, *plot) for plot in _PLOTS), "</div>",
        "<h2>Room for combinations</h2>", _room(found), "<h2>Not measured</h2>", _missing(found),
        f'<p class="quiet">{sum(found.seconds.values()):.1f} s in all, on a machine that may have had other work.</p>',
        "</body></html>",
    ]  # fmt: skip
    return "\n".join(part for part in parts if part) + "\n"


def _advice(found: Diagnosis) -> str:
    if not found.advice:
        return "<p>Nothing stands out.</p>"
    # Names of verbs stand between backticks, for terminals.
    lines = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(line)) for line in found.advice)
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _table(found: Diagnosis) -> str:
    rows = []
    for name, estimate in found.figures.items():
        label, meaning = _LABELS.get(name, (name, ""))
        rows.append(
            f'<tr><td>{label}</td><td class="n">{_number(estimate.value)}</td>'
            f'<td class="n"><small>{_number(estimate.low)} to {_number(estimate.high)}</small></td>'
            f"<td><small>{meaning}</small></td></tr>"
        )
    return "<table><tr><th>figure</th><th>value</th><th>95 % interval</th><th></th></tr>" + "".join(rows) + "</table>"


def _room(found: Diagnosis) -> str:
    facts = found.facts["room"]
    low, high = facts["fitted_on_dimensions"]
    text = (
        f"A published curve says that vectors set free of any text can serve every pair of about "
        f"{facts['documents_at_this_dimension']:,} documents in {found.dim} dimensions"
    )
    if "documents_at_the_effective_dimension" in facts:
        text += f" ({facts['documents_at_the_effective_dimension']:,} at the effective dimension)"
    text += f"; this space holds {found.vectors:,}. "
    if facts["extrapolated"]:
        text += f"This is an extrapolation: the curve was fitted on {low} to {high} dimensions. "
    text += (
        "It describes what gradient descent reached, not what is possible, and encoders of texts stay far below it, so "
        "read it as an order of magnitude. To see what your encoder does, run: orthant eval --data limit."
    )
    return f"<p>{escape(text)}</p>"


def _missing(found: Diagnosis) -> str:
    if not found.missing:
        return "<p>Everything was measured.</p>"
    lines = (f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found.missing.items())
    return f"<ul>{''.join(lines)}</ul>"


def _figure(found: Diagnosis, name: str, title: str, caption: str) -> str:
    curve: Any = found.curves.get(name)
    if not curve:
        return ""
    if isinstance(curve, Histogram) and curve.edges[-1] - curve.edges[0] <= _ROUNDING * abs(curve.edges[-1]):
        # Bars of rounding would look as if there were something to see.
        return f"<figure><strong>{title}</strong><p>All are {curve.edges[-1]:.3g}.</p></figure>"
    drawing = _bars(curve, title) if isinstance(curve, Histogram) else _whiskers(curve, title)
    return f"<figure><strong>{title}</strong>{drawing}<figcaption>{caption}</figcaption></figure>"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _open(title: str, height: int) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return f'<svg {size} role="img" aria-label="{escape(title)}">'


def _bars(curve: Histogram, title: str) -> str:
    most, count = max(curve.counts, default=0) or 1, len(curve.counts)
    step, floor = (_WIDTH - 2 * _LEFT) / max(1, count), _HEIGHT - _BOTTOM
    parts = [_open(title, _HEIGHT)]
    for i, value in enumerate(curve.counts):
        height = (floor - 14) * value / most
        low, high = curve.edges[i], curve.edges[i + 1]
        parts.append(
            f'<rect class="bar" x="{_LEFT + i * step:.1f}" y="{floor - height:.1f}" width="{max(1.0, step - 1):.1f}" '
            f'height="{height:.1f}"><title>{low:.4g} to {high:.4g}: {value:,}</title></rect>'
        )
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{floor}" y2="{floor}"/>')
    for place, anchor in ((0, "start"), (count // 2, "middle"), (count, "end")):
        x = _LEFT + place * step
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{curve.edges[place]:.3g}</text>')
    parts.append(f'<text x="{_LEFT}" y="10">{most:,}</text></svg>')
    return "".join(parts)


def _whiskers(bins: Sequence[Bin], title: str) -> str:
    """Draw one bar per group, from 0, with its interval; the scale ends at 1 or at the largest end."""
    line, left = 30, min(280, max(190, 12 + round(_CHARACTER * max(len(one.label) for one in bins))))
    height = line * len(bins) + 20
    top = max(1.0, *(b.estimate.high for b in bins))
    low = _start([b.estimate for b in bins])
    scale = (_WIDTH - left - 50) / (top - low)
    parts = [_open(title, height)]
    for i, held in enumerate(bins):
        y, e = 6 + i * line, held.estimate
        x1, x2 = left + (max(e.low, low) - low) * scale, left + (e.high - low) * scale
        parts.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(held.label)}</text>'
            f'<rect class="bar" x="{left}" y="{y + 2}" width="{max(0.0, (e.value - low) * scale):.1f}" height="16">'
            f"<title>{e} of {e.count:,}</title></rect>"
            f'<line class="whisker" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y + 10}" y2="{y + 10}"/>'
            f'<text x="{_WIDTH - 42}" y="{y + 14}">{e.value:.3f}</text>'
        )
    parts.append(f'<text x="{left}" y="{height - 3}">{low:g}</text>')
    parts.append(f'<text x="{_WIDTH - 50}" y="{height - 3}" text-anchor="end">{top:g}</text></svg>')
    return "".join(parts)


def _start(estimates: Sequence[Estimate]) -> float:
    """Begin the scale at 0, or at 0.5 where everything lies above, so that differences can be seen; it is labelled."""
    return 0.5 if min(e.low for e in estimates) > 0.6 else 0.0
