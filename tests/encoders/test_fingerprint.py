import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.encoders.fingerprint import Fingerprint, difference, digest_tensors, prompt_label
from orthant.errors import InputError

FULL = Fingerprint(
    name="bert-6x384", revision="0.1.0", weight_hash="d35a922297562616", tokenizer_hash="66854eac0051205f",
    pooling="mean", prompt=prompt_label("query: ", "passage|#=\n"), normalization="l2", dim=384, dtype="float32",
    max_tokens=256, truncation="cut",
)  # fmt: skip
OTHER = {"dim": 385, "max_tokens": 255}


def test_the_string_is_readable_and_comes_back():
    text = str(FULL)
    assert text.startswith("name=bert-6x384|revision=0.1.0|weight_hash=d35a922297562616|") and "\n" not in text
    assert Fingerprint.parse(text) == FULL
    assert Fingerprint.parse(str(Fingerprint(name="x", dim=1))) == Fingerprint(name="x", dim=1)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(name=st.text(min_size=1).filter(str.strip), prompt=st.text(), dim=st.integers(1, 9999))
def test_any_text_comes_back(name, prompt, dim):
    made = Fingerprint(name=name, prompt=prompt, dim=dim)
    assert Fingerprint.parse(str(made)) == made


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Fingerprint)])
def test_w35_every_field_changes_the_string_and_is_told(field):
    changed = dataclasses.replace(FULL, **{field: OTHER.get(field, "other")})
    assert str(changed) != str(FULL)
    told = difference(FULL, str(changed))
    assert ";" not in told and repr(getattr(changed, field)) in told and repr(getattr(FULL, field)) in told


def test_differences_in_words():
    assert difference(FULL, FULL) == ""
    changed = dataclasses.replace(FULL, dtype="int8-dynamic", truncation="", prompt="")
    assert difference(str(FULL), str(changed)).endswith(
        "arithmetic: 'float32' against 'int8-dynamic'; truncation of long texts: 'cut' against none given"
    )
    assert difference("my-own-1", FULL).startswith("fingerprint: 'my-own-1' against ")


@pytest.mark.parametrize(
    "text",
    ["", "mine", str(FULL).replace("384", "385", 1), str(FULL)[:-1], str(FULL)[3:], "a=1|#" + "0" * 10],
)
def test_an_edited_string_is_refused(text):
    with pytest.raises(InputError, match="expected"):
        Fingerprint.parse(text)


@pytest.mark.parametrize("wrong", [{"name": ""}, {"name": " "}, {"dim": 0}, {"dim": 1.5}, {"max_tokens": 0}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(InputError):
        Fingerprint(**{"name": "x", "dim": 1, **wrong})


def test_digest_sees_values_names_and_shapes_but_not_order_or_float_width():
    a = {"x": np.arange(6, dtype=np.float32), "y": np.ones(2, np.float32)}
    assert digest_tensors(a) == digest_tensors(dict(reversed(a.items())))
    assert digest_tensors(a) == digest_tensors({name: one.astype(np.float16) for name, one in a.items()})
    assert digest_tensors({"x": np.asfortranarray(np.arange(6.0).reshape(2, 3))}) == digest_tensors(
        {"x": np.arange(6.0).reshape(2, 3)}
    )
    for other in (
        {**a, "x": a["x"].reshape(2, 3)},
        {**a, "y": np.array([1, 1.001], np.float32)},
        {"x": a["x"], "z": a["y"]},
        {"x": a["x"]},
        {"x": a["y"], "y": a["x"]},
    ):
        assert digest_tensors(other) != digest_tensors(a)
    assert len(digest_tensors({})) == 16 and len(digest_tensors({"empty": np.zeros((0, 3))})) == 16
