"""A collection of dicts: whole records are encoded, parts of records are queries."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.encoders import CallableEncoder, RecordEncoder
from orthant.errors import EncoderMismatchError, InputError

FILMS = [
    {"title": "Heat", "year": 1995, "genres": ["crime", "drama"], "by": {"name": "Mann", "born": 1943}},
    {"title": "Ronin", "year": 1998, "genres": ["crime", "thriller"], "by": {"name": "Frankenheimer", "born": 1930}},
    {"title": "Magnolia", "year": 1999, "genres": ["drama"], "by": {"name": "Anderson", "born": 1970}},
    {"title": "Ali", "year": 2001, "genres": ["drama", "sport"], "by": {"name": "Mann", "born": 1943}},
    {"title": "Rio Bravo", "year": 1959, "genres": ["western"], "by": {"name": "Hawks", "born": 1896}},
    {"title": "Hatari", "year": 1962, "genres": ["adventure"], "by": {"name": "Hawks", "born": 1896}},
]
IDS = [film["title"] for film in FILMS]


@pytest.fixture
def encoder():
    return RecordEncoder(1024).fit(FILMS)


@pytest.fixture
def films(tmp_path, encoder):
    with orthant.open(tmp_path / "films", encoder=encoder) as made:
        made.upsert(IDS, metadata=FILMS)
        yield made


def test_records_without_texts_get_vectors(films, encoder):
    held = films.get("Heat", vectors=True).vectors["default"]
    np.testing.assert_array_equal(held, encoder.encode([FILMS[0]])[0])
    assert films.upsert(["empty"], metadata=[{}]).without_vector == {"default": 1}


def test_part_of_a_record_is_a_query(films):
    assert films.search({"year": 1999, "genres": "drama"}, k=1).ids == ["Magnolia"]
    assert set(films.search({"by": {"name": "Hawks"}}, k=2).ids) == {"Rio Bravo", "Hatari"}
    many = films.search_many([{"title": "Ali"}, {"title": "Heat"}], k=1)
    assert [one.ids for one in many] == [["Ali"], ["Heat"]]
    # A value counts in its own field only.
    scores = {hit.id: hit.score for hit in films.search({"title": "Mann"}, k=6).hits}
    assert max(scores.values()) < 0.15


def test_parts_combine_with_filters(films):
    found = films.search({"by": {"name": "Mann"}}, k=1, where={"year": {"gte": 2000}})
    assert found.ids == ["Ali"]


def test_what_no_record_can_be_near_is_told(films):
    def warnings(query, **settings):
        return films.search(query, k=1, **settings).plan.warnings

    (told,) = warnings({"yaer": 1999})
    assert "no record has field 'yaer'" in told and "did you mean 'year'?" in told
    (told,) = warnings({"by": {"nmae": "Mann"}})
    assert "'by.nmae'" in told and "'by.name'" in told
    (told,) = warnings({"year": "1999"})
    assert "'year' holds numbers" in told and "'1999'" in told
    assert warnings({"year": 1999, "genres": ["drama"], "by": {"name": "Mann"}, "text": "x", "title": "7"}) == ()
    # A filter has warnings of its own.
    assert len(warnings({"yaer": 1999}, where={"gnres": {"contains": "drama"}})) == 2


def test_text_is_one_field_more(tmp_path, encoder):
    with orthant.open(tmp_path / "c", encoder=encoder) as made:
        made.upsert(["a", "b"], texts=["a lighthouse keeper", None], metadata=[{"year": 1990}, {"year": 1990}])
        assert made.search({"year": 1990, "text": "lighthouse"}, k=1).ids == ["a"]
        assert made.search("lighthouse", mode="dense", k=1).ids == ["a"]


def test_reopened_with_the_saved_folder_only(tmp_path, encoder):
    encoder.save(tmp_path / "encoder")
    with orthant.open(tmp_path / "c", encoder=tmp_path / "encoder") as made:
        made.upsert(IDS, metadata=FILMS)
    with orthant.open(tmp_path / "c") as made:
        with pytest.raises(InputError, match="records for space 'default'"):
            made.upsert(["x"], metadata=[{"year": 1}])
        with pytest.raises(InputError, match=r"part of a record.*Open with that encoder.*--encoder\)") as raised:
            made.search({"year": 1999})
        assert "static" not in str(raised.value)
    with orthant.open(tmp_path / "c", encoder=tmp_path / "encoder") as made:
        assert made.search({"title": "Ronin"}, k=1).ids == ["Ronin"]
    with pytest.raises(EncoderMismatchError):
        orthant.open(tmp_path / "c", encoder=RecordEncoder(1024))


def test_damaged_vectors_are_encoded_again_from_the_records(tmp_path, encoder):
    with orthant.open(tmp_path / "c", encoder=encoder) as made:
        made.upsert(IDS, metadata=FILMS)
    segment = next(path for path in (tmp_path / "c").rglob("*") if path.suffix == ".seg" or "segment" in path.name)
    raw = bytearray(segment.read_bytes())
    raw[5000] ^= 255
    segment.write_bytes(raw)
    with orthant.open(tmp_path / "c", encoder=encoder) as made:
        report = made.check(repair=True)
        assert [problem.repaired for problem in report.problems] == [True]
        assert made.search({"title": "Heat"}, k=1).ids == ["Heat"]


def test_refusals(films, tmp_path):
    for bad in ([{"year": 1}, "text"], [{}], [{"year": 1}, {}]):
        with pytest.raises(InputError):
            films.search_many(bad)
    with pytest.raises(InputError):
        films.search({"year": 1}, vector=[0.0] * 1024)
    with pytest.raises(InputError, match="without a text"):
        films.search({"year": 1}, mode="lexical")
    lengths = CallableEncoder(lambda texts: [[len(t), 1] for t in texts], dim=2, name="lengths")
    with orthant.open(tmp_path / "texts", encoder=lengths) as made:
        made.upsert(["a"], texts=["abc"], metadata=[{"year": 1}])
        with pytest.raises(InputError, match="reads texts"):
            made.search({"year": 1})
        assert made.upsert(["b"], metadata=[{"year": 1}]).vectors == {}


def test_upgrade_plans_are_for_texts(films):
    with pytest.raises(InputError, match="whole records"):
        films.upgrade(RecordEncoder(512))
