from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import orthant
from collection.fakes import FakeEncoder
from orthant.collection.fusion import check_weights, min_max, ranks, reciprocal_ranks, weighted_sum
from orthant.errors import InputError

SCORES = hnp.arrays(np.float32, st.integers(0, 20), elements=st.floats(-100, 100, width=32))


@settings(derandomize=True, max_examples=60)
@given(SCORES)
def test_w80_min_max_keeps_the_order_and_the_interval(scores):
    out = min_max(scores)
    assert ((out >= 0) & (out <= 1)).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(out[order]) >= 0).all()


def test_min_max_of_absent_equal_and_anchored_scores():
    np.testing.assert_allclose(min_max(np.array([2.0, -np.inf, 4.0], np.float32)), [0.0, 0.0, 1.0])
    np.testing.assert_allclose(min_max(np.array([3.0, 3.0], np.float32)), [1.0, 1.0])
    np.testing.assert_allclose(min_max(np.array([3.0, 6.0], np.float32), low=0.0), [0.5, 1.0])
    np.testing.assert_allclose(min_max(np.zeros(3, np.float32), low=0.0), np.zeros(3))
    assert len(min_max(np.zeros(0, np.float32))) == 0


def test_ranks_are_places_in_the_legs_list():
    candidates = np.array([3, 5, 8, 9])
    np.testing.assert_array_equal(ranks(candidates, np.array([8, 3])), [2, 0, 1, 0])
    np.testing.assert_array_equal(ranks(candidates, np.array([100, 5])), [0, 2, 0, 0])
    np.testing.assert_allclose(reciprocal_ranks(np.array([1, 0, 2])), [1.0, 0.0, 61 / 62])


def test_weights_are_checked_and_sum_to_one():
    assert check_weights({"dense": 2, "lexical": 6}) == {"dense": 0.25, "lexical": 0.75}
    assert sum(check_weights(None).values()) == pytest.approx(1)
    for bad in ({"dense": -1}, {"dense": 0, "lexical": 0}, {"colour": 1}, {"sparse": -1}, 3):
        with pytest.raises(InputError):
            check_weights(bad)
    fused = weighted_sum({"dense": np.array([1.0, 0.0]), "lexical": np.array([0.0, 1.0])}, check_weights({"dense": 1}))
    np.testing.assert_allclose(fused, [1.0, 0.0])


def test_w80_without_a_matching_word_the_fused_score_is_the_dense_part(tmp_path):
    with orthant.open(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert(["a", "b", "c"], texts=["amber basin", "cedar delta", "ember fjord"])
        result = collection.search("lagoon", mode="hybrid", weights={"dense": 0.25, "lexical": 0.75})
        assert result[0].score == pytest.approx(0.25)
        assert all(hit.legs["lexical"].normalized == 0 for hit in result)
        swapped = collection.search("amber", mode="hybrid", weights={"lexical": 1.0})
        assert swapped[0].id == "a" and swapped[0].score == pytest.approx(1.0)
