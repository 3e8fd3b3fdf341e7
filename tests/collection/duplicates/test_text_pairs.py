"""Shingles, MinHash and banding against sets and loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orthant.collection.duplicates import minhash
from orthant.collection.duplicates.minhash import Bands, candidates, choose_bands, signatures
from orthant.collection.duplicates.shingles import jaccard, jaccard_pairs, shingle_sets
from orthant.collection.lexical.analysis import Analyzer
from orthant.errors import InputError

ANALYZER = Analyzer()


def corpus(seed: int = 0, count: int = 120) -> list[str]:
    """Random texts, and edits of some of them."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 300, size=rng.integers(0, 30))) for _ in range(count)]
    for i in range(0, count, 4):
        words = texts[i].split()
        for _ in range(int(rng.integers(0, 3))):
            if words:
                words[int(rng.integers(len(words)))] = "edited"
        texts.append(" ".join(words))
    return texts


def naive_set(text: str, width: int) -> frozenset:
    words = ANALYZER.words(text)
    if not words:
        return frozenset()
    return frozenset(tuple(words[i : i + width]) for i in range(max(1, len(words) - width + 1)))


def naive_jaccard(a: frozenset, b: frozenset) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def naive_pairs(texts, threshold, width=3):
    sets = [naive_set(text, width) for text in texts]
    return {
        (i, j) for i, j in itertools.combinations(range(len(sets)), 2)
        if naive_jaccard(sets[i], sets[j]) >= threshold
    }  # fmt: skip


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_shingles_are_those_of_a_loop(width):
    texts = [*corpus(), "", "one", "one two", "東京都の天気", "One,  TWO!"]
    sets = shingle_sets(texts, analyzer=ANALYZER, width=width)
    naive = [naive_set(text, width) for text in texts]
    assert sets.sizes.tolist() == [len(one) for one in naive]
    pairs = np.array(list(itertools.combinations(range(len(texts)), 2)))
    found = jaccard(sets, pairs[:, 0], pairs[:, 1])
    np.testing.assert_allclose(found, [naive_jaccard(naive[i], naive[j]) for i, j in pairs], atol=1e-12)
    same = sets.identity()
    assert all((same[i] == same[j]) == (naive[i] == naive[j]) for i, j in pairs)


def test_no_texts_have_no_shingles():
    sets = shingle_sets([], analyzer=ANALYZER)
    assert len(sets) == 0 and jaccard_pairs(sets, 0.5)[0].tolist() == []


def test_taking_texts_keeps_their_shingles():
    texts = corpus()
    chosen = np.array([5, 3, 40, 3])
    sets = shingle_sets(texts, analyzer=ANALYZER)
    part = sets.take(chosen)
    for i, j in enumerate(chosen):
        own = slice(sets.offsets[j], sets.offsets[j + 1])
        assert part.values[part.offsets[i] : part.offsets[i + 1]].tolist() == sets.values[own].tolist()


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 1.0])
def test_the_exact_join_finds_every_pair(threshold):
    texts = corpus(1)
    left, right = jaccard_pairs(shingle_sets(texts, analyzer=ANALYZER), threshold)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == naive_pairs(texts, threshold)


def test_signatures_agree_as_often_as_sets_are_similar():
    texts = ["a b c d e f g h i j", "a b c d e f g x y z", "a b c d e f g h i j k"]
    sets = shingle_sets(texts, analyzer=ANALYZER, width=1)
    marks = signatures(sets, permutations=4096)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        wanted = jaccard(sets, np.array([i]), np.array([j]))[0]
        # Four standard deviations of a share of 4,096.
        assert abs((marks[i] == marks[j]).mean() - wanted) < 4 * 0.5 / 64


def test_bands_bring_together_what_is_similar():
    texts = corpus(2, count=400)
    sets = shingle_sets(texts, analyzer=ANALYZER)
    worded = np.flatnonzero(sets.sizes)
    part = sets.take(worded)
    for threshold in (0.3, 0.6, 0.9):
        bands = choose_bands(threshold)
        assert bands.chance(threshold) >= 0.99 and bands[0] * bands[1] <= 128
        left, right = candidates(signatures(part), bands)
        found = set(zip(worded[left].tolist(), worded[right].tolist(), strict=True))
        wanted = naive_pairs(texts, threshold)
        assert len(found & wanted) >= 0.97 * len(wanted) and wanted
        # Not merely everything: few of all pairs are looked at.
        assert len(found) < 0.1 * len(worded) ** 2 / 2


def test_longer_bands_are_chosen_for_higher_thresholds():
    rows = [choose_bands(t)[1] for t in (0.05, 0.3, 0.6, 0.9, 0.99)]
    assert rows == sorted(rows) and rows[0] == 1 and rows[-1] > 20
    assert Bands((10, 2)).chance(1.0) == 1.0 and Bands((10, 2)).chance(0.0) == 0.0


def test_a_flood_of_candidates_is_refused(monkeypatch):
    monkeypatch.setattr(minhash, "_MAX_CANDIDATES", 100)
    marks = np.zeros((20, 4), dtype=np.uint32)
    with pytest.raises(InputError, match=r"(?i)raise the threshold"):
        candidates(marks, Bands((2, 2)))
