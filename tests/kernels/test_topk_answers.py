"""Answers that are padded to columns: a k far beyond what there is is refused before memory is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.index import IVF, Flat, Graph, MultiVector, TwoTier
from orthant.kernels.topk import check_answers
from orthant.quantization import CodeScan, RaBitQ


def test_padding_is_counted_and_large_indexes_may_be_asked_for_all():
    assert check_answers(1000, queries=5, held=10) == 1000
    assert check_answers(10**9, queries=100, held=10**9) == 10**9
    for k, queries in ((10**9, 1), (10**6, 1000)):
        with pytest.raises(InputError, match="Pass k=10"):
            check_answers(k, queries=queries, held=10)
    with pytest.raises(InputError, match="k=0"):
        check_answers(0, queries=1, held=10)


def test_no_index_takes_gigabytes_for_answers_that_cannot_be(tmp_path):
    X = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    sets = MultiVector(8)
    sets.add([X[:3], X[3:9]])
    scan = CodeScan(RaBitQ().fit(X))
    scan.add(X)
    searches = [lambda: sets.search([X[:2]], 10**10), lambda: scan.search(X[:2], 10**10)]
    for index in (Flat(8), Graph(8), IVF(8), TwoTier(8, folder=tmp_path)):
        index.add(X)
        searches.append(lambda index=index: index.search(X[0], 10**10))
        assert index.search(X[0], 50).counts.tolist() == [40]
    for search in searches:
        with pytest.raises(InputError, match="fit 1 GiB"):
            search()
