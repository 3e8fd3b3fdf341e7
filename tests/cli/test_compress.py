"""``orthant compress``: the library's report, applied and taken back only where asked; plots without outside parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant

NARROW = ("--codes", "lvq4", "--codes", "leanvec8+lvq4")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "c"
    X = np.random.default_rng(0).standard_normal((1100, 24)).astype(np.float32) * (0.8 ** np.arange(24))
    with orthant.open(path) as collection:
        collection.upsert([f"r{i}" for i in range(len(X))], vectors=X.astype(np.float32))
    np.save(path.parent / "queries.npy", X[:30].astype(np.float32))
    return path


def test_measure_apply_and_take_back(run, made, tmp_path):
    first = run("compress", str(made), "--budget-bytes", "16", *NARROW, "--json", "--plot", str(tmp_path / "c.html"))
    assert first.code == 0 and first.json["report"]["recommended"] in ("lvq4", "leanvec8+lvq4")
    assert not first.json["applied"] and run("stats", str(made), "--json").json["spaces"]["default"]["plan"] == "scan"
    page = (tmp_path / "c.html").read_text()
    assert "leanvec8+lvq4" in page and "<svg" in page and "http" not in page and "src=" not in page
    queries = ("--queries", str(made.parent / "queries.npy"))
    shown = run("compress", str(made), "--recall", "0.5", *NARROW, *queries, "--apply")
    assert shown.code == 0 and "Applied to 1100 vectors" in shown.out and "--undo" in shown.err
    told = run("stats", str(made))
    assert "codes" in told.out
    back = run("compress", str(made), "--undo", "--json")
    assert back.json["undone"] and back.json["setting"] is None
    assert run("stats", str(made), "--json").json["spaces"]["default"]["compression"] is None
    again = run("compress", str(made), "--undo")
    assert again.code == 0 and "nothing to undo" in again.err


def test_plots_by_their_ending(run, made, tmp_path):
    pytest.importorskip("matplotlib")
    for ending in ("png", "json"):
        assert run("compress", str(made), *NARROW, "--plot", str(tmp_path / f"c.{ending}")).code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "c.json").read_text())["dim"] == 24


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--budget-bytes", "10", "--codes", "lvq4"), "at least 16"),
        (("--budget-bytes", "10", "--codes", "lvq4"), "smaller codes"),
        (("--recall", "2"), "recall"),
        (("--codes", "lvq5"), "lvq5"),
        (("--k", "5000"), "fewer than the 1100 vectors"),
        (("--k", "60"), "rescored_rows=50 for k=60"),
        (("--plot", "x.gif"), "ends in"),
        (("--undo", "--recall", "0.9"), "undo"),
        (("--undo", "--plot", "x.html"), "--plot"),
        (("--space", "other"), "other"),
        (("--queries", "absent.npy"), "absent.npy"),
        (("--queries", "absent.txt"), "absent.txt"),
    ],
)
def test_refused(refused, made, options, text):
    refused("compress", str(made), *options, says=(text,))


def test_queries_come_one_per_line(run, tmp_path):
    words = [f"word{i}" for i in range(60)]
    rng = np.random.default_rng(0)
    with orthant.open(tmp_path / "c", encoder="static") as notes:
        notes.upsert([str(i) for i in range(1100)], texts=[" ".join(rng.choice(words, 5)) for _ in range(1100)])
    (tmp_path / "asked.txt").write_text("word3 word4\n\nword5\n")
    told = run("compress", tmp_path / "c", "--queries", tmp_path / "asked.txt", "--codes", "sq8", "--json")
    assert told.code == 0 and told.json["report"]["queries"] == 2


def test_a_misspelt_folder_is_not_made(refused, tmp_path):
    refused("compress", str(tmp_path / "absent"), "--undo", says=("no collection at",))
    assert not (tmp_path / "absent").exists()
