"""Vectors of characters follow from pictures: twins meet, cases do not, nothing coincides, nothing is random."""

from __future__ import annotations

import string

import numpy as np
import pytest

from orthant.datasets.perturbations import LOOKALIKES
from orthant.encoders import BitmapFont, GlyphTable, read_font
from orthant.errors import InputError, NotFoundError, StoreCorruptedError

TABLE = GlyphTable()
# Drawn alike in every font: Latin letters and their twins in Cyrillic and Greek.
TWINS = [
    "aа",
    "cс",
    "eе",
    "oо",
    "oο",
    "pр",
    "sѕ",
    "xх",
    "iі",
    "jј",
    "AА",
    "AΑ",
    "BВ",
    "EЕ",
    "HН",
    "KΚ",
    "MМ",
    "OО",
    "PР",
    "TТ",
]


def among(character, table=TABLE):
    return [c for c, _ in table.nearest(character, among=string.ascii_letters, k=3)]


def test_twins_of_other_scripts_are_neighbours_and_cases_are_not():
    assert np.mean([pair[0] in among(pair[1]) for pair in TWINS]) == 1.0
    blind = GlyphTable(identity=1.0)
    assert np.mean([pair[0] in among(pair[1], blind) for pair in TWINS]) < 0.3
    assert not any(a in among(b) for a, b in ("Aa", "Gg", "Rr", "Ee", "Dd", "Qq", "Bb"))


def test_the_rule_of_the_vectors():
    font = TABLE.font
    pixels = font.bitmaps(font.places([ord("ж")]))[0]
    wide = np.pad(pixels, 1)
    blurred = sum(
        w * v * wide[1 + i : 17 + i, 1 + j : 17 + j]
        for i, w in ((-1, 0.25), (0, 0.5), (1, 0.25))
        for j, v in ((-1, 0.25), (0, 0.5), (1, 0.25))
    )
    plain = GlyphTable(identity=0.0)
    seen = (blurred.ravel() - plain.mean_) @ plain.components_.T
    np.testing.assert_allclose(plain.rows("ж")[0], seen / np.linalg.norm(seen), atol=1e-5)
    np.testing.assert_allclose(TABLE.components_ @ TABLE.components_.T, np.eye(256), atol=1e-4)
    assert np.array_equal(GlyphTable(dim=10).components_, TABLE.components_[:10])


def test_no_two_characters_coincide_and_all_have_unit_length():
    blanks = " \t\n\x00\u00a0\u2003\u200b\ufeff\ue000\U0001f6a4\U0010ffff"
    rows = TABLE.rows(blanks + "aаoоο")
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    products = rows @ rows.T - np.eye(len(rows))
    assert products.max() < 0.9995
    same = GlyphTable(identity=0.0).rows("aа")
    assert np.array_equal(same[0], same[1])


def test_what_is_missing_is_told_and_vectors_are_the_same_everywhere():
    assert TABLE.missing(["aя中", "🚤"]) == ["🚤"]
    again = GlyphTable()
    assert again.fingerprint == TABLE.fingerprint and np.array_equal(again.rows("aя中"), TABLE.rows("aя中"))
    assert GlyphTable(dim=64).fingerprint != TABLE.fingerprint
    assert GlyphTable.from_settings(TABLE.settings()).fingerprint == TABLE.fingerprint
    with pytest.raises(InputError, match="release"):
        GlyphTable.from_settings({**TABLE.settings(), "fingerprint": "another"})
    with pytest.raises(InputError, match="font of its own"):
        GlyphTable(font=read_font(characters="abc"), dim=4).settings()


def test_strings_are_strips_narrowed_to_a_cell():
    np.testing.assert_array_equal(TABLE.strings(["я"]), TABLE.rows("я"))
    pair, other, twin = TABLE.strings(["no", "on", "nо"])
    assert pair @ twin > 0.99 > pair @ other
    with pytest.raises(InputError, match="empty string"):
        TABLE.strings(["a", ""])


@pytest.mark.parametrize("bad", [{"dim": 257}, {"dim": 0}, {"identity": 1.5}, {"blur": -1}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InputError):
        GlyphTable(**bad)


@pytest.mark.parametrize("bad", [np.array([-1]), np.array([0x110000]), np.array([[65]]), np.array([1.5])])
def test_numbers_that_are_no_code_points_are_refused(bad):
    with pytest.raises(InputError):
        TABLE.rows(bad)
    with pytest.raises(InputError, match="one character"):
        TABLE.nearest("ab")


def test_a_hex_file_is_read_and_a_damaged_one_refused(tmp_path):
    narrow, wide = "00" * 4 + "FF" * 8 + "00" * 4, "8001" * 16
    (tmp_path / "own.hex").write_text(f"0062:{wide}\n0061:{narrow}\n")
    font = read_font(tmp_path / "own.hex")
    assert font.code_points.tolist() == [0x61, 0x62] and "a" in font and "c" not in font
    a, b = font.bitmaps([0, 1])
    assert a.sum() == 64 and a[4:12, 4:12].all() and b[:, 0].all() and b[:, 15].all() and b.sum() == 32
    (tmp_path / "bad.hex").write_text("0061:00\n")
    with pytest.raises(StoreCorruptedError, match="line 1"):
        read_font(tmp_path / "bad.hex")
    with pytest.raises(NotFoundError):
        read_font(tmp_path / "none.hex")
    with pytest.raises(InputError, match="twice"):
        BitmapFont([1, 1], np.zeros((2, 32), np.uint8), name="x")
    with pytest.raises(InputError, match="uint8"):
        BitmapFont([1], np.zeros((1, 32)), name="x")


def test_an_outline_font_draws_what_it_has(tmp_path):
    pytest.importorskip("PIL")
    matplotlib = pytest.importorskip("matplotlib")
    font = read_font(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", characters="aаbбя中 ")
    assert "中" not in font and "я" in font and " " in font
    table = GlyphTable(font=font, dim=4)
    assert table.nearest("а", k=1)[0][0] == "a"


def test_the_list_of_lookalikes_is_mostly_drawn_alike():
    pairs = [(latin, other) for latin, others in LOOKALIKES.items() for other in others]
    found = np.mean([latin in among(other) for latin, other in pairs])
    assert found >= 0.75
