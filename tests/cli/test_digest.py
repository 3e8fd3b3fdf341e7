"""``orthant digest``: saved searches by command, and a run whose process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from feed.mailbox import Mailbox
from feed.notes import fill, make


@pytest.fixture
def ask(run):
    """Run ``orthant`` and give exit code, stdout and stderr."""

    def run_and_split(*arguments):
        ran = run(*arguments)
        return ran.code, ran.out, ran.err

    return run_and_split


@pytest.fixture
def notes(tmp_path):
    make(tmp_path / "notes.orthant").close()
    return tmp_path / "notes.orthant"


def write(notes, **texts):
    with make(notes) as collection:
        fill(collection, {key: (text, "2024-03-18") for key, text in texts.items()})


def test_add_list_run_remove(ask, notes, tmp_path):
    code, out, _ = ask("digest", "add", notes, "ada@example.org", "ocean storm", "--every", "run", "--json")
    assert (code, json.loads(out)["state"]) == (0, "active")
    assert ask("digest", "add", notes, "bob@example.org", "--where", '{"kind": "g"}', "--every", "run")[0] == 0
    write(notes, gale="a gale and a storm on the ocean")
    code, out, _ = ask("digest", "run", notes, "--to", tmp_path / "out", "--html", "--json")
    assert code == 0
    assert (json.loads(out)["written"], json.loads(out)["sent"]) == (2, 2)
    assert "gale" in (tmp_path / "out" / "digest-000001.html").read_text()
    code, out, _ = ask("digest", "run", notes, "--to", tmp_path / "out")
    assert out.startswith("Wrote 0 letters and handed over 0; 0 wait.")
    code, out, _ = ask("digest", "list", notes, "--json")
    assert [one["address"] for one in json.loads(out)["saved"]] == ["ada@example.org", "bob@example.org"]
    assert json.loads(out)["letters"] == {"sent": 2}
    assert ask("digest", "remove", notes, 1)[1] == "Ended saved search 1 of ada@example.org.\n"
    code, out, _ = ask("digest", "list", notes)
    assert "bob@example.org" in out
    assert "ada@example.org" not in out


def test_fields(ask, notes):
    _, out, _ = ask("digest", "fields", notes, "--json")
    assert json.loads(out) == {"date_field": "date", "title_field": None}
    _, out, _ = ask("digest", "fields", notes, "--date", "kind", "--title", "kind")
    assert out == "Dates: kind.\nTitles: kind.\n"
    code, _, err = ask("digest", "fields", notes, "--date", "kidn")
    assert code == 2 and "field 'kidn', which none of the records has" in err and "kind" in err
    assert ask("digest", "fields", notes)[1].startswith("Dates: kind.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "NOTES"), "neither --to nor --smtp"),
        (("run", "NOTES", "--to", "x", "--smtp", "y"), "both --to and --smtp"),
        (("run", "NOTES", "--smtp", "localhost:many"), "HOST:PORT"),
        (("run", "NOTES", "--smtp", "localhost", "--user", "u"), "ORTHANT_SMTP_PASSWORD"),
        (("run", "NOTES", "--smtp", "localhost", "--security", "none"), "base_url"),
        (("run", "NOTES", "--smtp", "mail.example.org", "--security", "none"), "starttls"),
        (("run", "NOTES", "--to", "x", "--from", "a@b.c\nBcc: d@e.f"), "one line"),
        (("run", "NOTES", "--to", "x", "--base-url", "javascript:alert(1)"), "http"),
        (("add", "NOTES", "ada@example.org\nBcc: eve@example.org", "x"), "address"),
        (("add", "NOTES", "ada@example.org"), "query or a filter"),
        (("add", "NOTES", "ada@example.org", "x", "--every", "hour"), "every"),
        (("remove", "NOTES", "7"), "saved search 7"),
        (("list", "nothing.orthant"), "nothing.orthant"),
    ],
)
def test_mistakes_are_one_paragraph(ask, notes, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORTHANT_SMTP_PASSWORD", raising=False)
    code, out, err = ask("digest", *(str(notes) if one == "NOTES" else one for one in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_a_run_that_is_killed_while_it_hands_over_sends_nothing_twice(ask, notes):
    for name in ("ada", "bob"):
        ask("digest", "add", notes, f"{name}@example.org", "ocean storm", "--every", "run")
    write(notes, gale="a gale and a storm on the ocean")
    with Mailbox() as box:
        arguments = ["digest", "run", str(notes), "--smtp", f"127.0.0.1:{box.port}", "--security", "none"]
        arguments += ["--base-url", "https://library.example.org", "--json"]
        process = subprocess.Popen([sys.executable, "-m", "orthant", *arguments])

        def die():
            os.kill(process.pid, signal.SIGKILL)

        box.replies["."] = die  # gives None: the letter is taken, and no answer goes out
        assert process.wait(60) == -signal.SIGKILL
        box.replies.clear()
        code, out, _ = ask(*arguments)
        assert code == 0
        assert {key: json.loads(out)[key] for key in ("written", "sent", "uncertain")} == {
            "written": 0, "sent": 1, "uncertain": 1,
        }  # fmt: skip
        assert [to for _, to, _ in box.letters] == ["ada@example.org", "bob@example.org"]


def test_what_does_not_go_out_is_exit_code_1(ask, notes):
    ask("digest", "add", notes, "ada@example.org", "ocean storm", "--every", "run")
    write(notes, gale="a gale and a storm on the ocean")
    with Mailbox(replies={"RCPT": "550 nobody"}) as box:
        code, out, err = ask(
            "digest", "run", notes, "--smtp", f"127.0.0.1:{box.port}", "--security", "none", "--base-url",
            "https://library.example.org",
        )  # fmt: skip
    assert code == 1
    assert "Refused for good, in all runs: 1" in out
    assert "550 nobody" in err
