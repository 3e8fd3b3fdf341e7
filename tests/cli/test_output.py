"""What the verbs share: JSON, tables and progress."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from orthant.cli.output import print_json, print_table, progress_bar


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_end_no_verb(built, closed):
    code = f"import os, sys; [os.close(i) for i in {closed}]; os.execv(sys.executable, sys.argv[1:])"
    verb = [sys.executable, "-m", "orthant", "stats", str(built)]
    ran = subprocess.run([sys.executable, "-c", code, *verb], capture_output=True, text=True)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr
    assert ("Collection" in ran.stdout) == (1 not in closed)


def test_json_takes_numpy_and_refuses_nan(capsys):
    print_json({"a": np.float32(0.5), "b": np.arange(2), "c": "é"})
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [0, 1], "c": "é"}
    with pytest.raises(ValueError, match="JSON"):
        print_json({"a": float("nan")})


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_a_table_keeps_its_numbers_whole(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    print_table("Title", ("name", "count#"), [("a long name " * 8, "1,234,567"), ("[b]", None)], caption="below")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "Title" and lines[-3:] == ["below", "", ""]
    assert lines[1].endswith("count") and sum(line.endswith(" 1,234,567") for line in lines) == 1
    assert any("[b]" in line for line in lines)
    assert max(map(len, lines)) <= int(columns) and all(line == line.rstrip() for line in lines)


def test_a_table_without_rows_is_its_title(capsys):
    print_table("Nothing", ("a", "b"), [])
    assert capsys.readouterr().out == "Nothing\n\n"


@pytest.mark.parametrize("total", [None, 2000])
def test_progress_is_shown_on_a_terminal_only(capsys, monkeypatch, total):
    with progress_bar("reading", total) as advance:
        advance(1500)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("reading", total) as advance:
        advance(1500)
    shown = capsys.readouterr()
    assert shown.out == "" and "reading" in shown.err and ("1,500/2,000" if total else "1,500") in shown.err
