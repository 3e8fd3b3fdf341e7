"""What learning fusion weights gives back: the choice, what it is worth on held-out queries, and a recommendation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orthant.measures.significance import Comparison

__all__ = ["FusionReport"]


@dataclass(frozen=True)
class FusionReport:
    """Fusion weights learned from judged queries, with the evidence.

    Attributes
    ----------
    recommended : bool
        Whether better weights than the present ones are shown to exist, and no leg alone is better.
    sentence : str
        The recommendation in words.
    metric : str
        What was maximised.
    queries : int
        Judged queries that counted.
    left_out : dict of str to int
        ``queries_without_text``, ``queries_without_relevant`` (none judged relevant is in the collection) and
        ``records_absent``: judged ids that no record has.
    chosen, present : dict
        ``fusion`` and ``weights``: the best on all queries, and what hybrid searches use now.
    held_out : float
        Mean over the queries, each valued under the weights that the other folds choose.
    in_sample : float
        Mean of the chosen weights over the queries that chose them: too high, shown to be compared.
    values : dict of str to float
        Mean of ``"present"`` and of every leg alone, such as ``"dense alone"``.
    p_value : float
        Chance that the best of all weights tried looks as good where none is better than the present ones.
    comparisons : tuple of Comparison
        The held-out values against each of these, paired by query, with Holm's correction. Their p-values take the
        queries for independent, which folds make only nearly true; the recommendation rests on ``p_value``.
    by_fold : tuple of dict
        What each fold's choice was; far apart, the weights are not settled.
    alpha : float
        Largest ``p_value`` that is recommended.
    applied : bool
        Whether the weights were stored.
    """

    recommended: bool
    sentence: str
    metric: str
    queries: int
    left_out: dict[str, int]
    chosen: dict[str, Any]
    present: dict[str, Any]
    held_out: float
    in_sample: float
    values: dict[str, float]
    p_value: float
    comparisons: tuple[Comparison, ...]
    by_fold: tuple[dict[str, Any], ...]
    alpha: float
    applied: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of ``search`` or ``set_fusion``: the chosen ones if recommended, else the present ones."""
        return dict(self.chosen if self.recommended else self.present)

    def against(self, name: str) -> Comparison:
        """Return the comparison with one alternative.

        Parameters
        ----------
        name : str
            ``"present"``, or a leg's name with ``" alone"``.

        Returns
        -------
        Comparison
            Difference, interval and p-value.
        """
        return next(comparison for comparison in self.comparisons if comparison.baseline == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            Every attribute, and ``settings``.
        """
        out = {**vars(self), "by_fold": list(self.by_fold), "settings": self.settings}
        out["comparisons"] = [_plain(comparison) for comparison in self.comparisons]
        return out

    def __str__(self) -> str:
        """Return the recommendation and a table of the alternatives."""
        lines = [self.sentence, f"held out: {self.metric} {self.held_out:.4f} over {self.queries:,} queries"]
        for c in self.comparisons:
            lines.append(
                f"  against {c.baseline} ({c.baseline_mean:.4f}): {c.difference:+.4f}, 95 % interval {c.low:+.4f} to "
                f"{c.high:+.4f}, p = {c.p_adjusted:.3g}"
            )
        return "\n".join(lines)


def _plain(comparison: Comparison) -> dict[str, Any]:
    out = asdict(comparison)
    for name in ("dropped_baseline", "dropped_arm"):
        del out[name]
    # A constant difference has an infinite effect size, which JSON cannot say.
    effect = out["effect_size"]
    return {**out, "effect_size": effect if abs(effect) < float("inf") else None, "in_words": str(comparison)}


def spelled(setting: dict[str, Any]) -> str:
    """Return a setting as one would write it.

    Parameters
    ----------
    setting : dict
        ``fusion`` and ``weights``.

    Returns
    -------
    str
        Such as ``minmax with dense 0.55, lexical 0.45``.
    """
    weights = ", ".join(f"{leg} {weight:g}" for leg, weight in setting["weights"].items())
    return f"{setting['fusion']} with {weights}"


def conclude(
    chosen: dict[str, Any],
    present: dict[str, Any],
    comparisons: Sequence[Comparison],
    *,
    p_value: float,
    alpha: float,
    default: bool,
) -> tuple[bool, str]:
    """Decide whether learned weights are to be used, and say why.

    Parameters
    ----------
    chosen, present : dict
        ``fusion`` and ``weights``.
    comparisons : sequence of Comparison
        Held-out values against the present weights, first, and each leg alone.
    p_value : float
        Of the choice; see ``chance_of_choice``.
    alpha : float
        Level of the tests.
    default : bool
        Whether the present weights are the package's default.

    Returns
    -------
    recommended : bool
        True only where the gain over the present weights is positive on held-out queries and significant, and no leg
        alone is significantly better.
    sentence : str
        The reason.
    """
    c, *alone = comparisons
    keep = "Keep the default" if default else "Keep the present weights"
    gain = (
        f"{c.difference:+.4f} {c.metric} on held-out queries (95 % interval {c.low:+.4f} to {c.high:+.4f}, "
        f"{c.queries:,} queries; p = {p_value:.2g} for the best of all weights tried)"
    )
    better = [other for other in alone if other.difference < 0 and other.significant(alpha)]
    if better:
        other = max(better, key=lambda one: one.baseline_mean)
        leg = other.baseline.removesuffix(" alone")
        return False, (
            f"Do not fuse: the {leg} leg alone is better than learned weights by {-other.difference:.4f} {c.metric} "
            f"(p = {other.p_adjusted:.2g}); search with mode={leg!r}."
        )
    if chosen == present:
        return False, f"{keep} ({spelled(present)}): no other weights do better on these queries."
    if not (c.difference > 0 and p_value < alpha):
        return False, f"{keep} ({spelled(present)}): learned weights are not shown to be better, {gain}."
    equal = [other.baseline for other in alone if not other.significant(alpha)]
    note = "" if not equal else f" They are not shown to be better than the {' and '.join(equal).replace(' alone', '')}"
    note += "" if not equal else f" leg{'s' if len(equal) > 1 else ''} alone."
    return True, f"Use {spelled(chosen)} in place of {spelled(present)}: {gain}.{note}"
