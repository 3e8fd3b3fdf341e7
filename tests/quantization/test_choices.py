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
    "opq5", "leanvec36+pq6", "leanvec36+opq12", "rq4", "rabitq1d40", "rabitq4d24", "recurrent1d40",
    "recurrent2d20", "recurrent4d13",
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


@pytest.mark.parametrize(
    "name",
    [
        "lvq5",
        "pq7",
        "opq0",
        "leanvec80+lvq4",
        "leanvec36+opq7",
        "leanvec36+rq6",
        "rabitq3d8",
        "recurrent2d99",
        "",
        "sq8 ",
        3,
    ],
)
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


@pytest.mark.parametrize(("dim", "budget"), [(512, 96), (1024, 100), (100, 8), (384, 96), (300, 32), (257, 64)])
def test_codebooks_fill_a_budget_that_does_not_divide_the_dimension(dim, budget):
    names = list(default_candidates(dim, "cosine", budget_bytes=budget))
    for kind in ("pq", "opq"):
        found = [name for name in names if name.split("+")[-1].startswith(kind)]
        assert [size_of(name, dim=dim) for name in found] == [budget]
        reduced = found[0].split("+")[0].removeprefix("leanvec")
        assert not reduced.isdigit() or 0.9 * dim <= int(reduced) < dim
    with pytest.raises(InputError, match=r"leanvec480\+pq96"):
        named_choice("pq96", dim=512)


@pytest.mark.parametrize("name", ["lvq4", "sq8", "pq8", "opq5", "rq4", "leanvec24+lvq8"])
def test_cosines_of_codes_are_those_of_what_they_stand_for(X, name):
    coding = coding_of(name, dim=DIM).fit(X)
    scaled = X[:300] * np.linspace(0.5, 4, 300, dtype=np.float32)[:, None]
    rows = coding.rows(coding.encode(scaled))
    decoded, asked = coding.quantizer.decode(coding.encode(scaled)), coding.turned(X[300:304])
    if coding.scored_as == "cosine":
        decoded = decoded / np.linalg.norm(decoded, axis=1, keepdims=True)
        asked = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    for allowed in (None, np.full(5, 2**64 - 2, np.uint64)):
        places, scores = rows.best(X[300:304], 50, allowed=allowed)
        np.testing.assert_allclose(scores, np.take_along_axis(asked @ decoded.T, places, axis=1), rtol=1e-4, atol=1e-5)
        assert len(np.intersect1d(places[0], np.argsort(-(asked[0] @ decoded.T))[:50])) >= 48


def test_lengths_of_codes_are_computed_once(X, monkeypatch):
    coding = coding_of("lvq4", dim=DIM).fit(X)
    rows, asked = coding.rows(coding.encode(X)), []
    score = type(coding.quantizer).score

    def noted(self, Q, codes, *, metric, **more):
        asked.append(metric)
        return score(self, Q, codes, metric=metric, **more)

    monkeypatch.setattr(type(coding.quantizer), "score", noted)
    first = rows.best(X[:3], 5)
    again = rows.best(X[:3], 5)
    assert asked == ["l2", "dot", "dot"] and rows.row_bytes == coding.code_size + 4
    np.testing.assert_array_equal(first[0], again[0])
    reduced = coding_of("leanvec24+lvq8", dim=DIM).fit(X)
    assert reduced.rows(reduced.encode(X)).row_bytes == reduced.code_size


def test_w71_names_serve_as_candidates_and_small_data_says_what_is_left_out(X):
    found = report(X, candidates=["lvq4", "recurrent2d40"])
    assert [c.name for c in found.candidates] == ["recurrent2d40", "lvq4", "float32"]
    assert any("left out" in note for note in report(X[:400], budget_bytes=8, sample_queries=20).notes)
    with pytest.raises(InputError, match="in a list"):
        report(X, candidates="lvq4")
