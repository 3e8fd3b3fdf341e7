"""Texts in the order in which they answer a query, by a reranker or by the vectors of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.stages.rerankers import checked_scores
from orthant.encoders.late_interaction.reranker import MaxSimReranker
from orthant.errors import InputError, message
from orthant.transforms.alignment.spaces import unit_rows

__all__ = ["check_documents", "rank"]


def check_documents(given: Sequence[Any]) -> list[str]:
    """Return the texts of documents.

    Parameters
    ----------
    given : sequence of str or of mapping with ``text``
        What stands under ``documents``.

    Returns
    -------
    list of str
        At least one.

    Raises
    ------
    InputError
        None at all, or one without a text.

    Examples
    --------
    >>> check_documents(["a", {"text": "b"}])
    ['a', 'b']
    """
    if not given:
        raise InputError(message("no documents", "at least one", "send some"))
    texts: list[Any] = [one.get("text") if isinstance(one, dict) else one for one in given]
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(message(f"document {place} without a text", "a text, or {'text': ...}", "send texts"))
    return texts


def rank(model: Any, query: str, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the order of texts for a query, best first.

    Parameters
    ----------
    model : Reranker, TokenEncoder or Encoder
        What reads query and text together, what compares them token by token, or what makes a vector of each; then the
        score is the cosine.
    query : str
        The question.
    texts : sequence of m str
        What may answer it.

    Returns
    -------
    order : ndarray of shape (m,), int64
        Positions; equal scores keep the order in which they were given.
    scores : ndarray of shape (m,), float64
        In that order, larger is better; comparable for one query and model only.

    Raises
    ------
    RerankError
        The reranker gave no usable score.

    Examples
    --------
    >>> from orthant.encoders.registry import load_encoder
    >>> rank(load_encoder("static"), "a boat", ["interest rates", "a ship at sea"])[0].tolist()
    [1, 0]
    """
    if callable(getattr(model, "encode_tokens", None)) and not callable(getattr(model, "encode", None)):
        model = MaxSimReranker(model)
    if callable(getattr(model, "score", None)):
        scores = checked_scores(model, query, texts)
    else:
        asked, found = model.encode([query], role="query"), model.encode(list(texts), role="document")
        scores = (unit_rows(found) @ unit_rows(asked)[0]).astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    return order, scores[order]
