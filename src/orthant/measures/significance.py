"""Is the difference between two arms more than noise? Paired tests over queries, reported in words.

Per-query values enter, paired by query id; intervals, p-values, effect sizes and a sentence leave.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.measures.ranking import RankingScores
from orthant.validate import check_count, check_fraction

__all__ = [
    "Comparison",
    "SignificanceReport",
    "compare_arms",
    "effect_size",
    "holm",
    "paired_bootstrap",
    "paired_randomisation",
]

Floats = npt.NDArray[np.float64]
Arm = RankingScores | Mapping[Any, float]

# Elements of a block of resamples held at once.
_BLOCK_ELEMENTS = 2_000_000


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of mean(b) - mean(a) by resampling queries; says how large a gain may be, not only whether.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Values of the two arms on the same queries, in the same order; n of at least 2. Below about 20 queries the
        interval is too narrow.
    resamples : int, default 10000
        Bootstrap samples; below 1,000 the ends of the interval wobble. Cost O(n resamples).
    confidence : float, default 0.95
        Coverage, between 0 and 1.
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    tuple of float
        Lower and upper end (percentile method).

    Raises
    ------
    DimensionError, NonFiniteError, InputError
        Values that are not paired or not finite; settings out of range.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    Sakai, Evaluating evaluation metrics based on the bootstrap, SIGIR 2006.

    Examples
    --------
    >>> low, high = paired_bootstrap([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6], seed=1)
    >>> round(low, 3), round(high, 3)
    (0.2, 0.2)
    """
    d = _differences(a, b)
    resamples = check_count(resamples, name="resamples")
    confidence = _open_fraction(confidence, "confidence")
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start, stop in _blocks(resamples, len(d)):
        means[start:stop] = d[rng.integers(0, len(d), size=(stop - start, len(d)))].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_randomisation(
    a: npt.ArrayLike, b: npt.ArrayLike, *, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Two-sided paired randomisation test of mean(b) - mean(a): how often random sign flips reach the difference.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Values of the two arms on the same queries, in the same order; n of at least 2.
    resamples : int, default 10000
        Random sign patterns; the smallest p-value is 1 / (resamples + 1). When all patterns of the queries that
        differ are fewer, each is tried once and the p-value is exact.
    seed : int, default 0
        Of the sign flips.

    Returns
    -------
    tuple of float
        p-value, and the noise floor: the absolute mean difference that sign flips alone exceed in 5 % of cases.

    Raises
    ------
    DimensionError, NonFiniteError, InputError
        Values that are not paired or not finite; settings out of range.

    Notes
    -----
    Assumes that under the null hypothesis the arms are exchangeable on each query. Cost O(n resamples).

    References
    ----------
    Smucker, Allan and Carterette, A comparison of statistical significance tests for information retrieval
    evaluation, CIKM 2007.
    Phipson and Smyth, Permutation p-values should never be zero, 2010.

    Examples
    --------
    >>> paired_randomisation([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])[0]
    0.25
    """
    d = _differences(a, b)
    resamples = check_count(resamples, name="resamples")
    # Queries without a difference do not change any flipped sum, so they are left out of the sums.
    moving = d[d != 0.0]
    if not len(moving):
        return 1.0, 0.0
    exact = len(moving) <= 30 and 2 ** len(moving) <= resamples
    sums = _all_flips(moving) if exact else _random_flips(moving, resamples, seed)
    observed = abs(float(moving.sum()))
    # Equal sums may differ in the last bits, since they are added in different orders.
    reached = int((np.abs(sums) >= observed - 1e-9 * float(np.abs(moving).sum())).sum())
    p = reached / len(sums) if exact else (1 + reached) / (1 + len(sums))
    return p, float(np.quantile(np.abs(sums), 0.95)) / len(d)


def _random_flips(d: Floats, resamples: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    sums = np.empty(resamples)
    for start, stop in _blocks(resamples, len(d)):
        flips = rng.integers(0, 2, size=(stop - start, len(d)), dtype=np.int8).astype(np.float64)
        sums[start:stop] = d.sum() - 2.0 * (flips @ d)
    return sums


def _all_flips(d: Floats) -> Floats:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Adjust p-values for several comparisons (Holm's step-down); needed once more than one arm is tried.

    Parameters
    ----------
    p_values : array-like of float, shape (m,)
        Unadjusted, from 0 to 1.

    Returns
    -------
    ndarray of shape (m,), float64
        Adjusted, in the same order; comparing them with alpha bounds the chance of any false discovery by alpha.

    Raises
    ------
    InputError
        A value outside 0 to 1.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6(2), 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64).ravel()
    if len(p) and not ((p >= 0) & (p <= 1)).all():
        raise InputError(message("p-values outside 0 to 1", "probabilities", "pass unadjusted p-values"))
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    out = np.empty(len(p))
    out[order] = adjusted
    return out


def effect_size(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cohen's d of the paired differences: the mean gain in units of its spread over queries.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Values of the two arms on the same queries; n of at least 2.

    Returns
    -------
    float
        About 0.2 is small, 0.5 medium, 0.8 large; 0 without any difference, infinite for a constant one.

    Raises
    ------
    DimensionError, NonFiniteError
        Values that are not paired or not finite.

    References
    ----------
    Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition, 1988, section 2.3.

    Examples
    --------
    >>> round(effect_size([0, 0, 0, 0], [1, 2, 3, 2]), 3)
    2.449
    """
    d = _differences(a, b)
    spread = float(d.std(ddof=1))
    mean = float(d.mean())
    if spread > 1e-12 * max(1e-300, float(np.abs(d).max())):
        return mean / spread
    return 0.0 if mean == 0.0 else float(np.copysign(np.inf, mean))


@dataclass(frozen=True)
class Comparison:
    """One arm against the baseline on one metric.

    Attributes
    ----------
    baseline, arm, metric : str
        Names.
    queries : int
        Queries that both arms have.
    baseline_mean, arm_mean, difference : float
        Means over those queries, and arm minus baseline.
    low, high : float
        Bootstrap interval of the difference.
    confidence : float
        Its coverage.
    p_value, p_adjusted : float
        Of the randomisation test, before and after Holm's correction.
    comparisons : int
        How many comparisons the correction covers.
    noise_floor : float
        Absolute difference that random sign flips exceed in 5 % of cases.
    effect_size : float
        Cohen's d of the paired differences.
    wins, ties, losses : int
        Queries on which the arm is better, equal, worse.
    dropped_baseline, dropped_arm : tuple
        Queries that only the baseline, or only the arm, has; they are not compared.
    resamples, seed : int
        Settings of both tests.
    """

    baseline: str
    arm: str
    metric: str
    queries: int
    baseline_mean: float
    arm_mean: float
    difference: float
    low: float
    high: float
    confidence: float
    p_value: float
    p_adjusted: float
    comparisons: int
    noise_floor: float
    effect_size: float
    wins: int
    ties: int
    losses: int
    dropped_baseline: tuple[Hashable, ...]
    dropped_arm: tuple[Hashable, ...]
    resamples: int
    seed: int

    def significant(self, alpha: float = 0.05) -> bool:
        """Return whether the adjusted p-value is below alpha.

        Parameters
        ----------
        alpha : float, default 0.05
            Share of false alarms accepted; smaller asks for stronger evidence.

        Returns
        -------
        bool
            True when the adjusted p-value lies below ``alpha``.
        """
        return self.p_adjusted < alpha

    def __str__(self) -> str:
        """Return the result in words."""
        verdict = "significant" if self.significant() else "not significant"
        direction = "higher" if self.difference > 0 else "lower"
        relation = f"{abs(self.difference):.4f} {direction} than" if self.difference else "equal to"
        corrected = f" (Holm over {self.comparisons} comparisons)" if self.comparisons > 1 else ""
        dropped = len(self.dropped_baseline) + len(self.dropped_arm)
        left_out = f" {dropped} queries that only one arm has were left out." if dropped else ""
        return (
            f"{self.arm} is {relation} {self.baseline} on mean {self.metric}"
            f" ({self.arm_mean:.4f} against {self.baseline_mean:.4f}), {verdict} at 0.05:"
            f" two-sided paired randomisation test over {self.queries} queries paired by id,"
            f" p = {self.p_adjusted:.4g}{corrected}, {self.resamples} resamples, seed {self.seed}."
            f" {self.confidence:.0%} paired bootstrap interval of the difference {self.low:+.4f} to {self.high:+.4f};"
            f" effect size d = {self.effect_size:.2f}; better on {self.wins}, equal on {self.ties}, worse on"
            f" {self.losses} queries; noise floor {self.noise_floor:.4f}.{left_out}"
        )


@dataclass(frozen=True)
class SignificanceReport:
    """Comparisons of several arms, and the arms that did not run.

    Attributes
    ----------
    comparisons : tuple of Comparison
        One per arm and metric.
    missing : tuple of str
        Arms without values; they are not scored zero and not compared.
    """

    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rows = [asdict(c) | {"in_words": str(c)} for c in self.comparisons]
        for row in rows:
            row["effect_size"] = row["effect_size"] if np.isfinite(row["effect_size"]) else str(row["effect_size"])
        return {"comparisons": rows, "missing": list(self.missing)}

    def __str__(self) -> str:
        """Return one sentence per comparison."""
        lines = [str(c) for c in self.comparisons]
        lines += [f"{name} did not run; it is missing, not zero." for name in self.missing]
        return "\n".join(lines)


def compare_arms(
    arms: Mapping[str, Arm | None],
    *,
    baseline: str | None = None,
    metric: str = "value",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> SignificanceReport:
    """Compare arms with a baseline, query by query, with Holm's correction; the call before writing "better".

    Parameters
    ----------
    arms : mapping of str to RankingScores, mapping of query to float, or None
        Per-query values by arm. None or no values: the arm did not run; it is listed as missing.
    baseline : str, optional
        Name of the arm to compare with; defaults to the first.
    metric : str, default "value"
        Name used in the words, where the arms do not carry one.
    resamples : int, default 10000
        For the test and the interval.
    confidence : float, default 0.95
        Coverage of the interval, between 0 and 1.
    seed : int, default 0
        Of both.

    Returns
    -------
    SignificanceReport
        Only queries that both arms of a pair have are compared; the rest are listed.

    Raises
    ------
    InputError
        The baseline is missing, or a pair has fewer than two queries in common.
    NonFiniteError
        NaN or infinity among the values.

    Examples
    --------
    >>> report = compare_arms({"bm25": {"a": 0.1, "b": 0.5, "c": 0.2}, "dense": {"a": 0.3, "b": 0.6}, "late": None})
    >>> c = report.comparisons[0]
    >>> c.queries, round(c.difference, 2), c.p_value, c.dropped_baseline, report.missing
    (2, 0.15, 0.5, ('c',), ('late',))
    """
    present = {name: _per_query(arm) for name, arm in arms.items() if arm is not None and len(arm)}
    baseline = next(iter(arms), "") if baseline is None else baseline
    if baseline not in present:
        raise InputError(
            message(f"baseline {baseline!r} without values", f"one of {', '.join(present) or 'none'}", "name an arm")
        )
    named = arms[baseline]
    metric = named.metric if isinstance(named, RankingScores) else metric
    found = [
        _compare(baseline, present[baseline], name, values, metric, resamples, confidence, seed)
        for name, values in present.items()
        if name != baseline
    ]
    adjusted = holm([c.p_value for c in found])
    corrected = (replace(c, p_adjusted=float(p), comparisons=len(found)) for c, p in zip(found, adjusted, strict=True))
    return SignificanceReport(tuple(corrected), tuple(name for name in arms if name not in present))


def _per_query(arm: Arm) -> dict[Any, float]:
    return arm.per_query if isinstance(arm, RankingScores) else dict(arm)


def _compare(
    baseline: str,
    left: dict[Any, float],
    arm: str,
    right: dict[Any, float],
    metric: str,
    resamples: int,
    confidence: float,
    seed: int,
) -> Comparison:
    shared = [query for query in left if query in right]
    if len(shared) < 2:
        raise InputError(
            message(f"{len(shared)} queries that both {baseline!r} and {arm!r} have", "at least 2", "check the ids")
        )
    a, b = np.array([left[q] for q in shared], float), np.array([right[q] for q in shared], float)
    p, floor = paired_randomisation(a, b, resamples=resamples, seed=seed)
    low, high = paired_bootstrap(a, b, resamples=resamples, confidence=confidence, seed=seed)
    return Comparison(
        baseline=baseline,
        arm=arm,
        metric=metric,
        queries=len(shared),
        baseline_mean=float(a.mean()),
        arm_mean=float(b.mean()),
        difference=float((b - a).mean()),
        low=low,
        high=high,
        confidence=confidence,
        p_value=p,
        p_adjusted=p,
        comparisons=1,
        noise_floor=floor,
        effect_size=effect_size(a, b),
        wins=int((b > a).sum()),
        ties=int((b == a).sum()),
        losses=int((b < a).sum()),
        dropped_baseline=tuple(query for query in left if query not in right),
        dropped_arm=tuple(query for query in right if query not in left),
        resamples=resamples,
        seed=seed,
    )


def _differences(a: npt.ArrayLike, b: npt.ArrayLike) -> Floats:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape or len(left) < 2:
        raise DimensionError(
            message(f"shapes {left.shape} and {right.shape}", "two of (n,), n of 2 or more", "pair values by query")
        )
    d = right - left
    if not np.isfinite(d).all():
        bad = int(np.flatnonzero(~np.isfinite(d))[0])
        raise NonFiniteError(message(f"NaN or infinity at position {bad}", "finite values", "drop that query"))
    return d


def _blocks(resamples: int, n: int) -> list[tuple[int, int]]:
    step = max(1, _BLOCK_ELEMENTS // n)
    return [(start, min(start + step, resamples)) for start in range(0, resamples, step)]


def _open_fraction(value: float, name: str) -> float:
    value = check_fraction(value, name=name)
    if value in (0.0, 1.0):
        raise InputError(message(f"{name}={value:g}", "a number between 0 and 1", "use 0.95"))
    return value
