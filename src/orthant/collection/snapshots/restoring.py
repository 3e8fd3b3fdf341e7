"""Going back to a snapshot: a commit like any other, so a crash leaves the old state or the restored one.

The snapshot's segments get new numbers in the collection, as after a compaction, and one SQLite transaction makes the
records those of the snapshot. The generation number goes on, so that readers in other processes notice, and
``restored_at`` tells them that nothing they derived before can be continued.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orthant.collection.adapting.state import write_adapters
from orthant.collection.checking import check
from orthant.collection.snapshots.making import disk_errors
from orthant.collection.snapshots.manifest import SnapshotInfo, database_is_sound, folder_of, read_info
from orthant.collection.sparse import tables as sparse_tables
from orthant.collection.storage import graphs, tables
from orthant.collection.storage.generation import Generation, SpaceState
from orthant.collection.storage.segments import HEADER_BYTES, Extent, SegmentFolder, SegmentState
from orthant.collection.storage.settings.compression import write_compression
from orthant.collection.storage.settings.fusion import write_fusion
from orthant.collection.storage.settings.shortcuts import DEFAULT_SHORTCUT, write_shortcut
from orthant.collection.storage.store import Store
from orthant.collection.storage.texts import dictionaries
from orthant.errors import OrthantError, StoreCorruptedError, message

__all__ = ["RestoreReport", "restore"]

_CHUNK = 4096
_COLUMNS = "row, id, text, metadata, crc"


@dataclass(frozen=True)
class RestoreReport:
    """What going back to a snapshot changed.

    Attributes
    ----------
    name : str
        The snapshot.
    records : int
        Records now.
    removed : int
        Records that were written since and are gone.
    brought_back : int
        Records that were removed or replaced since and are back.
    generation : int
        The commit that did it.
    """

    name: str
    records: int
    removed: int
    brought_back: int
    generation: int


def restore(store: Store, name: str, *, approve: Callable[[Any], None]) -> RestoreReport:
    """Make a snapshot's state the collection's; durable on return, and the snapshot stays.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The snapshot.
    approve : callable of SpaceDefinition
        Raises for a space whose encoder at hand does not fit.

    Returns
    -------
    RestoreReport
        What changed.

    Raises
    ------
    NotFoundError
        No such snapshot.
    StoreCorruptedError
        The snapshot is damaged; nothing was changed.
    """
    with store.writer() as now:
        info = _verified(store, folder_of(store.path, name))
        source = Store(folder_of(store.path, name), read_only=True, files=store.files)
        try:
            spaces: dict[str, Any] = {**source.generation.spaces, **source.generation.sparse}
            for space in spaces.values():
                approve(space.definition)
            return _commit(store, now, source, info)
        finally:
            source.close()


def _verified(store: Store, folder: Path) -> SnapshotInfo:
    """Read every byte of a snapshot, so that sound data is never replaced by damaged data."""
    info = read_info(folder)
    problems = [] if database_is_sound(folder) else ["store.sqlite is not what was copied"]
    if not problems:
        source = Store(folder, read_only=True, files=store.files)
        try:
            report = check(source, None, repair=False)
        finally:
            source.close()
        # Derived files are passed over where they are damaged, and made again.
        problems = [f"{p.where}: {p.what}" for p in report.problems if not p.where.startswith("derived")]
    if problems:
        raise StoreCorruptedError(
            message(
                f"the damaged snapshot {info.name!r} ({problems[0]})",
                "what was kept",
                "go back to another snapshot; the collection is unchanged",
            )
        )
    return info


def _commit(store: Store, now: Generation, source: Store, info: SnapshotInfo) -> RestoreReport:
    made: list[Path] = []
    try:
        with disk_errors(store, "restore a snapshot"):
            spaces, numbers = _spaces(store, now, source.generation, made)
    except BaseException:
        # Not after a failed commit: the next start may find that it happened, and then needs these files.
        for path in made:
            with suppress(OSError):
                store.files.remove(path)
        raise
    following = replace(
        source.generation,
        number=now.number + 1,
        # A row is never reused, not even by a state that never had it.
        next_row=max(now.next_row, source.generation.next_row),
        spaces=spaces,
        _indexes={},
    )
    removed, brought_back = _publish(store, following, source, numbers)
    report = RestoreReport(info.name, following.count, removed, brought_back, following.number)
    _settle(store, now, source)
    return report


def _spaces(
    store: Store, now: Generation, then: Generation, made: list[Path]
) -> tuple[dict[str, SpaceState], dict[str, int]]:
    """Name the snapshot's segments in the collection, under numbers that were never used."""
    spaces: dict[str, SpaceState] = {}
    numbers: dict[str, int] = {}
    for name, old in then.spaces.items():
        folder = SegmentFolder(
            store.path / "vectors" / old.definition.place, old.definition.dim, store.files, old.definition.dtype
        )
        state = SpaceState(old.definition, old.canaries, folder, compression=old.compression, shortcut=old.shortcut)
        place = old.definition.place
        number, here = store.next_segment(place), now.at(place)
        if here is not None:
            number = here.folder.first_free(number)
        store.files.make_folder(folder.folder)
        for view in old.segments:
            held = view.state
            target = folder.path(number)
            store.files.remove(target)
            made.append(target)
            # A file that grew since is copied: cutting or extending it would be felt by those who use the rest.
            store.files.link(old.folder.path(held.number), target, size=HEADER_BYTES + held.slots * folder.stride)
            fresh = SegmentState(number, held.slots, held.crcs)
            state = state.appended([fresh], [Extent(number, 0, view.rows)])
            number += 1
        for parent in (folder.folder, folder.folder.parent, store.path):
            store.files.sync_folder(parent)
        spaces[name], numbers[place] = state, number
    for place in {space.definition.place for space in now.spaces.values()} - numbers.keys():
        numbers[place] = store.next_segment(place)
    return spaces, numbers


