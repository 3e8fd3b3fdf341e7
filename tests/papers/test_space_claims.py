"""The arms of the alignment claims are what they are called, and their twins have the switch off."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import MissingExtraError
from orthant.papers.space import gap_alignment, query_drift, relative


def test_a_gap_is_closed_on_training_pairs_and_judged_on_others(monkeypatch):
    rng = np.random.default_rng(0)
    meaning = rng.standard_normal((600, 12))
    sides = [(meaning + 0.6 * rng.standard_normal((600, 12)) + s).astype(np.float32) for s in (1.0, -1.0)]
    seen = []
    monkeypatch.setattr(gap_alignment, "_pairs", lambda name, seed: seen.append((name, seed)) or tuple(sides))
    trial = gap_alignment._cosqa(3)
    assert seen == [("cosqa", 3)]
    assert trial.ablated["mrr"] < trial.baseline["mrr"] < trial.measured["mrr"]
    assert trial.baseline["strength"] == 0 and trial.ablated["strength"] == -1 and len(trial.alternatives) == 3
    assert trial.measured["distance_of_means"] < 0.5 * trial.baseline["distance_of_means"]


def test_the_twin_of_the_anchors_has_the_same_items_in_another_order(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=500)
    meaning = np.eye(4, 8)[labels] + 0.15 * rng.standard_normal((500, 8))
    turns = [np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(3)]
    spaces = [(meaning @ turn).astype(np.float32) for turn in turns]
    made = spaces, labels, np.arange(300), np.arange(300, 500)
    monkeypatch.setattr(relative, "_digit_encoders", lambda seed: made)
    trial = relative._stitching(0)
    assert trial.measured["accuracy"] > 0.95 > 0.6 > trial.ablated["accuracy"]
    assert trial.baseline["accuracy"] < 0.8 and set(trial.alternatives) == {
        "Procrustes from the same anchors",
        "regression from the same anchors",
    }


def test_without_the_tuned_model_the_claim_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    query_drift._newer.cache_clear()
    with pytest.raises(MissingExtraError, match="medical-minilm"):
        query_drift._newer()
