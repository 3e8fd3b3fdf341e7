"""What a collection gives back: states that nobody reads, and postings that lie in a file."""

from __future__ import annotations

import gc
import weakref

import pytest

import orthant
from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
from orthant.collection.lexical.packed import PackedDocuments

ENCODER = FakeEncoder()


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_state_that_nobody_reads_is_freed_at_once(tmp_path, mode):
    # With everything it maps: waiting for the collector of cycles, a server under writes held gigabytes of them.
    with orthant.open(tmp_path / "books.orthant", encoder="static") as books:
        books.upsert(["a", "b"], texts=["a captain hunts a whale", "a journey to a lighthouse"])
        books.search("whale", mode=mode)
        seen = weakref.ref(books._store.refreshed())
        gc.collect()
        gc.disable()
        try:
            books.upsert(["c"], texts=["a submarine"])
            books.search("whale", mode=mode)
            assert seen() is None
        finally:
            gc.enable()


def test_postings_that_were_saved_do_not_stay_in_memory(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(300)], texts=[f"amber w{i % 9} kelp" for i in range(300)])
        before = collection.search("w3", mode="lexical", k=40)
        collection._store.save_derived()
        chunks = collection._store.generation.lexical.chunks
        assert [type(chunk.documents) for chunk in chunks] == [PackedDocuments]
        after = collection.search("w3", mode="lexical", k=40)
        assert [(hit.id, hit.score) for hit in after] == [(hit.id, hit.score) for hit in before]
        collection.upsert(["late"], texts=["amber w3"])
        collection.delete(["r3"])
        assert set(collection.search("w3", mode="lexical", k=40).ids) == {*before.ids, "late"} - {"r3"}
