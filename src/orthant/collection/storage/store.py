"""The durable store: one commit point in SQLite, vectors in segment files, everything else derived.

Order of a commit: vectors are written and synced, the next generation is prepared in memory, one SQLite transaction
makes all of it visible, and a single reference is swapped. A crash before the transaction leaves bytes that nobody
refers to; a crash after it leaves nothing to repair.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from orthant.collection.adapting.state import read_adapters
from orthant.collection.columns.table import Columns
from orthant.collection.lexical.index import Lexical
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.sparse import state as sparse_state
from orthant.collection.sparse import tables as sparse_tables
from orthant.collection.storage import derived, graphs, maintenance, merging, tables
from orthant.collection.storage.batch import Batch, Commit, derive
from orthant.collection.storage.creating import DATABASE_NAME, MANIFEST_NAME, create, require_new
from orthant.collection.storage.database import Database, closed_error
from orthant.collection.storage.files import FileLayer, storage_error
from orthant.collection.storage.generation import Generation, SpaceState
from orthant.collection.storage.lock import WriterLock
from orthant.collection.storage.new_spaces import AnyDefinition, insert_space, require_free, with_shortcut, with_spaces
from orthant.collection.storage.segments import Extent, SegmentFolder, SegmentMissingError, SegmentState
from orthant.collection.storage.settings.fusion import read_fusion
from orthant.collection.storage.settings.shortcuts import DEFAULT_SHORTCUT
from orthant.collection.storage.settings.spaces import with_settings
from orthant.collection.storage.texts.records import Packing
from orthant.collection.upgrade.state import UpgradeState, changed_upgrade
from orthant.errors import InputError, NotFoundError, OrthantError, StoreCorruptedError, StoreReadOnlyError, message
from orthant.kernels import bitmaps
from orthant.threads import Turn, run_both
from orthant.types import IdArray

__all__ = ["DATABASE_NAME", "Store"]

_UPKEEP_PAUSE = 64
_WORTH_A_THREAD = 256
_T = TypeVar("_T")


class Store:
    """A collection's folder, opened.

    Parameters
    ----------
    path : Path
        The folder.
    read_only : bool
        Refuse every write.
    files : FileLayer, optional
        How files are written; a test passes one that records or fails.
    """

    def __init__(self, path: Path, *, read_only: bool = False, files: FileLayer | None = None) -> None:
        # The process may change its working directory while the collection is open.
        self.path = path.absolute()
        # A snapshot shares its files with the collection, so nobody writes to it whatever was asked.
        self.read_only = read_only or (self.path / MANIFEST_NAME).exists()
        self.files = files or FileLayer()
        self.repairs: list[str] = []
        self.graph_seconds, self.show_progress = 0.0, False
        self._bulk = 0
        self._recovered = self._closed = False
        self._lock = Turn()
        self._publish = Turn()
        self._writer_lock = WriterLock(self.path / "writer.lock")
        self.saved: tuple[int, int, int] = (0, 0, 0)
        self._removed_since_save = self._upkeep_from = 0
        self.database = Database(self.path / DATABASE_NAME, read_only=self.read_only)
        try:
            self._open_or_create()
            self.database.check_version()
            # Read before the database: another process may commit between the two.
            head = derived.read_head(self.path)
            with self.database.reading() as connection:
                self._generation = self._load(connection, previous=None, spaces={})
            self._check_head(head)
        except BaseException:
            self.database.close()
            self._writer_lock.release()
            raise

    # ---- opening ------------------------------------------------------------------------------------------------

    def _open_or_create(self) -> None:
        file = self.database.path
        try:
            if not file.exists():
                require_new(self.path, file)
                if self.read_only:
                    raise NotFoundError(
                        message(f"no collection at {self.path}", f"a folder with {DATABASE_NAME}", "check the path")
                    )
                create(self.path, file, self.files, self._writer_lock)
            elif file.stat().st_size == 0:
                raise self.database.corrupted("an empty file")
        except OSError as error:
            raise storage_error(error, self.path, "open") from error

    def _load(
        self, connection: sqlite3.Connection, *, previous: Generation | None, spaces: Mapping[str, SpaceState]
    ) -> Generation:
        try:
            return self._read(connection, previous, spaces)
        except (InputError, NotFoundError) as error:
            # Stored values were checked when they came in; what does not fit now has changed since.
            raise self.database.corrupted(f"records that do not fit together: {error}") from error

    def _read(
        self, connection: sqlite3.Connection, previous: Generation | None, spaces: Mapping[str, SpaceState]
    ) -> Generation:
        meta = tables.read_meta(connection, self.database)
        if previous is not None and previous.number < meta.restored_at:
            # Rows came back that were gone: nothing that was known can be continued.
            previous, spaces = None, {}
        start = previous
        if start is None or start.number < meta.purged_through:
            start = derived.load(self.path, at_least=meta.purged_through, at_most=meta.generation)
            if start is not None:
                self.saved = (start.number, start.next_row, start.count)
        if start is None:
            start = Generation(-1, 0, np.zeros(0, np.uint64), Columns.empty(), Lexical.empty(), {})
        lexical, columns, live = start.lexical, start.columns, start.live
        gone = tables.removed_since(connection, self.database, start.number, before_row=start.next_row)
        if len(gone):
            lexical = lexical.without(gone)
            live = bitmaps.clear_rows(live, gone)
        for rows, texts, metadata in tables.records_from(connection, self.database, start.next_row):
            columns = columns.with_batch(rows, metadata)
            lexical = lexical.with_batch(rows, texts)
            live = bitmaps.set_rows(live, rows)
        found = tables.read_spaces(connection, self.database, spaces, self._folder)
        ages = {"at_least": meta.restored_at, "at_most": meta.generation}
        for name, space in with_settings(connection, self.database, found).items():
            graph = graphs.newest(self.path, space.definition, known=space.graph, codes=space.codes, **ages)
            found[name] = space if graph is space.graph else replace(space, graph=graph)
        whole = {name: state.index for name, state in start.sparse.items() if state.problem is None}
        sparse = sparse_tables.read_states(connection, self.database, whole, gone=gone, first_row=start.next_row)
        adapters = read_adapters(connection, self.database)
        settings = (read_fusion(connection, self.database), UpgradeState.read(meta.upgrade), adapters)
        generation = Generation(meta.generation, meta.next_row, live, columns, lexical, found, sparse, *settings)
        if generation.count != meta.records:
            raise self.database.corrupted(f"{generation.count} records where {meta.records} were committed")
        return generation

    def _folder(self, definition: SpaceDefinition) -> SegmentFolder:
        return SegmentFolder(self.path / "vectors" / definition.place, definition.dim, self.files, definition.dtype)

    def _check_head(self, seen: int | None) -> None:
        if seen is not None and seen > self._generation.number:
            raise StoreCorruptedError(
                message(
                    f"generation {self._generation.number} in {self.path / DATABASE_NAME} although {seen} was stored",
                    "the write-ahead log that held the later commits",
                    f"restore {DATABASE_NAME}-wal, or delete the file 'head' to accept the older state",
                )
            )

    # ---- reading ------------------------------------------------------------------------------------------------

    @property
    def generation(self) -> Generation:
        """The latest generation this object has seen."""
        return self._generation

    @contextmanager
    def view(self) -> Iterator[tuple[sqlite3.Connection, Generation]]:
        """Give a database view and the generation that belongs to it.

        Yields
        ------
        connection : sqlite3.Connection
            Inside a read transaction.
        generation : Generation
            Of the same commit.
        """
        while True:
            known = self._generation.number
            with self.database.reading() as connection:
                number = tables.generation_number(connection, self.database)
                if number < known:
                    raise self.database.corrupted(f"generation {number} after {known} was seen")
                generation = self._generation
                if generation.number < number:
                    generation = self._refreshed(connection, number)
                if generation.number == number:
                    yield connection, generation
                    return
            # A commit was published between the two looks; look again with a fresh transaction.

    def _refreshed(self, connection: sqlite3.Connection, number: int) -> Generation:
        with self._publish:
            if self._generation.number < number:
                now = self._generation
                self._generation = self._load(connection, previous=now, spaces=now.spaces)
            return self._generation

    def read(self, function: Callable[[sqlite3.Connection, Generation], _T]) -> _T:
        """Run a function on a view, again when a compaction took a segment away meanwhile.

        Parameters
        ----------
        function : callable of (sqlite3.Connection, Generation)
            Reads only.

        Returns
        -------
        object
            What the function gave.
        """
        while True:
            number = -1
            try:
                with self.view() as (connection, generation):
                    number = generation.number
                    return function(connection, generation)
            except SegmentMissingError:
                if self.refreshed().number == number:
                    raise

    def refreshed(self) -> Generation:
        """Return the generation of the last commit of any process.

        Returns
        -------
        Generation
            The latest.
        """
        with self.view() as (_, generation):
            return generation

    # ---- writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def writer(self) -> Iterator[Generation]:
        """Hold the writer's place; taken on the first write and kept until ``close``.

        Yields
        ------
        Generation
            The current one.

        Raises
        ------
        StoreReadOnlyError
            Opened with ``read_only=True``.
        StoreLockedError
            Another process writes.
        """
        if self.read_only:
            raise StoreReadOnlyError(
                message(
                    f"a write to {self.path} opened read-only",
                    "a writable collection",
                    "open it without read_only, and not a snapshot",
                )
            )
        with self._lock:
            if self._closed:
                raise closed_error()
            fresh = not self._writer_lock.held
            self._writer_lock.acquire()
            try:
                now = self.refreshed()
                if fresh or not self._recovered:
                    self._recover()
            except BaseException:
                if fresh:
                    self._writer_lock.release()
                raise
            yield now

    def _recover(self) -> None:
        self._adopt_derived()
        try:
            for space in self._generation.spaces.values():
                self.repairs += space.folder.recover(space.states)
            self.repairs += derived.remove_leftovers(
                self.path, [space.definition.place for space in self._generation.spaces.values()], self.files
            )
            known = self._generation.spaces.values()
            used = {space.definition.place: space.graph.number for space in known if space.graph}
            self.repairs += graphs.remove_stale(self.path, used)
        except OSError as error:
            raise storage_error(error, self.path, "repair") from error
        self._recovered = True

    def _adopt_derived(self) -> None:
        """Keep the newest derived files that are of use, and drop damaged ones and those of a lost log."""
        if derived.numbers(self.path) == [self.saved[0]]:
            return
        with self.view() as (connection, _):
            meta = tables.read_meta(connection, self.database)
        usable = derived.load(self.path, at_least=meta.purged_through, at_most=meta.generation)
        self.saved = (0, 0, 0) if usable is None else (usable.number, usable.next_row, usable.count)
        derived.keep_only(self.path, -1 if usable is None else usable.number)

    def _note(self, line: str) -> None:
        if line not in self.repairs[-100:]:
            self.repairs.append(line)

    def create_space(self, definition: AnyDefinition, canaries: Any, shortcut: Any = DEFAULT_SHORTCUT) -> None:
        """Add a space, durable on return.

        Parameters
        ----------
        definition : SpaceDefinition or SparseDefinition
            Checked.
        canaries : ndarray of shape (c, dim), float32, or SparseRows
            What the encoder made of the canary texts, or none.
        shortcut : StoredShortcut, optional
            For tokens: how candidates are found.

        Raises
        ------
        InputError
            The name is taken.
        """
        with self.writer() as now:
            require_free(now, definition.name)
            following = with_shortcut(with_spaces(now, [(definition, canaries)], self._folder), definition, shortcut)
            write = partial(insert_space, definition=definition, canaries=canaries, shortcut=shortcut)
            self.publish(replace(following, number=now.number + 1), write)

    def publish(self, following: Generation, write: Callable[[sqlite3.Connection], None]) -> None:
        """Commit a prepared generation and make it the current one; the caller holds the writer's place.

        Parameters
        ----------
        following : Generation
            What searches see afterwards.
        write : callable of sqlite3.Connection
            Writes its rows; runs inside the transaction.
        """
        # Readers of this process that see the new number in the database wait here for the swap.
        with self._publish:
            try:
                with self.database.writing() as connection:
                    write(connection)
                    tables.set_meta(
                        connection,
                        generation=following.number,
                        next_row=following.next_row,
                        records=following.count,
                        **changed_upgrade(self._generation, following),
                        **sparse_tables.counters(following.sparse),
                    )
            except BaseException:
                for space in following.spaces.values():
                    space.folder.give_up(space.states)
                raise
            self._generation = following
        try:
            derived.write_head(self.path, following.number, self.files)
        except OSError as error:  # The commit stands; the head only helps to notice a lost log later.
            self._note(f"head not written: {error.strerror}")

    def commit(
        self,
        batch: Batch | None = None,
        *,
        remove_ids: Sequence[str] = (),
        spaces: Sequence[tuple[AnyDefinition, Any]] = (),
        progress: bool = False,
    ) -> Commit:
        """Replace or add records, or remove some; durable on return.

        Parameters
        ----------
        batch : Batch, optional
            Records to write; an id that exists is replaced.
        remove_ids : sequence of str
            Ids to remove; absent ones are ignored.
        spaces : sequence of (SpaceDefinition or SparseDefinition, canaries)
            Spaces to make on the way.
        progress : bool, default False
            Show when a graph is built on the way.

        Returns
        -------
        Commit
            What changed.
        """
        batch = batch or Batch([], [], [], [])
        with self.writer() as now:
            with self.database.reading() as connection:
                gone = tables.find_rows(connection, self.database, [*batch.ids, *remove_ids])
                records = Packing(connection, self.database, now.next_row, batch.ids, batch.texts, batch.encoded)
                if len(gone) < len(set(remove_ids)):
                    held = tables.fetch_records(connection, self.database, gone.tolist()).values()
                    absent = set(remove_ids).difference(key for key, _, _ in held)
                    tables.require_absent(connection, self.database, absent)
            if not batch.ids and not len(gone):
                return Commit(now.number, 0, 0)
            try:
                base = with_spaces(now, spaces, self._folder) if spaces else now
                following, changes = self._prepare(base, batch, gone, records)
            except OSError as error:
                raise storage_error(error, self.path, "write") from error

            def write(connection: sqlite3.Connection) -> None:
                for definition, canaries in spaces:
                    insert_space(connection, definition, canaries)
                tables.remove_rows(connection, gone, following.number)
                sparse_tables.remove_rows(connection, now.sparse, gone)
                records.insert(connection)
                for name, (changed, extents) in changes.items():
                    tables.insert_extents(connection, following.spaces[name].definition.place, changed, extents)
                for name, (positions, vectors) in batch.sparse.items():
                    sparse_tables.insert_vectors(connection, name, now.next_row + positions, vectors)

            self.publish(following, write)
            for name, (changed, extents) in changes.items():
                for state, extent in zip(changed, extents, strict=True):
                    following.spaces[name].folder.trust(state, before=extent.first_slot)
            self._removed_since_save += len(gone)
            before, self.show_progress = self.graph_seconds, progress
            self._look_after(removed=len(gone))
            return Commit(following.number, len(batch.ids), len(gone), self.graph_seconds - before)

    @property
    def in_bulk(self) -> bool:
        """Whether compaction and graphs are put off to the end of a bulk load."""
        return self._bulk > 0

    @contextmanager
    def bulk(self, *, progress: bool = False) -> Iterator[None]:
        """Put compaction and graphs off to the end of a block, where they are done once and whole.

        Parameters
        ----------
        progress : bool, default False
            Show when a graph is built at the end.

        Yields
        ------
        None
            Nothing.
        """
        with self._lock:
            self._bulk += 1
        try:
            yield
        finally:
            with self._lock:
                self._bulk -= 1
        with self._lock:
            if self._writer_lock.held and not self._bulk and not self._closed:
                self.show_progress = progress
                self._look_after(removed=1, whole=True)

    def finish_graphs(self, *, progress: bool = False) -> dict[str, merging.Pending]:
        """Merge every row into the graphs, now and whole.

        Parameters
        ----------
        progress : bool, default False
            Show when a graph is built.

        Returns
        -------
        dict of str to Pending
            Per space, what was merged.
        """
        with self.writer():
            self.show_progress = progress
            merged = merging.finish(self)
            maintenance.compact_due(self)
            return merged

    def _look_after(self, *, removed: int, whole: bool = False) -> None:
        if self._generation.number < self._upkeep_from:
            return
        try:
            maintenance.after_commit(self, removed=removed, whole=whole)
        except (OrthantError, OSError) as error:
            # The records are safe, so the call that brought them must not fail; `stats` tells.
            self._note(f"upkeep postponed: {error}")
            self._upkeep_from = self._generation.number + _UPKEEP_PAUSE

    def _prepare(
        self, now: Generation, batch: Batch, gone: IdArray, records: Packing
    ) -> tuple[Generation, dict[str, tuple[list[SegmentState], list[Extent]]]]:
        rows = np.arange(now.next_row, now.next_row + len(batch.ids), dtype=np.int64)
        # Vectors are written and texts packed while the words are sorted; one record is not worth a second thread.
        ((spaces, changes), _), (columns, lexical, live) = run_both(
            lambda: (self._write_vectors(now, batch, rows), records.prepare()),
            lambda: derive(now, batch, rows, gone),
            threads=1 if len(rows) < _WORTH_A_THREAD else None,
        )
        sparse = sparse_state.follow(now.sparse, batch.sparse, rows, gone)
        made = (columns, lexical, spaces, sparse, now.fusion, now.upgrade, now.adapters)
        return Generation(now.number + 1, now.next_row + len(rows), live, *made), changes

    def _write_vectors(
        self, now: Generation, batch: Batch, rows: IdArray
    ) -> tuple[dict[str, SpaceState], dict[str, tuple[list[SegmentState], list[Extent]]]]:
        spaces = dict(now.spaces)
        changes: dict[str, tuple[list[SegmentState], list[Extent]]] = {}
        for name, (positions, X) in batch.vectors.items():
            if not len(positions):
                continue
            space = spaces[name]
            changed, extents = space.folder.append(
                space.states, X, rows[positions], next_number=self.next_segment(space.definition.place)
            )
            spaces[name] = space.appended(changed, extents)
            changes[name] = (changed, extents)
        return spaces, changes

    def next_segment(self, place: str) -> int:
        """Return a segment number that a space never used.

        Parameters
        ----------
        place : str
            Where the space's vectors lie.

        Returns
        -------
        int
            The number.
        """
        with self.database.reading() as connection:
            stored = tables.next_segment(connection, place)
        held = self._generation.at(place)
        return max([stored, *(state.number + 1 for state in (held.states if held else ()))])

    # ---- derived state --------------------------------------------------------------------------------------------

    @property
    def unsaved(self) -> tuple[int, int]:
        """Changed records and commits that the derived files do not hold yet."""
        number, next_row, _ = self.saved
        now = self._generation
        return now.next_row - next_row + self._removed_since_save, now.number - number

    def save_derived(self) -> None:
        """Save columns, postings and the live rows, so that the next open need not rebuild them."""
        with self.writer() as now:
            if self.saved[0] == now.number:
                return
            columns, lexical = now.columns.compacted(now.live), now.lexical.compacted(now.live)
            sparse = sparse_state.compacted(now.sparse, now.live)
            compact = replace(now, columns=columns, lexical=lexical, sparse=sparse)
            try:
                compact = derived.save(self.path, compact, self.files)
            except OSError as error:
                raise storage_error(error, self.path, "write") from error
            with self._publish:
                with self.database.writing() as connection:
                    tables.purge_removed(connection, now.number)
                self._generation = compact
            self.saved, self._removed_since_save = (now.number, now.next_row, now.count), 0
            derived.keep_only(self.path, now.number)

    def rebuild(self) -> None:
        """Forget every derived file and make it again from the records."""
        with self.writer() as now:
            derived.remove_all(self.path)
            with self._publish, self.database.reading() as connection:
                self._generation = self._load(connection, previous=None, spaces=now.spaces)
            self.saved = (-1, 0, 0)
            self.save_derived()

    def close(self) -> None:
        """Save what was derived, fold the log, and give back every file and lock."""
        with self._lock:
            try:
                if self._writer_lock.held and self._recovered and not self._closed:
                    self._tidy()
            finally:
                self._closed = True
                self.database.close()
                self._writer_lock.release()

    def _tidy(self) -> None:
        # Derived files can be rebuilt and the log folds itself later; closing must succeed.
        for step in (
            lambda: merging.at_close(self),
            lambda: maintenance.compact_due(self),
            self.save_derived,
            self.database.tidy,
        ):
            try:
                step()
            except (OrthantError, OSError) as error:
                self._note(f"not tidied: {error}")
