"""The command as a whole: help, exit codes, one paragraph per error, quiet pipes, light imports."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings

import pytest

import orthant
from contracts.package import ROOT
from orthant.cli import main as command
from orthant.cli import stats

VERBS = ("demo", "add", "search", "eval", "stats", "check", "export", "import", "doctor", "warmup")
VERBS += ("papers", "reproduce")


def start(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "orthant", *map(str, arguments)], env=environment, timeout=60, text=True, **options
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(run, verb):
    ran = run(verb, "--help")
    assert ran.code == 0 and ran.err == ""
    assert f"orthant {verb}" in ran.out
    assert run(verb, "-h").out == ran.out


def test_help_lists_every_verb_and_nothing_at_all_shows_it(run):
    ran = run("--help")
    assert all(verb in ran.out for verb in VERBS)
    assert run().out == ran.out


def test_version(run):
    assert run("--version").out == f"orthant {orthant.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serach"], ["No such command", "search", "orthant --help"]),
        (["search", "--nope", "x", "y"], ["--nope", "orthant search --help"]),
        (["search"], ["collection", "orthant search --help"]),
        (["search", "x", "y", "-k", "three"], ["-k", "orthant search --help"]),
    ],
)
def test_wrong_use_is_one_paragraph(refused, arguments, words):
    refused(*arguments, says=words)


def test_errors_of_disk_and_database_are_one_paragraph(run, refused, monkeypatch, notes):
    import sqlite3

    for error, word in (
        (PermissionError(errno.EACCES, "Permission denied", "notes"), "Permission denied for notes"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
        (MemoryError(), "memory"),
    ):
        monkeypatch.setattr(stats, "_show", _raises(error))
        refused("stats", notes, says=[word])


def test_programming_errors_are_not_hidden(monkeypatch, notes):
    monkeypatch.setattr(stats, "_show", _raises(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        command.main(["stats", str(notes)])


def test_interrupted(run, monkeypatch, notes):
    monkeypatch.setattr(stats, "_show", _raises(KeyboardInterrupt()))
    ran = run("stats", notes)
    assert ran.code == 130
    assert ran.err.count("\n") == 1 and "interrupted" in ran.err


def test_warnings_are_one_line_on_stderr(run, monkeypatch, notes):
    monkeypatch.setattr(stats, "_show", lambda found: warnings.warn("look\n out", stacklevel=1))
    assert run("stats", notes).err == "orthant: warning: look out\n"


def test_warnings_that_differ_in_figures_are_counted(run, monkeypatch, notes):
    def show(found):
        for count in (93, 103, 91):
            warnings.warn(f"{count} of 256 texts were cut", stacklevel=1)
        warnings.warn("another", stacklevel=1)

    monkeypatch.setattr(stats, "_show", show)
    assert run("stats", notes).err.splitlines() == [
        "orthant: warning: 93 of 256 texts were cut",
        "orthant: warning: another",
        "orthant: warning: 2 more like: # of # texts were cut ...",
    ]


def _raises(error):
    def stop(*_):
        raise error

    return stop


def test_a_process_that_fails_leaves_no_traceback(tmp_path):
    done = start("search", tmp_path / "none", "kite", capture_output=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("orthant: Got no collection") and "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes behave differently")
def test_a_reader_that_leaves_is_no_error(built):
    for arguments in (("stats", built), ("papers", "--json")):
        read, write = os.pipe()
        os.close(read)
        done = start(*arguments, stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_narrow_encoding_is_no_error(run, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    path = tmp_path / "umlaut.jsonl"
    path.write_text(json.dumps({"id": "é", "text": "Ein schöner Drachen – rot"}), encoding="utf-8")
    notes = tmp_path / "notes"
    run("add", notes, path)
    base = [sys.executable, "-m", "orthant", "search", str(notes), "drachen", "--mode", "lexical"]
    shown = subprocess.run(base, env=environment, capture_output=True, timeout=60, text=True)
    assert shown.returncode == 0 and "Drachen" in shown.stdout
    found = subprocess.run([*base, "--json"], env=environment, capture_output=True, timeout=60, text=True)
    assert json.loads(found.stdout)["hits"][0]["id"] == "é"


def test_w44_a_search_loads_nothing_heavy(built):
    code = (
        "import sys\nfrom orthant.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*{'scipy', 'numba', 'sklearn', 'pandas', 'pyarrow', 'torch', 'rich.table'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command_line = [sys.executable, "-c", code, "search", str(built), "a toy in the wind", "--json"]
    done = subprocess.run(command_line, env=environment, capture_output=True, text=True, timeout=60)
    found, _, loaded = done.stdout.rpartition("}\n")
    assert json.loads(found + "}")["hits"] and loaded == "\n"


@pytest.mark.parametrize(
    "words",
    [
        ["check", "{}", "--repair"],
        ["tune", "{}", "--queries", "{file}"],
        ["tune-fusion", "{}", "--reset"],
        ["adapt", "{}", "--reset"],
        ["compress", "{}", "--undo"],
        ["upgrade", "{}"],
        ["dedup", "{}", "--unmark"],
        ["tokens", "{}", "--method", "exact"],
        ["snapshot", "create", "{}", "monday"],
        ["snapshot", "drop", "{}", "monday"],
        ["snapshot", "restore", "{}", "monday"],
        ["digest", "list", "{}"],
        ["mcp", "{}"],
        ["serve", "{}"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_misspelt_name_makes_no_collection(refused, tmp_path, words):
    file = tmp_path / "queries.txt"
    file.write_text("a kite\n")
    for place in (tmp_path / "misspelt", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        refused(*(word.format(place, file=file) for word in words), says=["no collection at"])
        assert not (tmp_path / "misspelt").exists() and not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("group", ["snapshot", "keys", "digest", "bench"])
def test_a_group_without_an_action_says_so(run, group):
    ran = run(group)
    assert ran.code == 2 and ran.err == f"orthant {group}: Missing action. See `orthant {group} --help`.\n"


def test_where_an_upgrade_stands_without_one(run, notes):
    assert run("upgrade", notes, "--json").json == {"action": "status", "phase": "none"}
    assert "No upgrade is open" in run("upgrade", notes).out
    run("snapshot", "create", notes, "monday")
    assert run("snapshot", "drop", notes, "monday", "--json").json == {"dropped": "monday"}
