"""What must hold of every encoding: bounded by MaxSim, equal to it for single tokens, both sides alike, no mix."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import load_artifact
from orthant.errors import DimensionError, InputError, NonFiniteError, NotFittedError
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.transforms import FixedDimensionalEncoding, carve_balls
from orthant.types import Ragged


def unit_sets(lengths, dim=12, seed=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.random.default_rng(seed).standard_normal((offsets[-1], dim))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Ragged(values.astype(np.float32), offsets)


def maxsim(queries, documents):
    return maxsim_scores(queries.values, queries.offsets, documents.values, documents.offsets)


def topics(n, dim=32, seed=0):
    """Documents of three topics each, tokens near their topics; and queries about two of a document's topics."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((80, dim))
    chosen = np.array([rng.choice(80, 3, replace=False) for _ in range(n)])
    documents = [centres[np.repeat(c, 4)] + 0.4 * rng.standard_normal((12, dim)) for c in chosen]
    queries = [centres[c[:2]] + 0.4 * rng.standard_normal((2, dim)) for c in chosen[: n // 10]]
    unit = [[x / np.linalg.norm(x, axis=1, keepdims=True) for x in side] for side in (documents, queries)]
    return unit


@pytest.mark.parametrize("bits", [0, 1, 3, 5])
def test_the_encoding_never_exceeds_maxsim(bits):
    documents, queries = unit_sets([1, 4, 20, 60, 3], seed=1), unit_sets([1, 3, 10], seed=2)
    made = FixedDimensionalEncoding(repetitions=7, bits=bits, inner_dim=12, fill_empty=True).fit(documents)
    found = made.transform_queries(queries) @ made.transform(documents).T / 7
    assert (found <= maxsim(queries, documents) + 1e-5).all()


def test_it_is_maxsim_where_documents_have_one_token():
    documents, queries = unit_sets([1] * 20, seed=1), unit_sets([1, 3, 10], seed=2)
    made = FixedDimensionalEncoding(repetitions=3, bits=4, inner_dim=99, fill_empty=True).fit(documents)
    found = made.transform_queries(queries) @ made.transform(documents).T / 3
    np.testing.assert_allclose(found, maxsim(queries, documents), atol=1e-5)


def test_without_filling_an_empty_cell_counts_zero():
    documents, queries = unit_sets([1], seed=1), Ragged(-unit_sets([1], seed=1).values, np.array([0, 1]))
    made = FixedDimensionalEncoding(repetitions=3, bits=2, inner_dim=12, fill_empty=False).fit(documents)
    # The opposite of a token is on the other side of every plane.
    assert (made.transform_queries(queries) @ made.transform(documents).T)[0, 0] == 0
    assert maxsim(queries, documents)[0, 0] < -0.99


def test_it_finds_what_maxsim_finds_and_repetitions_matter():
    documents, queries = topics(600)
    exact = FixedDimensionalEncoding(repetitions=1, bits=0, inner_dim=32).fit(documents)
    truth = np.arange(len(queries))

    def found(**settings):
        made = FixedDimensionalEncoding(**settings).fit(documents)
        scores = made.transform_queries(queries) @ made.transform(documents).T
        return (np.argsort(-scores, axis=1)[:, :10] == truth[:, None]).any(axis=1).mean()

    many, one = found(repetitions=20, bits=3, inner_dim=8), found(repetitions=1, bits=3, inner_dim=8)
    assert many > 0.9 and many > one + 0.2
    assert exact.dim_ == 32


def test_projections_keep_scores_in_the_mean():
    documents, queries = unit_sets([6, 9], seed=3), unit_sets([4], seed=4)
    whole = FixedDimensionalEncoding(repetitions=4, bits=2, inner_dim=12).fit(documents)
    wanted = (whole.transform_queries(queries) @ whole.transform(documents).T)[0]
    for final in ("count-sketch", "signs"):
        found = []
        for seed in range(200):
            made = FixedDimensionalEncoding(repetitions=4, bits=2, inner_dim=12, final_dim=64, final=final, seed=seed)
            made.fit(documents)
            plain = FixedDimensionalEncoding(repetitions=4, bits=2, inner_dim=12, seed=seed).fit(documents)
            small = (made.transform_queries(queries) @ made.transform(documents).T)[0]
            found.append(small - (plain.transform_queries(queries) @ plain.transform(documents).T)[0])
        assert (np.abs(np.mean(found, axis=0)) < 3.5 * np.std(found, axis=0) / np.sqrt(200)).all()
    assert np.isfinite(wanted).all()


def test_filling_is_decided_by_the_tokens_for_each_cell():
    few, many = unit_sets([10] * 5), unit_sets([40] * 5)
    assert not FixedDimensionalEncoding(bits=4).fit(few).fill_empty_
    assert FixedDimensionalEncoding(bits=4).fit(many).fill_empty_
    assert not FixedDimensionalEncoding(bits=4, fill_empty=False).fit(many).fill_empty_


def test_normalized_documents_have_unit_length_and_queries_do_not():
    sets = unit_sets([5, 9, 30])
    made = FixedDimensionalEncoding(normalize=True).fit(sets)
    np.testing.assert_allclose(np.linalg.norm(made.transform(sets), axis=1), 1, atol=1e-5)
    assert (np.abs(np.linalg.norm(made.transform_queries(sets), axis=1) - 1) > 0.1).all()


def test_seeds_and_settings_are_told_apart_and_saved(tmp_path):
    sets = unit_sets([5, 9, 30])
    made = FixedDimensionalEncoding(bits=2, seed=4).fit(sets)
    made.save(tmp_path)
    back = load_artifact(tmp_path)
    assert back.fingerprint_ == made.fingerprint_ and back.get_params() == made.get_params()
    np.testing.assert_array_equal(back.transform(sets), made.transform(sets))
    others = [FixedDimensionalEncoding(bits=2, seed=5), FixedDimensionalEncoding(bits=3, seed=4)]
    assert made.fingerprint_ not in {other.fit(sets).fingerprint_ for other in others}


@pytest.mark.parametrize(
    "settings",
    [
        {"repetitions": 0}, {"bits": 17}, {"bits": -1}, {"inner_dim": 0}, {"final_dim": 0}, {"final": "hash"},
        {"fill_empty": "always"}, {"normalize": "yes"}, {"bits": 16, "repetitions": 99}, {"seed": -1},
        {"budget_bytes": 0},
    ],
    ids=str,
)  # fmt: skip
def test_refuses_settings(settings):
    with pytest.raises(InputError):
        FixedDimensionalEncoding(**settings).fit(unit_sets([4]))


def test_refuses_sets():
    made = FixedDimensionalEncoding().fit(unit_sets([4, 4]))
    with pytest.raises(InputError, match="without a single vector"):
        made.transform(Ragged(np.ones((2, 12), np.float32), np.array([0, 0, 2])))
    with pytest.raises(DimensionError):
        made.transform_queries(unit_sets([3], dim=11))
    with pytest.raises(NonFiniteError):
        made.transform([np.full((2, 12), np.nan)])
    with pytest.raises(NotFittedError):
        FixedDimensionalEncoding().transform(unit_sets([3]))
    with pytest.raises(InputError, match=r"\d+ bytes; expected at most 1000 bytes"):
        FixedDimensionalEncoding(budget_bytes=1000).fit(unit_sets([4])).transform(unit_sets([4]))
    with pytest.raises(InputError):
        FixedDimensionalEncoding().fit(Ragged(np.zeros((0, 3), np.float32), np.array([0])))


def test_carving_joins_near_tokens_and_bounds_the_score():
    rng = np.random.default_rng(0)
    query = np.repeat(np.eye(3, 8), 4, axis=0) + 0.1 * rng.standard_normal((12, 8))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    queries, documents = Ragged(query.astype(np.float32), np.array([0, 12])), unit_sets([5] * 30, dim=8)
    carved = carve_balls(queries, 0.7)
    assert len(carved.values) == 3
    np.testing.assert_allclose(carved.values.sum(axis=0), query.sum(axis=0), atol=1e-5)
    whole, few = maxsim(queries, documents)[0], maxsim(carved, documents)[0]
    assert (few <= whole + 1e-4).all() and np.corrcoef(whole, few)[0, 1] > 0.95
    assert len(carve_balls(queries, 1.0).values) == 12
    with pytest.raises(InputError):
        carve_balls(queries, 1.5)
