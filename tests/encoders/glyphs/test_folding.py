"""Disguised words become themselves again, other scripts stay, and any encoder can stand behind."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.encoders import FoldedEncoder, GlyphTable, LookalikeFolding, StaticEncoder, WordReading, load_encoder
from orthant.errors import DimensionError, InputError, StoreCorruptedError

FOLDING = LookalikeFolding()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("раypаl", "paypal"),
        ("ԝіndоw", "window"),
        ("ӏight", "light"),
        ("Ｆｕｌｌ 𝐛𝐨𝐥𝐝", "Full bold"),
        ("привет, сосна", "привет, сосна"),
        ("日本語abc", "日本語abc"),
        ("plain text, 100 %", "plain text, 100 %"),
    ],
)
def test_folding(given, wanted):
    assert FOLDING.fold(given) == wanted


def test_the_switches():
    assert LookalikeFolding(mixed_only=False).fold("сосо") == "coco"
    assert LookalikeFolding(accents=True, threshold=1.0).fold("crème brûlée") == "creme brulee"
    assert LookalikeFolding(threshold=1.0).fold("раypаl") == "раypаl"
    assert LookalikeFolding(table=GlyphTable(identity=1.0)).fold("раypаl") == "раypаl"
    assert FOLDING.suspicious("раypаl, привет, café and text") == [("раypаl", "paypal")]
    with pytest.raises(InputError):
        LookalikeFolding(letters="")
    with pytest.raises(InputError):
        FOLDING.fold(3)


def test_an_encoder_sees_the_words_that_were_meant(tmp_path):
    static = StaticEncoder.load()
    encoder = FoldedEncoder("static")
    texts = ["verify your paypal account", "a lighthouse keeper"]
    disguised = ["vеrіfy yоur раypаl aссоunt", "a lіghthоusе kеереr"]
    plain, seen = static.encode(texts), encoder.encode(disguised)
    blind = static.encode(disguised)
    assert (plain * seen).sum(axis=1).min() > 0.9 > (plain * blind).sum(axis=1).max()
    np.testing.assert_array_equal(encoder.encode(texts), plain)
    assert encoder.fingerprint != static.fingerprint
    encoder.save(tmp_path / "folded")
    again = load_encoder(tmp_path / "folded")
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode(disguised), seen)
    with pytest.raises(InputError, match="folding of type"):
        FoldedEncoder("static", str.lower)


def _reading(threshold=0.97):
    rng, table = np.random.default_rng(0), GlyphTable(dim=64)
    words = ["lighthouse", "keeper", "harbour", "violin", "at"]
    weights = rng.standard_normal((3, 64, 64)), rng.standard_normal(64), rng.standard_normal((64, 32))
    return WordReading(table, words, *weights, threshold=threshold)


def test_unknown_words_are_read_as_known_ones_and_known_ones_stay():
    reading = _reading()
    assert reading.fold("The Keeper at the lіghthоuse") == "The Keeper at the lighthouse"
    assert _reading(threshold=1.0).fold("lіghthоuse") == "lіghthоuse"
    assert reading.fold("xx") == "xx"
    assert _reading(threshold=0.0).fold("zzz") != "zzz"


def test_words_are_read_by_the_written_rule():
    table, rng = GlyphTable(dim=8), np.random.default_rng(1)
    filters, bias, output = rng.standard_normal((3, 8, 5)), rng.standard_normal(5), rng.standard_normal((5, 4))
    reading = WordReading(table, ["abc"], filters, bias, output)
    rows = np.concatenate([np.zeros((1, 8)), table.rows("abc"), np.zeros((1, 8))])
    hidden = [sum(rows[i + t] @ filters[t] for t in range(3)) + bias for i in range(3)]
    v = np.maximum(np.max(hidden, axis=0), 0) @ output
    # Beside a longer word, so that padding is there to be left out.
    np.testing.assert_allclose(reading.encode_words(["abc", "abcdefgh"])[0], v / np.linalg.norm(v), atol=1e-5)


def test_a_reading_is_saved_behind_an_encoder(tmp_path):
    encoder = FoldedEncoder("static", _reading())
    encoder.save(tmp_path / "read")
    again = FoldedEncoder.load(tmp_path / "read")
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode(["lіghthоuse"]), encoder.encode(["lighthouse"]))
    config = tmp_path / "read" / "config.json"
    config.write_text(config.read_text().replace('"blur": 1', '"blur": 2'))
    with pytest.raises(StoreCorruptedError):
        FoldedEncoder.load(tmp_path / "read")


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(DimensionError):
        WordReading(GlyphTable(dim=8), ["a"], np.zeros((3, 9, 5)), np.zeros(5), np.zeros((5, 2)))
    with pytest.raises(InputError, match="no words"):
        WordReading(GlyphTable(dim=8), [], np.zeros((3, 8, 5)), np.zeros(5), np.zeros((5, 2)))
