"""Records as vectors: what is near, what is apart, what is read back, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from orthant.encoders import CallableEncoder, FieldRule, RecordEncoder, load_encoder
from orthant.errors import EncoderMismatchError, InputError, NonFiniteError, StoreCorruptedError

DIM = 1024


def cosine(encoder, a, b):
    A, B = encoder.encode([a, b])
    return float(A @ B)


@pytest.fixture(scope="module")
def plain():
    return RecordEncoder(DIM)


def test_order_of_nesting_counts_and_order_of_keys_does_not(plain):
    assert abs(cosine(plain, {"a": {"b": "x"}}, {"b": {"a": "x"}})) < 0.1
    one, two = plain.encode([{"a": "x", "b": 1, "c": [1, 2]}, {"c": [1, 2], "b": 1, "a": "x"}])
    np.testing.assert_array_equal(one, two)


def test_names_of_lists_and_keys_do_not_meet():
    encoder = RecordEncoder(DIM, arrays="sequence")
    assert abs(cosine(encoder, {"a": [0, "x"]}, {"a": {"[]": "x"}})) < 0.15


def test_values_that_json_tells_apart(plain):
    kinds = [None, True, False, 1, "1", "", "null", "true", [], {}, "[]", "{}"]
    made = plain.encode([{"a": value} for value in kinds])
    off = made @ made.T - np.eye(len(kinds))
    assert np.abs(off).max() < 0.2
    assert cosine(plain, {"a": 1}, {"a": 1.0}) == pytest.approx(1)
    assert cosine(plain, {"a": None, "b": 2}, {"b": 2}) < 0.8
    assert cosine(plain, {"a": ["x"]}, {"a": "x"}) == pytest.approx(1)


def test_near_numbers_are_near_at_all_widths():
    years = [{"year": year} for year in range(1900, 2000)]
    encoder = RecordEncoder(DIM).fit(years)
    scores = encoder.encode(years) @ encoder.encode_query({"year": 1950})
    assert scores.argmax() == 50
    assert scores[50] > scores[51] > scores[53] > scores[60] > scores[5] + 0.1
    # Beyond what was fitted there is no further change.
    assert cosine(encoder, {"year": 2500}, {"year": 1999}) == pytest.approx(1, abs=1e-5)
    unfitted = RecordEncoder(DIM)
    assert cosine(unfitted, {"year": 1950}, {"year": 1900}) > cosine(unfitted, {"year": 1950}, {"year": 5}) + 0.2


def test_numbers_of_a_skewed_field_stay_apart():
    gains = [{"gain": 0}] * 95 + [{"gain": value} for value in (100, 500, 1000, 5000, 9000)]
    encoder = RecordEncoder(DIM).fit(gains)
    assert cosine(encoder, {"gain": 0}, {"gain": 9000}) < 0.4


def test_lists_by_their_three_ways():
    bag, put, order = (RecordEncoder(DIM, arrays=way) for way in ("bag", "set", "sequence"))
    a, b, shifted = {"t": ["x", "y", "z"]}, {"t": ["z", "x", "y"]}, {"t": ["w", "x", "y", "z"]}
    assert cosine(bag, a, b) == pytest.approx(1, abs=1e-5)
    assert cosine(order, a, b) < 0.2 and cosine(order, a, a) == pytest.approx(1)
    assert cosine(put, {"t": ["x", "x", "y"]}, {"t": ["x", "y"]}) == pytest.approx(1, abs=1e-5)
    assert cosine(bag, {"t": ["x", "x", "y"]}, {"t": ["x", "y"]}) < 0.99
    both = RecordEncoder(DIM, arrays="sequence", bag_weight=1.0)
    assert cosine(order, a, shifted) < 0.2 < cosine(both, a, shifted) - 0.1
    assert order.value_at(order.encode([b]), "t[1]", ["x", "y", "z"])[0] == ["x"]


def test_texts_are_soft_by_words_or_by_an_encoder(plain):
    near, far = ({"t": "the old man and the sea"}, {"t": "the old man at the sea"}), {"t": "interest rates rose"}
    assert cosine(plain, *near) > 0.6 > cosine(plain, near[0], far) + 0.4
    static = RecordEncoder(DIM, text_encoder="static")
    direct = load_encoder("static").encode([near[0]["t"], far["t"]])
    # The way into the larger space keeps cosines.
    assert cosine(static, near[0], far) == pytest.approx(float(direct[0] @ direct[1]), abs=1e-5)
    assert cosine(static, {"t": "a kitten"}, {"t": "a cat"}) > cosine(plain, {"t": "a kitten"}, {"t": "a cat"})


def test_fit_finds_enumerations_and_schema_overrules():
    rows = [{"kind": ["red", "blue"][i % 2], "note": f"note number {i}", "id": i, "junk": {"x": i}} for i in range(40)]
    encoder = RecordEncoder(DIM, schema={"id": "symbol", "junk": "skip"}).fit(rows)
    assert encoder.string_kinds_ == {("kind",): "symbol", ("note",): "text"}
    assert not encoder.number_fields_
    assert abs(cosine(encoder, {"id": 3}, {"id": 4})) < 0.15
    assert cosine(encoder, rows[0], {**rows[0], "junk": {"x": 9}}) == pytest.approx(1)
    heavy = RecordEncoder(DIM, schema={"a": FieldRule(weight=3.0)})
    pair = {"a": "x", "b": "y"}, {"a": "x", "b": "z"}
    assert cosine(heavy, *pair) == pytest.approx(0.9, abs=0.1) and cosine(RecordEncoder(DIM), *pair) < 0.65


def test_a_rule_for_a_field_that_no_record_has_is_told():
    records = [{"year": 1990, "crew": [{"name": "a"}, {"born": 1950}], "by": {"name": "b"}}]
    used = {"year": "number", "crew.born": "number", "by.name": "symbol", "by": FieldRule(weight=2), "text": "text"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RecordEncoder(64, schema=used).fit(records)
    with pytest.warns(UserWarning, match=r"a rule for 'yaer', 'by\.born', which no record has.*by, crew, year"):
        RecordEncoder(64, schema={**used, "yaer": "number", "by.born": "skip"}).fit(records)


def test_values_are_read_back_from_sixteen_keys(plain):
    rng = np.random.default_rng(0)
    values = [f"v{i}" for i in range(1000)]
    encoder = RecordEncoder(DIM, schema={f"k{i}": "symbol" for i in range(16)})
    picked = rng.integers(0, 1000, (30, 16))
    V = encoder.encode([{f"k{i}": values[j] for i, j in enumerate(row)} for row in picked])
    right = [encoder.value_at(V, f"k{i}", values)[0] == [values[j] for j in picked[:, i]] for i in (0, 7, 15)]
    assert all(right)
    # One operator for all keys tells them apart no longer.
    encoder._binder.bind = lambda role, X: X
    encoder._binder.unbind = lambda role, X: X
    V = encoder.encode([{f"k{i}": values[j] for i, j in enumerate(row)} for row in picked])
    found = encoder.value_at(V, "k0", values)[0]
    assert np.mean([a == values[j] for a, j in zip(found, picked[:, 0], strict=True)]) < 0.5


def test_account_adds_up(plain):
    a = {"title": "Heat", "by": {"name": "Mann"}, "genres": ["crime", "drama"], "only": 1}
    b = {"title": "Ali", "by": {"name": "Mann"}, "genres": ["drama"], "other": 2}
    told = plain.explain(a, b)
    assert told.similarity == pytest.approx(cosine(plain, a, b), abs=1e-5)
    assert told.similarity == pytest.approx(sum(one.share for one in told.contributions) + told.crosstalk)
    # 1/4 for the equal name, and 1/4 of cos(crime + drama, drama) for the genres.
    shares = {one.path: one.share for one in told.contributions}
    assert shares["by.name"] == pytest.approx(0.25, abs=0.03)
    assert shares["genres"] == pytest.approx(0.25 / np.sqrt(2), abs=0.03)
    assert (told.only_a, told.only_b) == (("only",), ("other",)) and abs(told.crosstalk) < 0.1
    assert "by.name" in str(told)


def test_long_wide_and_deep_records_keep_their_length():
    encoder = RecordEncoder(DIM, arrays="sequence", normalize=False)
    deep = {"x": "v"}
    for _ in range(40):
        deep = {"k": deep}
    lengths = np.linalg.norm(encoder.encode([deep, {"a": list(range(300))}, {f"k{i}": i for i in range(200)}]), axis=1)
    assert np.all((lengths > 0.7) & (lengths < 1.5))


@pytest.mark.parametrize("nothing", [None, 5])
def test_no_list_of_records_is_refused(plain, nothing):
    for call in (plain.encode, RecordEncoder(64).fit):
        with pytest.raises(InputError, match=r"a list of items"):
            call(nothing)


def test_refusals():
    encoder = RecordEncoder(DIM)
    circle: dict = {}
    circle["me"] = circle
    deep: list = []
    for _ in range(100):
        deep = [deep]
    for bad in (circle, {"a": deep}, {1: "x"}, {"a": {2: "x"}}, {"a": {1, 2}}, {"a": b"x"}, {"a": object()}):
        with pytest.raises(InputError, match=r"items\[1\]"):
            encoder.encode([{"ok": 1}, bad])
    for bad in (float("nan"), float("inf"), 10**400):
        with pytest.raises(NonFiniteError):
            encoder.encode([{"a": [bad]}])
    for bad in ([1], [None], "text", [["x"]]):
        with pytest.raises(InputError):
            encoder.encode(bad)
    with pytest.raises(InputError, match="schema"):
        RecordEncoder(DIM, schema={"year": "number"}).encode([{"year": "1999"}])
    for bad in (lambda: encoder.fit([]), lambda: encoder.fit(["x"]), lambda: encoder.encode_query({})):
        with pytest.raises(InputError):
            bad()
    for path in ("", "a..b", "a[-1]", 3, (), ("a", -1)):
        with pytest.raises(InputError):
            encoder.unbind(np.zeros((1, DIM)), path)
    with pytest.raises(InputError):
        encoder.value_at(np.zeros((1, DIM)), "a", [])


@pytest.mark.parametrize(
    "settings",
    [
        {"dim": 1000},
        {"dim": 1},
        {"structure": "random"},
        {"arrays": "tuple"},
        {"bag_weight": 0.5},
        {"text_field": ""},
        {"max_depth": 1000},
        {"schema": ["year"]},
        {"schema": {"a[0]": "number"}},
        {"schema": {"a": "integer"}},
        {"schema": {"a": {"weight": 0}}},
        {"schema": {"a": 3}},
        {"dim": 128, "text_encoder": "static"},
    ],
)
def test_settings_refused(settings):
    with pytest.raises(InputError):
        RecordEncoder(**settings)


def test_saved_and_loaded(tmp_path):
    rows = [{"year": 1990 + i, "kind": "ab"[i % 2], "t": f"text {i}"} for i in range(20)]
    made = RecordEncoder(DIM, text_encoder="static", schema={"t": {"weight": 2.0}}, arrays="set", seed=3).fit(rows)
    made.save(tmp_path / "e")
    for back in (RecordEncoder.load(tmp_path / "e"), load_encoder(tmp_path / "e")):
        assert back.fingerprint == made.fingerprint
        np.testing.assert_array_equal(back.encode(rows), made.encode(rows))
    assert made.fingerprint != RecordEncoder(DIM, text_encoder="static", arrays="set", seed=3).fingerprint
    mine = CallableEncoder(lambda texts: [[len(t), 1] for t in texts], dim=2, name="lengths")
    RecordEncoder(DIM, text_encoder=mine).save(tmp_path / "own")
    with pytest.raises(InputError, match="text_encoder"):
        RecordEncoder.load(tmp_path / "own")
    assert RecordEncoder.load(tmp_path / "own", text_encoder=mine).encode([{"t": "x"}]).any()
    with pytest.raises(EncoderMismatchError):
        RecordEncoder.load(tmp_path / "own", text_encoder="static")
    (tmp_path / "own" / "arrays.safetensors").write_bytes(b"damaged")
    with pytest.raises(StoreCorruptedError):
        RecordEncoder.load(tmp_path / "own", text_encoder=mine)


def test_same_bits_in_another_process():
    code = (
        "import hashlib; from orthant.encoders import RecordEncoder; "
        "X = RecordEncoder(256).encode([{'a': {'b': 'x y'}, 'n': [1, 2.5, None]}]); "
        "print(hashlib.sha256(X.round(6).tobytes()).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
