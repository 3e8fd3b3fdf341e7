"""Encoding a collection's records by the new encoder, batch by batch, while it is searched and written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from orthant.collection.ingest import checked_vectors
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.collection.upgrade.cutover import fill, note
from orthant.collection.upgrade.maps import SpaceBridge
from orthant.collection.upgrade.state import UpgradeState
from orthant.errors import InputError, OrthantError, message
from orthant.kernels import bitmaps
from orthant.types import FloatArray, IdArray

__all__ = ["RunReport", "attempts", "encode_batch", "encode_rest", "encode_sample", "fill_mapped", "remaining"]

_MAPPED_ROWS = 8192
_SAMPLED_AT_ONCE = 256
_PASSES = np.uint64(16)
_SCATTER = np.uint64(2_654_435_761)


@dataclass(frozen=True)
class RunReport:
    """What a call of ``run`` did.

    Attributes
    ----------
    encoded : int
        Records encoded by this call.
    mapped : int
        Old vectors brought to the new space by this call.
    remaining : int
        Records with a text that the new encoder has not encoded yet.
    share : float
        Of all records with a text or an old vector, those that it has encoded.
    failed : dict of str to str
        Records that cannot be encoded, by id, with the reason; the next call tries them again.
    seconds : float
        Wall-clock time, pauses included.
    """

    encoded: int
    mapped: int
    remaining: int
    share: float
    failed: dict[str, str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


def remaining(generation: Generation, state: UpgradeState) -> IdArray:
    """Return the rows that have no vector of the new encoder.

    Parameters
    ----------
    generation : Generation
        The current one.
    state : UpgradeState
        The open upgrade.

    Returns
    -------
    ndarray of shape (n,), int64
        Ascending; records without a text among them.
    """
    held = bitmaps.resize(generation.spaces[state.fresh].rows_bitmap(), len(generation.live))
    return bitmaps.to_rows(generation.live & ~held)


def fill_mapped(store: Store, state: UpgradeState, bridge: SpaceBridge) -> int:
    """Bring every old vector that is not there yet to the new space.

    Parameters
    ----------
    store : Store
        The writer.
    state : UpgradeState
        The open upgrade, with a mapped space.
    bridge : SpaceBridge
        The map.

    Returns
    -------
    int
        Vectors written.
    """
    name, count = state.mapped or "", 0
    while True:
        with store.writer() as now:
            older, mapped = now.spaces[state.former], now.spaces[name]
            words = len(now.live)
            due = now.live & bitmaps.resize(older.rows_bitmap(), words) & ~bitmaps.resize(mapped.rows_bitmap(), words)
            rows = bitmaps.to_rows(due)[:_MAPPED_ROWS]
            if not len(rows):
                return count
            _, X = older.vectors_of(rows)
            texts = _texts(store, rows) if bridge.reads_texts else None
            count += fill(store, name, rows, bridge.documents(X, texts))


def _texts(store: Store, rows: IdArray) -> list[str]:
    """The stored texts; empty where a record has none, which leaves its mapped vector to the old one alone."""
    with store.database.reading() as connection:
        found = tables.fetch_records(connection, store.database, rows.tolist())
    return [found[row][1] or "" if row in found else "" for row in rows.tolist()]


def encode_rest(
    store: Store,
    encoder: Any,
    *,
    share: float,
    batch_size: int,
    pause_s: float,
    advance: Callable[[float], None],
    stop: Callable[[], bool] | None = None,
) -> tuple[int, dict[str, str]]:
    """Encode records until a share of all has a vector of the new encoder.

    Parameters
    ----------
    store : Store
        The writer; free for other calls between two batches.
    encoder : Encoder
        The new one.
    share : float
        From 0 to 1.
    batch_size : int
        Records per commit.
    pause_s : float
        Seconds of rest after each.
    advance : callable of float
        Told how many further records are done.
    stop : callable, optional
        Asked after each batch; True ends the call.

    Returns
    -------
    encoded : int
        Records encoded.
    failed : dict of str to str
        Records that were tried in vain.
    """
    encoded = 0
    failed: dict[str, str] = {}
    tried: set[int] = set()
    while True:
        now = store.refreshed()
        state = now.upgrade
        left = remaining(now, state)
        wanted = int(np.ceil(share * now.count)) - (now.count - len(left))
        rows = left[[row not in tried for row in left.tolist()]] if tried else left
        rows = _scattered(rows)[: max(0, min(batch_size, wanted))]
        if not len(rows):
            break
        tried |= set(rows.tolist())
        good, X, bad = encode_batch(store, encoder, now, state.fresh, rows)
        failed |= _losing(store, now, state, bad)
        encoded += fill(store, state.fresh, good, X)
        advance(len(rows))
        if stop is not None and stop():
            break
        if pause_s:
            time.sleep(pause_s)
    with store.writer() as now:
        state = now.upgrade
        # What was deleted, or has a vector now, has not failed.
        known = {key: why for key, why in dict(state.failed).items() if key in _ids_left(store, now, state)} | failed
        if tuple(sorted(known.items())) != state.failed:
            note(store, replace(state, failed=tuple(sorted(known.items()))))
    return encoded, failed


def _scattered(rows: IdArray) -> IdArray:
    """Return the rows of the first of sixteen passes that has any left, ascending.

    Neighbouring records are often of one kind, and a collection in which one kind only was encoded again ranks worse
    than one in which a random part was. Rows must ascend within a segment, so a pass costs a segment.
    """
    passes = (rows.astype(np.uint64) * _SCATTER >> np.uint64(32)) % _PASSES
    return rows[passes == passes.min()] if len(rows) else rows


def _losing(store: Store, now: Generation, state: UpgradeState, bad: dict[str, str]) -> dict[str, str]:
    """Keep the failures that lose something: records that the old vectors find, and that no mapped vector will."""
    if not bad:
        return {}
    with store.database.reading() as connection:
        rows = tables.find_rows(connection, store.database, list(bad))
        found = tables.fetch_records(connection, store.database, rows.tolist())
    held = now.spaces[state.former].vectors_of(rows)[0].tolist()
    textless = state.mapped is not None
    out = {}
    for row, has in zip(rows.tolist(), held, strict=True):
        if row in found and has and not (textless and not found[row][1]):
            out[found[row][0]] = bad[found[row][0]]
    return out


def _ids_left(store: Store, now: Generation, state: UpgradeState) -> set[str]:
    if not state.failed:
        return set()
    rows = remaining(now, state).tolist()
    with store.database.reading() as connection:
        return {key for key, _, _ in tables.fetch_records(connection, store.database, rows).values()}


def encode_batch(
    store: Store, encoder: Any, now: Generation, space: str, rows: IdArray
) -> tuple[IdArray, FloatArray, dict[str, str]]:
    """Encode one batch; where it fails, its records one by one, so that one bad text costs only itself.

    Parameters
    ----------
    store : Store
        Where the texts are.
    encoder : Encoder
        That of the space.
    now : Generation
        The current one.
    space : str
        The space that the vectors are for.
    rows : ndarray of shape (n,), int64
        Rows, ascending.

    Returns
    -------
    good : ndarray of shape (m,), int64
        Rows that could be encoded.
    X : ndarray of shape (m, dim), float32
        Their vectors.
    bad : dict of str to str
        The others, by id, with the reason.
    """
    definition = now.spaces[space].definition
    with store.database.reading() as connection:
        found = tables.fetch_records(connection, store.database, rows.tolist())
    # A record that was deleted meanwhile is no failure.
    rows = np.array([row for row in rows.tolist() if row in found], dtype=np.int64)
    with_text = np.array([bool(found[row][1]) for row in rows.tolist()], dtype=bool)
    bad = {found[row][0]: "it has no text" for row in rows[~with_text].tolist()}
    rows = rows[with_text]
    good, parts = [], []
    for part, X, error in attempts(encoder, rows, [found[row][1] for row in rows.tolist()], definition.dim):
        if error is not None:
            bad[found[int(part[0])][0]] = error
            continue
        # A text without a known token has no direction.
        nonzero = X.any(axis=1) | (definition.metric != "cosine")
        bad |= {found[row][0]: "the encoder gives it no direction" for row in part[~nonzero].tolist()}
        good.append(part[nonzero])
        parts.append(X[nonzero])
    if not good:
        return np.zeros(0, np.int64), np.zeros((0, definition.dim), np.float32), bad
    return np.concatenate(good), np.concatenate(parts), bad


def attempts(
    encoder: Any, rows: IdArray, texts: list[Any], dim: int
) -> Iterator[tuple[IdArray, FloatArray, str | None]]:
    """Encode texts, by halves where that fails, so that one bad text costs only itself.

    Parameters
    ----------
    encoder : Encoder
        What encodes.
    rows : ndarray of shape (n,), int64
        What the texts are called.
    texts : list of str, length n
        Texts.
    dim : int
        Values per vector.

    Yields
    ------
    rows : ndarray of shape (m,), int64
        Some of them.
    X : ndarray of shape (m, dim), float32
        Their vectors; none where they failed.
    error : str or None
        Why they failed.
    """
    if not len(rows):
        return
    try:
        yield rows, checked_vectors(encoder.encode(texts, role="document"), len(rows), dim), None
        return
    except (OrthantError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, OSError) as error:
        if len(rows) == 1:
            yield rows, np.zeros((0, dim), np.float32), f"{type(error).__name__}: {error}"
            return
    middle = len(rows) // 2
    yield from attempts(encoder, rows[:middle], texts[:middle], dim)
    yield from attempts(encoder, rows[middle:], texts[middle:], dim)


def encode_sample(
    encoder: Any, texts: list[str], *, advance: Callable[[float], None], proceed: Callable[[], None]
) -> FloatArray:
    """Encode texts of which some may fail.

    Parameters
    ----------
    encoder : Encoder
        The new one.
    texts : list of str, length n
        Texts.
    advance : callable of float
        Told how many further texts are done.
    proceed : callable
        Asked before each batch; ends the call by raising.

    Returns
    -------
    ndarray of shape (n, dim), float32
        Zeros for those that failed: a later run lists them.

    Raises
    ------
    InputError
        All of them failed.
    """
    out = np.zeros((len(texts), encoder.dim), dtype=np.float32)
    why = None
    for begin in range(0, len(texts), _SAMPLED_AT_ONCE):
        proceed()
        part = texts[begin : begin + _SAMPLED_AT_ONCE]
        places = np.arange(begin, begin + len(part), dtype=np.int64)
        for some, X, error in attempts(encoder, places, part, encoder.dim):
            if error is None:
                out[some] = X
            why = why or error
        advance(len(part))
    if why is not None and not out.any():
        given = f"a sample of {len(texts)} texts that the new encoder could not encode ({why})"
        raise InputError(message(given, "some that it can", "mend the encoder"))
    return out
