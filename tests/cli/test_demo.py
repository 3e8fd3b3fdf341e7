"""``orthant demo``: three collections, five explained searches, and nobody else's files touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import orthant
from contracts.package import ROOT
from orthant.cli import demo
from orthant.datasets.kinds import Document
from orthant.datasets.pydocs import DocumentationSet

NAMES = {"scipy.linalg.qr": "matrix factors", "csv.reader": "read a csv file", "sklearn.distance": "distance between"}


@pytest.fixture(autouse=True)
def small(request, monkeypatch):
    """A documentation of 3 records instead of 11,600; not for slow tests."""
    if "slow" in request.keywords:
        return
    documents = [
        Document(
            name, name, f"{name}()\n\nAbout {text}.", {"package": name.split(".")[0], "kind": "function", "line": 1}
        )
        for name, text in NAMES.items()
    ]
    monkeypatch.setattr(demo, "_read_documentation", lambda: DocumentationSet(documents, (), (), 3, 0.0))


def test_demo_as_json(run, tmp_path):
    ran = run("demo", "--folder", tmp_path / "demo", "--json")
    assert ran.code == 0 and ran.err == ""
    assert ran.json.keys() == {"folder", "records", "seconds", "searches"}
    assert ran.json["records"] == {"docs.orthant": 3, "passages.orthant": 3, "papers.orthant": 61}
    seconds = ran.json["seconds"]
    assert sum(value for stage, value in seconds.items() if stage != "total") == pytest.approx(seconds["total"])
    dense, hybrid, filtered, passages, papers = ran.json["searches"]
    assert [dense["plan"]["mode"], hybrid["plan"]["mode"]] == ["dense", "hybrid"]
    assert all(hit["id"] == f"{hit['metadata']['record']}#0" for hit in passages["hits"])
    assert {hit["metadata"]["package"] for hit in filtered["hits"]} <= {"scipy", "sklearn"}
    assert hybrid["hits"][0]["id"] == "csv.reader" and hybrid["hits"][0]["matched"]
    assert all("lives_in" in hit["metadata"] for hit in papers["hits"])
    with orthant.open(tmp_path / "demo" / "papers.orthant", read_only=True) as collection:
        assert len(collection) == 61


def test_demo_for_a_person(run, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    ran = run("demo", "--folder", tmp_path / "my demo")
    for words in (
        "By meaning alone",
        "Filtered",
        "Through the graph",
        "Among the papers",
        "Where the time went",
        "total",
        "pass the filter",
    ):
        assert words in ran.out
    assert f"orthant search '{tmp_path / 'my demo' / 'docs.orthant'}' \"sort an array\"" in ran.out


def test_twice_gives_the_same_again(run, tmp_path):
    first, second = (run("demo", "--folder", tmp_path / "demo", "--json").json for _ in range(2))
    assert second["records"] == first["records"]
    for one, two in zip(first["searches"], second["searches"], strict=True):
        assert one["hits"] == two["hits"]


def test_only_its_own_is_replaced(run, refused, tmp_path, records_file):
    home = tmp_path / "home"
    run("add", home / "docs.orthant", records_file)
    refused("demo", "--folder", home, says=["docs.orthant", "--folder"])
    with orthant.open(home / "docs.orthant", read_only=True) as collection:
        assert len(collection) == 6
    assert [entry.name for entry in home.iterdir()] == ["docs.orthant"]


def test_files_put_into_its_collections_are_kept(run, refused, tmp_path):
    run("demo", "--folder", tmp_path, "--json")
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    assert run("demo", "--folder", tmp_path, "--json").code == 0
    assert (tmp_path / "letter.txt").exists()
    (tmp_path / "papers.orthant" / "mine.txt").write_text("mine", encoding="utf-8")
    refused("demo", "--folder", tmp_path, says=["papers.orthant"])
    assert (tmp_path / "papers.orthant" / "mine.txt").exists()
    assert (tmp_path / "docs.orthant" / "store.sqlite").exists()


def test_a_collection_being_written_is_not_replaced(run, refused, tmp_path):
    run("demo", "--folder", tmp_path, "--json")
    with orthant.open(tmp_path / "papers.orthant") as collection:
        collection.delete(["leanvec"])
        refused("demo", "--folder", tmp_path, says=["second writer"])
        assert (tmp_path / "docs.orthant" / "store.sqlite").exists()


@pytest.mark.slow
def test_the_real_demonstration(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "orthant", "demo", "--folder", str(tmp_path), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["records"]["docs.orthant"] > 5000
    assert 20_000 < report["records"]["passages.orthant"] <= 30_000
    plan = report["searches"][3]["plan"]["legs"][0]
    assert plan["method"] == "graph" and plan["details"]["expected_recall"] >= 0.95 and not plan["details"]["exact"]
    best = [search["hits"][0]["id"] for search in report["searches"]]
    assert best[1].startswith("csv") and best[2].startswith("scipy.stats.wasserstein_distance")
