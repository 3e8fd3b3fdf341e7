"""Errors are seeded, as frequent as asked for, and of the kind asked for."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets import perturb
from orthant.errors import InputError

TEXTS = ["The old keeper painted a lighthouse beside the quiet harbour"] * 3 + ["", "a b", "Привет большой город"]


@pytest.mark.parametrize("kind", ["typos", "lookalikes", "accents"])
def test_rates_and_seeds(kind):
    assert perturb(TEXTS, kind, rate=0.0) == TEXTS
    made = perturb(TEXTS, kind, rate=1.0, seed=2)
    assert made == perturb(TEXTS, kind, rate=1.0, seed=2) != perturb(TEXTS, kind, rate=0.5, seed=3)
    assert perturb(TEXTS[:1], kind, rate=1.0, seed=2) == made[:1]
    assert len(made) == len(TEXTS) and made[3] == ""
    with pytest.raises(InputError):
        perturb(TEXTS, kind, rate=1.5)


def test_typing_errors_are_one_edit_in_long_words_of_any_script():
    words = TEXTS[0].split() + TEXTS[5].split()
    made = perturb(words, "typos", rate=1.0, seed=0)
    for word, wrong in zip(words, made, strict=True):
        assert (wrong == word) if len(word) < 4 else (wrong[0] == word[0] and abs(len(wrong) - len(word)) <= 1)
    changed = np.mean([a != b for a, b in zip(words, made, strict=True) if len(a) >= 4])
    assert changed > 0.7


def test_lookalikes_keep_length_and_leave_latin():
    (made,) = perturb(["Open chase"], "lookalikes", rate=1.0)
    assert len(made) == len("Open chase") and not set("opencas") & set(made)
    assert perturb(["Привет"], "lookalikes", rate=1.0) == ["Привет"]
    with pytest.raises(InputError):
        perturb(["x"], "noise")
