"""``orthant serve`` and ``orthant keys``: names of folders, keys shown once, refusals in one paragraph."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

import orthant
from orthant.cli.main import main
from orthant.cli.serving.serve import named_folders
from orthant.encoders import ExplicitSemanticAnalysis
from orthant.errors import InputError, NotFoundError


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out = capsys.readouterr()
    return ended.value.code, out.out, out.err


def test_keys_are_added_listed_and_revoked(tmp_path, capsys):
    file = str(tmp_path / "keys.json")
    code, out, err = run(capsys, "keys", "add", "me", "--scope", "books:write", "--file", file)
    key = out.strip()
    assert code == 0
    assert key.startswith("orth_")
    assert key not in err
    code, out, _ = run(capsys, "keys", "list", "--json", "--file", file)
    assert json.loads(out)["keys"][0]["scopes"] == {"books": "write"}
    assert key not in out
    assert run(capsys, "keys", "list", "--file", file)[0] == 0
    assert run(capsys, "keys", "revoke", "me", "--file", file)[0] == 0
    code, _, err = run(capsys, "keys", "revoke", "me", "--file", file)
    assert code == 2
    assert "no key" in err
    assert run(capsys, "keys", "add", "you", "--scope", "books", "--file", file)[0] == 2


def test_folders_have_names():
    assert list(named_folders(["a/books.orthant", "old=b/c"])) == ["books", "old"]
    for given in (["a/x", "b/x"], ["a b=c"], ["../=c"]):
        with pytest.raises(InputError):
            named_folders(given)


def test_what_cannot_be_served_is_said(tmp_path, capsys):
    code, _, err = run(capsys, "serve", str(tmp_path / "none"))
    assert code == 2
    assert "no collection" in err
    assert not (tmp_path / "none").exists()
    assert run(capsys, "serve", "--create", "--host", "0.0.0.0", "--no-keys", str(tmp_path / "new"))[0] == 2
    assert run(capsys, "serve", "--no-keys", "--keys", "k", "--create", str(tmp_path / "new"))[0] == 2


def test_models_have_names_and_widths(tmp_path):
    from orthant.cli.serving.models import named_models

    found = named_models(["static", "short=static"], ["short=128,64"], [])
    assert {name: model.dimensions for name, model in found.items()} == {"static": (), "short": (64, 128)}
    for models, widths, rerankers in (
        (["a=static", "a=static"], [], []),
        (["=static"], [], []),
        (["a=static"], ["b=64"], []),
        (["a=static"], ["a=wide"], []),
        (["a=static"], ["a=64"], [f"a={tmp_path}"]),
    ):
        with pytest.raises(InputError):
            named_models(models, widths, rerankers)
    with pytest.raises(NotFoundError):
        named_models([], [], ["judge=/nowhere"])


def test_what_is_opened_and_what_may_be_changed_to(tmp_path, capsys, monkeypatch):
    import webbrowser

    from orthant.server import running

    opened, given = [], {}

    def serve(openers, **settings):
        given.update(settings)
        settings["ready"]("http://127.0.0.1:1")

    monkeypatch.setattr(running, "serve", serve)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    here = ["serve", "--create", "--no-keys", str(tmp_path / "books")]
    assert run(capsys, *here)[0] == 0 and given["upgrades"] is None and opened == []
    allowed = ["--upgrade-encoder", "house=./model", "--upgrade-encoder", "static"]
    run(capsys, *here, "--open", "--open-at", "/feed/books", *allowed)
    run(capsys, *here, "--open")
    assert opened == ["http://127.0.0.1:1/feed/books", "http://127.0.0.1:1/"]
    run(capsys, *here, *allowed)
    assert given["upgrades"] == {"house": "./model", "static": "static"}


def test_folders_of_models_are_for_spaces_of_collections(tmp_path, capsys, monkeypatch):
    from orthant.server import running

    concepts = ExplicitSemanticAnalysis({"sea": "whales and boats", "kitchen": "dough and bread"})
    concepts.save(tmp_path / "concepts")
    with orthant.open(tmp_path / "notes", spaces={"topics": concepts}) as notes:
        notes.upsert(["a", "b"], texts=["bread and butter", "boats"])
    found = {}

    def serve(openers, **settings):
        with openers["notes"]() as notes:
            found["ids"] = notes.search("dough", mode="sparse", k=1).ids

    monkeypatch.setattr(running, "serve", serve)
    here = ["serve", "--no-keys", str(tmp_path / "notes")]
    model = str(tmp_path / "concepts")
    for form in (f"topics={model}", f"notes/topics={model}"):
        assert run(capsys, *here, "--space-encoder", form)[0] == 0 and found.pop("ids") == ["a"]
    assert "no encoder at hand" in run(capsys, *here)[2]
    for form, said in ((f"other/topics={model}", "with one of: notes"), (f"absent={model}", "space 'absent'")):
        code, out, err = run(capsys, *here, "--space-encoder", form)
        assert (code, out) == (2, "") and said in err
    # What cannot be opened leaves the writer's place free.
    orthant.open(tmp_path / "notes").close()
