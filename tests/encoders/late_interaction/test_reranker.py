"""MaxSim between sets of vectors at the public border, and reranking with stored and fresh tokens."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from orthant.encoders import MaxSimReranker, maxsim
from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError
from orthant.types import Ragged, Reranker
from orthant.validate import as_ragged

RNG = np.random.default_rng(0)


class Letters:
    """One unit vector per letter."""

    dim, fingerprint = 26, "letters"

    def __init__(self):
        self.calls = []

    def encode_tokens(self, items, *, role="document", batch_size=64):
        self.calls.append((role, list(items)))
        rows = [np.eye(26, dtype=np.float32)[[ord(c) - 97 for c in item]] for item in items]
        return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


def test_scores_are_sums_of_maxima():
    Q = [RNG.standard_normal((n, 7)) for n in (3, 1)]
    D = [RNG.standard_normal((n, 7)) for n in (2, 5, 4)]
    wanted = [[(q @ d.T).max(axis=1).sum() for d in D] for q in Q]
    np.testing.assert_allclose(maxsim(Q, D), wanted, rtol=1e-5)
    ragged = Ragged(np.concatenate(D).astype(np.float32), np.array([0, 2, 7, 11]))
    np.testing.assert_array_equal(maxsim(Q, ragged, threads=2), maxsim(Q, D))
    assert maxsim(Q, []).shape == (2, 0)


@pytest.mark.parametrize(
    ("queries", "documents", "error", "text"),
    [
        ([np.ones((1, 2))], [np.ones((1, 3))], DimensionError, "3 columns"),
        (
            [np.ones((1, 2))],
            [np.ones((1, 2)), np.ones((0, 2))],
            InputError,
            "1 of documents without a single vector: 1",
        ),
        ([np.ones((0, 2))], [np.ones((1, 2))], InputError, "queries without"),
        ([[[np.nan, 1]]], [np.ones((1, 2))], NonFiniteError, r"queries\[0\]"),
        (np.ones((1, 2)), [np.ones((1, 2))], DtypeError, "one array"),
        (Ragged(np.ones((2, 2), np.float32), np.array([0, 3])), [np.ones((1, 2))], DimensionError, "cover 2 rows"),
        (Ragged(np.ones((2, 2), np.float32), np.array([0, 2, 1, 2])), [np.ones((1, 2))], DimensionError, "in order"),
        (Ragged(np.ones((2, 2), np.float32), np.array([0.0, 2])), [np.ones((1, 2))], DtypeError, "float64"),
    ],
)
def test_bad_sets_are_refused(queries, documents, error, text):
    with pytest.raises(error, match=text):
        maxsim(queries, documents)


def test_sets_of_different_width_are_refused():
    with pytest.raises(DimensionError, match=r"\[2, 3\]"):
        as_ragged([np.ones((1, 2)), np.ones((1, 3))])
    found = as_ragged(np.ones((2, 3, 4)))
    assert found.values.shape == (6, 4) and found.offsets.tolist() == [0, 3, 6]


def test_reranker_encodes_what_is_not_stored():
    encoder = Letters()
    stored = {"one": encoder.encode_tokens(["abc"]).values, "two": np.eye(26, dtype=np.float64)[:1]}
    encoder.calls.clear()
    reranker = MaxSimReranker(encoder, tokens=stored)
    assert isinstance(reranker, Reranker)
    records = ["cab", {"id": "one"}, SimpleNamespace(id="new", text="bx"), {"id": "two", "text": "zzz"}]
    scores = reranker.score("abc", records)
    assert scores.dtype == np.float32 and scores.tolist() == [3, 3, 1, 1]
    assert encoder.calls == [("query", ["abc"]), ("document", ["cab", "bx"])]
    assert reranker.score("abc", []).shape == (0,)


def test_reranker_refuses_what_it_cannot_score():
    reranker = MaxSimReranker(Letters(), tokens={"short": np.ones((2, 3))})
    with pytest.raises(InputError, match="record 1"):
        reranker.score("a", ["b", {"id": "unknown"}])
    with pytest.raises(DimensionError, match="stored tokens of 'short'"):
        reranker.score("a", [{"id": "short"}])
    with pytest.raises(InputError, match="without a single vector"):
        reranker.score("a", [""])
    with pytest.raises(InputError, match="encode_tokens"):
        MaxSimReranker(object())
    with pytest.raises(InputError, match="mapping"):
        MaxSimReranker(Letters(), tokens=3)
