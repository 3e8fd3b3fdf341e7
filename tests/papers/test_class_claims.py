"""The arms of the claims about classes are what they are called, and their twins have the switch off."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.papers.space import ebv, label_shift, loki, stationary


def test_sources_differ_in_every_class_and_have_enough_items():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=1_500)
    X = np.arange(1_500.0)[:, None]
    kept, labels, source = label_shift._sources(X, y, 4, 8, rng)
    assert np.array_equal(labels, y[kept[:, 0].astype(int)])
    assert np.bincount(source).min() >= 20 and source.max() + 1 <= 8
    shares = np.array([np.bincount(labels[source == d], minlength=4) / (source == d).sum() for d in set(source)])
    assert shares.max() > 0.6


def test_the_mixture_with_a_mix_for_each_source_uses_the_sources():
    rng = np.random.default_rng(0)
    source = np.repeat([0, 1], 300)
    y = (rng.random(600) < np.where(source, 0.95, 0.05)).astype(int)
    X = (1.2 * y + 0.6 * rng.standard_normal(600))[:, None].astype(np.float32)
    first = label_shift._clusters(X, 2, 0)
    found, blind = (label_shift._mixture(X, one, first, 2) for one in (source, np.zeros(600, dtype=int)))
    assert label_shift._matched(y, found, 2) > 0.9 > label_shift._matched(y, blind, 2)


def test_naming_the_found_classes_counts_each_once():
    assert label_shift._matched(np.array([0, 0, 1, 1]), np.array([1, 1, 1, 0]), 2) == 0.75


def test_the_twin_answers_seen_labels_only():
    line = np.abs(np.subtract.outer(np.arange(9.0), np.arange(9.0)))
    rng = np.random.default_rng(0)
    truth = rng.integers(9, size=4_000)
    far = np.clip(truth / 8 + 0.05 * rng.standard_normal(4_000), 0.01, 0.99)
    P = np.stack([1 - far, far], axis=1)
    ends = truth[:2_000], truth[2_000:]
    trial = loki._trial((P[:2_000], P[2_000:]), ends, np.array([0, 8]), line, {})
    assert trial.ablated["accuracy_of_unseen"] == trial.baseline["accuracy_of_unseen"] == 0
    assert trial.measured["accuracy_of_unseen"] > 0.3
    assert trial.measured["squared_distance"] < 0.5 * trial.ablated["squared_distance"]


def test_heads_and_trainers_differ_in_one_setting_each():
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    y = np.arange(240) % 6
    X = (3 * np.eye(6, 8)[y] + rng.standard_normal((240, 8))).astype(np.float32)
    trial = ebv._arms(X[:180], y[:180], X[180:], y[180:], dim=4, seed=0, epochs=2)
    assert trial.measured["head_numbers"] == trial.ablated["head_numbers"] == 0
    assert trial.baseline["head_numbers"] == 36
    assert trial.measured["largest_cosine"] < trial.ablated["largest_cosine"]
    found = stationary._arms(X, y, (3, 3), budget=8, epochs=2, seed=0)
    assert len(found.alternatives) == 2 and found.measured != found.ablated
