from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.kernels import bitmaps

ROWS = st.lists(st.integers(0, 300), max_size=60)
fixed = settings(derandomize=True, max_examples=60, deadline=None)


def as_array(rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


@fixed
@given(ROWS, st.integers(0, 400))
def test_rows_survive_the_round_trip(rows, size):
    bitmap = bitmaps.from_rows(as_array(rows), size)
    assert bitmap.dtype == np.uint64 and len(bitmap) == bitmaps.words_for(max([size, *[r + 1 for r in rows]]))
    assert bitmaps.to_rows(bitmap).tolist() == sorted(set(rows))
    assert bitmaps.to_rows(bitmap).dtype == np.int64
    assert bitmaps.count_bits(bitmap) == len(set(rows))


@fixed
@given(st.lists(st.booleans(), max_size=200), st.integers(0, 260))
def test_masks_survive_the_round_trip(mask, size):
    bitmap = bitmaps.from_mask(np.array(mask, dtype=bool))
    assert len(bitmap) == -(-len(mask) // 64)
    wanted = (mask + [False] * size)[:size]
    assert bitmaps.to_mask(bitmap, size).tolist() == wanted
    assert bitmaps.to_mask(bitmap, size).dtype == np.bool_


@fixed
@given(ROWS, ROWS)
def test_set_algebra(left, right):
    a, b = bitmaps.from_rows(as_array(left)), as_array(right)
    before = a.copy()
    assert set(bitmaps.to_rows(bitmaps.set_rows(a, b)).tolist()) == set(left) | set(right)
    cleared = bitmaps.clear_rows(a, b)
    assert set(bitmaps.to_rows(cleared).tolist()) == set(left) - set(right) and len(cleared) == len(a)
    assert bitmaps.contains_rows(a, b).tolist() == [row in set(left) for row in right]
    np.testing.assert_array_equal(a, before)


def test_one_row_is_one_bit_of_one_word():
    for row in (0, 1, 62, 63, 64, 65, 127, 128):
        bitmap = bitmaps.from_rows(as_array([row]))
        assert len(bitmap) == row // 64 + 1
        assert int(bitmap[row // 64]) == 1 << (row % 64)


def test_empty_sets():
    none = bitmaps.from_rows(as_array([]))
    assert none.shape == (0,) and none.dtype == np.uint64 and bitmaps.count_bits(none) == 0
    assert bitmaps.to_rows(none).shape == (0,)
    assert bitmaps.to_mask(none, 5).tolist() == [False] * 5
    assert bitmaps.contains_rows(none, as_array([0, 99])).tolist() == [False, False]
    assert bitmaps.from_mask(np.zeros(0, dtype=bool)).shape == (0,)
    assert bitmaps.set_rows(none, as_array([])).shape == (0,)
    assert bitmaps.clear_rows(none, as_array([7])).shape == (0,)


def test_words_for():
    assert [bitmaps.words_for(n) for n in (0, 1, 63, 64, 65, 128, 129)] == [0, 1, 1, 1, 2, 2, 3]


def test_resize_pads_cuts_and_keeps():
    bitmap = bitmaps.from_rows(as_array([3, 70]))
    assert bitmaps.resize(bitmap, 2) is bitmap
    assert bitmaps.to_rows(bitmaps.resize(bitmap, 5)).tolist() == [3, 70] and len(bitmaps.resize(bitmap, 5)) == 5
    assert bitmaps.to_rows(bitmaps.resize(bitmap, 1)).tolist() == [3]


def test_a_mask_longer_than_the_bitmap_ends_in_false_and_a_shorter_one_is_cut():
    bitmap = bitmaps.from_rows(as_array([1, 64]))
    assert np.flatnonzero(bitmaps.to_mask(bitmap, 200)).tolist() == [1, 64]
    assert np.flatnonzero(bitmaps.to_mask(bitmap, 64)).tolist() == [1]
    assert len(bitmaps.to_mask(bitmap, 3)) == 3


def test_strided_bitmaps_are_read_right():
    wide = np.zeros(6, dtype=np.uint64)
    wide[::2] = bitmaps.from_rows(as_array([0, 70, 130]))
    assert bitmaps.to_rows(wide[::2]).tolist() == [0, 70, 130]
