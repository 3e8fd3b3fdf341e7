"""Queries of the form "this, but ...": the difference that a prompt makes, added as far as wanted."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message, warn
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_fraction

__all__ = ["PromptDirection"]

_REACH = 5.0
_ALPHAS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
_BETAS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True)
class PromptDirection:
    """Compose a query from a description without and with a change, and a picture where there is one.

    Use it on any encoder with one space for both kinds, without training: the change is a direction, and three numbers
    say how strongly it acts and how much of the picture is kept. Not for encoders whose texts and pictures are not
    compared with each other.

    Parameters
    ----------
    alpha_text : float, default 1.0
        How far the text moves: 1 is the changed text itself, more exaggerates, less attenuates, below 0 turns the
        change around, from -5 to 5. Far above 1 the query leaves what encoders produce.
    alpha_image : float, default 1.0
        The same for the picture's vector.
    beta : float, default 0.5
        Share of the text in the blend, from 0 (picture only) to 1 (text only).

    Raises
    ------
    InputError
        A number out of range.

    Notes
    -----
    With unit vectors t (description), p (the same with the change) and v (picture), and ``delta = p - t``::

        text = t + alpha_text delta        picture = v + alpha_image delta
        query = unit((1 - beta) picture + beta text)

    Only the three inputs and the result have length 1; what lies between is not normalised. Write t and p with one
    template, or the templates' difference is part of the direction. Leave the picture itself out of the hits. Cost:
    O(n d).

    References
    ----------
    Tursun, Kalkan, Denman, Fookes: PDV: Prompt directional vectors for zero-shot composed image retrieval.
    arXiv:2502.07215, section 3.

    Examples
    --------
    >>> made = PromptDirection(alpha_image=1.0, beta=0.0)
    >>> made.compose([1, 0, 0], [0, 1, 0], image=[1, 0, 0]).round(3).tolist()
    [0.0, 1.0, 0.0]
    """

    alpha_text: float = 1.0
    alpha_image: float = 1.0
    beta: float = 0.5

    def __post_init__(self) -> None:
        for name in ("alpha_text", "alpha_image"):
            check_fraction(getattr(self, name), name=name, low=-_REACH, high=_REACH)
        check_fraction(self.beta, name="beta")

    def compose(self, text: npt.ArrayLike, changed: npt.ArrayLike, *, image: npt.ArrayLike | None = None) -> FloatArray:
        """Return query vectors.

        Parameters
        ----------
        text : array-like of shape (n, d) or (d,)
            Vectors of the descriptions without the change.
        changed : array-like of shape (n, d) or (d,)
            Vectors of the same descriptions with it.
        image : array-like of shape (n, d) or (d,), optional
            Vectors of the pictures; left out, the text alone is moved, and ``beta`` and ``alpha_image`` do nothing.

        Returns
        -------
        ndarray of the inputs' shape, float32
            Of length 1.

        Raises
        ------
        DimensionError
            Inputs of different shapes: they are of different encoders or of different lists.
        InputError
            A vector without direction, or parts that cancel each other.

        Warns
        -----
        UserWarning
            A change that changes nothing: the query is then the description, or its blend with the picture.
        """
        t, p = _unit(text, "text"), _unit(changed, "changed")
        v = None if image is None else _unit(image, "image")
        for name, other in (("changed", p), ("image", t if v is None else v)):
            if other.shape != t.shape:
                given = f"text of shape {t.shape} and {name} of shape {other.shape}"
                raise DimensionError(message(given, "one shape", "encode both with one encoder, one row per query"))
        delta = p - t
        still = ~np.any(np.abs(delta) > 1e-7, axis=1)
        if still.any():
            warn(f"the change moves {int(still.sum())} of {len(t)} queries nowhere")
        out = t + self.alpha_text * delta
        if v is not None:
            out = (1.0 - self.beta) * (v + self.alpha_image * delta) + self.beta * out
        size = np.linalg.norm(out, axis=1, keepdims=True)
        if not np.all(size > 1e-6):
            raise InputError(message("parts that cancel each other", "a query with a direction", "change the weights"))
        out = (out / size).astype(np.float32)
        return out[0] if np.ndim(text) == 1 else out

    def tuned(
        self,
        text: npt.ArrayLike,
        changed: npt.ArrayLike,
        gallery: npt.ArrayLike,
        answers: Sequence[int] | npt.NDArray[np.int64],
        *,
        image: npt.ArrayLike | None = None,
        leave_out: Sequence[int] | npt.NDArray[np.int64] | None = None,
    ) -> PromptDirection:
        """Choose the three numbers on queries whose answer is known; judge them on others.

        Parameters
        ----------
        text, changed : array-like of shape (n, d)
            As for ``compose``.
        gallery : array-like of shape (m, d)
            What is searched.
        answers : sequence of int, length n
            Row of the gallery that each query should find.
        image : array-like of shape (n, d), optional
            As for ``compose``.
        leave_out : sequence of int, length n, optional
            Row of the gallery that is each query's own picture, and is not to be found.

        Returns
        -------
        PromptDirection
            With the largest mean reciprocal rank on a grid of up to 180 settings; of equals, the first.

        Raises
        ------
        InputError
            Answers that are no rows of the gallery, or of another number.
        """
        rows = _unit(gallery, "gallery")
        asked = len(as_vectors(text, name="text"))
        places = _places(answers, asked, len(rows), "answers")
        own = None if leave_out is None else _places(leave_out, asked, len(rows), "leave_out")
        grid = itertools.product(_ALPHAS, (self.alpha_image,) if image is None else _ALPHAS, _BETAS)
        tried = [replace(self, alpha_text=a, alpha_image=b, beta=c) for a, b, c in grid if image is not None or c == 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return max(
                tried, key=lambda one: _reciprocal(one.compose(text, changed, image=image) @ rows.T, places, own)
            )


def _unit(X: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    rows = as_vectors(X, name=name, nonzero=True, single=True).astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _places(given: Sequence[int] | npt.NDArray[np.int64], asked: int, rows: int, name: str) -> npt.NDArray[np.int64]:
    places = np.asarray(given)
    if places.shape != (asked,) or places.dtype.kind not in "iu" or not (asked and places.min() >= 0):
        raise InputError(message(f"{name} of shape {places.shape} for {asked} queries", "a row each", "pass one each"))
    if places.max() >= rows:
        raise InputError(message(f"{name} up to {places.max()}", f"rows below {rows}", "number rows of the gallery"))
    return places.astype(np.int64)


def _reciprocal(scores: npt.NDArray[Any], places: npt.NDArray[np.int64], own: npt.NDArray[np.int64] | None) -> float:
    """Mean reciprocal rank; what scores as high as the answer is counted before it."""
    index = np.arange(len(scores))
    if own is not None:
        scores[index, own] = -np.inf
    return float((1.0 / (scores >= scores[index, places][:, None]).sum(axis=1)).mean())
