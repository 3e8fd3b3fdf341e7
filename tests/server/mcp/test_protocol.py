"""The protocol without a wire: both eras, tools that read by default, refusals that an agent can act on."""

from __future__ import annotations

import io
import json

import pytest

import orthant
from orthant.server.limits import Limits
from orthant.server.mcp.protocol import HANDSHAKE_VERSIONS, VERSIONS, Problem, read
from orthant.server.mcp.stdio import answer_lines

META = {
    "io.modelcontextprotocol/protocolVersion": VERSIONS[-1],
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture
def notes(tmp_path):
    with orthant.open(tmp_path / "notes") as notes:
        notes.upsert(
            ["a", "b", "c"],
            texts=["a red kite " * 300, "a blue boat", "a red boat"],
            metadata=[{"year": 1990}, {"year": 2000}, {"year": 2010}],
        )
        yield notes


def ask(collections, *messages, **settings):
    """Replies to messages, which may be bytes already."""
    lines = [one if isinstance(one, bytes) else json.dumps({"jsonrpc": "2.0", **one}).encode() for one in messages]
    out = io.BytesIO()
    answer_lines(io.BytesIO(b"\n".join(lines)), out, collections, **settings)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def call(collections, tool, arguments, *, fails=False, **settings):
    params = {"name": tool, "arguments": arguments}
    (reply,) = ask(collections, {"id": 7, "method": "tools/call", "params": params}, **settings)
    assert reply["id"] == 7
    result = reply["result"]
    assert result["isError"] is fails, result
    text = result["content"][0]["text"]
    if fails:
        return text
    assert json.loads(text) == result["structuredContent"]
    return result["structuredContent"]


@pytest.mark.parametrize("version", [*HANDSHAKE_VERSIONS, "1999-01-01"])
def test_a_handshake_agrees_on_a_revision(notes, version):
    hello = {"id": 1, "method": "initialize", "params": {"protocolVersion": version, "capabilities": {}}}
    found = ask({"notes": notes}, hello, {"method": "notifications/initialized"}, {"id": 2, "method": "tools/list"})
    assert len(found) == 2
    agreed = version if version in HANDSHAKE_VERSIONS else HANDSHAKE_VERSIONS[-1]
    assert found[0]["result"]["protocolVersion"] == agreed
    assert found[0]["result"]["serverInfo"]["name"] == "orthant"
    assert "resultType" not in found[1]["result"]


def test_the_stateless_revision_needs_no_handshake(notes):
    listed, found = ask(
        {"notes": notes},
        {"id": "x", "method": "tools/list", "params": {"_meta": META}},
        {"id": "y", "method": "server/discover", "params": {"_meta": META}},
    )
    assert listed["result"]["resultType"] == found["result"]["resultType"] == "complete"
    assert listed["result"]["cacheScope"] == "private"
    assert found["result"]["supportedVersions"] == list(VERSIONS)
    later = META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    lacking = {"io.modelcontextprotocol/protocolVersion": VERSIONS[-1]}
    codes = [
        one["error"]
        for one in ask(
            {"notes": notes},
            {"id": 1, "method": "tools/list", "params": {"_meta": later}},
            {"id": 2, "method": "tools/list", "params": {"_meta": lacking}},
            {"id": 3, "method": "ping", "params": {"_meta": META}},
        )
    ]
    assert [one["code"] for one in codes] == [-32022, -32602, -32601]
    assert codes[0]["data"] == {"supported": list(VERSIONS), "requested": "2099-01-01"}


def test_nothing_writes_unless_allowed(notes):
    (listed,) = ask({"notes": notes}, {"id": 1, "method": "tools/list"})
    tools = {tool["name"]: tool for tool in listed["result"]["tools"]}
    assert set(tools) == {"search", "get", "why_not", "stats"}
    assert all(tool["annotations"]["readOnlyHint"] for tool in tools.values())
    wanted = {"name": "add", "arguments": {"records": [{"text": "x"}]}}
    (refused,) = ask({"notes": notes}, {"id": 1, "method": "tools/call", "params": wanted})
    assert refused["error"]["code"] == -32602
    assert len(notes) == 3
    (listed,) = ask({"notes": notes}, {"id": 1, "method": "tools/list"}, write=True)
    assert listed["result"]["tools"][-1]["annotations"]["readOnlyHint"] is False


def test_search_answers_as_the_collection_and_cuts_texts(notes):
    found = call({"notes": notes}, "search", {"query": "red", "where": {"year": {"lt": 2010}}, "max_characters": 20})
    assert [hit["id"] for hit in found["hits"]] == ["a"]
    assert found["hits"][0]["text"] == ("a red kite " * 300)[:20]
    assert found["hits"][0]["characters"] == 3300
    assert found["allowed"] == 2
    assert "legs" not in found["hits"][0]
    expected = notes.search("red boat", k=2)
    found = call({"notes": notes}, "search", {"query": "red boat", "k": 2, "explain": True})
    assert [hit["id"] for hit in found["hits"]] == expected.ids
    assert set(found["hits"][0]["legs"]) == {"lexical"}
    assert call({"notes": notes}, "search", {"query": "red boat", "k": 1, "offset": 1})["hits"][0]["rank"] == 2


def test_records_reasons_and_figures(notes):
    found = call({"notes": notes}, "get", {"ids": ["b", "z"]})
    assert found == {"records": [{"id": "b", "text": "a blue boat", "metadata": {"year": 2000}}], "missing": ["z"]}
    why = call({"notes": notes}, "why_not", {"query": "kite", "record_id": "b"})
    assert why["found"] is False
    assert why["sentence"]
    told = call({"notes": notes}, "stats", {})
    assert told["records"] == 3
    assert "year" in told["fields"]
    assert str(notes.path) not in json.dumps(told)


def test_add_stores_all_or_none_and_is_safe_to_repeat(notes):
    record = {"text": "a green tent", "metadata": {"year": 2020}}
    found = call({"notes": notes}, "add", {"records": [record, {"id": "d", "text": "x"}]}, write=True)
    assert (found["added"], found["replaced"]) == (2, 0)
    assert notes.get(found["ids"][0]).metadata == {"year": 2020}
    told = call({"notes": notes}, "add", {"records": [record, {"id": "e", "text": "y"}]}, write=True, fails=True)
    assert "replace=true" in told
    assert "e" not in notes
    again = call({"notes": notes}, "add", {"records": [record], "replace": True}, write=True)
    assert again == {"ids": [found["ids"][0]], "added": 0, "replaced": 1}
    assert len(notes) == 5
    twice = {"records": [{"id": "f", "text": "1"}, {"id": "f", "text": "2"}]}
    assert "twice" in call({"notes": notes}, "add", twice, write=True, fails=True)


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search", {}, "no query"),
        ("search", {"query": 3}, "query of type int"),
        ("search", {"query": "a", "k": "5"}, "k of type str"),
        ("search", {"query": "a", "k": True}, "k of type bool"),
        ("search", {"query": "a", "k": 0}, "at least 1"),
        ("search", {"query": "a", "k": 10**6}, "max_k"),
        ("search", {"query": "a", "mode": "magic"}, "lexical"),
        ("search", {"query": "a", "path": "/etc"}, "path"),
        ("search", {"query": "a", "where": {"year": {"near": 3}}}, "near"),
        ("search", {"query": "a", "mode": "dense"}, "encoder"),
        ("get", {"ids": ["a", 1]}, "ids[1]"),
        ("why_not", {"query": "a"}, "no record_id"),
    ],
)
def test_wrong_calls_are_told_to_the_agent(notes, tool, arguments, told):
    assert told in call({"notes": notes}, tool, arguments, fails=True)


