"""Ids are code points, strings have the places of surrogates, and every text comes back."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.encoders import GlyphTable, UnicodeTokenizer, frequent_strings
from orthant.errors import InputError

TOKENIZER = UnicodeTokenizer(["the", "he", " th", "при"])


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=80, deadline=None)
def test_every_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_ids_are_code_points_and_the_rest_are_bytes():
    plain = UnicodeTokenizer()
    points = [p for p in range(0x10000) if unicodedata.category(chr(p)) not in ("Cs", "Co")]
    text = "".join(map(chr, points))
    assert plain.encode(text).tolist() == points
    assert plain.encode("🚤").tolist() == [0xE000 + byte for byte in "🚤".encode()]
    assert plain.decode(plain.encode("\ue005")) == "\ue005"
    assert plain.decode([0xE000 + 0xFF]) == "\ufffd" and plain.decode([plain.special["mask"], 65]) == "A"


def test_strings_are_found_longest_first_and_numbered_by_length():
    assert TOKENIZER.strings == (" th", "the", "при", "he")
    assert TOKENIZER.encode("the").tolist() == [0xD801]
    assert len(TOKENIZER.encode("in the привет")) == len([*"in", " th", "e", " ", "при", *"вет"])


def test_what_is_no_text_is_refused():
    with pytest.raises(InputError, match="surrogate"):
        TOKENIZER.encode("a\ud800")
    with pytest.raises(InputError):
        TOKENIZER.encode(5)
    for bad in (-1, 0x10000, 0xD8FF):
        with pytest.raises(InputError, match="the id"):
            TOKENIZER.decode([bad])
    with pytest.raises(InputError, match="'a'"):
        UnicodeTokenizer(["a"])
    with pytest.raises(InputError, match="8177 strings"):
        UnicodeTokenizer([f"{i:05}" for i in range(8177)])


def test_the_input_table_has_a_row_per_id():
    table = GlyphTable(dim=16)
    rows = TOKENIZER.matrix(table)
    assert rows.shape == (65536, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[ord("ж")], table.rows("ж")[0], atol=1e-6)
    np.testing.assert_allclose(rows[0xD801], table.strings(["the"])[0], atol=1e-6)
    assert not np.array_equal(rows[0xE000], table.rows(np.array([0xE000]))[0])


def test_frequent_strings_save_tokens():
    found = frequent_strings(["the theme of the thesis"] * 3, count=5, longest=3)
    assert found[0] == "the" or "the" in found
    text = "the theme of the thesis"
    assert len(UnicodeTokenizer(found).encode(text)) < len(text)
    with pytest.raises(InputError):
        frequent_strings(["a"], longest=1)
