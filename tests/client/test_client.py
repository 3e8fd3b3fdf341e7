"""A served collection has the names, arguments, answers and errors of an embedded one, on the standard library."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import os
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest

import orthant
from orthant.client import AsyncRemoteCollection, RemoteCollection, connect, connect_async
from orthant.client import results as client_results
from orthant.client.results import LegScore
from orthant.collection import results
from orthant.collection.collection import Collection
from orthant.errors import DimensionError, EndpointError, FilterError, InputError, NotFoundError
from orthant.server import background
from server.serving import make

OWN = {"upsert_stream", "name"}


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [RemoteCollection, AsyncRemoteCollection])
def test_w58_names_and_arguments_are_those_of_a_collection(kind):
    shared = public(kind) & public(Collection)
    assert public(kind) - shared <= OWN
    assert {"search", "search_many", "similar", "why_not", "get", "find", "ids", "upsert", "delete", "stats"} <= shared
    for name in shared:
        mine, theirs = getattr(kind, name), getattr(Collection, name)
        if not callable(theirs):
            continue
        shapes = [
            [(p.name, p.kind, p.default) for p in inspect.signature(one).parameters.values()] for one in (mine, theirs)
        ]
        assert shapes[0] == shapes[1], name


@pytest.mark.parametrize("name", ["Hit", "LegScore", "StageScore", "Group", "Record", "SearchResult"])
def test_results_have_the_shape_of_the_embedded_ones(name):
    mine = [field.name for field in dataclasses.fields(getattr(client_results, name)) if field.name[0] != "_"]
    assert mine == [field.name for field in dataclasses.fields(getattr(results, name))]


def test_w45_the_client_needs_only_the_standard_library():
    code = (
        "import sys; from orthant.client import connect; books = connect('http://127.0.0.1:9', 'books');"
        "import json; print(json.dumps([m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(orthant.__file__).parents[1])}
    # Without site-packages nothing else could be imported at all.
    command = [sys.executable, "-S", "-c", code]
    loaded = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    assert {name.split(".")[0] for name in loaded} <= {"orthant", "__main__"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same records twice: behind a server, and embedded."""
    folder = tmp_path_factory.mktemp("pair")
    served = {"books": make(folder / "served")}
    with (
        orthant.open(make(folder / "embedded")) as embedded,
        background(served) as url,
        connect(url, "books") as remote,
    ):
        yield url, remote, embedded


SEARCHES = [
    {"query": "amber basin", "explain": True, "facets": {"kind": 2}},
    {"query": [1.0] * 8, "steer": {"away": [[1.0] + [0.0] * 7], "strength": 0.5}},
    {"query": [1.0] * 8, "steer": {"toward": np.arange(8.0), "instead_of": [np.ones(8)]}},
    {"query": np.ones(8, dtype=np.float64)},
    {"query": [1.0] * 8, "k": 3},
    {"vector": np.ones(8, dtype=np.float32), "mode": "dense"},
    {"vector": array("f", [1.0] * 8), "recall": 1.0},
    {"query": "cedar", "vector": [1] * 8, "mode": "hybrid"},
    {"query": "text", "group_by": "kind", "groups": 3, "per_group": 2},
]


@pytest.mark.parametrize("asked", SEARCHES)
def test_hits_are_those_of_the_embedded_collection(pair, asked):
    _, remote, embedded = pair
    mine, theirs = remote.search(**asked), embedded.search(**asked)
    assert [dataclasses.asdict(hit) for hit in mine] == [dataclasses.asdict(hit) for hit in theirs]
    assert mine.plan.mode == theirs.plan.mode
    assert [(g.value, g.count, [h.id for h in g.hits]) for g in mine.groups] == [
        (g.value, g.count, [h.id for h in g.hits]) for g in theirs.groups
    ]
    assert {name: facet.values for name, facet in mine.facets.items()} == {
        name: facet.values for name, facet in theirs.facets.items()
    }
    assert mine.to_dict()["hits"] == json.loads(json.dumps(theirs.to_dict()["hits"]))


def test_several_spaces_and_shared_terms_come_through(tmp_path):
    rng = np.random.default_rng(3)
    rows = {"default": rng.standard_normal((12, 8)), "genre": rng.standard_normal((12, 3))}
    terms = [{i % 4: 1.0, 4 + i % 3: 0.5} for i in range(12)]

    def fill(books):
        books.add_space("default", dim=8)
        books.add_space("genre", dim=3, metric="cosine")
        books.add_space("words", kind="sparse", dim=8)
        books.upsert([f"r{i}" for i in range(12)], vectors={**rows, "words": terms})

    with (
        orthant.open(tmp_path / "embedded") as embedded,
        background({"books": tmp_path / "served"}) as url,
        connect(url, "books") as remote,
    ):
        fill(embedded)
        fill(remote)
        vectors = {name: one[2] for name, one in rows.items()}
        asked = {"spaces": {"default": 0.6, "genre": 0.4}, "k": 4, "exact": True}
        mine, theirs = (one.search(vector=vectors, **asked) for one in (remote, embedded))
        assert mine.ids == theirs.ids and mine.ids[0] == "r2"
        assert mine[0].legs["dense:genre"].weight == theirs[0].legs["dense:genre"].weight
        both = [one.search_many([None, None], vectors=[vectors, vectors], **asked) for one in (remote, embedded)]
        assert [one.ids for one in both[0]] == [one.ids for one in both[1]]
        mine, theirs = (one.search(sparse_vector=terms[1], mode="sparse", explain=True) for one in (remote, embedded))
        assert mine[0].explain() == theirs[0].explain() and mine[0].legs == {"sparse": LegScore(1.25, 1)}
        with pytest.raises(InputError, match="shared terms"):
            remote.search(vector=rows["default"][0])[0].explain()


