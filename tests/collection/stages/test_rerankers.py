"""Ready-made rerankers: cross-encoders by their methods, language models by their replies, late interaction."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from orthant.collection.collection import Collection
from orthant.collection.results import Record
from orthant.collection.stages import CrossEncoderReranker, FunctionReranker, LLMReranker, RerankError
from orthant.collection.stages.language_model import parse_judgement, parse_order
from orthant.collection.stages.rerankers import as_reranker
from orthant.encoders import MaxSimReranker
from orthant.errors import InputError, MissingExtraError, NotFoundError
from orthant.types import Ragged, Reranker

RECORDS = [Record(f"r{i}", text) for i, text in enumerate(["amber", "amber kelp", "delta", "kelp kelp amber"])]


class Overlap:
    """A cross-encoder's surface: the share of words in common."""

    def __init__(self, shape=lambda scores: scores):
        self.shape, self.sizes = shape, []

    def predict(self, pairs, batch_size=32, show_progress_bar=None):
        self.sizes.append((len(pairs), batch_size))
        return self.shape(np.array([len(set(q.split()) & set(t.split())) for q, t in pairs], dtype=np.float32))

    def rank(self):
        raise AssertionError


def test_a_cross_encoder_is_known_by_its_methods(tmp_path):
    reranker = CrossEncoderReranker(Overlap(lambda scores: scores[:, None]), batch_size=7)
    assert isinstance(reranker, Reranker)
    assert reranker.score("amber kelp", RECORDS).tolist() == [1, 2, 0, 2]
    assert reranker.score("amber kelp", []).shape == (0,)
    assert reranker._model.sizes == [(4, 7)]
    with Collection(tmp_path / "c") as collection:
        collection.upsert([r.id for r in RECORDS], texts=[r.text for r in RECORDS])
        found = collection.search("amber kelp", rerank=Overlap(), mode="lexical")
        assert [hit.score for hit in found] == [2, 2, 1] and found.plan.stages[0].method == "CrossEncoderReranker"


def test_a_cross_encoder_refuses_what_it_cannot_score(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="one output"):
        CrossEncoderReranker(Overlap(lambda scores: np.stack([scores, scores], axis=1))).score("a", RECORDS)
    with pytest.raises(RerankError, match="'bare'"):
        CrossEncoderReranker(Overlap()).score("amber", [Record("bare")])
    with pytest.raises(InputError, match="text query"):
        CrossEncoderReranker(Overlap()).score(np.zeros(3), RECORDS)
    with pytest.raises(InputError, match="predict and rank"):
        CrossEncoderReranker(object())
    with pytest.raises(InputError, match="max_length"):
        CrossEncoderReranker(Overlap(), max_length=9)
    with pytest.raises(NotFoundError, match="folder"):
        CrossEncoderReranker(str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match="learn"):
        CrossEncoderReranker(tmp_path)


@pytest.mark.slow
def test_a_folder_of_sentence_transformers_is_loaded(tmp_path):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "amber", "kelp", "delta"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = BertConfig(vocab_size=len(words), num_labels=1, **sizes)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    scores = CrossEncoderReranker(tmp_path / "model", max_length=16).score("amber", RECORDS)
    model = CrossEncoder(str(tmp_path / "model"), local_files_only=True, max_length=16)
    np.testing.assert_allclose(scores, model.predict([("amber", record.text) for record in RECORDS]), rtol=1e-5)
    assert as_reranker(model).score("amber", RECORDS).shape == (4,)


def test_what_scores_is_taken_as_it_is():
    reranker = FunctionReranker(lambda query, record: 1)
    assert as_reranker(reranker) is reranker
    with pytest.raises(InputError, match="callable"):
        FunctionReranker("score")
    with pytest.raises(RerankError, match="r0"):
        FunctionReranker(lambda query, record: "high").score("q", RECORDS)


def test_late_interaction_reranks(tmp_path):
    class Letters:
        dim, fingerprint = 26, "letters"

        def encode_tokens(self, items, *, role="document", batch_size=64):
            rows = [np.eye(26, dtype=np.float32)[[ord(c) - 97 for c in item if c != " "]] for item in items]
            return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))

    with Collection(tmp_path / "c") as collection:
        collection.upsert(["cab", "bad", "abc"], texts=["bad cab", "bad day", "bad abc xyz"])
        found = collection.search("bad", rerank=MaxSimReranker(Letters()))
        assert [hit.score for hit in found] == [3, 3, 3]
        assert collection.search("xyz bad", rerank=MaxSimReranker(Letters())).ids[0] == "abc"


