"""A full or failing disk: one StoreError, nothing lost, and all is well once there is space again."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collection.fakes import FakeEncoder, text_of
from faults import child
from faults.verify import check_equal, contents
from orthant.collection.collection import Collection
from orthant.collection.storage.files import FileLayer
from orthant.errors import StoreError


class FailingLayer(FileLayer):
    """Fails with an errno from the n-th call of some methods on, half-way through a write."""

    def __init__(self, *, code: int, methods: tuple[str, ...]) -> None:
        self.code, self.methods, self.left, self.failures = code, methods, 1 << 30, 0

    def _spend(self, method: str) -> bool:
        if method in self.methods:
            self.left -= 1
        return method in self.methods and self.left < 0

    def _fail(self) -> None:
        self.failures += 1
        raise OSError(self.code, os.strerror(self.code))

    def create(self, path: Path) -> None:
        if self._spend("create"):
            self._fail()
        super().create(path)

    def write_at(self, path: Path, offset: int, data: Any) -> None:
        if self._spend("write_at"):
            super().write_at(path, offset, memoryview(data).cast("B")[: len(data) // 2])
            self._fail()
        super().write_at(path, offset, data)

    def sync(self, paths: Any) -> None:
        if self._spend("sync"):
            self._fail()
        super().sync(paths)

    def sync_folder(self, path: Path) -> None:
        if self._spend("sync_folder"):
            self._fail()
        super().sync_folder(path)

    def replace(self, source: Path, target: Path) -> None:
        if self._spend("replace"):
            self._fail()
        super().replace(source, target)


def _rows(first: int, count: int, stamp: int) -> dict:
    rng = np.random.default_rng(stamp)
    return {f"r{first + i}": [text_of(rng), {"stamp": stamp}] for i in range(count)}


@pytest.fixture
def base(tmp_path, frequent_upkeep):
    with Collection(tmp_path / "base", encoder=FakeEncoder()) as collection:
        child.apply(collection, {"upsert": _rows(0, 12, 1)})
    return tmp_path / "base"


@pytest.mark.parametrize(
    ("code", "methods"),
    [
        (errno.ENOSPC, ("create", "write_at")),
        (errno.EIO, ("sync", "sync_folder")),
        (errno.EIO, ("replace", "sync", "write_at", "create", "sync_folder")),
    ],
)
def test_every_write_may_fail(tmp_path, base, code, methods):
    # The call replaces a third of the records, so it also compacts and saves derived files.
    operation = {"upsert": _rows(0, 4, 2) | _rows(50, 4, 3)}
    for n in range(100):
        path = tmp_path / f"n{n}"
        shutil.copytree(base, path)
        files = FailingLayer(code=code, methods=methods)
        with Collection(path, encoder=FakeEncoder(), files=files) as collection:
            before, generation = contents(collection), collection._store.generation
            files.left = n
            try:
                child.apply(collection, operation)
                expected = child.after(before, operation)
            except StoreError as error:
                assert "Got " in str(error) and "; expected " in str(error)
                assert files.failures == 1
                assert collection._store.generation is generation
                expected = before
            tried, files.left = files.failures, 1 << 30
            check_equal(collection, expected)
            child.apply(collection, operation)
            child.apply(collection, {"upsert": _rows(70, 3, 4)})
            expected = child.after(child.after(before, operation), {"upsert": _rows(70, 3, 4)})
            check_equal(collection, expected)
        with Collection(path, encoder=FakeEncoder()) as collection:
            check_equal(collection, expected)
        shutil.rmtree(path)
        if not tried:
            break
    assert 3 <= n < 99


def test_derived_files_that_cannot_be_written_do_not_fail_the_call(base, monkeypatch):
    from orthant.collection.columns.table import Columns

    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Collection(base, encoder=FakeEncoder()) as collection:
        with monkeypatch.context() as patch:
            patch.setattr(Columns, "save", full)
            child.apply(collection, {"upsert": _rows(50, 20, 2)})
        model = child.after(_rows(0, 12, 1), {"upsert": _rows(50, 20, 2)})
        check_equal(collection, model)
        assert any("full disk" in line for line in collection.stats().repairs)
    with Collection(base, encoder=FakeEncoder(), read_only=True) as collection:
        check_equal(collection, model)


def test_a_full_database_keeps_everything(base):
    with Collection(base, encoder=FakeEncoder()) as collection:
        child.apply(collection, {"upsert": _rows(12, 2, 2)})
        model = contents(collection)
        generation = collection._store.generation
        connection = collection._store.database._writer
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        big = {key: [text + " filler" * 4000, meta] for key, (text, meta) in _rows(20, 30, 3).items()}
        with pytest.raises(StoreError, match=r"Got a full disk .* expected free space.*kept.* Free some space"):
            child.apply(collection, {"upsert": big})
        assert collection._store.generation is generation
        check_equal(collection, model)
        connection.execute("PRAGMA max_page_count=1073741823")
        child.apply(collection, {"upsert": big})
        model = child.after(model, {"upsert": big})
        assert contents(collection).keys() == model.keys()
    with Collection(base, encoder=FakeEncoder()) as collection:
        assert collection.check().ok and len(collection) == len(model)


def test_a_commit_of_unknown_outcome_keeps_its_vectors(base):
    """After a failed sync of the log the commit may come back at the next start, and then needs its vectors."""
    with Collection(base, encoder=FakeEncoder()) as collection:
        child.apply(collection, {"upsert": _rows(12, 2, 2)})
        database = collection._store.database
        plain = database.writing

        @contextmanager
        def failing():
            with plain() as connection:
                yield connection
                raise sqlite3.OperationalError("disk I/O error")

        database.writing = failing
        with pytest.raises(StoreError):
            child.apply(collection, {"upsert": {"lost": ["amber lost", {}]}})
        database.writing = plain
        held = {path: path.read_bytes() for path in (base / "vectors").rglob("*.seg")}
        assert any(FakeEncoder().encode(["amber lost"]).tobytes() in data for data in held.values())
        child.apply(collection, {"upsert": _rows(90, 1, 5)})
        assert all(path.read_bytes() == data for path, data in held.items())
        check_equal(collection, _rows(0, 12, 1) | _rows(12, 2, 2) | _rows(90, 1, 5))


def test_a_failed_creation_leaves_nothing_behind(tmp_path):
    files = FailingLayer(code=errno.ENOSPC, methods=("replace", "sync"))
    for n in range(2):
        files.left = n
        with pytest.raises(StoreError, match="full disk"):
            Collection(tmp_path / "c", encoder=FakeEncoder(), files=files)
    files.left = 1 << 30
    with Collection(tmp_path / "c", encoder=FakeEncoder(), files=files) as collection:
        check_equal(collection, {})
