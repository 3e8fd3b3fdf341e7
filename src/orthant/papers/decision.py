"""What the figures of a claim mean: the one place where "holds", "reported" and "fails" are decided.

A claim with a margin **holds** when all of this is true on its fresh seeds, and **fails** otherwise:

1. the method is ahead of the strongest alternative (the best mean among the baseline and all alternatives) by at
   least the frozen margin on average over the seeds, and ahead of it at all on every seed;
2. the ablated twin, put through test 1, does not pass it;
3. the method is better than its ablated twin on average.

A claim without a margin is **reported**, whatever its figures. A claim that raises, leaves out an arm or returns a
figure that is not finite is neither: `ClaimError` is raised, nothing is stored, and the command exits with code 2,
since a crash says nothing about the method. A claim whose data is absent is not run at all, and the row is **missing**.

A row fails when any claim fails; else it holds when any claim holds; else it is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from orthant.errors import message
from orthant.papers.record import Claim, ClaimError, ClaimOutcome, ClaimResult, Figures, Trial

__all__ = ["agrees", "beats", "judge", "prediction_half_width", "row_outcome", "verdict"]

_BASELINE = "baseline"
_CONFIDENCE = 0.95
_FLOOR = 0.01


def beats(gains: Sequence[float], margin: float) -> bool:
    """Whether paired gains clear a margin: on average by at least it, and above zero on every seed.

    Parameters
    ----------
    gains : sequence of float
        Per seed, how far ahead of the alternative; positive is better.
    margin : float
        What the mean must reach.

    Returns
    -------
    bool
        True when both conditions are met; False for no gains at all.

    Examples
    --------
    >>> beats([0.05, 0.07, 0.06], 0.05), beats([0.20, 0.20, -0.01], 0.05)
    (True, False)
    """
    # Sums of decimal figures miss an exact margin by a few ulps; that must not decide.
    reached = len(gains) > 0 and _mean(gains) >= margin - 1e-12
    return reached and min(gains) > 0


def verdict(
    gains: Sequence[float], ablated_gains: Sequence[float], margin: float | None
) -> tuple[ClaimOutcome, Literal["holds", "fails"] | None]:
    """Apply the three tests of this module to paired gains.

    Parameters
    ----------
    gains, ablated_gains : sequence of float
        Per seed, how far the method and its ablated twin are ahead of the strongest alternative.
    margin : float or None
        The frozen margin; None means that nothing is claimed.

    Returns
    -------
    tuple of str and (str or None)
        Outcome of the claim, and of its ablated twin under test 1.

    Examples
    --------
    >>> verdict([0.2, 0.2], [0.0, 0.0], 0.1)
    ('holds', 'fails')
    >>> verdict([0.2, 0.2], [0.2, 0.2], 0.1)
    ('fails', 'holds')
    >>> verdict([0.2, 0.2], [], None)
    ('reported', None)
    """
    if margin is None:
        return "reported", None
    if beats(ablated_gains, margin):
        return "fails", "holds"
    better = bool(ablated_gains) and _mean(gains) > _mean(ablated_gains)
    return ("holds" if beats(gains, margin) and better else "fails"), "fails"


def judge(
    claim: Claim, trials: Mapping[int, Trial], *, seconds: float = 0.0, alternative: str | None = None
) -> ClaimResult:
    """Decide a claim from its trials.

    Parameters
    ----------
    claim : Claim
        The claim, with its metric and margin.
    trials : mapping of int to Trial
        One trial per seed; at least one.
    seconds : float, default 0.0
        Wall-clock seconds that the trials took.
    alternative : str, optional
        Compare with this arm instead of the strongest one; a quick re-run passes the arm that was recorded.

    Returns
    -------
    ClaimResult
        Outcome and mean figures.

    Raises
    ------
    ClaimError
        No trial, an arm or the metric missing under some seed, a figure that is not finite, or an ``alternative``
        that did not run.
    """
    _check(claim, trials)
    runs = list(trials.values())
    arms = {_BASELINE: [run.baseline for run in runs]}
    arms.update({name: [run.alternatives[name] for run in runs] for name in runs[0].alternatives})
    sign = 1.0 if claim.direction == "higher" else -1.0
    strongest = alternative or max(arms, key=lambda name: sign * _mean([fig[claim.metric] for fig in arms[name]]))
    if strongest not in arms:
        raise ClaimError(
            message(f"alternative {strongest!r} for claim {claim.name!r}", f"one of {list(arms)}", "run it")
        )
    rival = arms[strongest]
    gains = _gains([run.measured for run in runs], rival, metric=claim.metric, sign=sign)
    ablated = [run.ablated for run in runs if run.ablated is not None]
    ablated_gains = _gains(ablated, rival, metric=claim.metric, sign=sign) if ablated else ()

    outcome, twin = verdict(gains, ablated_gains, claim.margin)
    return ClaimResult(
        name=claim.name,
        outcome=outcome,
        data=claim.data,
        measured=_mean_figures([run.measured for run in runs]),
        baseline=_mean_figures([run.baseline for run in runs]),
        strongest_alternative=_mean_figures(rival),
        margin=claim.margin,
        ablated_outcome=twin,
        seeds=tuple(trials),
        seconds=round(seconds, 3),
        metric=claim.metric,
        direction=claim.direction,
        alternative=strongest,
        ablated=_mean_figures(ablated),
        gains=gains,
        ablated_gains=ablated_gains,
        sentence=claim.sentence,
    )


def row_outcome(outcomes: Iterable[ClaimOutcome]) -> ClaimOutcome:
    """Reduce the outcomes of a row's claims to one.

    Parameters
    ----------
    outcomes : iterable of str
        Outcomes of the claims; may be empty.

    Returns
    -------
    str
        ``"fails"`` if any fails, else ``"holds"`` if any holds, else ``"reported"``.

    Examples
    --------
    >>> row_outcome(["reported", "holds"]), row_outcome([])
    ('holds', 'reported')
    """
    seen = set(outcomes)
    if "fails" in seen:
        return "fails"
    return "holds" if "holds" in seen else "reported"


def prediction_half_width(values: Sequence[float], *, scale: float = 0.0) -> float:
    """How far one further seed may lie from the mean of the recorded ones.

    Half the width of the 95 % prediction interval of one more draw, and never less than one hundredth of ``scale``.

    Parameters
    ----------
    values : sequence of float
        Recorded values, one per seed.
    scale : float, default 0.0
        Magnitude of the figure; sets the floor, which allows for other machines and for a single recorded seed.

    Returns
    -------
    float
        A distance, in units of the values.

    Notes
    -----
    ``t(0.975, n - 1) * s * sqrt(1 + 1 / n)`` with s the sample standard deviation.

    Examples
    --------
    >>> round(prediction_half_width([0.1, 0.2, 0.3]), 3)
    0.497
    """
    floor = _FLOOR * abs(scale)
    n = len(values)
    if n < 2:
        return floor
    from scipy.special import stdtrit

    mean = _mean(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    quantile = float(stdtrit(n - 1, 0.5 + _CONFIDENCE / 2))
    return max(floor, quantile * deviation * math.sqrt(1 + 1 / n))


def agrees(result: ClaimResult, committed: ClaimResult) -> tuple[bool, str]:
    """Whether a run under a new seed agrees with the committed result.

    Parameters
    ----------
    result : ClaimResult
        The new run, usually of one seed.
    committed : ClaimResult
        What was recorded.

    Returns
    -------
    tuple of bool and str
        Agreement, and the comparison in words. It agrees when the mean gain lies within the recorded spread and, if
        the committed outcome is ``"holds"``, the method is still ahead of both the alternative and its ablated twin.
    """
    gain, recorded = _mean(result.gains), _mean(committed.gains)
    spread = prediction_half_width(committed.gains, scale=committed.measured[committed.metric])
    near = abs(gain - recorded) <= spread
    words = f"gain {gain:.4g}, recorded {recorded:.4g} within {spread:.2g}"
    if committed.outcome != "holds":
        return near, words
    ahead = gain > 0 and gain > _mean(result.ablated_gains)
    return near and ahead, words if ahead else f"{words}; no longer ahead of the alternative and the ablated twin"


def _check(claim: Claim, trials: Mapping[int, Trial]) -> None:
    if not trials:
        raise ClaimError(message(f"claim {claim.name!r} without a trial", "one trial per seed", "run it under a seed"))
    names = set(next(iter(trials.values())).alternatives)
    if _BASELINE in names or len({trial.ablated is None for trial in trials.values()}) > 1:
        raise ClaimError(
            message(
                f"claim {claim.name!r} with an alternative named {_BASELINE!r}, or its ablated twin on some seeds only",
                "another name, and the twin on every seed or on none",
                "correct the claim",
            )
        )
    for seed, trial in trials.items():
        where = f"claim {claim.name!r} under seed {seed}"
        if set(trial.alternatives) != names:
            raise ClaimError(
                message(f"{where} with alternatives {sorted(trial.alternatives)}", f"{sorted(names)}", "run every arm")
            )
        if claim.margin is not None and not (names and trial.ablated is not None):
            raise ClaimError(
                message(where, "at least one alternative and the ablated twin", "measure both, or drop the margin")
            )
        arms: dict[str, Figures] = {"measured": trial.measured, _BASELINE: trial.baseline, **trial.alternatives}
        if trial.ablated is not None:
            arms["ablated"] = trial.ablated
        for arm, figures in arms.items():
            if claim.metric not in figures or not all(math.isfinite(value) for value in figures.values()):
                raise ClaimError(
                    message(
                        f"{where}, arm {arm!r}: {dict(figures)}",
                        f"finite figures, {claim.metric!r} among them",
                        "fix the claim; an arm that did not run is left out, never invented",
                    )
                )


def _gains(ours: Sequence[Figures], rival: Sequence[Figures], *, metric: str, sign: float) -> tuple[float, ...]:
    return tuple(sign * (float(a[metric]) - float(b[metric])) for a, b in zip(ours, rival, strict=True))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _mean_figures(runs: Sequence[Figures]) -> dict[str, float]:
    if not runs:
        return {}
    shared = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: _mean([float(run[name]) for run in runs]) for name in shared}