def test_other_calls_answer_alike(pair):
    _, remote, embedded = pair
    assert list(remote.ids()) == list(embedded.ids())
    assert remote.find({"n": {"gte": 38}}, limit=1)[0].id == "r38"
    mine, theirs = remote.get("r3", vectors=True), embedded.get("r3", vectors=True)
    assert np.array_equal(np.asarray(mine.vectors["default"]), theirs.vectors["default"])
    assert (mine.text, mine.metadata) == (theirs.text, theirs.metadata)
    assert remote.similar("r3", k=4).ids == embedded.similar("r3", k=4).ids
    vector = np.ones(8, dtype=np.float32)
    assert remote.similar(vector, ["r1"], k=4).ids == embedded.similar(vector, ["r1"], k=4).ids
    matrix = np.eye(8, dtype=np.float32)[:3]
    assert [one.ids for one in remote.search_many(matrix)] == [one.ids for one in embedded.search_many(matrix)]
    assert (
        remote.why_not("heath", "r1", mode="lexical").sentence
        == embedded.why_not("heath", "r1", mode="lexical").sentence
    )
    assert remote.stats().records == embedded.stats().records == len(remote) == 40
    assert remote.spaces["default"].dim == 8
    assert "r3" in remote
    assert "none" not in remote


def test_errors_are_those_of_the_embedded_collection(pair):
    _, remote, embedded = pair
    for call, kind in (
        (lambda c: c.search("x", k=0), InputError),
        (lambda c: c.search([1.0, 2.0]), DimensionError),
        (lambda c: c.search("x", where={"n": {"oops": 1}}), FilterError),
        (lambda c: c.get("none"), NotFoundError),
        (lambda c: c.search_many("text"), InputError),
        (lambda c: c.delete(), InputError),
        (lambda c: c.restore("none"), NotFoundError),
    ):
        texts = []
        for collection in (remote, embedded):
            with pytest.raises(kind) as raised:
                call(collection)
            # Where the embedded one names its folder, the server names the collection.
            texts.append(str(raised.value).replace(str(embedded.path), "books"))
        assert texts[0].partition(";")[0] == texts[1].partition(";")[0]
    with pytest.raises(InputError):
        remote.upsert("abc")


def test_what_cannot_travel_is_refused(pair):
    _, remote, _ = pair
    with pytest.raises(InputError, match="reranker"):
        remote.search("x", rerank=object())
    with pytest.raises(InputError, match="encoder"):
        remote.add_space("s", encoder="static")
    with pytest.raises(InputError, match="JSON"):
        remote.upsert(["x"], metadata=[{"a": object()}])
    with pytest.raises(InputError):
        connect("http://user:secret@127.0.0.1", "books")


def test_records_come_and_go(pair):
    _, remote, _ = pair
    X = np.arange(16, dtype=np.float32).reshape(2, 8) + 1
    assert remote.upsert(["x", "y"], texts=("a", None), vectors=X, metadata=[{"m": np.int64(3)}, None]).records == 2
    assert remote.get("x").metadata == {"m": 3}
    report = remote.upsert_stream({"id": f"s{i}", "text": f"t {i}", "vector": X[i % 2]} for i in range(2500))
    assert (report.records, report.batches) == (2500, 3)
    with pytest.raises(InputError, match="1,000 records were stored before"):
        remote.upsert_stream([*({"id": f"s{i}"} for i in range(1200)), {"id": "bad", "oops": 1}])
    assert remote.delete(where={"m": 3}) == 1
    assert remote.delete([f"s{i}" for i in range(2500)] + ["y"]) == 2501
    assert remote.snapshot("one").records == 40
    assert remote.restore("one").records == 40
    assert [one.name for one in remote.snapshots()] == ["one"]
    assert remote.drop_snapshot("one") is None
    assert remote.check().ok


def test_awaited_calls_answer_alike(pair):
    pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    url, _, embedded = pair

    async def main():
        async with connect_async(url, "books") as books:
            found = await asyncio.gather(*(books.search(vector=[1.0, *[i] * 7], mode="dense") for i in range(20)))
            with pytest.raises(NotFoundError):
                await books.get("none")
            return [one.ids for one in found]

    expected = [embedded.search(vector=[1.0, *[i] * 7], mode="dense").ids for i in range(20)]
    assert asyncio.run(main()) == expected


def test_a_server_that_is_not_there(monkeypatch):
    with connect("http://127.0.0.1:9", "books", retries=0) as books, pytest.raises(EndpointError, match="no answer"):
        books.stats()
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with connect("http://127.0.0.1:9", "books", key_from_env="NO_SUCH_KEY") as books, pytest.raises(NotFoundError):
        books.stats()
    monkeypatch.setenv("ODD_KEY", "a\r\nX-Injected: 1")
    with connect("http://127.0.0.1:9", "books", key_from_env="ODD_KEY") as books, pytest.raises(InputError) as refused:
        books.stats()
    assert "Injected" not in str(refused.value)
