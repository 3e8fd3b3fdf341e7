"""Groups of duplicates around the record that is kept, without chains of ever less similar records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from orthant.collection.results import Record
from orthant.errors import InputError, message
from orthant.types import IdArray

__all__ = ["Keep", "Linkage", "grouped", "keep_order"]

Keep = Literal["oldest", "newest", "longest"] | Callable[[Record], Any]
Linkage = Literal["kept", "components"]

RULES = ("oldest", "newest", "longest")


@dataclass(frozen=True)
class Grouping:
    """Positions of records in groups.

    Attributes
    ----------
    groups : list of list of int
        At least two positions each, the kept one first.
    components : int
        Connected components of the pairs.
    chained : int
        Components that did not hold together around one record and became several groups, or left a record alone.
    """

    groups: list[list[int]]
    components: int
    chained: int


def keep_order(records: Sequence[Record], keep: Keep, *, order_field: str | None = None) -> list[int]:
    """Return positions in the order in which records are preferred.

    Parameters
    ----------
    records : sequence of Record
        In insertion order.
    keep : {"oldest", "newest", "longest"} or callable of Record
        The rule. A function returns something to compare; the largest is kept.
    order_field : str, optional
        Metadata field that says what is old, for ``"oldest"`` and ``"newest"``; records without it come last.

    Returns
    -------
    list of int
        The most preferred first; equal ones in insertion order.

    Raises
    ------
    InputError
        Values that cannot be compared with each other.

    Examples
    --------
    >>> records = [Record("a", "short"), Record("b", "a longer text")]
    >>> keep_order(records, "longest"), keep_order(records, lambda record: record.id == "a")
    ([1, 0], [0, 1])
    """
    positions = list(range(len(records)))
    if keep == "oldest" and order_field is None:
        return positions
    if keep == "newest" and order_field is None:
        return positions[::-1]
    if keep == "longest":
        return sorted(positions, key=lambda i: -len(records[i].text or ""))
    try:
        if callable(keep):
            values = [keep(record) for record in records]
            return sorted(positions, key=values.__getitem__, reverse=True)
        held = [i for i in positions if records[i].metadata.get(str(order_field)) is not None]
        with_field = sorted(held, key=lambda i: records[i].metadata[str(order_field)], reverse=keep == "newest")
    except TypeError as error:
        raise InputError(
            message(
                f"values to order by that cannot be compared: {error}",
                "numbers only, or texts such as ISO dates only",
                "use another order_field, or a function that returns one kind of value",
            )
        ) from error
    known = set(held)
    return with_field + [i for i in positions if i not in known]


def grouped(
    nodes: IdArray, left: IdArray, right: IdArray, order: Sequence[int], *, linkage: Linkage = "kept"
) -> Grouping:
    """Return the groups that pairs make of records.

    Parameters
    ----------
    nodes : ndarray of shape (n,), int64
        Node of each record; records of one node are copies of each other.
    left, right : ndarray of shape (m,), int64
        Pairs of nodes.
    order : sequence of int
        Records, the most preferred first.
    linkage : {"kept", "components"}, default "kept"
        ``"kept"`` takes into a group only what is paired with its kept record. ``"components"`` follows pairs as far
        as they lead, so the ends of a chain may have nothing in common.

    Returns
    -------
    Grouping
        Groups in the order of their kept records.

    Notes
    -----
    Under ``"kept"``, every record that is no duplicate of a kept one is kept itself. Cost: linear in pairs and records.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(nodes.max()) + 1 if len(nodes) else 0
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    labels = connected_components(graph, directed=False)[1] if count else np.zeros(0, np.int64)
    component = labels[nodes]
    sizes = np.bincount(component, minlength=1)
    neighbours: Mapping[int, list[int]]
    if linkage == "components":
        nodes, neighbours = component, {}
    else:
        neighbours = _neighbours(left, right)
    members: dict[int, list[int]] = {}
    for i in order:
        members.setdefault(int(nodes[i]), []).append(i)
    taken = np.zeros(len(nodes), dtype=bool)
    groups: list[list[int]] = []
    for i in order:
        if taken[i]:
            continue
        own = int(nodes[i])
        near = [j for node in (own, *neighbours.get(own, ())) for j in members.pop(node, ()) if j != i]
        taken[near], taken[i] = True, True
        if near:
            groups.append([i, *near])
    whole = {int(component[group[0]]) for group in groups if len(group) == sizes[component[group[0]]]}
    components = int(np.count_nonzero(sizes > 1))
    return Grouping(groups, components, components - len(whole))


def _neighbours(left: IdArray, right: IdArray) -> dict[int, list[int]]:
    out: dict[int, list[int]] = {}
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        out.setdefault(a, []).append(b)
        out.setdefault(b, []).append(a)
    return out