def test_several_collections_are_told_apart(notes, tmp_path):
    with orthant.open(tmp_path / "more") as more:
        more.upsert(["m"], texts=["a red fox"])
        both = {"notes": notes, "more": more}
        assert "no collection" in call(both, "search", {"query": "red"}, fails=True)
        found = call(both, "search", {"query": "red", "collection": "more"})
        assert [hit["id"] for hit in found["hits"]] == ["m"]
        assert "one of notes, more" in call(both, "search", {"query": "red", "collection": "x"}, fails=True)


def test_bad_lines_are_answered_and_the_next_one_too(notes):
    ping = {"id": 9, "method": "ping"}
    bad = [b"{", b"[" * 100_000, b"[]", b'"x"', b'{"id": 1, "method": "ping"}', b"\xff\xfe", b"x" * 3000]
    for line in bad:
        error, alive = ask({"notes": notes}, line, ping, limits=Limits(max_body_bytes=2000))
        assert error["id"] is None
        assert error["error"]["code"] in (-32700, -32600)
        assert alive["result"] == {}
    for odd in ({"id": None, "method": "ping"}, {"id": [1], "method": "ping"}, {"id": 1, "method": 2}):
        with pytest.raises(Problem):
            read(json.dumps({"jsonrpc": "2.0", **odd}))
    none, gone, odd = ask(
        {"notes": notes},
        {"id": 1, "method": "resources/list"},
        {"id": 2, "method": "tools/call", "params": {"name": "rm"}},
        {"id": 3, "method": "tools/call", "params": [1]},
    )
    assert [one["error"]["code"] for one in (none, gone, odd)] == [-32601, -32602, -32602]
    assert ask({"notes": notes}, {"method": "notifications/cancelled", "params": {"requestId": 1}}, b"") == []


NASTY = [
    "",
    "x" * 5000,
    "\x00",
    "\ud800",
    "../..",
    -1,
    0,
    2**70,
    1.5,
    True,
    None,
    [],
    [[]],
    [None],
    {},
    {"a": {"b": []}},
]


def test_no_argument_is_unforeseen(notes, caplog):
    (listed,) = ask({"notes": notes}, {"id": 1, "method": "tools/list"}, write=True)
    messages = []
    for tool in listed["result"]["tools"]:
        fine = {"query": "red", "record_id": "b", "ids": ["b"], "records": [{"id": "n", "text": "t"}], "replace": True}
        schema = tool["inputSchema"]
        fine = {name: value for name, value in fine.items() if name in schema["properties"]}
        parts = [{"records": [{"id": "n", "text": "t", name: value}]} for name in ("id", "metadata") for value in NASTY]
        changes = [{name: value} for name in schema["properties"] for value in NASTY]
        for change in changes + (parts if tool["name"] == "add" else []):
            params = {"name": tool["name"], "arguments": fine | change}
            messages.append({"id": len(messages), "method": "tools/call", "params": params})
    replies = ask({"notes": notes}, *messages, write=True)
    assert len(replies) == len(messages) > 200
    assert {reply["result"]["isError"] for reply in replies} == {True, False}
    assert "unexpected" not in caplog.text
    assert notes.check().ok


def test_an_unforeseen_error_does_not_end_the_conversation(notes, monkeypatch, caplog):
    monkeypatch.setattr(type(notes), "stats", lambda self: 1 / 0)
    told = call({"notes": notes}, "stats", {}, fails=True)
    assert "unexpected" in told
    assert "ZeroDivisionError" in caplog.text
