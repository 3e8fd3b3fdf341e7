"""Matrices as low-rank codes: bytes, values, rows, products, and codes chosen for the products."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import load_artifact
from orthant.errors import DimensionError, InputError, StoreCorruptedError
from orthant.quantization import LowRankVQMatrix
from orthant.quantization.lowrank_fitting import chosen_by_error


def _weights(rows=96, columns=48, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize(("k", "bits"), [(16, 4), (17, 8), (64, 8)])
def test_bytes_are_those_of_the_formula_and_do_not_depend_on_rank(k, bits):
    W = _weights()
    sizes = []
    for rank in (2, 4, 8):
        made = LowRankVQMatrix.compress(W, block=8, rank=rank, codebook_size=k)
        assert made.nbytes == W.size // 8 * bits // 8 + 2 * (k * rank + 8 * rank)
        sizes.append(made.codes_.nbytes)
    assert len(set(sizes)) == 1


def test_every_block_is_the_lifted_codeword_of_its_code():
    made = LowRankVQMatrix.compress(_weights(), block=4, rank=3, codebook_size=32, scaled=True)
    book, lift = made.codebook_.astype(np.float32), made.lift_.astype(np.float32)
    for row, block in ((0, 0), (50, 7), (95, 11)):
        wanted = lift @ book[made.indices()[row, block]] * np.float32(made.scales_[row])
        np.testing.assert_allclose(made.decode()[row, block * 4 : block * 4 + 4], wanted, atol=1e-6)


def test_codes_are_the_nearest_codewords():
    W = _weights()
    made = LowRankVQMatrix.compress(W, block=4, codebook_size=32)
    blocks, book = W.reshape(-1, 4), made.decode().reshape(-1, 4)
    words = made.codebook_.astype(np.float32)
    best = np.square(blocks[:, None] - words[None]).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(np.square(blocks - book).sum(axis=1), best, rtol=1e-3, atol=1e-5)


def test_low_rank_blocks_need_no_more_than_their_rank():
    rng = np.random.default_rng(0)
    blocks = rng.standard_normal((2000, 2)) @ rng.standard_normal((2, 8))
    W = blocks.reshape(-1, 40)
    low = LowRankVQMatrix.compress(W, block=8, rank=2, codebook_size=256).decode()
    assert np.square(low - W).sum() < 0.05 * np.square(W).sum()


@pytest.mark.parametrize("k", [16, 64])
@pytest.mark.parametrize("inputs", [0, 1, 70])
def test_lookup_and_products_are_those_of_the_decoded_matrix(k, inputs):
    made = LowRankVQMatrix.compress(_weights(), block=12, rank=5, codebook_size=k, scaled=True)
    whole, X = made.decode(), _weights(inputs, 48, seed=1)
    np.testing.assert_array_equal(made.lookup([5, 0, 5]), whole[[5, 0, 5]])
    np.testing.assert_allclose(made.matmul(X), X @ whole.T, atol=1e-3)


def test_one_input_is_multiplied_without_decoding(monkeypatch):
    made = LowRankVQMatrix.compress(_weights(2000, 64), block=16, codebook_size=16)
    X = _weights(1, 64, seed=1)
    wanted = X @ made.decode().T
    monkeypatch.setattr(LowRankVQMatrix, "decode", lambda self: pytest.fail("decoded"))
    np.testing.assert_allclose(made.matmul(X), wanted, atol=1e-3)


def test_moments_lower_the_error_of_products_and_raise_that_of_weights():
    rng = np.random.default_rng(0)
    W = _weights(64, 32)
    X = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 32)) + 0.1 * rng.standard_normal((500, 32))
    plain = LowRankVQMatrix.compress(W, block=2, codebook_size=16).decode()
    aware = LowRankVQMatrix.compress(W, block=2, codebook_size=16, moments=X.T @ X).decode()
    assert np.square(X @ (aware - W).T).sum() < 0.5 * np.square(X @ (plain - W).T).sum()
    assert np.square(aware - W).sum() > np.square(plain - W).sum()


def test_uncorrelated_inputs_leave_nothing_to_make_up_for():
    W = _weights(32, 16)
    words = _weights(8, 4, seed=2)
    found = chosen_by_error(W, words, np.eye(4, dtype=np.float32), np.eye(16))
    nearest = np.square(W.reshape(-1, 1, 4) - words).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found.reshape(-1), nearest)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    made = LowRankVQMatrix.compress(_weights(), block=6, rank=2, codebook_size=16, scaled=True)
    made.save(tmp_path)
    again = load_artifact(tmp_path)
    assert repr(again) == repr(made)
    np.testing.assert_array_equal(again.decode(), made.decode())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"block": 7}, "blocks of 7"),
        ({"block": 8, "rank": 9}, "rank"),
        ({"block": 8, "codebook_size": 257}, "codebook_size"),
        ({"block": 48, "codebook_size": 128}, "128 codewords for 96 blocks"),
        ({"block": 4, "moments": np.zeros((48, 48))}, "all 0"),
        ({"block": 4, "moments": np.eye(3)}, "second moments"),
    ],
)
def test_bad_settings_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        LowRankVQMatrix.compress(_weights(), **settings)


def test_parts_that_do_not_fit_are_refused():
    made = LowRankVQMatrix.compress(_weights(), block=4, codebook_size=20)
    parts = made.arrays()
    with pytest.raises(StoreCorruptedError, match="lift"):
        LowRankVQMatrix.from_arrays({"codes": parts["codes"], "codebook": parts["codebook"]}, columns=48)
    with pytest.raises(DimensionError, match="multiple of 4"):
        LowRankVQMatrix.from_arrays(parts, columns=47)
    with pytest.raises(InputError):
        LowRankVQMatrix.from_arrays({**parts, "codes": np.full_like(parts["codes"], 20)}, columns=48)
    with pytest.raises(InputError, match="float16"):
        LowRankVQMatrix.from_arrays({**parts, "codebook": np.full((20, 4), 1e6)}, columns=48)
    with pytest.raises(InputError, match="rows from"):
        made.lookup([96])


def test_few_weights_far_larger_than_the_others_are_kept():
    W = 0.01 * _weights(400, 256)
    W[7, 40], W[300, 11] = 3.0, -5.0
    kept = LowRankVQMatrix.compress(W, block=2, codebook_size=64).decode()
    assert abs(kept[7, 40] - 3.0) < 0.1
    assert abs(kept[300, 11] + 5.0) < 0.1
