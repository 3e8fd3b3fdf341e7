"""Synthetic rows and claims: figures are made up, so that only the decision is under test."""

from __future__ import annotations

from orthant.papers.record import Claim, Paper, Trial


def trial(measured, *, baseline=0.40, rival=0.50, weak=0.30, ablated=0.48):
    return Trial(
        measured={"recall": measured, "bytes": 96.0},
        baseline={"recall": baseline},
        alternatives={"weak": {"recall": weak}, "rival": {"recall": rival}},
        ablated=None if ablated is None else {"recall": ablated},
    )


def claim(run=None, *, name="beats-rival", margin=0.10, data="real", **options):
    def default(seed):
        return trial(0.65 + 0.001 * (seed % 7))

    options.setdefault("ablation", "mechanism off" if margin is not None else "")
    return Claim(
        name=name,
        sentence="The method finds more.",
        data=data,
        run=run or default,
        metric="recall",
        margin=margin,
        **options,
    )


def row(*claims, status="works", key="muvera", **options):
    options.setdefault("lives_in", ("orthant.errors",))
    return Paper(
        key=key,
        title="A title",
        arxiv="2405.19504",
        year=2024,
        wing="search",
        summary="What it does. When to use it.",
        keywords=("one",),
        status=status,
        claims=claims,
        **options,
    )
