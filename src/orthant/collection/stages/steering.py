"""Queries moved towards some things and off others, before the dense leg runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.composed.prompt_direction import PromptDirection
from orthant.errors import InputError, message
from orthant.transforms.subspace import SubspaceProjection
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_fraction

if TYPE_CHECKING:
    from orthant.collection.searching import Query
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.generation import Generation

__all__ = ["Steering", "check_steering", "steer_vectors", "steered"]

_KEYS = ("toward", "instead_of", "away", "strength")
_MOST = 2.0
_ENERGY_LOST = 0.9


@dataclass(frozen=True)
class Steering:
    """Checked wishes; see ``Collection.search`` for their meaning.

    Attributes
    ----------
    toward, instead_of, away : sequence of str or array-like of shape (dim,)
        Texts or vectors.
    strength : float
        From 0 to 2.
    """

    toward: Sequence[Any]
    instead_of: Sequence[Any]
    away: Sequence[Any]
    strength: float


def check_steering(given: Mapping[str, Any]) -> Steering:
    """Check what a query is to be moved by.

    Parameters
    ----------
    given : mapping
        As in ``Collection.search``.

    Returns
    -------
    Steering
        The wishes.

    Raises
    ------
    InputError
        An unknown key, neither ``toward`` nor ``away``, or a strength out of range.
    """
    if not isinstance(given, Mapping):
        raise InputError(message(f"steer={given!r}", "a mapping", "write steer={'away': ['...']}"))
    unknown = next((name for name in given if name not in _KEYS), None)
    if unknown is not None:
        raise InputError(message(f"{unknown!r} in steer", f"of {', '.join(_KEYS)}", "correct the key"))
    toward, instead_of, away = (_items(given.get(name), name) for name in _KEYS[:3])
    strength = check_fraction(given.get("strength", 1.0), name="steer['strength']", high=_MOST)
    made = Steering(toward, instead_of, away, strength)
    if not made.toward and not made.away:
        raise InputError(message("steer without 'toward' and 'away'", "one of them", "name what is wanted or not"))
    if made.instead_of and not made.toward:
        raise InputError(message("'instead_of' without 'toward'", "both: a direction from one to the other", "add it"))
    return made


def _items(given: Any, name: str) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str) or (isinstance(given, np.ndarray) and given.ndim == 1):
        given = [given]
    try:
        items = list(given)
    except TypeError as error:
        raise InputError(message(f"steer[{name!r}]={given!r}", "texts or vectors", "pass a list")) from error
    if items and all(isinstance(item, (int, float, np.number)) for item in items):
        # One vector, written as a list of its numbers.
        items = [np.asarray(items, dtype=np.float32)]
    blank = next((item for item in items if isinstance(item, str) and not item.strip()), None)
    if blank is not None:
        raise InputError(message(f"an empty text in steer[{name!r}]", "a text with a word", "pass some words"))
    return items


def steer_vectors(
    Q: npt.ArrayLike,
    *,
    toward: npt.ArrayLike | None = None,
    instead_of: npt.ArrayLike | None = None,
    away: npt.ArrayLike | None = None,
    strength: float = 1.0,
) -> FloatArray:
    """Return query vectors moved off some directions and then towards others.

    Parameters
    ----------
    Q : array-like of shape (q, d)
        Queries.
    toward : array-like of shape (t, d), optional
        What is wanted besides.
    instead_of : array-like of shape (s, d), optional
        What the query has in its place: the direction is the difference of the two means.
    away : array-like of shape (a, d), optional
        What is not: its span is taken out, so that only what lies across it counts.
    strength : float, default 1.0
        0 changes nothing, 2 is the most. Of ``away``: the share that is taken out; above 1 what was there is turned
        around. Of ``toward``: its length beside the query's.

    Returns
    -------
    ndarray of shape (q, d), float32
        Of the queries' lengths.

    Raises
    ------
    InputError
        A query that lies almost wholly in what is taken out, or parts that cancel.

    Notes
    -----
    With unit rows q, B an orthonormal basis of ``away``, and p and o the unit means of the other two::

        q1 = unit(q - strength B^T B q)
        q2 = unit(q1 + strength p)      or, with o,      unit(q1 + strength (p - o))

    Cost: O((q + a) d a).

    References
    ----------
    Jang et al.: DECOR, arXiv:2412.09169, section 4 (taking out). Tursun et al.: PDV, arXiv:2502.07215, section 3
    (difference of two).

    Examples
    --------
    >>> steer_vectors([[3.0, 4.0]], away=[[0.0, 1.0]]).tolist()
    [[5.0, 0.0]]
    """
    check_fraction(strength, name="strength", high=_MOST)
    rows = as_vectors(Q, name="query vector", nonzero=True).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / lengths
    if away is not None and strength > 0:
        directions = _unit(away, "steer['away']")
        full = SubspaceProjection.from_directions(directions).transform(rows)
        lost = 1.0 - (full.astype(np.float64) ** 2).sum(axis=1)
        if lost.max() > _ENERGY_LOST:
            given = f"query {int(lost.argmax())}, of which {100 * lost.max():.0f} % lies in steer['away']"
            raise InputError(message(given, f"at most {100 * _ENERGY_LOST:.0f} %", "ask for something else besides"))
        rows = (1.0 - strength) * rows + strength * full
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if toward is not None:
        goal = np.repeat(_mean(toward, "steer['toward']"), len(rows), axis=0)
        if instead_of is not None:
            start = np.repeat(_mean(instead_of, "steer['instead_of']"), len(rows), axis=0)
            made = PromptDirection(alpha_image=strength, beta=0.0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows = made.compose(start, goal, image=rows).astype(np.float64)
        else:
            rows = rows + strength * goal
            size = np.linalg.norm(rows, axis=1, keepdims=True)
            if size.min() < 1e-6:
                raise InputError(message("steer['toward'] that cancels the query", "another", "lower the strength"))
            rows /= size
    return (rows * lengths).astype(np.float32)


def _unit(X: npt.ArrayLike, name: str) -> FloatArray:
    rows = as_vectors(X, name=name, nonzero=True, single=True).astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _mean(X: npt.ArrayLike, name: str) -> FloatArray:
    return _unit(_unit(X, name).mean(axis=0, keepdims=True), f"mean of {name}")


def steered(
    queries: list[Query], given: Mapping[str, Any] | None, now: Generation, space: str | None, encoders: SpaceEncoders
) -> list[Query]:
    """Return queries whose vectors were moved.

    Parameters
    ----------
    queries : list of Query
        Encoded by the space's encoder.
    given : mapping or None
        What to move them by.
    now : Generation
        What the search was prepared for.
    space : str or None
        The space; None where no vectors are searched.
    encoders : SpaceEncoders
        Encode texts among the wishes, as queries.

    Returns
    -------
    list of Query
        The same list where nothing was asked; queries without a vector stay as they are.

    Raises
    ------
    InputError
        Wishes that cannot be met: no vectors are searched, or the space is searched by l2, where directions from the
        origin mean nothing.
    """
    if given is None:
        return queries
    wishes = check_steering(given)
    if space is None:
        raise InputError(message("steer= without a dense leg", "a search by vectors", "leave it out"))
    state = now.spaces.get(space)
    if state is not None and state.definition.metric == "l2":
        expected = "a space of the metric cosine or dot, where directions mean something"
        raise InputError(message("steer= in a space searched by l2", expected, "use similar with examples"))
    dim = None if state is None else state.definition.dim
    places = [i for i, query in enumerate(queries) if query.vector is not None]
    if not places:
        return queries
    parts = {
        name: _vectors(getattr(wishes, name), name, space, dim, encoders) if getattr(wishes, name) else None
        for name in _KEYS[:3]
    }
    moved = steer_vectors(np.stack([queries[i].vector for i in places]), strength=wishes.strength, **parts)  # type: ignore[misc]
    out = list(queries)
    for i, vector in zip(places, moved, strict=True):
        out[i] = replace(queries[i], vector=vector)
    return out


def _vectors(items: Sequence[Any], name: str, space: str, dim: int | None, encoders: SpaceEncoders) -> FloatArray:
    texts = [item for item in items if isinstance(item, str)]
    given = [item for item in items if not isinstance(item, str)]
    parts = [as_vectors(given, dim=dim, name=f"vectors in steer[{name!r}]", nonzero=True)] if given else []
    if texts:
        found = np.asarray(encoders.require(space).encode(texts, role="query"), dtype=np.float32)
        empty = next((text for text, row in zip(texts, found, strict=True) if not row.any()), None)
        if empty is not None:
            given_text = f"{empty!r} in steer[{name!r}], of which the encoder knows no token"
            raise InputError(message(given_text, "a text that has a vector", "use other words"))
        parts.append(found)
    return np.concatenate(parts)
