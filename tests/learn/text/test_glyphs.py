"""A reading that is trained on mistyped words finds them, and on frozen pictures letters that it never saw."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.datasets import perturb  # noqa: E402
from orthant.encoders import GlyphTable  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn import GlyphWords, train_word_reading  # noqa: E402

SYLLABLES = ["ba", "ne", "tor", "lu", "mik", "sel", "pra", "von", "gid", "cha"]
WORDS = ["".join(np.random.default_rng(i).choice(SYLLABLES, 3)) for i in range(250)]
SETTINGS = {"steps": 40, "filters": 48, "dim": 32, "batch_size": 64, "threads": 1, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def readings():
    arms = {"frozen": {}, "trained": {"frozen": False}, "blind": {"table": GlyphTable(dim=64, identity=1.0)}}
    return {name: train_word_reading([" ".join(WORDS)], **SETTINGS, **arm) for name, arm in arms.items()}


def share(reading, kind, rate):
    known = sorted(set(WORDS))
    asked = perturb(known, kind, rate=rate, seed=5)
    scores = reading.encode_words(asked) @ reading.encode_words(known).T
    return float((scores.argmax(axis=1) == np.arange(len(known))).mean())


def test_mistyped_words_are_found(readings):
    untrained = train_word_reading([" ".join(WORDS)], **{**SETTINGS, "steps": 1})
    assert share(readings["frozen"], "typos", 1.0) > share(untrained, "typos", 1.0) + 0.1


def test_letters_never_trained_on_are_read_by_their_look(readings):
    found = {name: share(reading, "lookalikes", 0.5) for name, reading in readings.items()}
    assert found["frozen"] > found["trained"] + 0.1 and found["frozen"] > found["blind"] + 0.1


def test_torch_and_numpy_read_alike(readings):
    reading = readings["frozen"]
    model = GlyphWords(reading.table.rows("abct"), 32, filters=48)
    arrays = reading.arrays()
    with torch.no_grad():
        for name in ("filters", "bias", "output"):
            getattr(model, name).copy_(torch.from_numpy(arrays[name]))
        made = model(torch.tensor([[-1, 2, 0, 3, -1, -1], [-1, 1, 0, 1, 0, -1]])).numpy() - arrays["centre"]
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    np.testing.assert_allclose(reading.encode_words(["cat", "baba"]), made, atol=1e-5)


def test_the_table_is_frozen_or_trained_as_asked(readings):
    assert len(readings["frozen"].arrays()["points"]) == 0
    assert readings["frozen"].table.fingerprint == GlyphTable(dim=64).fingerprint
    assert len(readings["trained"].arrays()["points"]) > 10
    frozen, free = GlyphWords(np.eye(4), 2), GlyphWords(np.eye(4), 2, frozen=False)
    assert "rows" not in dict(frozen.named_parameters()) and "rows" in dict(free.named_parameters())


def test_equal_seeds_give_equal_readings(readings):
    again = train_word_reading([" ".join(WORDS)], **SETTINGS)
    assert again.fingerprint == readings["frozen"].fingerprint


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match="frozen=False"):
        train_word_reading(["a text"], unit="byte")
    with pytest.raises(InputError, match="words"):
        train_word_reading(["one"])
    with pytest.raises(InputError):
        train_word_reading(["two words"], typos=2.0)
