"""Codes by name: sizes told before fitting are exact, and names that do not fit are refused."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.quantization import report
from orthant.quantization.choices import coding_of, default_candidates, named_choice, size_of
from orthant.quantization.coding import Coding

DIM = 40
NAMES = (
    "sq8", "lvq8", "lvq4", "lvq4x4", "lvq4x8", "lvq8x8", "leanvec24+lvq8", "leanvec7+lvq4", "leanvec16+sq8", "pq8",
    "opq5", "rq4", "rabitq1d40", "rabitq4d24", "recurrent1d40", "recurrent2d20", "recurrent4d13",
)  # fmt: skip


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((1000, DIM)) * 0.9 ** np.arange(DIM)).astype(np.float32)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("name", NAMES)
def test_the_size_told_is_the_size_made(X, name, metric, tmp_path):
    if metric == "l2" and name.startswith(("rabitq", "recurrent")):
        with pytest.raises(InputError, match="l2"):
            size_of(name, dim=DIM, metric=metric)
        return
    coding = coding_of(name, dim=DIM, metric=metric).fit(X)
    codes = coding.encode(X)
    assert size_of(name, dim=DIM, metric=metric) == coding.code_size == codes.shape[1]
    rows, scores = coding.rows(codes).best(X[:5], 3)
    assert rows.shape == scores.shape == (5, 3) and (np.diff(scores, axis=1) <= 0).all()
    if metric == "cosine":
        coding.save(tmp_path)
        again = Coding.load(tmp_path, metric=metric)
        np.testing.assert_array_equal(again.rows(codes).best(X[:5], 3)[0], rows)
        with pytest.raises(InputError, match=r"codes"):
            coding.rows(codes[:, :-1].copy())


def test_only_allowed_rows_are_returned(X):
    allowed = np.zeros(16, np.uint64)
    allowed[3] = 0b1011
    for name in ("lvq8", "recurrent2d40"):
        coding = coding_of(name, dim=DIM).fit(X)
        rows, scores = coding.rows(coding.encode(X)).best(X[:2], 5, allowed=allowed)
        assert set(rows[rows >= 0].tolist()) == {192, 193, 195} and (scores[rows < 0] == -np.inf).all()


@pytest.mark.parametrize("name", ["lvq5", "pq7", "opq0", "leanvec80+lvq4", "rabitq3d8", "recurrent2d99", "", "sq8 ", 3])
def test_names_that_do_not_fit_are_refused(name):
    with pytest.raises(InputError):
        named_choice(name, dim=DIM)


@pytest.mark.parametrize("dim", [1, 7, 24, 64, 384])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_defaults_exist_for_every_dimension_and_fill_the_budget(dim, metric):
    plain = default_candidates(dim, metric)
    assert {"sq8", "lvq4"} <= set(plain) and any(name.startswith("opq") for name in plain)
    assert not any(name.startswith(("pq", "opq", "rq")) for name in default_candidates(dim, metric, rows=4000))
    tight = default_candidates(dim, metric, budget_bytes=20)
    books = [name for name in tight if name.startswith(("pq", "opq", "rq"))]
    assert all(size_of(name, dim=dim, metric=metric) <= 20 for name in books)
    if dim == 384:
        sizes = {name: size_of(name, dim=dim, metric=metric) for name in tight}
        assert max(size for size in sizes.values() if size <= 20) == 20


def test_every_kind_of_binary_code_fills_the_budget():
    sizes = {name: size_of(name, dim=384) for name in default_candidates(384, "cosine", budget_bytes=52)}
    for kind in ("recurrent2d", "recurrent4d", "rabitq2d", "rabitq4d"):
        assert max(size for name, size in sizes.items() if name.startswith(kind) and size <= 52) >= 50


def test_w71_names_serve_as_candidates_and_small_data_says_what_is_left_out(X):
    found = report(X, candidates=["lvq4", "recurrent2d40"])
    assert [c.name for c in found.candidates] == ["recurrent2d40", "lvq4", "float32"]
    assert any("left out" in note for note in report(X[:400], budget_bytes=8, sample_queries=20).notes)
    with pytest.raises(InputError, match="in a list"):
        report(X, candidates="lvq4")
