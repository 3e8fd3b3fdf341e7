"""Token states to one vector per window, in one place for every backend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.types import FloatArray

__all__ = ["POOLINGS", "pool"]

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""The modes of sentence-transformers, by its names."""


def pool(
    states: FloatArray,
    mask: npt.NDArray[np.int64],
    *,
    pooling: str,
    counted: npt.NDArray[np.int64] | None = None,
) -> FloatArray:
    """Turn token states into one vector per window, padding left out.

    Parameters
    ----------
    states : ndarray of shape (n, t, d), float32
        Token states.
    mask : ndarray of shape (n, t), int64
        1 for tokens, 0 for padding, on either side.
    pooling : str
        One of ``POOLINGS``, or several with ``"+"`` between them, whose results are put side by side: average, first
        or last token, largest value per column, sum over the square root of the length, or an average in which token
        i counts i times.
    counted : ndarray of shape (n, t), int64, optional
        1 for the tokens that take part, where a prompt is left out; left out, all of ``mask``.

    Returns
    -------
    ndarray of shape (n, modes * d), float32
        Not normalised.

    References
    ----------
    N. Reimers, I. Gurevych: Sentence-BERT, arXiv:1908.10084, section 3 (mean, max, first token).
    N. Muennighoff: SGPT, arXiv:2202.08904, section 4.1.1 (the average weighted by position).

    Examples
    --------
    >>> states = np.array([[[1.0], [3.0], [99.0]]], dtype=np.float32)
    >>> pool(states, np.array([[1, 1, 0]]), pooling="mean")
    array([[2.]], dtype=float32)
    >>> pool(states, np.array([[1, 1, 0]]), pooling="max+cls")
    array([[3., 1.]], dtype=float32)
    """
    kept = mask if counted is None else counted
    parts = [_pooled(states, mask, kept, mode) for mode in pooling.split("+")]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _pooled(states: FloatArray, mask: npt.NDArray[np.int64], kept: npt.NDArray[np.int64], mode: str) -> FloatArray:
    if mode == "cls":
        return states[np.arange(len(states)), kept.argmax(axis=1)]
    if mode == "lasttoken":
        return states[np.arange(len(states)), kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)]
    if mode == "max":
        return np.where(kept[:, :, None] > 0, states, np.float32(-np.inf)).max(axis=1)
    weights = kept.astype(np.float32)
    if mode == "weightedmean":
        # Positions are those among all tokens, so a prompt that is left out still moves the others back.
        places = np.arange(1, kept.shape[1] + 1) - mask.argmax(axis=1)[:, None]
        weights *= places.astype(np.float32)
    # One small product per row: no masked copy of the states.
    total = (weights[:, None, :] @ states)[:, 0, :]
    count = np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-9))
    return total / (np.sqrt(count) if mode == "mean_sqrt_len_tokens" else count)
