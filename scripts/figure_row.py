"""A line of the table of figures, and its target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, what came out, what was aimed at (empty: nothing), and by which script."""

    what: str
    measured: str
    target: str
    script: str


def target(text: str, *, met: bool) -> str:
    return f"{text}: {'met' if met else '**missed**'}"


def times(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f} x"
