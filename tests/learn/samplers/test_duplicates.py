from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.errors import InputError
from orthant.learn.samplers import NoDuplicates
from orthant.learn.samplers.protocol import generator


def greedy(rows, order, batch_size):
    """The rule itself: every batch goes through all that is left."""
    left = list(order)
    while left:
        batch, used, later = [], set(), []
        for row in left:
            if len(batch) < batch_size and used.isdisjoint(rows[row]):
                batch.append(row)
                used |= set(rows[row])
            else:
                later.append(row)
        yield batch
        left = later


@st.composite
def tables(draw):
    n, values = draw(st.integers(2, 50)), draw(st.integers(2, 12))
    first = draw(st.lists(st.integers(0, values), min_size=n, max_size=n))
    # Some texts stand in both columns, since a query may be the answer of another row.
    second = draw(st.lists(st.integers(0, 2 * values), min_size=n, max_size=n))
    pairs = [(f"q{a}", f"q{b}" if b < values // 2 and b != a else f"d{b}") for a, b in zip(first, second, strict=True)]
    return pairs, draw(st.integers(1, n)), draw(st.integers(0, 20))


@settings(max_examples=200, deadline=None)
@given(table=tables())
def test_batches_are_those_of_the_greedy_rule(table):
    pairs, batch_size, seed = table
    if set.intersection(*map(set, pairs)):
        return
    n = len(pairs)
    data = {"query": [a for a, _ in pairs], "answer": [b for _, b in pairs], "score": [0.5] * n}
    batches = list(NoDuplicates().batches(n, batch_size=batch_size, seed=seed, columns=data))
    assert batches == list(greedy(pairs, generator(seed, 0).permutation(n).tolist(), batch_size))
    assert sorted(chain.from_iterable(batches)) == list(range(n))
    for batch in batches:
        texts = [text for row in batch for text in pairs[row]]
        assert len(texts) == len(set(texts))
    short = list(NoDuplicates(drop_last=True).batches(n, batch_size=batch_size, seed=seed, columns=data))
    assert short == [batch for batch in batches if len(batch) == batch_size]


# Ten answers allow ten rows in a batch at most: going through all that is left for each batch would take many minutes.
@pytest.mark.timeout(100)
@pytest.mark.parametrize("answers", [10, 300, 50_000])
def test_rows_that_wait_are_not_looked_at_for_every_batch(answers):
    rng = np.random.default_rng(0)
    n = 100_000
    data = {
        "query": [f"q{i}" for i in rng.integers(0, 10_000, n)],
        "answer": [f"a{i}" for i in rng.integers(0, answers, n)],
    }
    assert sum(map(len, NoDuplicates().batches(n, batch_size=64, columns=data))) == n


def test_several_texts_in_a_cell_and_missing_ones():
    data = {"query": ["a", "b", "c"], "negatives": [["x", "y"], ["y", "z"], None]}
    batches = list(NoDuplicates().batches(3, batch_size=3, seed=0, columns=data))
    assert not any({0, 1} <= set(batch) for batch in batches)
    assert sorted(chain.from_iterable(batches)) == [0, 1, 2]


def test_named_columns_of_any_kind():
    data = {"text": ["a", "a", "b", "b"], "label": [0, 1, 0, 1]}
    by_label = list(NoDuplicates(["label"]).batches(4, batch_size=2, columns=data))
    assert all({data["label"][row] for row in batch} == {0, 1} for batch in by_label)


def test_what_cannot_be_separated_is_named():
    with pytest.raises(InputError, match="row 1, in which 'b' occurs twice"):
        NoDuplicates().batches(2, batch_size=2, columns={"q": ["a", "b"], "d": ["c", "b"]})
    with pytest.raises(InputError, match="'same' in each of 3 rows"):
        NoDuplicates().batches(3, batch_size=2, columns={"q": ["a", "b", "c"], "d": ["same"] * 3})


def test_missing_columns_are_refused():
    with pytest.raises(InputError, match=r"no column 'body'; expected it among the columns \('q'\)"):
        NoDuplicates(["body"]).batches(2, batch_size=2, columns={"q": ["a", "b"]})
    with pytest.raises(InputError, match="columns without texts"):
        NoDuplicates().batches(2, batch_size=2, columns={"label": [0, 1]})
    with pytest.raises(InputError, match="length 3; expected 2"):
        NoDuplicates().batches(2, batch_size=2, columns={"q": ["a", "b", "c"]})
    with pytest.raises(InputError, match=r"Write \['q'\]"):
        NoDuplicates("q")
