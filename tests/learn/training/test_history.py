"""The table of a training: rows, files, picture."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import network, stage  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training import Curriculum, History, Validation  # noqa: E402


@pytest.fixture
def history():
    rules = Validation(lambda model: {"score": 0.25}, metrics=["score"], every=2)
    return Curriculum([stage("a", steps=3), stage("b", steps=2)]).run(network(), validate=rules)


def test_w83_history_is_a_plain_table(history, tmp_path):
    rows = history.to_rows()
    assert [(row["stage"], row["step"]) for row in rows] == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]
    assert all(isinstance(row["loss"], float) for row in rows)
    assert history.names() == ["stage", "step", "loss", "learning_rate", "seconds", "absolute", "score"]
    assert history.column("loss", stage="b") == [row["loss"] for row in rows[3:]]
    history.to_jsonl(tmp_path / "h.jsonl")
    assert [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()] == rows
    history.to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as handle:
        read = list(csv.DictReader(handle))
    assert [float(row["loss"]) for row in read] == history.column("loss")
    assert [row["score"] for row in read] == ["", "0.25", "0.25", "", "0.25"]


def test_arrays_bring_the_table_back(history):
    history.stopped = "enough"
    arrays, names = history.to_arrays()
    again = History.from_arrays(arrays, json.loads(json.dumps(names)))
    assert again.rows == history.rows
    assert all(array.dtype == np.float64 for array in arrays.values())


def test_rows_are_copies(history):
    history.to_rows()[0]["loss"] = 0.0
    assert history.rows[0]["loss"] != 0.0


def test_unknown_columns_are_refused(history):
    with pytest.raises(InputError, match=r"column 'los'; expected one of \['stage'"):
        history.column("los")


def test_plot(history, tmp_path):
    pytest.importorskip("matplotlib")
    history.plot(tmp_path / "h.svg", columns=["loss", "score"])
    assert (tmp_path / "h.svg").read_text().count("<svg") == 1
    with pytest.raises(InputError, match="without rows"):
        History().plot(tmp_path / "e.svg")
