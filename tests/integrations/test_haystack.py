"""Haystack's own standard tests, and what they do not ask: policies within a batch, retrievers, pipelines, YAML."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect

import pytest

pytest.importorskip("haystack", reason="needs the extra 'haystack'")

import numpy as np
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError
from haystack.testing import document_store as standard

from orthant.errors import InputError
from orthant.integrations.haystack import OrthantDocumentStore
from orthant.integrations.haystack_retrievers import OrthantEmbeddingRetriever, OrthantHybridRetriever

DOCUMENTS = [
    Document(id="a", content="the sea is calm tonight", meta={"year": 1867}, embedding=[1.0, 0.0]),
    Document(id="b", content="the sea is rough", meta={"year": 1900}, embedding=[0.8, 0.6]),
    Document(id="c", content="an invoice was paid", meta={"year": 2020}, embedding=[0.0, 1.0]),
]


def _float32(document):
    vector = document.embedding
    return dataclasses.replace(document, embedding=vector and np.float32(vector).tolist())


try:
    from haystack.testing import document_store_async as standard_async
except ImportError:
    standard_async = None

# An older Haystack has fewer suites.
OPTIONAL = [
    "CountDocumentsByFilterTest",
    "CountUniqueMetadataByFilterTest",
    "GetMetadataFieldMinMaxTest",
    "GetMetadataFieldUniqueValuesTest",
    "GetMetadataFieldsInfoTest",
]
SUITES = [getattr(standard, name) for name in OPTIONAL if hasattr(standard, name)]
AWAITED = [suite for name, suite in sorted(vars(standard_async or object).items()) if name.endswith("AsyncTest")]


class TestStandard(standard.DocumentStoreBaseExtendedTests, *SUITES):
    @pytest.fixture
    def document_store(self, tmp_path):
        store = OrthantDocumentStore(tmp_path / "c")
        yield store
        store.close()

    @staticmethod
    def assert_documents_are_equal(received, expected):
        # A collection holds float32.
        assert received == [_float32(document) for document in expected]

    def test_write_documents(self, document_store):
        # The base test asks every store to state its default policy: here it is to fail.
        assert document_store.write_documents(DOCUMENTS) == 3
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents(DOCUMENTS[:1])


class TestStandardAsync(*AWAITED):
    @pytest.fixture
    def document_store(self, tmp_path):
        store = OrthantDocumentStore(tmp_path / "c")
        yield store
        store.close()

    assert_documents_are_equal = staticmethod(TestStandard.assert_documents_are_equal)

    @pytest.mark.skipif(not AWAITED, reason="this Haystack has no tests of asynchronous stores")
    async def test_write_documents_async(self, document_store):
        assert await document_store.write_documents_async(DOCUMENTS) == 3
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async(DOCUMENTS[:1])


def test_awaited_calls_take_what_the_others_take():
    for name, awaited in inspect.getmembers(OrthantDocumentStore, inspect.iscoroutinefunction):
        assert inspect.signature(awaited) == inspect.signature(getattr(OrthantDocumentStore, name[: -len("_async")]))


def test_calls_at_once_open_one_collection_and_write_an_id_once(tmp_path):
    store = OrthantDocumentStore(tmp_path / "c")

    async def write():
        same = [Document(id="x", content="the sea is calm")]
        calls = [store.write_documents_async(same, policy=DuplicatePolicy.SKIP) for _ in range(8)]
        return await asyncio.gather(*calls)

    assert sum(asyncio.run(write())) == store.count_documents() == 1
    store.close()
    again = copy.deepcopy(store)
    assert (again.count_documents(), again.to_dict()) == (1, store.to_dict())
    again.close()


def test_fields_are_told_by_their_values(store):
    store.write_documents(
        [
            Document(id="d", content="x", meta={"year": 7.5, "by": {"name": "Ann"}, "tags": ["sea", "calm"]}),
            Document(id="e", content="y", meta={"year": None, "by": "Ann", "tags": ["sea"]}),
        ]
    )
    told = {name: entry["type"] for name, entry in store.get_metadata_fields_info().items()}
    assert told == {"by": "mixed", "tags": "list", "year": "float"}
    assert store.get_metadata_field_min_max("year") == {"min": 7.5, "max": 2020}
    assert store.get_metadata_field_min_max("meta.by") == {"min": "Ann", "max": "Ann"}
    assert store.get_metadata_field_unique_values("tags", size=None) == (["calm", "sea"], 2)
    assert store.get_metadata_field_unique_values("meta.by.name") == (["Ann"], 1)
    with pytest.raises(InputError, match="from_"):
        store.get_metadata_field_unique_values("tags", from_=-1)


@pytest.fixture
def store(tmp_path):
    store = OrthantDocumentStore(tmp_path / "c")
    store.write_documents(DOCUMENTS)
    yield store
    store.close()


def test_policies_hold_within_a_batch(store):
    first, second = Document(id="x", content="one"), Document(id="x", content="two")
    with pytest.raises(DuplicateDocumentError):
        store.write_documents([first, second], policy=DuplicatePolicy.FAIL)
    assert store.count_documents() == 3
    assert store.write_documents([first, second], policy=DuplicatePolicy.SKIP) == 1
    assert store.filter_documents()[-1].content == "one"
    assert store.write_documents([first, second], policy=DuplicatePolicy.OVERWRITE) == 2
    assert store.filter_documents()[-1].content == "two"
    # A batch that fails in the middle leaves nothing behind.
    with pytest.raises(DuplicateDocumentError):
        store.write_documents([Document(id="new", content="n"), Document(id="a", content="again")])
    assert store.count_documents() == 4


def test_what_a_collection_cannot_hold_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="blob"):
        store.write_documents([Document(id="y", content="t", blob=ByteStream(b"x"))])
    with pytest.raises(FilterError):
        store.filter_documents({"field": "content", "operator": "==", "value": "x"})
    encoding = OrthantDocumentStore(tmp_path / "e", encoder="static")
    with pytest.raises(InputError, match="one encoder per space"):
        encoding.write_documents(DOCUMENTS)
    assert encoding.count_documents() == 0
    encoding.close()


def test_an_update_keeps_texts_and_vectors(store):
    changed = store.update_by_filter({"field": "year", "operator": "<", "value": 1950}, {"old": True})
    assert changed == 2
    found = store.filter_documents({"field": "meta.old", "operator": "==", "value": True})
    assert [(d.content, d.meta["year"]) for d in found] == [(d.content, d.meta["year"]) for d in DOCUMENTS[:2]]
    np.testing.assert_allclose([d.embedding for d in found], [[1, 0], [0.8, 0.6]], rtol=1e-6)


def test_retrieve_by_embedding(store):
    retriever = OrthantEmbeddingRetriever(store, top_k=2, return_embedding=True)
    found = retriever.run([1.0, 0.1])["documents"]
    assert [d.id for d in found] == ["a", "b"]
    assert found[0].score > found[1].score
    assert found[0].embedding == [1.0, 0.0]
    old = {"field": "meta.year", "operator": "<", "value": 1950}
    merged = OrthantEmbeddingRetriever(store, filters=old, filter_policy=FilterPolicy.MERGE)
    store.update_by_filter({"field": "meta.year", "operator": ">", "value": 1890}, {"late": True})
    late = {"field": "meta.late", "operator": "==", "value": True}
    assert [d.id for d in merged.run([1.0, 0.1], filters=late)["documents"]] == ["b"]
    assert retriever.run([1.0, 0.1], top_k=0)["documents"] == []


def test_retrieve_by_words_and_meaning(store, tmp_path):
    words = OrthantHybridRetriever(store, mode="lexical")
    assert [d.id for d in words.run("paid invoice")["documents"]] == ["c"]
    both = OrthantHybridRetriever(store, weights={"dense": 0.9, "lexical": 0.1})
    assert both.run("sea", query_embedding=[0.0, 1.0])["documents"][0].id == "c"
    other = OrthantHybridRetriever(store, weights={"dense": 0.1, "lexical": 0.9})
    assert other.run("sea", query_embedding=[0.0, 1.0])["documents"][0].id in ("a", "b")
    with pytest.raises(InputError, match="Leave them out"):
        OrthantHybridRetriever(store, mode="lexical", weights={"dense": 1.0})
    with pytest.raises(InputError, match="OrthantDocumentStore"):
        OrthantHybridRetriever(object())


def test_a_pipeline_survives_yaml(tmp_path):
    store = OrthantDocumentStore(tmp_path / "c", encoder="static")
    store.write_documents([Document(content=d.content, meta=d.meta) for d in DOCUMENTS])
    pipeline = Pipeline()
    pipeline.add_component("retriever", OrthantHybridRetriever(store, top_k=1))
    pipeline.add_component("dense", OrthantEmbeddingRetriever(store))
    text = pipeline.dumps()
    store.close()
    try:
        from haystack.core.serialization import allow_deserialization_module

        allow_deserialization_module("orthant.*")
    except ImportError:
        pass
    again = Pipeline.loads(text)
    retriever = again.get_component("retriever")
    assert retriever.to_dict() == OrthantHybridRetriever(store, top_k=1).to_dict()
    found = retriever.run("was the bill paid")["documents"]
    assert [d.meta["year"] for d in found] == [2020]
    retriever.document_store.close()
