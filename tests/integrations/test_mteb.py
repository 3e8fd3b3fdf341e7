"""mteb's protocols over our encoders and collections, on a task made here: nothing is downloaded."""

from __future__ import annotations

import pytest

pytest.importorskip("mteb", reason="needs the extra 'mteb'")

import mteb
import numpy as np
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.models_protocols import EncoderProtocol, SearchProtocol

import orthant
from datasets import Dataset
from orthant.errors import InputError
from orthant.integrations.mteb import OrthantModel, OrthantSearch

CORPUS = {
    "d1": ("Waves", "The lighthouse keeper wrote down the height of every wave."),
    "d2": ("Invoice", "The invoice was paid twice in March, please refund it."),
    "d3": ("Fever", "Symptoms include fever, a dry cough and shortness of breath."),
    "d4": ("Harbour", "Ships wait in the harbour until the sea is calm."),
}
QUERIES = {"q1": "money to be returned for a bill", "q2": "illness with coughing", "q3": "height of the wave"}
QRELS = {"q1": {"d2": 1}, "q2": {"d3": 1}, "q3": {"d1": 1}}


class LocalTask(AbsTaskRetrieval):
    metadata = TaskMetadata(
        name="LocalTask",
        description="Four documents.",
        dataset={"path": "local/none", "revision": "1"},
        type="Retrieval",
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, num_proc=None, **kwargs):
        corpus = Dataset.from_list([{"id": k, "title": t, "text": x} for k, (t, x) in CORPUS.items()])
        queries = Dataset.from_list([{"id": k, "text": x} for k, x in QUERIES.items()])
        split = {"corpus": corpus, "queries": queries, "relevant_docs": QRELS, "top_ranked": None}
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def _score(model):
    result = mteb.evaluate(model, LocalTask(), cache=None, show_progress_bar=False, co2_tracker=False)
    return result.task_results[0].scores["test"][0]["main_score"]


def test_protocols_are_met():
    assert isinstance(OrthantModel("static"), EncoderProtocol)
    assert isinstance(OrthantSearch("static"), SearchProtocol)


def test_an_encoder_is_evaluated():
    assert _score(OrthantModel("static")) > 0.8


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_a_collection_is_evaluated(mode):
    search = OrthantSearch("static", mode=mode)
    assert _score(search) > (0.3 if mode == "lexical" else 0.8)
    search.close()


def test_dense_search_ranks_as_the_encoder_does():
    model = OrthantModel("static")
    search = OrthantSearch("static", mode="dense")
    settings = {"task_metadata": LocalTask.metadata, "hf_split": "test", "hf_subset": "default"}
    rows = [{"id": key, "title": title, "text": text} for key, (title, text) in CORPUS.items()]
    search.index(rows, encode_kwargs={}, num_proc=None, **settings)
    queries = [{"id": key, "text": text} for key, text in QUERIES.items()]
    found = search.search(queries, top_k=4, encode_kwargs={}, num_proc=None, **settings)
    X = model.encode([{"text": ["\n".join(CORPUS[key]) for key in CORPUS]}], **settings)
    Q = model.encode([{"text": list(QUERIES.values())}], prompt_type="query", **settings)
    scores = model.similarity(Q, X).numpy()
    for row, key in zip(scores, QUERIES, strict=True):
        np.testing.assert_allclose([found[key][d] for d in CORPUS], row, atol=1e-5)
    ranked = search.search(
        queries[:1], top_k=4, encode_kwargs={}, num_proc=None, top_ranked={"q1": ["d1", "d4"]}, **settings
    )
    assert set(ranked["q1"]) == {"d1", "d4"}
    np.testing.assert_allclose(model.similarity_pairwise(X, X), np.ones(4), atol=1e-5)
    search.close()
    with pytest.raises(InputError, match="index first"):
        search.search(queries, top_k=1, encode_kwargs={}, num_proc=None, **settings)


def test_the_fingerprint_goes_into_the_results():
    meta = OrthantSearch("static", mode="dense").mteb_model_meta
    assert meta.revision == orthant.load_encoder("static").fingerprint
    assert meta.name.startswith("orthant/")
    assert meta.name.endswith("-dense")
