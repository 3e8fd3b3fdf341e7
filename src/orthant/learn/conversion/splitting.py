"""Splits in which no document, module or near-copy stands on two sides, and a check that names what does."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthant.errors import InputError, message
from orthant.learn.conversion.tables import PairTable
from orthant.learn.conversion.texts import column_texts, text_key
from orthant.validate import check_fraction

__all__ = ["Leak", "check_leakage", "deduplicate", "find_leaks", "split_by_group"]

Row = dict[str, Any]


class _Sets:
    """Disjoint sets of keys, joined one by one."""

    def __init__(self) -> None:
        self._parent: dict[Any, Any] = {}

    def find(self, key: Any) -> Any:
        parent = self._parent.setdefault(key, key)
        while parent != self._parent[parent]:
            self._parent[parent] = self._parent[self._parent[parent]]
            parent = self._parent[parent]
        self._parent[key] = parent
        return parent

    def join(self, a: Any, b: Any) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self._parent[b] = a


def _check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    given = {name: check_fraction(share, name=f"shares[{name!r}]") for name, share in shares.items()}
    if not given or abs(sum(given.values()) - 1) > 1e-6 or min(given.values()) <= 0:
        raise InputError(message(f"shares={shares!r}", "shares above 0 that sum to 1", "correct them"))
    return given


def split_by_group(
    table: PairTable,
    *,
    group: str = "group",
    shares: Mapping[str, float] | None = None,
    texts: Sequence[str] = ("anchor", "positive"),
    seed: int = 0,
) -> dict[str, PairTable]:
    """Split rows so that all rows of a group, and all rows that share a text, stay together.

    Parameters
    ----------
    table : PairTable
        The rows.
    group : str, default "group"
        Column that names the document, module or author a row comes from.
    shares : mapping of str to float, optional
        Share of the rows per split, sum 1; left out, 0.8 train, 0.1 dev, 0.1 test. Met as nearly as the largest groups
        allow.
    texts : sequence of str, default ("anchor", "positive")
        Text columns whose near-copies (equal words, whatever the punctuation) also bind rows together.
    seed : int, default 0
        Decides which groups go where.

    Returns
    -------
    dict of str to PairTable
        By split, rows in their old order; ``dropped`` is that of the whole table.

    Raises
    ------
    InputError
        A row without the columns, shares that do not sum to 1, or fewer separate groups than splits.

    Notes
    -----
    Rows joined by group or text are components. They are taken in an order given by a hash of seed and smallest key,
    those larger than a hundredth of the table first, and each goes to the split that lacks most rows.
    Cost O(rows).

    Examples
    --------
    >>> rows = [{"anchor": f"a{i}", "positive": f"p{i}", "group": i // 2} for i in range(20)]
    >>> parts = split_by_group(PairTable("toy", rows))
    >>> [len(part) for part in parts.values()], find_leaks(parts)
    ([16, 2, 2], [])
    """
    wanted = _check_shares(shares or {"train": 0.8, "dev": 0.1, "test": 0.1})
    components = _components(table, group, texts)
    if len(components) < len(wanted):
        raise InputError(
            message(
                f"{len(components)} separate groups for {len(wanted)} splits",
                "at least one per split",
                "split by a finer column",
            )
        )
    total = len(table)
    order = sorted(components, key=lambda c: (len(c[1]) * 100 <= total, _shuffled(seed, c[0])))
    placed: dict[str, list[int]] = {name: [] for name in wanted}
    for i, (_, members) in enumerate(order):
        empty = [name for name in wanted if not placed[name]]
        # The last groups go to splits that would stay empty.
        open_ = empty if len(order) - i <= len(empty) else list(wanted)
        placed[max(open_, key=lambda name: wanted[name] * total - len(placed[name]))].extend(members)
    return {
        name: PairTable(f"{table.name}/{name}", [table.rows[i] for i in sorted(members)], dict(table.dropped))
        for name, members in placed.items()
    }


def _shuffled(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _components(table: PairTable, group: str, texts: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return (smallest group name, rows) of each set of rows that groups and texts hold together."""
    sets = _Sets()
    names = [_group_of(row, i, group) for i, row in enumerate(table.rows)]
    for column in texts:
        for name, text in zip(names, column_texts(table.rows, column), strict=True):
            sets.join(("group", name), ("text", text_key(text)))
    members: dict[Any, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(sets.find(("group", name)), []).append(i)
    return [(min(names[i] for i in rows), rows) for rows in members.values()]


def _group_of(row: Row, i: int, group: str) -> str:
    if row.get(group) is None:
        raise InputError(message(f"row {i} without {group!r}", f"one of {list(row)}", "name the column with group="))
    return str(row[group])


@dataclass(frozen=True)
class Leak:
    """Something that stands in two splits.

    Attributes
    ----------
    kind : {"group", "text"}
        A shared group, or a shared text (equal words).
    key : str
        The group, or the text as its first split has it.
    splits : tuple of str
        The splits that share it.
    rows : int
        How many rows are concerned, over these splits.
    """

    kind: str
    key: str
    splits: tuple[str, ...]
    rows: int


def find_leaks(
    splits: Mapping[str, PairTable],
    *,
    group: str | None = "group",
    texts: Sequence[str] = ("anchor", "positive"),
) -> list[Leak]:
    """List groups and texts that stand in more than one split.

    Parameters
    ----------
    splits : mapping of str to PairTable
        The splits, by name.
    group : str, optional
        Column of the group; None looks at texts only.
    texts : sequence of str, default ("anchor", "positive")
        Text columns; a text is found in whichever of them it stands.

    Returns
    -------
    list of Leak
        The most rows first; empty when nothing leaks.

    Raises
    ------
    InputError
        A row without the columns.

    Notes
    -----
    Texts are compared by a hash of their words, so case, white space and punctuation do not hide a copy. Copies with
    other words are not found.

    Examples
    --------
    >>> train = PairTable("train", [{"anchor": "What is gout?", "positive": "Arthritis.", "group": "a"}])
    >>> test = PairTable("test", [{"anchor": "what is GOUT", "positive": "A form of it.", "group": "b"}])
    >>> find_leaks({"train": train, "test": test})
    [Leak(kind='text', key='What is gout?', splits=('train', 'test'), rows=2)]
    """
    found: dict[tuple[str, str], dict[str, int]] = {}
    shown: dict[tuple[str, str], str] = {}
    for split, table in splits.items():
        for i, row in enumerate(table.rows):
            keys = {} if group is None else {("group", _group_of(row, i, group)): _group_of(row, i, group)}
            for column in texts:
                text = row.get(column)
                if not isinstance(text, str):
                    raise InputError(
                        message(
                            f"row {i} of {split!r} without text in {column!r}", f"one of {list(row)}", "correct texts="
                        )
                    )
                keys.setdefault(("text", text_key(text)), text)
            for key, text in keys.items():
                counts = found.setdefault(key, {})
                counts[split] = counts.get(split, 0) + 1
                shown.setdefault(key, text)
    leaks = [
        Leak(key[0], shown[key], tuple(counts), sum(counts.values()))
        for key, counts in found.items()
        if len(counts) > 1
    ]
    return sorted(leaks, key=lambda leak: -leak.rows)


def check_leakage(
    splits: Mapping[str, PairTable],
    *,
    group: str | None = "group",
    texts: Sequence[str] = ("anchor", "positive"),
) -> None:
    """Refuse splits that share a group or a text, naming the offenders.

    Parameters
    ----------
    splits : mapping of str to PairTable
        The splits, by name.
    group : str, optional
        Column of the group; None looks at texts only.
    texts : sequence of str, default ("anchor", "positive")
        Text columns.

    Raises
    ------
    InputError
        Something leaks; up to five offenders are named.
    """
    leaks = find_leaks(splits, group=group, texts=texts)
    if leaks:
        named = "; ".join(f"{leak.kind} {leak.key[:60]!r} in {' and '.join(leak.splits)}" for leak in leaks[:5])
        more = f" and {len(leaks) - 5} more" if len(leaks) > 5 else ""
        raise InputError(
            message(
                f"splits that share {len(leaks)} things: {named}{more}", "nothing on two sides", "use split_by_group"
            )
        )


def deduplicate(table: PairTable, *, texts: Sequence[str] = ("anchor", "positive")) -> PairTable:
    """Drop rows whose texts are copies of an earlier row's, and rows that are their own positive.

    Parameters
    ----------
    table : PairTable
        The rows.
    texts : sequence of str, default ("anchor", "positive")
        The columns that make a row what it is; two rows are copies when all of them have equal words.

    Returns
    -------
    PairTable
        The first of each set of copies, with ``dropped`` extended.

    Raises
    ------
    InputError
        A row without the columns.

    Examples
    --------
    >>> rows = [{"anchor": "Hi!", "positive": "Good day."}, {"anchor": "hi", "positive": "good day"}]
    >>> len(deduplicate(PairTable("toy", rows)))
    1
    """
    columns = [[text_key(text) for text in column_texts(table.rows, name)] for name in texts]
    dropped = Counter(table.dropped)
    kept: list[Row] = []
    seen: set[tuple[str, ...]] = set()
    for row, keys in zip(table.rows, zip(*columns, strict=True), strict=True):
        if len(set(keys)) < len(keys):
            dropped["equal texts"] += 1
        elif keys in seen:
            dropped["repeated"] += 1
        else:
            seen.add(keys)
            kept.append(row)
    return PairTable(table.name, kept, dict(dropped))
