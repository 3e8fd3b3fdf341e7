"""Benchmarks of words, and tests of bias."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.kinds import LabelledTexts, TextPairs
from orthant.datasets.structures import Analogies, Analogy, OutlierGroup, Outliers
from orthant.encoders.words.debiasing import bias_directions, debias
from orthant.encoders.words.vectors import WordVectors
from orthant.errors import DimensionError, InputError
from orthant.evaluation import association_test, direct_bias, evaluate_words, remaining_bias, weat

WORDS = WordVectors(
    ["king", "queen", "man", "woman", "oven"], [[1, 1, 0], [1, -1, 0], [0.1, 1, 0], [0.1, -1, 0], [-0.2, -0.3, 1]]
)


def test_each_benchmark_is_scored_over_the_words_that_are_known():
    pairs = TextPairs("t", ["king", "King", "man", "x"], ["queen", "oven", "king", "man"], np.array([5.0, 0, 9, 1]))
    report = evaluate_words(WORDS, pairs)
    assert report.metrics["spearman"] == pytest.approx(1) and report.metrics["covered"] == 0.75
    assert list(report.missing) == ["x man"]
    items = [Analogy("sex", "man", "king", "woman", "queen"), Analogy("sex", "man", "king", "woman", "oven")]
    for method in ("add", "multiply"):
        assert evaluate_words(WORDS, Analogies("a", items), method=method).metrics["accuracy"] == 0.5
    classes = LabelledTexts("c", ["king", "man", "queen", "woman"], np.array([0, 0, 1, 1]), ("m", "f"))
    assert evaluate_words(WORDS, classes).metrics["purity"] == 1.0
    groups = Outliers("o", [OutlierGroup("men", ("king", "man"), ("oven", "x"))] * 2)
    report = evaluate_words(WORDS, groups)
    assert report.metrics == {"accuracy": 1.0, "covered": 0.5}


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError):
        evaluate_words(WORDS, TextPairs("t", ["x", "king"], ["y", "man"], np.array([1.0, 2.0])))
    with pytest.raises(InputError):
        evaluate_words(WORDS, TextPairs("t", ["king"], ["man"]))
    with pytest.raises(InputError):
        evaluate_words(WORDS, ["king"])


def _biased(seed=0, count=60):
    """Words with a side along the first axis and the same side, more weakly, along others."""
    rng = np.random.default_rng(seed)
    side = np.repeat([1.0, -1.0], count)
    rows = rng.standard_normal((2 * count, 20)) * 0.3
    rows[:, 0] += side
    rows[:, 1:4] += 0.5 * side[:, None]
    names = [f"w{i}" for i in range(2 * count)]
    ends = np.zeros((2, 20))
    ends[:, 0], ends[:, 5] = [2, -2], 1
    return WordVectors([*names, "she", "he"], np.concatenate([rows, ends])), names


def test_association_is_found_and_its_p_value_counts_divisions():
    words, names = _biased()
    found = weat(words, names[:4], names[-4:], ["she"], ["he"])
    assert found.effect > 1.5 and found.exact and found.p_value == pytest.approx(1 / 70)
    sampled = weat(words, names[:20], names[-20:], ["she"], ["he"], permutations=500)
    assert not sampled.exact and sampled.p_value == pytest.approx(1 / 501)
    assert weat(words, names[-4:], names[:4], ["she"], ["he"]).p_value == pytest.approx(1)
    with pytest.raises(InputError, match="unknown"):
        weat(words, ["w0", "zz"], names[:2], ["she"], ["he"])
    with pytest.raises(InputError):
        weat(words, names[:2], names[1:3], ["she"], ["he"])
    with pytest.raises(InputError):
        association_test(np.eye(3), np.eye(3)[:2], np.eye(3), np.eye(3))


def test_debiasing_clears_the_axis_and_the_rest_of_the_bias_is_still_found():
    words, names = _biased()
    axis = bias_directions(words, [("she", "he")])
    fair = debias(words, [("she", "he")])
    assert direct_bias(words, axis, names) > 0.3 and direct_bias(fair, axis, names) < 1e-6
    assert remaining_bias(words, fair, axis, names, most=50) > 0.9
    rng = np.random.default_rng(3)
    shuffled = WordVectors(words.words, words.vectors[rng.permutation(len(words))])
    assert remaining_bias(words, shuffled, axis, names, most=50) < 0.75
    with pytest.raises(DimensionError):
        remaining_bias(words, WordVectors(["a"], [[1.0]]), axis, names)
    with pytest.raises(InputError):
        direct_bias(words, axis, ["zz"])
    with pytest.raises(InputError, match="equal vectors"):
        debias(words, [("she", "she")])


def test_words_with_a_word_class_behind_them_are_found():
    words = WordVectors(["sea", "ship", "oven"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    pairs = TextPairs("toy", ["sea-n", "Sea-n", "ship-v"], ["ship-n", "oven-n", "oven-n"], np.array([9.0, 1.0, 2.0]))
    report = evaluate_words(words, pairs)
    assert report.metrics["covered"] == 1.0 and report.metrics["spearman"] == pytest.approx(1.0)
    assert evaluate_words(words, pairs, lower=False).metrics["covered"] == pytest.approx(2 / 3, abs=1e-6)
