"""Aspects: pairs share a label, heads bring their own aspect forward and no other, a model is fine-tuned alike."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError  # noqa: E402
from orthant.learn import train_aspect_encoder, train_aspect_heads  # noqa: E402
from orthant.learn.text.aspects.pairs import draw_pairs, known_answers, padded_labels  # noqa: E402
from orthant.measures import judge_aspects, label_sets  # noqa: E402


def documents(n=900, seed=0):
    """Vectors in which two aspects lie in directions of their own, below noise that is louder."""
    rng = np.random.default_rng(seed)
    shapes, colours = rng.integers(0, 6, n), rng.integers(0, 5, n)
    parts = np.random.default_rng(9).standard_normal((11, 24))
    X = parts[shapes] + parts[6 + colours] + 1.6 * rng.standard_normal((n, 24))
    labels = {"shape": [{f"s{i}"} for i in shapes], "colour": [{f"c{i}"} for i in colours]}
    return X.astype(np.float32), labels


@pytest.mark.parametrize("method", ["regression", "contrastive"])
def test_each_head_finds_its_own_aspect(method):
    X, labels = documents()
    heads = train_aspect_heads(X, labels, method=method, dim=6, batch_size=128, learning_rate=0.03, threads=1)
    held, theirs = documents(300, seed=1)
    told = judge_aspects({"generic": held, **{name: head.transform(held) for name, head in heads.items()}}, theirs)
    for own, other in (("shape", "colour"), ("colour", "shape")):
        assert told[own][own].precision > told["generic"][own].precision + 0.1
        assert told[own][own].precision > told[other][own].precision + 0.1


def test_training_is_repeatable_and_leaves_the_vectors_alone():
    X, labels = documents(200)
    before = X.copy()
    settings = {"method": "contrastive", "dim": 4, "batch_size": 64, "epochs": 1, "threads": 1}
    first, second = (train_aspect_heads(X, labels, **settings)["shape"].transform(X) for _ in range(2))
    assert (first == second).all() and (before == X).all()


def test_pairs_share_a_label_and_never_are_one_document():
    rng = np.random.default_rng(0)
    rows = [set(rng.choice(list("abcdefgh"), rng.integers(0, 4), replace=False)) for _ in range(80)]
    labels = label_sets(rows)
    left, right, shared = draw_pairs(labels, partners=5, seed=3)
    assert len(left) == 5 * sum(bool(row) for row in rows)
    assert (left != right).all()
    for i, j, label in zip(left, right, shared, strict=True):
        assert labels.names[label] in rows[i] & rows[j]
    # Every partner comes up in time, the first and the last of a label too.
    many = {(i, j) for i, j in zip(*draw_pairs(labels, partners=400, seed=0)[:2], strict=True)}
    assert many == {(i, j) for i in range(80) for j in range(80) if i != j and rows[i] & rows[j]}


def test_documents_of_a_batch_that_share_a_label_are_known():
    labels = label_sets([{"a", "b"}, {"b"}, {"c"}, None, {"c", "a"}])
    padded = torch.from_numpy(padded_labels(labels))
    rows = torch.arange(5)
    found = known_answers(padded, padded, rows) >= 0
    expected = labels.share(np.arange(5))
    assert (found.numpy() == expected).all()


def test_a_model_is_fine_tuned_for_an_aspect():
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    things, colours = ["cup", "hat", "car", "tree"], ["red", "blue", "green", "grey"]
    vocabulary = {word: i for i, word in enumerate(["?", *things, *colours])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=8)], device="cpu")
    texts = [f"{colour} {thing}" for colour in colours for thing in things] * 8
    labels = {"colour": [{text.split()[0]} for text in texts]}
    before = judge_aspects({"it": model.encode(texts[:16])}, {"colour": labels["colour"][:16]}, k=3)
    train_aspect_encoder(model, texts, labels["colour"], epochs=6, batch_size=16, learning_rate=0.05, threads=1)
    after = judge_aspects({"it": model.encode(texts[:16])}, {"colour": labels["colour"][:16]}, k=3)
    assert after["it"]["colour"].precision > before["it"]["colour"].precision + 0.2


def test_what_cannot_be_learned_from_is_refused():
    X, labels = documents(100)
    with pytest.raises(DimensionError):
        train_aspect_heads(X[:50], labels)
    with pytest.raises(InputError, match="set of labels"):
        train_aspect_heads(X, {"shape": ["round"] * 100})
    with pytest.raises(InputError, match="at least two documents"):
        train_aspect_heads(X, {"shape": [{str(i)} for i in range(100)]})
    with pytest.raises(InputError, match="batch"):
        train_aspect_heads(X, {"shape": [{"a"}, {"a"}, {"b"}, {"b"}, *[None] * 96]}, method="contrastive")
    for method in ("regression", "contrastive"):
        with pytest.raises(InputError, match="'shape', whose labels every document has"):
            train_aspect_heads(X, {"shape": [{"round"}] * 99 + [None]}, method=method)
    with pytest.raises(InputError, match="no aspect"):
        train_aspect_heads(X, {})
    with pytest.raises(DimensionError):
        train_aspect_encoder(None, ["a"], [])
