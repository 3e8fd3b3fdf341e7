"""``orthant mcp``: an agent's program starts it, and reads nothing from stdout but replies."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import orthant
from orthant.cli.main import main
from orthant.errors import StoreReadOnlyError

_BLOCKED = ("fastapi", "starlette", "uvicorn", "mcp")
_START = (
    "import sys; sys.modules.update(dict.fromkeys({blocked!r})); from orthant.server.mcp import tools, stdio;"
    "found = tools._stats; tools._stats = lambda c: (print('noise'), found(c))[1]; stdio.tools = tools;"
    "from orthant.cli.main import main; main(['mcp', sys.argv[1]])"
)


def test_it_answers_over_stdio_without_any_extra(tmp_path):
    path = tmp_path / "notes.orthant"
    with orthant.open(path) as notes:
        notes.upsert(["a"], texts=["a red kite"])
    calls = [
        {"name": "search", "arguments": {"query": "kite"}},
        {"name": "stats", "arguments": {}},
        {"name": "add", "arguments": {"records": [{"text": "x"}]}},
    ]
    sent = [{"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": call} for i, call in enumerate(calls)]
    done = subprocess.run(
        [sys.executable, "-c", _START.format(blocked=_BLOCKED), str(path)],
        input="".join(json.dumps(one) + "\n" for one in sent),
        capture_output=True,
        text=True,
        check=True,
    )
    found, told, refused = (json.loads(line) for line in done.stdout.splitlines())
    assert found["result"]["structuredContent"]["hits"][0]["id"] == "a"
    assert told["result"]["structuredContent"]["records"] == 1
    assert "noise" in done.stderr
    assert refused["error"]["code"] == -32602


def test_reading_leaves_the_place_of_the_writer_free(tmp_path, monkeypatch):
    from orthant.server.mcp import stdio

    path = tmp_path / "notes"
    with orthant.open(path) as notes:
        notes.upsert(["a"], texts=["a red kite"])
    seen = []
    monkeypatch.setattr(
        stdio, "serve_stdio", lambda opened, *, write: seen.append((dict(opened), write)) or try_write(opened)
    )

    def try_write(opened):
        with orthant.open(path) as other:
            other.upsert(["b"], texts=["b"])
        with pytest.raises(StoreReadOnlyError):
            opened["notes"].upsert(["c"], texts=["c"])

    with pytest.raises(SystemExit) as ended:
        main(["mcp", str(path)])
    assert ended.value.code == 0
    assert seen[0][1] is False


def test_a_missing_collection_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["mcp", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert "no collection" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