def _publish(store: Store, following: Generation, source: Store, numbers: Mapping[str, int]) -> tuple[int, int]:
    counts = (0, 0)

    def write(connection: sqlite3.Connection) -> None:
        nonlocal counts
        with source.database.reading() as theirs:
            counts = _replace_records(connection, theirs)
            sparse_tables.copy_from(connection, theirs.execute, following.sparse)
        for table in ("spaces", "segments", "extents", "removed"):
            connection.execute(f"DELETE FROM {table}")
        for space in following.spaces.values():
            tables.insert_space(connection, space.definition, space.canaries)
            extents = [Extent(view.state.number, 0, view.rows) for view in space.segments]
            tables.insert_extents(connection, space.definition.place, space.states, extents)
        for place, number in numbers.items():
            tables.set_next_segment(connection, place, number)
            held = following.at(place)
            write_compression(connection, place, None if held is None else held.compression)
            chosen = None if held is None or held.shortcut == DEFAULT_SHORTCUT else held.shortcut
            write_shortcut(connection, place, chosen)
        write_fusion(connection, following.fusion)
        write_adapters(connection, following.adapters)
        mark = following.number
        tables.set_meta(connection, generation=mark, purged_through=mark, restored_at=mark)

    store.publish(following, write)
    return counts


def _records(connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    cursor = connection.execute(f"SELECT {_COLUMNS} FROM records ORDER BY row")
    while part := cursor.fetchmany(_CHUNK):
        yield from part


def _replace_records(ours: sqlite3.Connection, theirs: sqlite3.Connection) -> tuple[int, int]:
    """Make the records equal, writing only where they differ; a row's record never changes, so most do not."""
    gone: list[int] = []
    missing: list[int] = []
    left, right = _records(ours), _records(theirs)
    mine, other = next(left, None), next(right, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and mine[0] < other[0]):
            gone.append(mine[0])  # type: ignore[index]
            mine = next(left, None)
        elif mine is None or other[0] < mine[0]:
            missing.append(other[0])
            other = next(right, None)
        else:
            if mine != other:
                gone.append(mine[0])
                missing.append(other[0])
            mine, other = next(left, None), next(right, None)
    dictionaries.copy_from(ours, theirs)
    # All that goes first: an id may have moved to another row.
    ours.executemany("DELETE FROM records WHERE row = ?", ((row,) for row in gone))
    for begin in range(0, len(missing), _CHUNK):
        part = missing[begin : begin + _CHUNK]
        # A range holds at most one chunk of the wanted rows, and what else lies between them.
        query = f"SELECT {_COLUMNS} FROM records WHERE row BETWEEN ? AND ? ORDER BY row"
        wanted = set(part)
        rows = (row for row in theirs.execute(query, (part[0], part[-1])) if row[0] in wanted)
        ours.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
    return len(gone), len(missing)


def _settle(store: Store, before: Generation, source: Store) -> None:
    """Take over graphs, save what is derived, and remove what nobody names; the restored state stands without it."""
    try:
        for name, old in source.generation.spaces.items():
            if old.graph is not None and old.graph.problem is None:
                _adopt_graph(store, name, old.graph)
        store.saved = (-1, 0, 0)
        store.save_derived()
    except (OrthantError, OSError) as error:
        store.repairs.append(f"upkeep after a restore postponed: {error}")
    with suppress(OSError):
        # Whatever stays behind is removed by the next writer that opens the collection.
        for space in before.spaces.values():
            kept = store.generation.at(space.definition.place)
            numbers = {state.number for state in kept.states} if kept else set()
            for state in space.states:
                if state.number not in numbers:
                    store.files.remove(space.folder.path(state.number))
        known = store.generation.spaces.values()
        graphs.remove_stale(store.path, {s.definition.place: s.graph.number for s in known if s.graph})


def _adopt_graph(store: Store, name: str, graph: graphs.SpaceGraph) -> None:
    now = store.generation
    space = now.spaces[name]
    taken = graphs.adopt(store.path, space.definition, graph, number=now.number, files=store.files)
    spaces = {**now.spaces, name: replace(space, graph=taken)}
    store.publish(replace(now, number=now.number + 1, spaces=spaces, _indexes={}), lambda connection: None)
