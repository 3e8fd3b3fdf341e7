"""Comparing a collection with a dict that says what it must hold."""

from __future__ import annotations

import numpy as np

from collection.fakes import FakeEncoder, FakeSparseEncoder, FakeTokenEncoder, naive_scores
from orthant.collection.collection import Collection
from orthant.encoders.late_interaction.reranker import maxsim

ENCODER = FakeEncoder()
SPARSE = FakeSparseEncoder()
TOKENS = FakeTokenEncoder()


def contents(collection: Collection) -> dict:
    """Return id -> [text, metadata], after checking that vectors belong to their texts."""
    ids = list(collection.ids())
    assert len(ids) == len(set(ids)) == len(collection)
    records = collection.get(ids, vectors=True)
    for record in records:
        assert record is not None
        if record.text:
            np.testing.assert_array_equal(record.vectors["default"], ENCODER.encode([record.text])[0])
        if record.text and "terms" in collection.sparse_spaces:
            wanted = SPARSE.encode_sparse([record.text])
            np.testing.assert_array_equal(record.sparse["terms"].indices, wanted.indices)
            np.testing.assert_array_equal(record.sparse["terms"].values, wanted.data)
        if record.text and "words" in collection.spaces:
            np.testing.assert_array_equal(record.vectors["words"], TOKENS.encode_tokens([record.text])[0])
    return {record.id: [record.text, record.metadata] for record in records}


def check_searches(collection: Collection, model: dict) -> None:
    """Compare searches of all three modes with the naive answer."""
    if not model:
        assert not collection.search("amber", mode="lexical").ids
        return
    ids = list(model)
    X = ENCODER.encode([model[key][0] for key in ids])
    q = ENCODER.encode(["amber lagoon"])[0]
    truth = naive_scores(q, X, "cosine")
    hits = collection.search(vector=q, k=5)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(truth)[::-1][: len(hits)], rtol=1e-5, atol=1e-6)
    assert len(hits) == min(5, len(ids))
    for hit in hits:
        assert [hit.text, hit.metadata] == model[hit.id]
    if "terms" in collection.sparse_spaces:
        query = SPARSE.encode_sparse(["amber lagoon"])
        truth = SPARSE.encode_sparse([model[key][0] for key in ids]) @ query.toarray()[0]
        vector = dict(zip(query.indices.tolist(), query.data.tolist(), strict=True))
        hits = collection.search(sparse_vector=vector, mode="sparse", k=len(ids))
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(truth[truth > 0])[::-1], rtol=1e-6)
        assert {hit.id for hit in hits} == {key for key, score in zip(ids, truth, strict=True) if score > 0}
    if "words" in collection.spaces:
        asked = TOKENS.encode_tokens(["amber lagoon"])
        truth = maxsim(asked, TOKENS.encode_tokens([model[key][0] for key in ids]))[0]
        hits = collection.search(asked.values, mode="tokens", k=len(ids))
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(truth)[::-1], rtol=1e-5, atol=1e-5)
    for word in ("amber", "lagoon"):
        wanted = {key for key in ids if word in model[key][0].split()}
        assert set(collection.search(word, mode="lexical", k=len(ids)).ids) == wanted
    key = ids[len(ids) // 2]
    stamp = model[key][1].get("stamp")
    if stamp is not None:
        assert key in collection.search(model[key][0], mode="hybrid", k=3, where={"stamp": stamp}).ids


def check_equal(collection: Collection, model: dict) -> None:
    """Require contents, searches and the collection's own check to agree with the model."""
    assert contents(collection) == model
    check_searches(collection, model)
    report = collection.check()
    assert report.ok, report.problems
