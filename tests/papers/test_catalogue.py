"""The 61 rows: complete, exact, in our own words, cheap to read."""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import orthant.papers
from orthant.errors import InputError, NotFoundError
from orthant.papers import catalogue
from orthant.papers.contract import violations
from orthant.papers.record import WINGS, Paper
from orthant.papers.render import HEADINGS, markdown
from orthant.papers.results import HOME, read

ROOT = Path(__file__).parents[2]
ROWS = catalogue.papers()


def test_every_module_in_the_wing_folders_is_in_the_list_and_the_reverse():
    found = set()
    for wing in WINGS:
        package = importlib.import_module(f"orthant.papers.{wing}")
        found |= {(wing, module.name) for module in pkgutil.iter_modules(package.__path__)}
    assert found == {(wing, key.replace("-", "_")) for wing, keys in catalogue.KEYS.items() for key in keys}
    assert tuple(HEADINGS) == tuple(catalogue.KEYS) == WINGS


def test_there_are_61_rows_with_distinct_keys_titles_and_ids():
    assert len(ROWS) == len(catalogue.keys()) == 61
    for attribute in ("key", "title", "arxiv", "summary"):
        assert len({getattr(row, attribute) for row in ROWS}) == 61


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_is_well_formed(row):
    assert row.key in catalogue.KEYS[row.wing]
    assert re.fullmatch(r"\d{4}\.\d{5}", row.arxiv)
    assert row.year == 2000 + int(row.arxiv[:2])
    assert row.lives_in and all(name.startswith("orthant.") for name in row.lives_in)
    sentences = re.findall(r"[.?](?:\s|$)", row.summary)
    assert 2 <= len(sentences) <= 4, row.summary
    assert 150 <= len(row.summary) <= 800
    assert "Its place in Orthant:" in row.summary
    assert len(set(row.keywords)) == len(row.keywords) >= 4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_claims_nothing_without_cover(row):
    assert violations(row, read(row.key)) == []


def test_committed_results_belong_to_rows_and_equal_their_copies():
    mirror = ROOT / "benchmarks" / "results" / "papers"
    results = {path.name: path.read_bytes() for path in HOME.glob("*.json")}
    copies = {path.name: path.read_bytes() for path in mirror.glob("*.json")}
    assert {name.removesuffix(".json") for name in results} <= set(catalogue.keys())
    assert results == copies


def test_titles_ids_and_years_are_those_of_the_papers(data_root):
    abstracts = read_abstracts(data_root)
    assert set(abstracts) == set(catalogue.keys())
    for row in ROWS:
        entry = abstracts[row.key]
        assert (row.title, row.arxiv, row.year, row.wing) == tuple(entry[n] for n in ("title", "arxiv", "year", "wing"))


def test_summaries_are_our_own_words(data_root):
    abstracts = read_abstracts(data_root)
    for row in ROWS:
        shared = sequences(row.summary) & set().union(*(sequences(entry["text"]) for entry in abstracts.values()))
        assert not shared, (row.key, shared)


def test_keys_are_found_without_case_and_near_misses_are_named():
    assert catalogue.paper(" LeanVec ").key == "leanvec"
    for given, wanted in (
        ("muvra", "muvera"),
        ("loky", "loki"),
        ("vlm2vec_v2", "vlm2vec-v2"),
        ("glyph", "frozen-glyphs"),
    ):
        with pytest.raises(NotFoundError, match=f"'{wanted}'"):
            catalogue.paper(given)
    with pytest.raises(NotFoundError, match="orthant papers"):
        catalogue.paper("")


def test_the_json_has_the_promised_keys():
    rows = json.loads(json.dumps(catalogue.as_json()))["papers"]
    assert [row["key"] for row in rows] == list(catalogue.keys())
    for row in rows:
        assert set(row) >= {"key", "title", "arxiv", "year", "lives_in", "status", "claims"}
        assert isinstance(row["year"], int) and isinstance(row["lives_in"], list) and isinstance(row["claims"], list)


def test_counts_name_all_four_statuses():
    assert set(catalogue.counts()) == {"shown", "shown-generated", "works", "planned"}
    assert sum(catalogue.counts().values()) == 61


def test_documents_are_records_to_search():
    records = catalogue.documents()
    assert [record["id"] for record in records] == list(catalogue.keys())
    wanted = {"wing", "year", "status", "lives_in", "arxiv", "last_measured", "reproduce", "date", "url"}
    for record, row in zip(records, ROWS, strict=True):
        assert set(record["metadata"]) == wanted
        # Submitted in December, numbered in January.
        assert abs(int(record["metadata"]["date"][:4]) - row.year) <= 1
        assert all(part in record["text"] for part in (row.title, row.summary, *row.keywords))
        assert record["metadata"]["reproduce"] == f"orthant reproduce {row.key}"


def test_the_page_is_up_to_date():
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m orthant.papers.render docs/papers.md"


def test_reading_all_rows_loads_no_wing_and_no_package_but_numpy():
    code = (
        "import sys, numpy; before = set(sys.modules);"
        "from orthant.papers import catalogue; catalogue.papers(); catalogue.as_json(); catalogue.documents();"
        "print(*sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    loaded = out.stdout.split()
    own = {name for name in loaded if name.startswith("orthant.")}
    foundation = {"orthant.errors", "orthant.types", "orthant.validate"}
    rest = {name for name in own - foundation if not name.startswith(("orthant.papers", "orthant.datasets"))}
    assert not rest, "claims load what they measure when they run, not when the list is read"
    foreign = {name.partition(".")[0] for name in loaded} - {"orthant", "numpy"} - set(sys.stdlib_module_names)
    assert not foreign


def test_rows_refuse_unknown_statuses_wings_and_repeated_claims():
    from papers.synthetic import claim, row

    for options in ({"status": "done"}, {"status": "works", "claims": 2}):
        twice = (claim(), claim()) if options.pop("claims", 0) else ()
        with pytest.raises(InputError, match="muvera"):
            row(*twice, **options)
    with pytest.raises(InputError, match="wing"):
        Paper(key="x", title="x", arxiv="x", year=1, wing="audio", lives_in=(), summary="", keywords=())


def environment():
    import os

    return {**os.environ, "PYTHONPATH": str(Path(orthant.papers.__file__).parents[2])}


def read_abstracts(root):
    with gzip.open(root / "catalogue" / "abstracts.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {entry["_id"]: entry for entry in map(json.loads, lines)}


def sequences(text, length=8):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}
