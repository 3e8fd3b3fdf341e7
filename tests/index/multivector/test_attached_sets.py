"""Codes of sets that lie elsewhere: the answers of an index that holds the sets, saved without them."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import StoreCorruptedError
from orthant.index import MultiVector
from orthant.index.multivector.attached import SetCodes
from orthant.kernels import bitmaps

DIM = 8


def made(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((int(n), DIM)).astype(np.float32) for n in rng.integers(1, 6, count)]


def block(sets, ids):
    return np.concatenate(sets), np.repeat(np.asarray(ids), [len(one) for one in sets])


SETS = made(150)
QUERIES = [one[:2] for one in made(6, seed=3)]


@pytest.mark.parametrize("method", ["pooled", "plaid"])
def test_it_finds_what_an_index_that_holds_the_sets_finds(method, tmp_path):
    whole = MultiVector(DIM, method, exact_below=0)
    whole.add(SETS)
    codes = SetCodes.over([block(SETS[:70], range(70)), block(SETS[70:], range(70, 150))], dim=DIM, method=method)
    codes.save_links(tmp_path / "codes")
    # A compaction has moved some sets, and taken others away.
    order = [*range(40, 150), *range(30)]
    moved = [block([SETS[i] for i in part], part) for part in (order[:110], order[110:])]
    again = SetCodes.attach(tmp_path / "codes", moved)
    assert len(again) == 140 and not again.check()
    assert not list((tmp_path / "codes").glob("values-*"))
    for index, allowed in ((codes, None), (again, bitmaps.from_rows(np.sort(order)))):
        found = index.search(QUERIES, k=5, effort=30, allowed=allowed)
        wanted = whole.search(QUERIES, k=5, effort=30, allowed=allowed)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("method", ["pooled", "plaid"])
def test_extending_changes_neither_the_earlier_one_nor_what_is_found(method, tmp_path):
    codes = SetCodes.over([block(SETS[:100], range(100))], dim=DIM, method=method)
    before = codes.search(QUERIES, k=5, effort=100)
    more = codes.extended([block(SETS[100:], range(100, 150))], removed=[3, 4, 999])
    np.testing.assert_array_equal(codes.search(QUERIES, k=5, effort=100).ids, before.ids)
    assert len(codes) == 100 and len(more) == 148 and not more.check()
    more.save_links(tmp_path / "codes")
    again = SetCodes.attach(tmp_path / "codes", [block(SETS, range(150))])
    assert not {3, 4} & set(again.ids().tolist())
    found = more.search(QUERIES, k=5, effort=148)
    np.testing.assert_array_equal(again.search(QUERIES, k=5, effort=148).ids, found.ids)
    truth = more.search(QUERIES, k=5, recall=1.0)
    assert np.mean(found.ids == truth.ids) > (0.99 if method == "pooled" else 0.7) and (truth.ids >= 100).any()


def test_codes_of_other_tokens_are_refused(tmp_path):
    SetCodes.over([block(SETS, range(150))], dim=DIM, method="plaid").save_links(tmp_path / "codes")
    with pytest.raises(StoreCorruptedError, match="other tokens"):
        SetCodes.attach(tmp_path / "codes", [block(made(150, seed=8), range(150))])


def test_calibration_is_kept_and_says_what_parts_of_sets_find(tmp_path):
    codes = SetCodes.over([block(SETS, range(150))], dim=DIM, method="pooled")
    measured = codes.calibrate()
    assert [effort for effort, _ in measured] == [25] and 0 < measured[0][1] < 1
    codes.save_links(tmp_path / "codes")
    assert SetCodes.attach(tmp_path / "codes", [block(SETS, range(150))]).calibration == measured
