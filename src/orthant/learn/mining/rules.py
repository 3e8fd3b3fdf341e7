"""Which candidates may become negatives: rules over ranks and scores, and the reason each rejection carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["MiningRules", "Reason", "apply_rules", "duplicate_mask", "sample_survivors"]

Sampling = Literal["top", "random", "spread"]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]


class Reason(IntEnum):
    """Why a candidate is not a negative; the first that applies, in this order, is the one recorded."""

    CHOSEN = 0
    RELEVANT = 1
    SAME_TEXT_AS_QUERY = 2
    SAME_TEXT_AS_RELEVANT = 3
    SAME_GROUP = 4
    REPEATED_TEXT = 5
    QUERY_DROPPED = 6
    BELOW_RANKS = 7
    BEYOND_RANKS = 8
    ABSOLUTE_MARGIN = 9
    RELATIVE_MARGIN = 10
    PERCENTILE_MARGIN = 11
    ABOVE_MAX_SCORE = 12
    BELOW_MIN_SCORE = 13
    NOT_SAMPLED = 14
    NO_CANDIDATE = 255

    @property
    def label(self) -> str:
        """The reason in words."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class MiningRules:
    """What a mined negative must satisfy, and how many are taken.

    Parameters
    ----------
    num_negatives : int, default 3
        Negatives per query. Where fewer survive, fewer are returned and counted.
    sampling : {"top", "random", "spread"}, default "top"
        The best-scored survivors; a uniform draw; or survivors at even steps from the best to the worst.
    ranks : (int, int), default (0, 50)
        First and one past the last rank that may be taken, 0 for the best, counted over candidates that are neither
        relevant nor excluded. Too small a first rank meets unjudged relevant texts, too large a last one easy texts.
    absolute_margin : float, optional
        Keep ``s(n) < s(p) - margin``; from 0.
    relative_margin : float, optional
        Keep ``s(n) < s(p) - margin |s(p)|``, that is ``s(n) < (1 - margin) s(p)`` for a positive score; from 0 to 1.
        0.05 is a good start. Meaningless for scores without a zero, such as minus a squared distance.
    percentile_margin : float, optional
        Keep candidates below this percentile, 0 to 100, of the scores that all positives have: 25 rejects what scores
        like three of four true answers. Lower is stricter.
    max_score, min_score : float, optional
        Keep scores from ``min_score`` to ``max_score``.

    Raises
    ------
    InputError
        A value out of its range, ranks that hold fewer candidates than ``num_negatives``, or bounds that cross.

    Notes
    -----
    ``s(p)`` is the smallest score among the query's positives, so the strictest of the margins is used.

    References
    ----------
    Moreira et al., NV-Retriever: Improving text embedding models with effective hard-negative mining,
    arXiv:2407.15831, section 3.2 (TopK-MarginPos, TopK-PercPos); LG-ANNA-Embedding technical report, arXiv:2506.07438,
    section on adaptive margin mining.

    Examples
    --------
    >>> MiningRules(num_negatives=7, relative_margin=0.05).ranks
    (0, 50)
    """

    num_negatives: int = 3
    sampling: Sampling = "top"
    ranks: tuple[int, int] = (0, 50)
    absolute_margin: float | None = None
    relative_margin: float | None = None
    percentile_margin: float | None = None
    max_score: float | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        check_count(self.num_negatives, name="num_negatives")
        check_choice(self.sampling, ("top", "random", "spread"), name="sampling")
        if isinstance(self.ranks, int) or len(self.ranks) != 2:
            raise InputError(message(f"ranks={self.ranks!r}", "(first, one past the last)", "pass (0, 50)"))
        first = check_count(self.ranks[0], name="ranks[0]", minimum=0)
        check_count(self.ranks[1], name="ranks[1]", minimum=first + 1)
        if self.ranks[1] - first < self.num_negatives:
            raise InputError(
                message(
                    f"num_negatives={self.num_negatives} from the {self.ranks[1] - first} ranks of {self.ranks}",
                    "at least as many ranks as negatives",
                    "widen ranks or take fewer",
                )
            )
        for name, high in (
            ("absolute_margin", np.finfo(np.float32).max),
            ("relative_margin", 1),
            ("percentile_margin", 100),
        ):
            value = getattr(self, name)
            if value is not None:
                check_fraction(value, name=name, high=float(high))
        for name in ("max_score", "min_score"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise InputError(message(f"{name}={value}", "a finite score", "leave it out for no bound"))
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise InputError(
                message(f"min_score={self.min_score} above max_score={self.max_score}", "bounds in order", "swap them")
            )


def duplicate_mask(keys: npt.NDArray[np.int64], eligible: Mask) -> Mask:
    """Mark candidates whose text an earlier eligible candidate of the same query has.

    Parameters
    ----------
    keys : ndarray of shape (q, k), int64
        Number of each candidate's text.
    eligible : ndarray of shape (q, k), bool
        Candidates that count.

    Returns
    -------
    ndarray of shape (q, k), bool
        The copies; the best-ranked of each text is not marked.
    """
    out = np.zeros_like(eligible)
    for row, (found, mask) in enumerate(zip(keys, eligible, strict=True)):
        places = np.flatnonzero(mask)
        _, first = np.unique(found[places], return_index=True)
        if len(first) < len(places):
            out[row, places] = True
            out[row, places[first]] = False
    return out


def apply_rules(
    rules: MiningRules,
    scores: FloatArray,
    codes: Codes,
    *,
    positive_scores: FloatArray,
    percentile_score: float | None = None,
) -> Codes:
    """Give every candidate that a rule rejects its reason.

    Parameters
    ----------
    rules : MiningRules
        The rules.
    scores : ndarray of shape (q, k), float32
        Non-increasing along a row.
    codes : ndarray of shape (q, k), uint8
        ``Reason`` of candidates that are out already, ``CHOSEN`` for the others.
    positive_scores : ndarray of shape (q,), float32
        Smallest score among each query's positives; read by margins only.
    percentile_score : float, optional
        Score at the percentile margin.

    Returns
    -------
    ndarray of shape (q, k), uint8
        A copy of ``codes`` with reasons filled in; survivors stay ``CHOSEN``.
    """
    out = codes.copy()
    rank = np.cumsum(out == Reason.CHOSEN, axis=1) - 1
    own = positive_scores.astype(np.float64)[:, None]
    values = scores.astype(np.float64)
    tests: list[tuple[Reason, Mask]] = [
        (Reason.BELOW_RANKS, rank < rules.ranks[0]),
        (Reason.BEYOND_RANKS, rank >= rules.ranks[1]),
    ]
    if rules.absolute_margin is not None:
        tests.append((Reason.ABSOLUTE_MARGIN, ~(values < own - rules.absolute_margin)))
    if rules.relative_margin is not None:
        tests.append((Reason.RELATIVE_MARGIN, ~(values < own - rules.relative_margin * np.abs(own))))
    if percentile_score is not None:
        tests.append((Reason.PERCENTILE_MARGIN, ~(values < percentile_score)))
    if rules.max_score is not None:
        tests.append((Reason.ABOVE_MAX_SCORE, values > rules.max_score))
    if rules.min_score is not None:
        tests.append((Reason.BELOW_MIN_SCORE, values < rules.min_score))
    for reason, rejected in tests:
        out[(out == Reason.CHOSEN) & rejected] = reason
    return out


def sample_survivors(rules: MiningRules, codes: Codes, *, seed: int) -> Codes:
    """Take at most ``num_negatives`` survivors of each query; the others become ``NOT_SAMPLED``.

    Parameters
    ----------
    rules : MiningRules
        Count and way of sampling.
    codes : ndarray of shape (q, k), uint8
        As ``apply_rules`` returns them.
    seed : int
        Of random draws; a query's draw depends on seed and row only, not on the other queries.

    Returns
    -------
    ndarray of shape (q, k), uint8
        A copy with exactly the chosen candidates as ``CHOSEN``.
    """
    out = codes.copy()
    wanted = rules.num_negatives
    for row in np.flatnonzero((codes == Reason.CHOSEN).sum(axis=1) > wanted):
        places = np.flatnonzero(codes[row] == Reason.CHOSEN)
        if rules.sampling == "top":
            kept = places[:wanted]
        elif rules.sampling == "spread":
            kept = places[np.round(np.linspace(0, len(places) - 1, wanted)).astype(np.int64)]
        else:
            kept = np.random.default_rng((seed, int(row))).choice(places, size=wanted, replace=False)
        out[row, places] = Reason.NOT_SAMPLED
        out[row, kept] = Reason.CHOSEN
    return out
