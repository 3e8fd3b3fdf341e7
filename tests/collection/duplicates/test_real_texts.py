"""Real news with planted copies: MinHash against the exact join, a real graph against the scan."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.collection import Collection
from orthant.collection.storage import merging
from orthant.datasets import load

pytestmark = [pytest.mark.slow, pytest.mark.data]
COPIES = 400


@pytest.fixture(scope="module")
def planted(data_root, tmp_path_factory):
    """AG News with copies that lost a word, changed case, or gained white space."""
    texts = load("ag_news").texts
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(texts))[:COPIES]
    copies = []
    for i, position in enumerate(chosen):
        words = texts[position].split()
        if i % 2:
            del words[int(rng.integers(len(words)))]
        copies.append("  ".join(words).upper() if i % 3 else " ".join(words))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "BREAK_EVEN", 2000)
        with Collection(tmp_path_factory.mktemp("news") / "c", encoder="static") as collection:
            with collection.bulk():
                collection.upsert([f"t{i}" for i in range(len(texts))], texts=texts)
                collection.upsert([f"c{i}" for i in chosen], texts=copies)
            yield collection, {f"c{i}": f"t{i}" for i in chosen}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_minhash_finds_what_the_exact_join_finds(planted, threshold):
    collection, _ = planted
    whole = collection.duplicates(by="text", threshold=threshold, exact=True)
    found = collection.duplicates(by="text", threshold=threshold)
    assert set(found.pairs) <= set(whole.pairs)
    assert len(found.pairs) >= 0.985 * len(whole.pairs) > 0


def test_a_real_graph_finds_what_the_scan_finds(planted):
    collection, truth = planted
    found = collection.duplicates(threshold=0.9)
    whole = collection.duplicates(threshold=0.9, exact=True)
    assert (found.method, whole.method) == ("graph", "scan")
    share = len(set(found.pairs) & set(whole.pairs)) / len(whole.pairs)
    assert set(found.pairs) <= set(whole.pairs) and share >= 0.98
    assert found.recall.low <= share <= found.recall.high or found.recall.share == 1.0
    pairs = {(pair.second, pair.first) for pair in found.pairs}
    assert sum(pair in pairs for pair in truth.items()) >= 0.97 * COPIES


def test_planted_copies_by_text(planted):
    collection, truth = planted
    found = collection.duplicates(by="text", threshold=0.5).duplicates
    assert sum(found.get(copy) == original for copy, original in truth.items()) >= 0.97 * COPIES
