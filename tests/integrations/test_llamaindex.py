"""Nodes in and out, query modes, filters, and a whole index over our encoder."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core", reason="needs the extra 'llamaindex'")

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

import orthant
from orthant.errors import FilterError, InputError
from orthant.integrations.llamaindex import OrthantEmbedding, OrthantVectorStore

Q = [1.0, 0.1]


def _made(key, text, embedding, source, **metadata):
    return TextNode(
        id_=key,
        text=text,
        embedding=embedding,
        metadata=metadata,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)},
    )


@pytest.fixture
def collection(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        yield collection


@pytest.fixture
def store(collection):
    store = OrthantVectorStore(collection)
    nodes = [
        _made("a", "the sea is calm", [1.0, 0.0], "one", year=1867, tags=["sea", "calm"]),
        _made("b", "the sea is calm today", [0.99, 0.05], "one", year=1900, tags=["sea"]),
        _made("c", "an invoice was paid", [0.6, 0.8], "two", year=2020, **{"file.name": "x.txt"}),
    ]
    assert store.add(nodes) == ["a", "b", "c"]
    return store


def _ask(store, mode=VectorStoreQueryMode.DEFAULT, **settings):
    settings = {"query_embedding": Q, "similarity_top_k": 3, **settings}
    return store.query(VectorStoreQuery(mode=mode, **settings)).ids


def test_a_node_comes_back_whole(store):
    (node,) = store.get_nodes(["c"])
    assert (node.node_id, node.text, node.ref_doc_id) == ("c", "an invoice was paid", "two")
    assert node.metadata == {"year": 2020, "file.name": "x.txt"}
    assert node.embedding is None


def test_dense_words_hybrid_and_variety(store):
    assert _ask(store) == ["b", "a", "c"]
    assert _ask(store, VectorStoreQueryMode.TEXT_SEARCH, query_str="paid -invoice") == ["c"]
    assert _ask(store, VectorStoreQueryMode.SPARSE, query_str="paid", query_embedding=None) == ["c"]
    words, vectors = ({"query_str": "invoice", "alpha": alpha} for alpha in (0.05, 0.95))
    assert _ask(store, VectorStoreQueryMode.HYBRID, **words)[0] == "c"
    assert _ask(store, VectorStoreQueryMode.HYBRID, **vectors)[0] == "b"
    assert len(_ask(store, VectorStoreQueryMode.HYBRID, hybrid_top_k=1, **vectors)) == 1
    assert _ask(store, VectorStoreQueryMode.MMR, similarity_top_k=2, mmr_threshold=0.1) == ["b", "c"]
    assert _ask(store, VectorStoreQueryMode.MMR, similarity_top_k=2, mmr_threshold=1.0) == ["b", "a"]


def test_filters_and_restrictions(store):
    def only(key, operator, value):
        return MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])

    assert _ask(store, filters=only("year", ">", 1890)) == ["b", "c"]
    assert _ask(store, filters=only("tags", "any", ["calm"])) == ["a"]
    assert _ask(store, filters=only("file.name", "==", "x.txt")) == ["c"]
    assert _ask(store, doc_ids=["two"]) == ["c"]
    assert _ask(store, node_ids=["a", "c"], filters=only("year", "<", 2000)) == ["a"]
    with pytest.raises(FilterError):
        _ask(store, filters=only("tags", "text_match_insensitive", "x"))


def test_what_has_no_counterpart_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="svm"):
        _ask(store, VectorStoreQueryMode.SVM)
    with pytest.raises(InputError, match="sparse_top_k"):
        _ask(store, sparse_top_k=3)
    with pytest.raises(InputError, match="query_embedding"):
        _ask(store, query_embedding=None)
    with pytest.raises(InputError, match="query_str"):
        _ask(store, VectorStoreQueryMode.HYBRID)
    with pytest.raises(InputError, match="without an embedding"):
        store.add([TextNode(text="bare")])
    with pytest.raises(InputError, match="Rename"):
        store.add([_made("d", "t", [1.0, 0.0], "x", doc_id="mine")])
    with orthant.open(tmp_path / "e", encoder="static") as encoding, pytest.raises(InputError, match="one encoder"):
        OrthantVectorStore(encoding)


def test_deletes(store):
    store.delete("one")
    assert _ask(store) == ["c"]
    store.delete_nodes([])
    assert _ask(store) == ["c"]
    store.delete_nodes(["c", "absent"])
    assert len(store.client) == 0
    with pytest.raises(InputError, match="clear"):
        store.delete_nodes()


def test_records_of_other_programs_are_plain_nodes(collection):
    collection.upsert(["x"], texts=["written elsewhere"], metadata=[{"year": 1}], vectors=[[1.0, 0.0]])
    result = OrthantVectorStore(collection).query(VectorStoreQuery(query_embedding=Q, similarity_top_k=1))
    assert (result.nodes[0].text, result.nodes[0].metadata) == ("written elsewhere", {"year": 1})


def test_an_index_over_our_encoder(collection):
    texts = ["The keeper wrote down every wave.", "The invoice was paid twice in March.", "A dry cough and fever."]
    documents = [Document(text=text, metadata={"n": n}) for n, text in enumerate(texts)]
    context = StorageContext.from_defaults(vector_store=OrthantVectorStore(collection))
    embedding = OrthantEmbedding("static")
    VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=embedding)
    again = VectorStoreIndex.from_vector_store(OrthantVectorStore(collection), embed_model=embedding)
    found = again.as_retriever(similarity_top_k=1).retrieve("bill payment")
    assert [node.metadata["n"] for node in found] == [1]
    mixed = again.as_retriever(similarity_top_k=1, vector_store_query_mode="hybrid", alpha=0.5).retrieve("cough")
    assert [node.metadata["n"] for node in mixed] == [2]