# ---- language models ----------------------------------------------------------------------------------------------


class Replies:
    """A generator that answers from a function of the prompt and of the seed."""

    def __init__(self, reply):
        self.reply, self.calls = reply, []

    def generate(self, prompts, *, max_tokens, temperature, seed):
        self.calls.append((len(prompts), temperature, seed))
        return [SimpleNamespace(text=self.reply(prompt, seed)) for prompt in prompts]


def judge(prompt, seed):
    return "Yes, 90%" if "kelp" in prompt.split("Passage:")[1] else "no"


def test_pointwise_judgements():
    reranker = LLMReranker(Replies(judge))
    np.testing.assert_allclose(reranker.score("sea", RECORDS), [0, 0.95, 0, 0.95])
    assert reranker.score("sea", []).shape == (0,)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        *(
            ("yes", 1.0),
            ("No.", 0.0),
            (" YES 60", 0.8),
            ("no, 60%", 0.2),
            ("**Yes** (100)", 1.0),
            ("yes\nbecause", 1.0),
        ),
        *(("maybe", None), ("", None), ("yesterday", None), ("yes 101", None), ("nothing", None), ("80", None)),
    ],
)
def test_replies_are_read_strictly(reply, value):
    assert parse_judgement(reply) == value


@pytest.mark.parametrize(
    ("reply", "order"),
    [
        ("[3] > [1] > [2]", [2, 0, 1]),
        ("3, 1, 2", [2, 0, 1]),
        ("[1] > [2]", None),
        ("[1] > [2] > [2]", None),
        ("", None),
    ],
)
def test_orders_are_read_strictly(reply, order):
    assert parse_order(reply, 3) == order


def test_an_unreadable_reply_is_asked_again_and_then_an_error():
    generator = Replies(lambda prompt, seed: judge(prompt, seed) if seed or "delta" not in prompt else "it depends")
    assert LLMReranker(generator).score("sea", RECORDS)[2] == 0
    assert generator.calls == [(4, 0.0, 0), (1, 0.5, 1)]
    with pytest.raises(RerankError, match="it depends"):
        LLMReranker(generator, attempts=1).score("sea", RECORDS)


def order_by_number(prompt, seed):
    """Put the passages, which are numbers, in descending order."""
    passages = [line for line in prompt.splitlines() if line.startswith("[") and ">" not in line]
    numbers = {int(line[1 : line.index("]")]): int(line.split()[1]) for line in passages}
    return " > ".join(f"[{i}]" for i in sorted(numbers, key=numbers.get, reverse=True))


def test_listwise_windows_bring_the_best_to_the_front():
    values = np.random.default_rng(0).permutation(50).tolist()
    generator = Replies(order_by_number)
    scores = LLMReranker(generator, method="listwise", window=20, step=10).score("q", [str(v) for v in values])
    # Each window carries its best ten on to the next.
    assert [values[i] for i in np.argsort(-scores)[:10]] == list(range(49, 39, -1))
    assert sorted(scores.tolist()) == pytest.approx([i / 50 for i in range(1, 51)])
    assert len(generator.calls) == 4
    with pytest.raises(RerankError, match="every number"):
        LLMReranker(Replies(lambda prompt, seed: "[1] > [1]"), method="listwise").score("q", ["1", "2"])
    assert LLMReranker(generator, method="listwise").score("q", ["7"]).tolist() == [1]


def test_settings_of_language_models():
    for settings in (
        {"window": 3},
        {"method": "listwise", "window": 1},
        {"method": "listwise", "window": 4, "step": 5},
    ):
        with pytest.raises(InputError):
            LLMReranker(Replies(judge), **settings)
    with pytest.raises(InputError, match="generate"):
        LLMReranker(object())
    with pytest.raises(RerankError, match="one each"):
        LLMReranker(SimpleNamespace(generate=lambda prompts, **settings: [])).score("q", ["a"])
