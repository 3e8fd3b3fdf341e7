"""Aspects: which documents belong together, and the figures of a space against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError
from orthant.measures import judge_aspects, label_sets


def test_figures_agree_with_counting():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5)).astype(np.float32)
    labels = [set(rng.choice(list("abcdef"), rng.integers(0, 3), replace=False)) for _ in X]
    told = judge_aspects({"it": X}, {"kind": labels}, k=4)["it"]["kind"]
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    values, chances = [], []
    for i, own in enumerate(labels):
        partners = [j for j, other in enumerate(labels) if j != i and own & other]
        if partners:
            near = sorted((j for j in range(len(X)) if j != i), key=lambda j: -float(unit[i] @ unit[j]))[:4]
            values.append(len(set(near) & set(partners)) / min(4, len(partners)))
            chances.append(len(partners) * 4 / 59 / min(4, len(partners)))
    assert told.precision == pytest.approx(np.mean(values)) and told.judged == len(values)
    assert told.chance == pytest.approx(np.mean(chances)) and told.lift == pytest.approx(told.precision / told.chance)


def test_frequent_and_single_labels_do_not_count():
    found = label_sets([{"all", "a"}, {"all", "a"}, {"all", "b"}, {"all"}, None], frequent=4)
    assert found.names == ["a"] and found.sizes.tolist() == [1, 1, 0, 0, 0]


def test_what_is_no_set_of_labels_is_refused():
    for labels in (["drama", "war"], [{"drama"}, {3}], [{"drama"}, {"war"}], [{"a": 1}, {"a": 1}]):
        with pytest.raises(InputError):
            label_sets(labels, aspect="genre")
    with pytest.raises(DimensionError):
        judge_aspects({"it": np.eye(3)}, {"kind": [{"a"}, {"a"}]})
