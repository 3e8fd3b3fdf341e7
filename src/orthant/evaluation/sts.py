"""Semantic textual similarity: whether an encoder's cosine ranks pairs of texts as people do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.evaluation.context import hash_data, run_context
from orthant.measures.correlation import pearson, spearman
from orthant.types import Encoder, Report, Role
from orthant.validate import as_texts, as_vectors

__all__ = ["evaluate_sts"]


def evaluate_sts(
    encoder: Encoder,
    first: Sequence[str],
    second: Sequence[str],
    scores: npt.ArrayLike,
    *,
    role: Role = "document",
    batch_size: int = 64,
    strict: bool = False,
    seed: int = 0,
) -> Report:
    """Correlate the cosine of paired texts with judged similarity; a quick check of an encoder, not of retrieval.

    Parameters
    ----------
    encoder : Encoder
        Encodes both sides.
    first, second : sequence of str, length n
        The two texts of each pair.
    scores : array-like of float, shape (n,)
        Judged similarity on any scale; larger is more similar.
    role : {"query", "document"}, default "document"
        Role of both sides, since the task is symmetric; only matters for encoders with prompts.
    batch_size : int, default 64
        Texts encoded at once.
    strict : bool, default False
        Refuse pairs with a zero vector instead of leaving them out and listing them.
    seed : int, default 0
        Recorded; nothing is drawn at random.

    Returns
    -------
    Report
        ``spearman`` and ``pearson``; ``missing`` lists the positions of pairs where the cosine is undefined.

    Raises
    ------
    DimensionError
        Sides or scores of different lengths.
    NonFiniteError
        NaN or infinity among scores or vectors.
    InputError
        Fewer than two usable pairs, or constant scores.

    References
    ----------
    Cer et al., SemEval-2017 task 1: semantic textual similarity, section 3.

    Examples
    --------
    >>> class Letters:
    ...     dim, fingerprint, max_tokens = 26, "letters", None
    ...     def encode(self, items, *, role="document", batch_size=64, progress=False):
    ...         return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in items], np.float32)
    >>> report = evaluate_sts(Letters(), ["ab", "ab", "ab", ""], ["ab", "ac", "cd", "a"], [5, 2, 0, 1])
    >>> round(report.metrics["spearman"], 4), report.missing
    (1.0, ['3'])
    """
    left, right = as_texts(first, name="first"), as_texts(second, name="second")
    truth = np.asarray(scores, dtype=np.float64)
    if not len(left) == len(right) == len(truth) or truth.ndim != 1:
        raise DimensionError(
            message(f"{len(left)} and {len(right)} texts and scores of shape {truth.shape}", "equal lengths", "pair up")
        )
    started = time.perf_counter()
    # Distinct texts once: pairs of a set share many.
    texts = list(dict.fromkeys([*left, *right]))
    vectors = as_vectors(encoder.encode(texts, role=role, batch_size=batch_size), dim=encoder.dim)
    place = {text: i for i, text in enumerate(texts)}
    a, b = (vectors[[place[text] for text in side]].astype(np.float64) for side in (left, right))
    seconds = time.perf_counter() - started
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    usable = norms > 0
    missing = [str(i) for i in np.flatnonzero(~usable)]
    if usable.sum() < 2 or (strict and missing):
        raise InputError(
            message(f"{len(missing)} of {len(left)} pairs with a zero vector", "a vector for every text",
                    "drop texts without known tokens, or pass strict=False")
        )  # fmt: skip
    cosines = (a[usable] * b[usable]).sum(1) / norms[usable]
    context: dict[str, Any] = run_context(seed=seed, data_hash=hash_data(left, right, truth)) | {
        "target": {"fingerprint": encoder.fingerprint, "max_tokens": encoder.max_tokens, "role": role,
                   "prompts": getattr(encoder, "prompts", None), "dtype": "float32"},
        "data": {"pairs": len(left), "pairs_used": int(usable.sum())},
        "seconds": seconds,
    }  # fmt: skip
    return Report(
        {"spearman": spearman(cosines, truth[usable]), "pearson": pearson(cosines, truth[usable])}, missing, context
    )
