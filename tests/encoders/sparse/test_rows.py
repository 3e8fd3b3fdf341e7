"""Sparse vectors in every accepted form, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from orthant.encoders import CallableSparseEncoder
from orthant.encoders.sparse.rows import SparseRows, SparseVector, as_sparse_rows
from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError

DENSE = np.array([[0, 1.5, 0, 2], [0, 0, 0, 0], [3, 0, 0.25, 0]], dtype=np.float32)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_form_of_scipy(form, dtype):
    rows = as_sparse_rows(sparse.csr_array(DENSE.astype(dtype)).asformat(form), dim=4)
    np.testing.assert_array_equal(rows.to_csr().toarray(), DENSE)
    assert rows.indices.dtype == np.int32 and rows.values.dtype == np.float32


def test_every_form_of_a_row():
    given = [{3: 2, 1: 1.5}, None, {"indices": [2, 0], "values": np.array([0.25, 3])}, {}, {1: 0.0}]
    rows = as_sparse_rows([*given, SparseVector(np.array([1], np.int32), np.array([4.0], np.float32))], dim=4)
    np.testing.assert_array_equal(rows.to_csr().toarray()[:3], DENSE)
    assert rows.sizes.tolist() == [2, 0, 2, 0, 0, 1] and rows[0].to_dict() == {1: 1.5, 3: 2.0}
    np.testing.assert_array_equal(rows.take(np.array([2, 1, 0])).to_csr().toarray(), DENSE[[2, 1, 0]])
    assert len(as_sparse_rows([], dim=4)) == 0
    again = as_sparse_rows(SparseRows.of([rows[2], rows[0]], 4), dim=4)
    np.testing.assert_array_equal(again.to_csr().toarray(), DENSE[[2, 0]])


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([{0: 1}, {1: -0.5}], InputError, r"row 1 has weight -0.5 for term 1"),
        ([{0: 1}, {1: np.nan}], NonFiniteError, r"row 1 has weight nan for term 1"),
        ([{0: np.inf}], NonFiniteError, "finite"),
        ([{4: 1}], InputError, "terms from 0 to 3"),
        ([{-1: 1}], InputError, "terms from 0 to 3"),
        ([{0: 1e13}], InputError, "1e\\+12"),
        (
            [{"indices": [2, 0, 2], "values": [1, 1, 1]}],
            InputError,
            r"row 0 has weight .* for term 2, which it has twice",
        ),
        (sparse.coo_array(([1.0, 2.0], ([1, 1], [3, 3])), shape=(2, 4)), InputError, "term 3, which it has twice"),
        (sparse.csr_array(([1.0, 2.0], [3, 3], [0, 2]), shape=(1, 4)), InputError, "which it has twice"),
        (sparse.csr_array((2, 5)), DimensionError, "5 columns"),
        ([{"indices": [1, 2], "values": [1]}], DimensionError, "two flat lists"),
        ([{"a": 1.0}], DtypeError, "numbers of the terms"),
        ([{0: "x"}], DtypeError, "no numbers"),
        ({0: 1.0}, InputError, "one entry per record"),
        (np.ones((2, 4)), InputError, "SciPy sparse matrix"),
        ([3.0], InputError, "mapping of term to weight"),
        (sparse.csr_array(np.array([[1j, 0, 0, 0]])), DtypeError, "real numbers"),
    ],
)
def test_malformed_vectors_are_refused_by_name(given, error, words):
    with pytest.raises(error, match=words):
        as_sparse_rows(given, dim=4)


def test_a_function_is_checked():
    double = CallableSparseEncoder(
        lambda texts: [{len(t) % 9: 1.0} for t in texts],
        dim=9,
        name="lengths",
        query_function=lambda texts: [{len(t) % 9: 2.0} for t in texts],
        vocabulary=[f"length {i}" for i in range(9)],
    )
    assert double.encode_sparse(["abc"] * 70, role="query", batch_size=8).sum() == 140
    assert double.fingerprint != CallableSparseEncoder(lambda t: [], dim=9, name="lengths", revision="2").fingerprint
    broken = CallableSparseEncoder(lambda texts: [{0: 1.0}], dim=9, name="x")
    with pytest.raises(DimensionError, match="1 rows for 2 items"):
        broken.encode_sparse(["a", "b"])
    with pytest.raises(InputError, match="5 names"):
        CallableSparseEncoder(lambda texts: [], dim=9, name="x", vocabulary=list("abcde"))
    with pytest.raises(InputError, match="a function"):
        CallableSparseEncoder(3, dim=9, name="x")
