"""LangChain's own standard tests, and what they do not ask: filters, modes, variety, one encoder per space."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core", reason="needs the extra 'langchain'")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

import orthant
from orthant.errors import InputError
from orthant.integrations.langchain import OrthantEmbeddings, OrthantVectorStore

try:
    from langchain_tests.integration_tests import (
        EmbeddingsIntegrationTests,
        RetrieversIntegrationTests,
        VectorStoreIntegrationTests,
    )
    from langchain_tests.unit_tests import EmbeddingsUnitTests
except ImportError:
    VectorStoreIntegrationTests = None

FAKE = DeterministicFakeEmbedding(size=6)
TEXTS = ["the sea is calm tonight", "the sea is calm this evening", "an invoice was paid in March"]
YEARS = [{"year": 1867}, {"year": 1900}, {"year": 2020}]


if VectorStoreIntegrationTests is not None:

    class TestStandard(VectorStoreIntegrationTests):
        @pytest.fixture
        def vectorstore(self, tmp_path):
            with orthant.open(tmp_path / "store") as collection:
                yield OrthantVectorStore(collection, self.get_embeddings())

    class TestStandardHybrid(TestStandard):
        @pytest.fixture
        def vectorstore(self, tmp_path):
            with orthant.open(tmp_path / "store", encoder="static") as collection:
                yield OrthantVectorStore(collection, mode="hybrid")

    class TestStandardEmbeddingsUnits(EmbeddingsUnitTests):
        embeddings_class = OrthantEmbeddings
        embedding_model_params = {"encoder": "static"}

    class TestStandardEmbeddings(EmbeddingsIntegrationTests):
        embeddings_class = OrthantEmbeddings
        embedding_model_params = {"encoder": "static"}

    class TestStandardRetriever(RetrieversIntegrationTests):
        retriever_query_example = "calm sea"
        retriever_constructor_params = {}

        @pytest.fixture(autouse=True)
        def filled(self, store):
            self.store = store

        def retriever_constructor(self, **settings):
            return self.store.as_retriever(search_kwargs=settings)

else:

    def test_standard_tests():
        pytest.skip("langchain-tests is not installed: LangChain's standard tests were not run")


@pytest.fixture
def store(tmp_path):
    store = OrthantVectorStore.from_texts(
        TEXTS, None, YEARS, ids=["a", "b", "c"], path=tmp_path / "c", encoder="static"
    )
    yield store
    store.collection.close()


def test_filters_pass_through_under_both_names(store):
    assert [d.id for d in store.similarity_search("calm sea", filter={"year": {"gte": 1890}})] == ["b", "c"]
    assert [d.id for d in store.similarity_search("calm sea", where={"year": 2020})] == ["c"]
    with pytest.raises(InputError, match="one of them"):
        store.similarity_search("calm sea", where={}, filter={})
    retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"year": {"lt": 2000}}, "mode": "hybrid"})
    assert {d.id for d in retriever.invoke("calm sea")} == {"a", "b"}


def test_modes_reach_the_legs(store):
    words = store.similarity_search_with_score("invoice", k=3, mode="lexical")
    assert [d.id for d, _ in words] == ["c"]
    # In a question a minus is punctuation, not an exclusion.
    assert [d.id for d in store.similarity_search("paid -invoice", mode="lexical")] == ["c"]
    with pytest.raises(TypeError):
        store.similarity_search("sea", fetch=3)


def test_by_vector_and_variety(store):
    vector = store.embeddings.embed_query("calm sea tonight")
    assert [d.id for d in store.similarity_search_by_vector(vector, k=2)] == ["a", "b"]
    assert [d.id for d in store.max_marginal_relevance_search("calm sea tonight", k=2, lambda_mult=1.0)] == ["a", "b"]
    assert [d.id for d in store.max_marginal_relevance_search("calm sea tonight", k=2, lambda_mult=0.1)] == ["a", "c"]
    only = store.max_marginal_relevance_search("calm sea", k=2, filter={"year": 2020})
    assert [d.id for d in only] == ["c"]


def test_relevance_lies_between_zero_and_one(store):
    found = store.similarity_search_with_relevance_scores("calm sea tonight", k=3)
    assert all(0 <= score <= 1 for _, score in found)
    assert [d.id for d, _ in store.similarity_search_with_relevance_scores("calm sea", k=3, score_threshold=0.4)] == [
        d.id for d, score in store.similarity_search_with_relevance_scores("calm sea", k=3) if score >= 0.4
    ]
    with pytest.raises(InputError, match="upper end"):
        store.similarity_search_with_relevance_scores("sea", mode="lexical")


def test_one_encoder_per_space(tmp_path, store):
    with pytest.raises(InputError, match="one encoder per space"):
        OrthantVectorStore(store.collection, FAKE)
    with orthant.open(tmp_path / "empty", encoder="static") as empty, pytest.raises(InputError, match="one encoder"):
        OrthantVectorStore(empty, FAKE)
    with pytest.raises(InputError, match=r"orthant\.open"):
        OrthantVectorStore(str(tmp_path))


def test_delete_by_filter_and_of_everything(store):
    assert store.delete(where={"year": {"lt": 1890}})
    assert [d.id for d in store.get_by_ids(["c", "a", "b"])] == ["c", "b"]
    store.delete()
    assert len(store.collection) == 0


def test_a_repeated_id_keeps_the_last(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        store = OrthantVectorStore(collection, FAKE)
        assert store.add_texts(["one", "two"], ids=["x", "x"]) == ["x", "x"]
        assert store.get_by_ids(["x"]) == [Document(id="x", page_content="two")]
        with pytest.raises(InputError, match="equal lengths"):
            store.add_texts(["one"], ids=["x", "y"])
        assert store.add_texts([]) == []


def test_from_documents_keeps_what_is_on_disk(tmp_path):
    documents = [Document(page_content=text, metadata=year) for text, year in zip(TEXTS, YEARS, strict=True)]
    embedding = OrthantEmbeddings("static")
    store = OrthantVectorStore.from_documents(documents, embedding, path=tmp_path / "c")
    store.collection.close()
    with orthant.open(tmp_path / "c") as again:
        found = OrthantVectorStore(again, embedding).similarity_search("payment of a bill", k=1)
    assert found[0].metadata == {"year": 2020}


def test_embeddings_keep_the_roles():
    class Roles:
        dim, fingerprint, max_tokens = 2, "roles", None

        def encode(self, items, *, role="document", batch_size=64, progress=False):
            import numpy as np

            return np.array([[1.0, 0.0] if role == "query" else [0.0, 1.0]] * len(items), dtype=np.float32)

        def encode_with_report(self, items, *, role="document", batch_size=64, progress=False):
            from orthant.types import EncodeReport

            return self.encode(items, role=role), EncodeReport(len(items))

    embeddings = OrthantEmbeddings(Roles())
    assert embeddings.embed_query("x") == [1.0, 0.0]
    assert embeddings.embed_documents(["x", "y"]) == [[0.0, 1.0], [0.0, 1.0]]
