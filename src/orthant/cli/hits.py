"""Hits as people read them: title, a passage around the matched words, each leg's rank and score, plan and cost."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthant.collection.results import Group, Hit, LegScore, SearchResult
    from orthant.collection.stages.facets import Facet

__all__ = ["passage", "print_hits"]

# Section underlines, table rules and the like: three or more of one sign that stand alone.
_RULE = re.compile(r"(?<!\S)([=\-~^*_#+.`'\"])\1{2,}(?!\S)")
_ROLE = re.compile(r":[a-z:]+:`[~!]?([^`]*)`")
_DIRECTIVE = re.compile(r"\s*(\.\. |:\w+:(\s|$))")
_SENTENCE = re.compile(r"(?<=[.!?:;]) ")
_TITLE_CHARACTERS = 120
_VALUE_CHARACTERS = 100
_SEARCHED_CHARACTERS = 8000


def passage(text: str, record_id: str, *, matched: Sequence[str] = (), width: int = 200) -> tuple[str, str]:
    r"""Return a text's title and the passage to show of it.

    Parameters
    ----------
    text : str
        The record's text.
    record_id : str
        Its id; a title that only repeats it is left out.
    matched : sequence of str, optional
        Words of the query. The beginning is shown unless another passage holds at least two more of them.
    width : int, default 200
        Characters of the passage at most, but for the marks of omission.

    Returns
    -------
    title : str
        The first line; empty when there is none of its own.
    passage : str
        One line, without section underlines and repeated spaces.

    Examples
    --------
    >>> passage("Linear algebra\n======\nSolve   systems.", "linalg")
    ('Linear algebra', 'Solve systems.')
    """
    lines = [_clean(line) for line in text[:_SEARCHED_CHARACTERS].splitlines() if not _DIRECTIVE.match(line)]
    lines = [line for line in lines if line]
    title = lines.pop(0) if len(lines) > 1 and len(lines[0]) <= _TITLE_CHARACTERS else ""
    while len(lines) > 1 and _repeats(lines[0], title, record_id):
        lines.pop(0)
    body = " ".join(lines)
    return "" if title == record_id else title, _window(body, matched, width)


def _clean(line: str) -> str:
    return " ".join(_RULE.sub(" ", _ROLE.sub(r"\1", line)).split())


def _repeats(line: str, title: str, record_id: str) -> bool:
    """Whether a line says no more than the title or id above it, but for one word such as "module"."""
    known = {*title.split(), record_id}
    return len([word for word in line.split() if word not in known]) <= 1 and any(w in known for w in line.split())


def _window(body: str, matched: Sequence[str], width: int) -> str:
    if len(body) <= width:
        return body
    starts = [0, *(found.end() for found in _SENTENCE.finditer(body))]
    folded = body.lower()
    words = [word.lower() for word in matched]
    held = [sum(word in folded[begin : begin + width] for word in words) for begin in starts]
    best = first = max(range(len(starts)), key=held.__getitem__)
    # Of the passages that hold the same words, the one that begins with them.
    while best + 1 < len(starts) and held[best + 1] == held[first] and starts[best + 1] < starts[first] + width:
        best += 1
    # A text's beginning says best what it is about; one word more does not outweigh that.
    start = starts[best] if held[best] >= held[0] + 2 else 0
    part = body[start : start + width]
    cut = start + width < len(body)
    if cut and " " in part:
        part = part.rpartition(" ")[0]
    return ("… " if start else "") + part.rstrip() + (" …" if cut else "")


def print_hits(title: str, result: SearchResult, *, fields: Sequence[str] = (), width: int = 200) -> None:
    """Print hits with each leg's rank and score, and below them plan and cost.

    Parameters
    ----------
    title : str
        Above the hits.
    result : SearchResult
        The hits.
    fields : sequence of str, optional
        Metadata fields to show.
    width : int, default 200
        Characters of text shown per hit.
    """
    from rich.table import Table
    from rich.text import Text

    from orthant.cli.output import pair_grid, print_block

    legs = [leg.name for leg in result.plan.legs]
    # With one leg its rank and score are the hit's own.
    shown = legs if len(legs) > 1 else []
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("#", "score" if shown else f"{''.join(legs)} score", *shown):
        grid.add_column(name, justify="right", no_wrap=True, header_style="dim")
    grid.add_column("record", overflow="fold", header_style="dim")
    headings = {group.hits[0].id: _heading(group) for group in result.groups}
    for hit in result:
        cells = [str(hit.rank), f"{hit.score:.3f}", *(_leg(hit.legs.get(name)) for name in shown)]
        grid.add_row(*map(Text, cells), _record(hit, fields, width, headings.get(hit.id, "")))
    found = [grid] if len(result) else ["Nothing found."]
    print_block(Text(title, style="bold", no_wrap=True), *found)
    for name, facet in result.facets.items():
        print_block(Text(f"{name}: {_facet(facet)}", style="not bold"))
    print_block(pair_grid(_plan(result), style="dim"))


def _heading(group: Group) -> str:
    value = "no value" if group.value is None else _value(group.value)
    return f"{value}: {len(group.hits)} of {group.count:,}"


def _facet(facet: Facet) -> str:
    told = [f"{_value(value)} {count:,}" for value, count in facet.values]
    if facet.other:
        told.append(f"{facet.distinct - len(facet.values):,} other values {facet.other:,}")
    return ", ".join([*told, f"none {facet.missing:,}"] if facet.missing or not told else told)


def _leg(score: LegScore | None) -> str:
    if score is None or (score.rank is None and score.score is None):
        return "-"
    rank = "" if score.rank is None else f"#{score.rank}"
    return f"{rank} {'' if score.score is None else f'{score.score:.3f}'}".strip()


def _record(hit: Hit, fields: Sequence[str], width: int, group: str) -> Any:
    from rich.text import Text

    title, body = passage(hit.text or "", hit.id, matched=hit.matched, width=width)
    out = Text(hit.id, style="bold")
    if group:
        out = Text(f"[{group}]\n", style="not bold dim").append_text(out)
    if title:
        out.append(f"  {title}", style="not bold")
    if body:
        shown = Text("\n" + body, style="not bold")
        for word in hit.matched:
            shown.highlight_regex(rf"(?i)\b{re.escape(word)}\b", style="bold")
        out.append_text(shown)
    told = "; ".join(f"{name}: {_value(hit.metadata[name])}" for name in fields if name in hit.metadata)
    if told:
        out.append(f"\n{told}", style="not bold dim")
    if hit.matched:
        out.append(f"\nmatched: {', '.join(hit.matched)}", style="not bold dim")
    return out


def _value(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…"


def _kept(details: Mapping[str, Any]) -> str:
    """How far a graph search went, and what share of the true neighbours that finds."""
    told = [f"effort {details['effort']:,}"] if details.get("effort") else []
    if details.get("expected_recall") is not None:
        told.append(f"expected recall {details['expected_recall']:.3f}")
    if details.get("tail_rows"):
        told.append(f"{details['tail_rows']:,} newer rows scanned")
    if details.get("exact"):
        told.append("exact" if "why" not in details else f"exact, since {details['why']}")
    return f"; {', '.join(told)}" if told else ""


def _plan(result: SearchResult) -> list[tuple[str, str]]:
    plan = result.plan
    over = f"{plan.mode} over {plan.records:,} records"
    if plan.allowed is not None:
        over += f"; {plan.allowed:,} pass the filter {json.dumps(plan.where, ensure_ascii=False)}"
    pairs = [("plan", over)]
    for leg in plan.legs:
        cost = f"{leg.details['distances']:,} comparisons, " if "distances" in leg.details else ""
        pairs.append((leg.name, f"{leg.method}, {cost}{leg.candidates:,} candidates{_kept(leg.details)}"))
    if plan.fusion:
        weights = ", ".join(f"{leg} {weight:.2f}" for leg, weight in plan.fusion["weights"].items())
        pairs.append(("fusion", f"{plan.fusion['method']} ({weights})"))
    for stage in plan.stages:
        told = ", ".join(f"{name} {value}" for name, value in stage.details.items())
        pairs.append((stage.name, f"{stage.method}, {stage.candidates:,} to {stage.kept:,}{told and f'; {told}'}"))
    stages = ", ".join(f"{stage} {value * 1e3:.1f}" for stage, value in plan.seconds.items())
    pairs.append(("cost", f"{sum(plan.seconds.values()) * 1e3:.1f} ms: {stages}"))
    return pairs + [("note", warning) for warning in plan.warnings]
