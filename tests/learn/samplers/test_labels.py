from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.errors import InputError
from orthant.learn.samplers import ByLabel, PxK, count_batches


def labels_of(sizes, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels).tolist()


def possible(groups, p):
    """The largest number of batches, by taking the p fullest classes again and again."""
    groups, batches = sorted(groups, reverse=True), 0
    while len(groups) >= p and groups[p - 1] > 0:
        groups = sorted([g - 1 for g in groups[:p]] + groups[p:], reverse=True)
        batches += 1
    return batches


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 17), min_size=2, max_size=9),
    p=st.integers(2, 4),
    k=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_p_classes_of_k_rows_as_often_as_possible(sizes, p, k, seed):
    if sum(size >= k for size in sizes) < p:
        return
    data = {"label": labels_of(sizes)}
    sampler = PxK(p, k, small="drop")
    batches = list(sampler.batches(sum(sizes), batch_size=p * k, seed=seed, columns=data))
    for batch in batches:
        assert sorted(Counter(data["label"][row] for row in batch).values()) == [k] * p
    rows = list(chain.from_iterable(batches))
    assert len(rows) == len(set(rows))
    assert len(batches) == possible([size // k for size in sizes], p)
    assert len(batches) == count_batches(sampler, sum(sizes), batch_size=p * k, columns=data)
    assert batches == list(sampler.batches(sum(sizes), batch_size=p * k, seed=seed, columns=data))


def test_other_epochs_use_the_rows_left_out():
    data = {"label": labels_of([5, 5, 5, 9])}
    seen = set()
    for epoch in range(20):
        seen |= set(chain.from_iterable(PxK(2, 2).batches(24, seed=1, epoch=epoch, columns=data)))
    assert seen == set(range(24))


def test_classes_meet_different_classes():
    data = {"label": labels_of([4] * 10)}
    met = set()
    for epoch in range(60):
        for batch in PxK(2, 2).batches(40, epoch=epoch, columns=data):
            met.add(frozenset(data["label"][row] for row in batch))
    assert len(met) == 45


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(2, 15), min_size=2, max_size=8), half=st.integers(2, 6), seed=st.integers(0, 9))
def test_by_label_has_partners_and_two_classes(sizes, half, seed):
    n, batch_size = sum(sizes), 2 * half
    if batch_size > n:
        return
    data = {"label": [f"class {label}" for label in labels_of(sizes)]}
    batches = list(ByLabel().batches(n, batch_size=batch_size, seed=seed, columns=data))
    for batch in batches:
        counts = Counter(data["label"][row] for row in batch)
        assert len(counts) >= 2
        assert min(counts.values()) >= 2
    rows = list(chain.from_iterable(batches))
    assert len(rows) == len(set(rows))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == count_batches(ByLabel(), n, batch_size=batch_size, columns=data)


def test_by_label_covers_balanced_data():
    data = {"label": labels_of([8] * 5)}
    assert sorted(chain.from_iterable(ByLabel().batches(40, batch_size=8, columns=data))) == list(range(40))


def test_bad_labels_are_refused():
    one, two = {"label": [1] * 8}, {"label": [0] * 4 + [1] * 4}
    for sampler in (ByLabel(), PxK(2, 2)):
        with pytest.raises(InputError, match=r"1 label\(s\) in column 'label'"):
            sampler.batches(8, batch_size=4, columns=one)
        with pytest.raises(InputError, match="column 'label' of length 8; expected 9"):
            sampler.batches(9, batch_size=4, columns=two)
        with pytest.raises(InputError, match="no column 'label'"):
            sampler.batches(8, batch_size=4, columns=None)
    with pytest.raises(InputError, match=r"1 label\(s\) with fewer than k=3 rows: 'b'"):
        PxK(2, 3).batches(9, columns={"label": ["a"] * 4 + ["c"] * 3 + ["b"] * 2})
    with pytest.raises(InputError, match=r"1 label\(s\) with k=3 rows or more"):
        PxK(2, 3, small="drop").batches(7, columns={"label": ["a"] * 5 + ["b"] * 2})
    with pytest.raises(InputError, match="p \\* k = 4"):
        PxK(2, 2).batches(8, batch_size=6, columns=two)
    with pytest.raises(InputError, match=r"p \* k=10 for 8 rows"):
        PxK(2, 5).batches(8, columns=two)
    with pytest.raises(InputError, match=r"1 label\(s\) with one row: 7"):
        ByLabel().batches(5, batch_size=4, columns={"label": [0, 0, 1, 1, 7]})
    with pytest.raises(InputError, match="batch_size=5; expected an even number"):
        ByLabel().batches(8, batch_size=5, columns=two)
    assert len(list(ByLabel(rare="drop").batches(5, batch_size=4, columns={"label": [0, 0, 1, 1, 7]}))) == 1
