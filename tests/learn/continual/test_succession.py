"""A model that goes on learning succeeds itself in a collection: its training says how vectors moved."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.encoders.callable import CallableEncoder
from orthant.errors import InputError

torch = pytest.importorskip("torch")

from learn.continual.test_trainer import CENTRES, TASKS, items, trained  # noqa: E402
from orthant.encoders.projected.encoder import ProjectedEncoder  # noqa: E402

X, Y = items(each=20, seed=40)


def rows(texts):
    """Texts of an item's number; anything else lies elsewhere."""
    numbers = [int(text.split()[1]) if text.startswith("item ") else None for text in texts]
    return np.array([X[i] if i is not None else np.ones(CENTRES.shape[1]) for i in numbers], dtype=np.float32)


@pytest.fixture(scope="module")
def history():
    trainer = trained(keep="none", tasks=TASKS[:3])
    base = CallableEncoder(rows, dim=CENTRES.shape[1], name="rows")
    report = trainer.compatibility(*items(seed=77), *items(seed=78))
    return trainer, base, [trainer.encoder(base, generation=i, report=report) for i in range(3)]


def test_an_encoder_knows_how_far_its_vectors_moved_since_each_older_one(history, tmp_path):
    trainer, base, encoders = history
    assert [len(one.follows) for one in encoders] == [0, 1, 2]
    steps = [one.drift for one in trainer.generations]
    assert np.allclose(encoders[2].follows[encoders[0].fingerprint], steps[1] + steps[2], atol=1e-6)
    assert np.allclose(encoders[2].follows[encoders[1].fingerprint], steps[2], atol=1e-6)
    assert trainer.encoder(base).fingerprint == encoders[2].fingerprint
    encoders[2].save(tmp_path / "e")
    again = ProjectedEncoder.load(tmp_path / "e", base=base)
    assert again.report["newest_alone"] == encoders[2].report["newest_alone"]
    assert list(again.follows) == list(encoders[2].follows)
    assert all((again.follows[key] == encoders[2].follows[key]).all() for key in again.follows)
    with pytest.raises(InputError, match="generation"):
        trainer.encoder(base, generation=3)


def test_a_collection_follows_its_model_without_encoding_anything_again(history, tmp_path):
    _, base, encoders = history
    encoded = []
    counting = CallableEncoder(lambda texts: encoded.extend(texts) or rows(texts), dim=base.dim, name="rows")
    new = ProjectedEncoder(counting, encoders[2].network, name="continual-2", follows=encoders[2].follows)
    texts = [f"item {i}" for i in range(len(X))]
    with orthant.open(tmp_path / "c", encoder=encoders[0]) as collection:
        collection.upsert(texts, texts=texts)
        before = collection.search("item 3", k=5, mode="dense")
        plan = collection.upgrade(new)
        encoded.clear()
        plan.run()
        assert not [text for text in encoded if text.startswith("item ")]
        assert plan.using == "drift"
        plan.commit()
        stored = collection._store.generation.spaces["default.mapped"]
        now = collection._store.generation
        from orthant.kernels import bitmaps

        present = bitmaps.to_rows(now.live)
        moved = encoders[0].encode(texts) + encoders[2].follows[encoders[0].fingerprint]
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        assert np.allclose(np.sort(stored.vectors_of(present)[1], axis=0), np.sort(moved, axis=0), atol=1e-5)
        assert collection.search("item 3", k=1, mode="dense").ids
        plan.rollback()
        assert [(h.id, h.score) for h in collection.search("item 3", k=5, mode="dense")] == [
            (h.id, h.score) for h in before
        ]


def test_the_rehearsal_uses_that_movement_and_the_report_is_shown(history, tmp_path):
    _, _, encoders = history
    texts = [f"item {i}" for i in range(len(X))]
    with orthant.open(tmp_path / "c", encoder=encoders[0]) as collection:
        collection.upsert(texts, texts=texts)
        qrels = {
            texts[i]: {texts[j]: 1 for j in np.flatnonzero(Y[i] == Y).tolist() if j != i} for i in range(0, 160, 5)
        }
        plan = collection.upgrade(encoders[2])
        found = plan.rehearse(list(qrels), qrels)
        assert (found.using, plan.using) == ("drift", "drift")
        told = plan.compatibility()["trained"]
        assert told["report"] == encoders[2].report and told["length"] > 0
        # Another encoder than those it was trained to follow is upgraded by a sample.
        other = ProjectedEncoder(encoders[2].base, encoders[2].network, name="stranger")
        assert collection.upgrade(other)._sampling.trained() is None
