"""A long comparison tells how far it is, and comes to exactly its end whatever the method."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from orthant.collection.collection import Collection
from orthant.collection.duplicates import finding, near, shingles


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    rng = np.random.default_rng(0)
    with Collection(tmp_path_factory.mktemp("progress") / "c") as made:
        texts = [" ".join(rng.choice([f"w{i}" for i in range(50)], 12)) for _ in range(300)]
        made.upsert([f"r{i}" for i in range(300)], texts=texts, vectors=rng.standard_normal((300, 8)))
        yield made


@pytest.mark.parametrize(
    ("settings", "label", "total"),
    [
        ({"threshold": 0.9}, "comparing", 300),
        ({}, "comparing", 300),
        ({"by": "text", "threshold": 0.5}, "hashing", 128),
        ({"by": "text", "threshold": 0.5, "exact": True}, "comparing", 300),
        ({"by": "both", "threshold": 0.5}, "hashing", 128),
    ],
)
def test_every_method_reaches_its_end(filled, monkeypatch, settings, label, total):
    seen, done = [], []

    @contextmanager
    def bar(count, *, shown, label):
        seen.append((count, shown, label))
        yield done.append

    monkeypatch.setattr(finding, "progress_bar", bar)
    monkeypatch.setattr(near, "_TILE", 64)
    monkeypatch.setattr(shingles, "_ROWS_AT_ONCE", 64)
    shown = filled.duplicates(progress=True, **settings)
    assert seen == [(total, True, label)] and sum(done) == total and len(done) > 2
    seen.clear()
    quiet = filled.duplicates(**settings)
    assert seen == [(total, False, label)] and quiet.pairs == shown.pairs


def test_a_search_of_every_row_counts_each_once():
    rng = np.random.default_rng(1)
    X, done = rng.standard_normal((100, 4)).astype(np.float32), []

    def search(Q, k):
        return np.argsort(-near.unit_rows(Q) @ near.unit_rows(X).T, axis=1)[:, :k]

    # Rows with many near neighbours are searched again, which is not counted again.
    found = near.searched_pairs(X, 0.5, search, advance=done.append)
    assert sum(done) == 100 and len(found[0]) == len(near.cosine_pairs(X, 0.5)[0])
