from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.clustering.table_scores import nibble_tables, table_sums
from orthant.quantization.codebooks import codes_of


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
@pytest.mark.parametrize(("dtype", "entries"), [(np.uint8, 256), (np.uint16, 700)])
def test_sums_at_every_number_of_books_and_rows(dtype, entries, compiled):
    rng = np.random.default_rng(0)
    for books in (1, 2, 3, 8, 17, 48):
        for rows in (0, 1, 3, 4, 5, 66):
            tables = rng.standard_normal((3, books, entries)).astype(np.float32)
            codes = rng.integers(0, entries, (rows, books)).astype(dtype)
            wanted = tables[:, np.arange(books), codes].astype(np.float64).sum(axis=2)
            np.testing.assert_allclose(table_sums(tables, codes, compiled=compiled), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("books", [1, 2, 5, 8])
def test_nibble_tables_score_packed_codes(books):
    rng = np.random.default_rng(0)
    tables = rng.standard_normal((2, books, 16)).astype(np.float32)
    indices = rng.integers(0, 16, (40, books))
    found = table_sums(nibble_tables(tables), codes_of(indices, 4))
    np.testing.assert_allclose(found, tables[:, np.arange(books), indices].sum(axis=2), rtol=1e-5, atol=1e-5)
