"""Whether a record is missing because the query was moved off it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from orthant.collection.dense import dense_index
from orthant.collection.insight.outcome import Change, Step
from orthant.collection.insight.trying import Trying
from orthant.collection.searching import Query, execute
from orthant.collection.storage.store import Store

__all__ = ["Steered", "moved_out"]

_SHARES = (0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Steered:
    """A query that was moved.

    Attributes
    ----------
    wishes : mapping of str to object
        As in ``Collection.search``.
    ask : callable of (mapping or None)
        The query moved by other wishes; None leaves it where it is.
    """

    wishes: Mapping[str, Any]
    ask: Callable[[Mapping[str, Any] | None], Query]


def moved_out(inquiry: Trying, steered: Steered) -> bool:
    """Search without steering, and say whether that brings the record in; weaker steering is tried as well.

    Parameters
    ----------
    inquiry : Trying
        With its record; gets a step, and the changes that work.
    steered : Steered
        How the query was moved.

    Returns
    -------
    bool
        True where steering dropped it.
    """
    plain = steered.ask(None)
    rank = _rank(inquiry, plain)
    details = {"rank_without": rank, **_scores(inquiry, plain)}
    inquiry.steps.append(Step("steering", rank is None, details))
    if rank is None:
        return False
    strength = float(steered.wishes.get("strength", 1.0))
    for share in _SHARES:
        weaker = {**{name: _plain(value) for name, value in steered.wishes.items()}, "strength": share * strength}
        found = _rank(inquiry, steered.ask(weaker))
        if found is not None:
            inquiry.changes.append(Change({"steer": weaker}, found))
            break
    inquiry.changes.append(Change({"steer": None}, rank))
    return True


def _rank(inquiry: Trying, query: Query) -> int | None:
    result = execute(cast(Store, inquiry.store), [query], inquiry.options, encode_seconds=0.0)[0]
    hit = inquiry.hit(result)
    return None if hit is None else hit.rank


def _scores(inquiry: Trying, plain: Query) -> dict[str, float]:
    """The record's score by its vector, as the query is and as it would be; nothing where it has none."""
    space = inquiry.options.space
    if space is None or space not in inquiry.now.spaces or plain.vector is None or inquiry.query.vector is None:
        return {}
    index = dense_index(inquiry.now, space)
    row = np.array([inquiry.row], dtype=np.int64)
    scores = [float(index.score_ids(vector, row)[0]) for vector in (inquiry.query.vector, plain.vector)]
    return dict(zip(("score", "score_without"), scores, strict=True)) if np.isfinite(scores).all() else {}


def _plain(value: Any) -> Any:
    """Wishes as JSON has them."""
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(one) for one in value]
