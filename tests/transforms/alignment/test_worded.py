import numpy as np
import pytest
from scipy.sparse import csr_matrix

from orthant.errors import DimensionError, InputError
from orthant.transforms import LowRankMap, WordedMap

WORDS, DIM = 60, 24


@pytest.fixture(scope="module")
def world():
    """New vectors are sums over words; old ones are a few directions of other sums, so most is lost in them."""
    rng = np.random.default_rng(0)
    counts = csr_matrix((rng.random((400, WORDS)) < 0.1).astype(np.float32) * rng.integers(1, 4, (400, WORDS)))
    meanings = rng.standard_normal((WORDS, DIM)).astype(np.float32)
    old = (counts @ rng.standard_normal((WORDS, 8)) + 0.01).astype(np.float32)
    new = (counts @ meanings + 0.3 * rng.standard_normal((400, DIM))).astype(np.float32)
    return old, new, counts, meanings


def near(mapped, new):
    mapped, new = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (mapped, new))
    return float((mapped * new).sum(axis=1).mean())


def test_words_bring_what_the_old_vectors_have_lost(world):
    old, new, counts, meanings = world
    fitted = WordedMap().fit(old[:300], new[:300], words=counts[:300], word_vectors=meanings)
    alone = near(LowRankMap().fit(old[:300], new[:300]).transform(old[300:]), new[300:])
    told = near(fitted.transform(old[300:], words=counts[300:]), new[300:])
    assert told > alone + 0.2
    assert abs(told - fitted.held_out_cosine_) < 0.05
    # Without their words, rows are mapped by their vectors.
    assert near(fitted.transform(old[300:]), new[300:]) < told - 0.2
    fixed = WordedMap(ridge=100.0).fit(old[:300], new[:300], words=counts[:300], word_vectors=meanings)
    assert fixed.held_out_cosine_ == -1.0
    assert near(fixed.transform(old[300:], words=counts[300:]), new[300:]) < told


def test_a_word_that_no_pair_has_is_known_by_its_vector(world):
    old, new, counts, meanings = world
    rare = np.flatnonzero(counts[:, 0].toarray().ravel() > 0)
    other = np.flatnonzero(counts[:, 0].toarray().ravel() == 0)
    fitted = WordedMap().fit(old[other], new[other], words=counts[other], word_vectors=meanings)
    blind = meanings.copy()
    blind[0] = np.average(meanings, axis=0)
    without = WordedMap().fit(old[other], new[other], words=counts[other], word_vectors=blind)
    asked = [near(one.transform(old[rare], words=counts[rare]), new[rare]) for one in (fitted, without)]
    assert asked[0] > asked[1] + 0.02


def test_what_does_not_fit_is_refused(world, tmp_path):
    old, new, counts, meanings = world
    with pytest.raises(InputError, match="no words"):
        WordedMap().fit(old, new)
    with pytest.raises(DimensionError, match="words of shape"):
        WordedMap().fit(old, new, words=counts[:5], word_vectors=meanings)
    with pytest.raises(InputError, match="below 1"):
        WordedMap().fit(old, new, words=-counts, word_vectors=meanings)
    with pytest.raises(DimensionError, match="names"):
        WordedMap().fit(old, new, words=counts, word_vectors=meanings, vocabulary=["one"])
    names = [f"w{i}" for i in range(WORDS)]
    fitted = WordedMap().fit(old, new, words=counts, word_vectors=meanings, vocabulary=names)
    fitted.save(tmp_path)
    again = WordedMap.load(tmp_path)
    assert again.vocabulary_ == names
    assert (again.transform(old, words=counts) == fitted.transform(old, words=counts)).all()
