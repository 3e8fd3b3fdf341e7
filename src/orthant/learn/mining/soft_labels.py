"""A teacher's opinion of a positive and its negatives: scores and distributions to distil from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NonFiniteError, message
from orthant.learn.mining.mined import MinedNegatives
from orthant.types import FloatArray, Reranker
from orthant.validate import check_fraction

__all__ = ["soft_labels", "teacher_distribution"]


def teacher_distribution(scores: npt.ArrayLike, *, temperature: float = 1.0) -> FloatArray:
    """Turn a teacher's scores into a distribution over each query's candidates.

    Parameters
    ----------
    scores : array-like of shape (q, m) or (m,)
        Scores; -inf for a candidate that is absent.
    temperature : float, default 1.0
        Above 0. Smaller sharpens towards the best candidate, larger flattens. Fused scores lie in 0..1, where 1 is
        nearly flat: take 0.05 to 0.2 for them.

    Returns
    -------
    ndarray of the same shape, float32
        Non-negative, sum 1 along the last axis.

    Raises
    ------
    InputError, NonFiniteError
        A temperature not above 0, NaN, or a query without a candidate.

    Notes
    -----
    ``p_j = exp(s_j / T) / sum_k exp(s_k / T)``, computed in float64 after the largest score is taken off.

    References
    ----------
    LG-ANNA-Embedding technical report, arXiv:2506.07438, section on soft labels.

    Examples
    --------
    >>> print(teacher_distribution([1.0, 0.0], temperature=0.5).round(4))
    [0.8808 0.1192]
    """
    temperature = check_fraction(temperature, name="temperature", low=1e-9, high=1e9)
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any() or np.isposinf(values).any():
        raise NonFiniteError(
            message("teacher scores with NaN or infinity", "numbers, or -inf for absent", "correct them")
        )
    top = np.max(values, axis=-1, keepdims=True, initial=-np.inf)
    if np.isneginf(top).any():
        raise InputError(message("a query without a candidate", "at least one score", "drop that query"))
    weights = np.exp((values - top) / temperature)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)


def soft_labels(
    mined: MinedNegatives, teacher: Reranker, *, temperature: float | None = None
) -> dict[tuple[int, int], list[float]]:
    """Let a teacher score each positive with the negatives that were mined for it.

    Parameters
    ----------
    mined : MinedNegatives
        What mining gave.
    teacher : Reranker
        Scores texts; a ``FusedTeacher``, a cross-encoder.
    temperature : float, optional
        Turn the scores into a distribution at this temperature. Left out, raw scores are returned, for a loss that has
        a temperature of its own (sentence-transformers' ``DistillKLDivLoss``).

    Returns
    -------
    dict of (int, int) to list of float
        By (query, positive id): the positive's value, then the negatives' in the order of ``mined.ids``. For
        ``MinedNegatives.to_rows(labels=...)``.

    Raises
    ------
    InputError, NonFiniteError
        Scores of another length, or that are not finite.
    """
    labels: dict[tuple[int, int], list[float]] = {}
    for row, negatives in enumerate(mined.ids):
        for positive in mined.positives[row]:
            texts = [mined.texts[i] for i in (positive, *negatives.tolist())]
            scores = np.asarray(teacher.score(mined.queries[row], texts), dtype=np.float64)
            if scores.shape != (len(texts),):
                raise InputError(
                    message(f"teacher scores of shape {scores.shape}", f"({len(texts)},)", "return one per text")
                )
            if not np.isfinite(scores).all():
                raise NonFiniteError(
                    message(f"a teacher score that is not finite, for query {row}", "numbers", "correct it")
                )
            values = scores if temperature is None else teacher_distribution(scores, temperature=temperature)
            labels[row, positive] = values.tolist()
    return labels
