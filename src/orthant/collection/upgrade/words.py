"""What the figures of a rehearsal mean, and which way suits whom: the same words in the tool and in its guide."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthant.collection.upgrade.rehearsal import Rehearsal
    from orthant.measures.compatibility import GainRecovered

__all__ = ["DECISIONS", "decision_table", "verdict"]

DECISIONS = (
    (
        "the new model is another one, texts are stored, and both models can be asked",
        "joint-words",
        "old vectors and the words of the texts, each encoded once by itself, mapped to the new space, and the old "
        "model's own scores, half and half; re-encode later, or never",
    ),
    (
        "the same, but no further words may be encoded, or the texts are in no words",
        "joint",
        "old vectors alone mapped to the new space, and the old model's own scores",
    ),
    (
        "texts are stored, but the old model will not be there any longer",
        "words",
        "old vectors and words mapped to the new space, without the old model's scores",
    ),
    (
        "neither texts nor the old model will be there any longer",
        "low-rank",
        "old vectors mapped to the new space by a regression on up to 5,000 texts that both encoded",
    ),
    (
        "few texts (hundreds) can be encoded by both",
        "procrustes",
        "a rotation, which a few hundred pairs suffice for; recovers less",
    ),
    (
        "one model that was trained a little further",
        "drift",
        "the mean movement is taken off; look at the explained share of the compatibility report first",
    ),
    (
        "models that share nothing but a list of anchor texts",
        "relative",
        "cosines to the anchors; the coarsest, seldom better than the regression on the same pairs",
    ),
    (
        "the rehearsal finds no gain at 0 %, or everything can be encoded in reasonable time",
        "reencode",
        "every text is encoded again beside the searches; the old space answers until the cut-over",
    ),
    (
        "black boxes on both sides, and judged queries",
        "an adapter",
        "a residual adapter learned from query and document pairs changes queries only; it is no upgrade",
    ),
    (
        "you train the models yourself, on fixed classes",
        "fixed prototypes",
        "stationary heads keep successive models comparable, so that nothing has to be mapped",
    ),
)
"""Situation, way, and what it does; the first that fits."""


def decision_table() -> str:
    """Return the table of ways as Markdown.

    Returns
    -------
    str
        One row per situation.
    """
    rows = [f"| {when} | `{way}` | {what} |" for when, way, what in DECISIONS]
    return "\n".join(["| when | way | what it does |", "|---|---|---|", *rows])


def verdict(found: Rehearsal) -> tuple[str, str]:
    """Return what to do, and why, by a rehearsal's figures.

    Parameters
    ----------
    found : Rehearsal
        With its arms and shares.

    Returns
    -------
    action : str
        ``"do"``, ``"reencode"`` or ``"don't"``.
    reason : str
        One or two sentences.
    """
    gain = found.shares["1.00"]
    low, high = gain.gain_interval
    judged = found.metric.startswith("ndcg")
    if judged and low <= 0:
        return "don't", (
            f"The new model is no better than the old one on these queries beyond doubt: {gain.gain:+.4f} "
            f"{found.metric}, interval {low:+.4f} to {high:+.4f}. Ask more queries, or keep the old model."
        )
    told = (
        ""
        if judged
        else (" Without judgements this says how near the new model's own neighbours are, not whether they are better.")
    )
    if found.using == "reencode":
        return "do", f"Encoding everything again gains {gain.gain:+.4f} {found.metric}.{told}"
    figures = found.now if found.decided_by == "now" else found.shares
    both = _both(found)
    if figures["0.00"].interval[0] <= 0:
        first = next((share for share, one in figures.items() if one.interval[0] > 0), "1.00")
        whose = "in this collection" if found.decided_by == "now" else "of records that the map has not seen"
        return "reencode", (
            f"{both} Nothing beyond doubt {whose if found.seen else 'without encoding any'}. From {float(first):.0%} "
            f"encoded again it is worth it.{told}"
        )
    return "do", f"{both}{told}"


def _both(found: Rehearsal) -> str:
    """What mapped vectors recover at once, here and of records that the map has not seen."""

    def part(one: GainRecovered) -> str:
        return f"{one.share:.2f} of the gain (interval {one.interval[0]:.2f} to {one.interval[1]:.2f})"

    unseen = part(found.shares["0.00"])
    if not found.seen:
        return f"Mapped vectors recover {unseen} with no record encoded again."
    here = part(found.now["0.00"])
    return (
        f"With no record encoded again, mapped vectors recover {here} in this collection, from {found.seen:.0%} of "
        f"which the map is learned, and {unseen} of records that it has not seen."
    )
