"""The page of wishes is up to date, and numbers in the names of tests mean something."""

from __future__ import annotations

import pytest

from contracts.test_rendered import _script

wishes = _script("render_wishes")


def test_the_page_is_up_to_date():
    assert wishes.PAGE.read_text(encoding="utf-8") == wishes.page(), "run `python scripts/render_wishes.py`"


def test_every_wish_is_worded_once():
    worded = [wish for part in wishes.groups() for wish in part["wish"]]
    assert [wish["number"] for wish in worded] == list(range(1, 84))
    for wish in worded:
        assert set(wish) <= {"number", "wish", "answer", "missing"}
        assert wish["wish"].endswith((".", "?")) and wish["answer"].endswith("."), wish
        assert not wish.get("missing", "").endswith("."), wish


def test_numbers_of_tests_are_those_of_wishes():
    carried = wishes.tests()
    assert wishes.unknown(carried, set(range(1, 84))) == []
    # Two digits, so that names sort and are found.
    assert not [t.name for t in carried if any(f"w{n:02d}" not in t.name.lower() for n in t.numbers)]


def _write(folder, source):
    (folder / "deep").mkdir()
    (folder / "deep" / "test_it.py").write_text(source, encoding="utf-8")


def test_tests_are_collected_by_name(tmp_path):
    _write(tmp_path, "def test_w01_w02_both_hold(): ...\nclass TestW02LongHistory: ...\ndef test_w2v_has_none(): ...\n")
    found = wishes.tests(tmp_path)
    assert [(test.words, test.numbers) for test in found] == [("both hold", (1, 2)), ("long history", (2,))]
    parts = [
        {
            "title": "All",
            "wish": [
                {"number": 1, "wish": "One.", "answer": "Done."},
                {"number": 2, "wish": "Two.", "answer": "Half done.", "missing": "the other half"},
                {"number": 3, "wish": "Three.", "answer": "Not yet.", "missing": "planned with a wing"},
                {"number": 4, "wish": "Four.", "answer": "Said to be done."},
            ],
        }
    ]
    page = wishes.page(parts, found, root=tmp_path)
    assert "1 answered, 1 partly, 1 planned, 1 open" in page
    assert "**W1** (answered). One." in page and "[both hold](../tests/deep/test_it.py)" in page
    assert "**W2** (partly). Two.\n\nHalf done. Missing: the other half." in page
    assert "**W3** (planned)" in page and "**W4** (open)" in page


def test_an_unknown_number_is_refused(tmp_path):
    _write(tmp_path, "def test_w84_nobody_asked(): ...\n")
    with pytest.raises(ValueError, match="test_w84_nobody_asked"):
        wishes.page(carried=wishes.tests(tmp_path))
