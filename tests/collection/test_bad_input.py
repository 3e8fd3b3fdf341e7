"""Every bad input gives one clear error and changes nothing (W56)."""

from __future__ import annotations

import gzip
import json
import warnings
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collection.fakes import DIM, FakeEncoder
from orthant.collection.collection import Collection
from orthant.errors import (
    DimensionError,
    DtypeError,
    EncoderMismatchError,
    FilterError,
    InputError,
    NonFiniteError,
    NotFoundError,
    OrthantError,
)

IDS = ["a", "b", "c", "d", "e"]
TEXTS = ["amber delta", "kelp fjord", "amber grove", "harbor inlet", "日本語 ñandú"]


def _made(path: Path) -> Collection:
    collection = Collection(path, encoder=FakeEncoder())
    if not len(collection):
        collection.add_space("own", dim=3, metric="cosine")
        collection.upsert(
            IDS,
            texts=TEXTS,
            metadata=[{"n": i, "tag": "x" if i % 2 else "y"} for i in range(5)],
            vectors={"own": np.eye(5, 3) + 0.1},
        )
    return collection


@pytest.fixture
def collection(tmp_path):
    with _made(tmp_path / "c") as collection:
        yield collection


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One collection for all refusals: none of them may change it."""
    with _made(tmp_path_factory.mktemp("shared") / "c") as collection:
        yield collection


def _state(collection: Collection) -> tuple:
    hits = [
        [(hit.id, hit.score) for hit in collection.search("amber", mode=mode)]
        for mode in ("dense", "lexical", "hybrid")
    ]
    return (
        len(collection),
        collection._store.refreshed().number,
        list(collection.ids()),
        hits,
        sorted(collection.spaces),
    )


def _refused(collection: Collection, kind: type[OrthantError], call: Any, *, parts: tuple[str, ...] = ()) -> str:
    """Require the error class, the three parts of its text, and an unchanged collection."""
    before = _state(collection)
    with pytest.raises(kind) as caught:
        call(collection)
    text = str(caught.value)
    assert type(caught.value) is kind
    given, _, rest = text.partition("; expected ")
    expected, _, remedy = rest.partition(". ")
    assert len(given.partition("Got ")[2]) > 1 and expected and remedy, text
    for part in parts:
        assert part in text, text
    assert _state(collection) == before
    return text


def _put(**settings: Any) -> Any:
    ids = settings.pop("ids", ["n"])
    return lambda collection: collection.upsert(ids, **settings)


def _own(X: Any, ids: list[str] | None = None) -> Any:
    return _put(ids=ids or ["n"], vectors={"own": X})


def _find(*query: Any, **settings: Any) -> Any:
    return lambda collection: collection.search(*query, **settings)


_NAN = float("nan")
WRITES = {
    "wrong dimension": (DimensionError, _own([[1, 2]]), ("2 columns", "expected 3")),
    "one axis": (DimensionError, _own(np.ones(3)), ()),
    "three axes": (DimensionError, _own(np.ones((1, 3, 1))), ()),
    "no axes": (DimensionError, _own(np.float32(3)), ()),
    "no columns": (DimensionError, _own(np.ones((1, 0))), ()),
    "ragged": (DtypeError, _own([[1, 2, 3], [1]], ["n", "m"]), ()),
    "NaN": (NonFiniteError, _own([[1, _NAN, 2]]), ("NaN", "row(s): 0")),
    "infinity": (NonFiniteError, _own([[1, float("inf"), 2]]), ()),
    "float64 beyond float32": (NonFiniteError, _own([[1, 1e300, 2]]), ()),
    "complex": (DtypeError, _own(np.ones((1, 3), dtype=complex)), ("complex",)),
    "strings as vectors": (DtypeError, _own([["a", "b", "c"]]), ()),
    "one string as vectors": (InputError, _own("abc"), ()),
    "number as vectors": (InputError, _own(7), ()),
    "objects": (DtypeError, _own([[{}, {}, {}]]), ()),
    "zero vector under cosine": (InputError, _own([[0, 0, 0]]), ("zero", "cosine")),
    "fewer vectors than ids": (DimensionError, _own([[1, 2, 3]], ["n", "m"]), ("1 vectors for 2 ids",)),
    "fewer vectors than ids, some None": (DimensionError, _own([None], ["n", "m"]), ()),
    "unknown space": (NotFoundError, _put(vectors={"nope": [[1.0]]}), ("'nope'", "own", "add_space")),
    "ids twice": (InputError, _put(ids=["n", "m", "n"]), ("'n' twice",)),
    "id as int": (InputError, _put(ids=["n", 3]), ("ids[1]=3", "str(3)")),
    "id None": (InputError, _put(ids=[None]), ()),
    "id empty": (InputError, _put(ids=[""]), ("0 characters",)),
    "id overlong": (InputError, _put(ids=["x" * 513]), ("512 bytes",)),
    "id overlong in bytes": (InputError, _put(ids=["é" * 257]), ("512 bytes",)),
    "id with a lone surrogate": (InputError, _put(ids=["a\ud800"]), ("ids[0]", "surrogate")),
    "ids as one str": (InputError, _put(ids="abc"), ("[id]",)),
    "ids as a number": (InputError, _put(ids=5), ()),
    "texts as one str": (InputError, _put(texts="abc"), ("[text]",)),
    "texts as a number": (InputError, _put(texts=5), ()),
    "text as bytes": (InputError, _put(texts=[b"abc"]), ("texts[0]", "bytes")),
    "fewer texts": (DimensionError, _put(ids=["n", "m"], texts=["x"]), ("1 texts for 2 ids",)),
    "text with a lone surrogate": (InputError, _put(texts=["a \udfff"]), ("texts[0]",)),
    "metadata as one dict": (InputError, _put(metadata={"a": 1}), ("one dict per id",)),
    "metadata as list of str": (InputError, _put(metadata=["x"]), ()),
    "fewer metadata": (DimensionError, _put(ids=["n", "m"], metadata=[{}]), ()),
    "metadata with a set": (InputError, _put(metadata=[{"a": {1, 2}}]), ("'n'",)),
    "metadata with NaN": (InputError, _put(metadata=[{"a": _NAN}]), ("'n'",)),
    "metadata with a key that is no str": (InputError, _put(metadata=[{1: 2}]), ("'n'",)),
    "metadata with a lone surrogate": (InputError, _put(metadata=[{"a": "\ud800"}]), ()),
    "too many fields": (InputError, _put(metadata=[{f"f{i}": i for i in range(1001)}]), ("1000 fields",)),
    "both of ids and where": (InputError, lambda c: c.delete(["a"], where={"n": 1}), ("exactly one",)),
    "neither of ids and where": (InputError, lambda c: c.delete(), ()),
    "delete one str": (InputError, lambda c: c.delete("abc"), ()),
    "delete by a bad filter": (FilterError, lambda c: c.delete(where={"n": {"near": 3}}), ("near",)),
    "space name": (InputError, lambda c: c.add_space("a/b", dim=2), ("'a/b'",)),
    "space taken": (InputError, lambda c: c.add_space("own", dim=2), ("'own'",)),
    "space without dimension": (InputError, lambda c: c.add_space("new"), ()),
    "space of dimension 0": (InputError, lambda c: c.add_space("new", dim=0), ("dim=0",)),
    "space of another metric": (InputError, lambda c: c.add_space("new", dim=2, metric="hamming"), ("'hamming'",)),
}
SEARCHES = {
    "nothing asked": (InputError, _find(), ()),
    "empty query": (InputError, _find("  "), ("empty query",)),
    "k of zero": (InputError, _find("amber", k=0), ("k=0",)),
    "negative k": (InputError, _find("amber", k=-3), ()),
    "k as float": (InputError, _find("amber", k=2.5), ()),
    "k as bool": (InputError, _find("amber", k=True), ()),
    "negative offset": (InputError, _find("amber", offset=-1), ()),
    "unknown mode": (InputError, _find("amber", mode="fuzzy"), ("'fuzzy'", "'hybrid'")),
    "unknown space": (NotFoundError, _find("amber", space="nope"), ("'nope'",)),
    "unknown space, lexical": (NotFoundError, _find("amber", space="nope", mode="lexical"), ()),
    "space that is no name": (InputError, _find("amber", space=["own"]), ()),
    "space without effect": (InputError, _find("amber", space="own", mode="lexical"), ("space='own'",)),
    "text for a space without encoder": (InputError, _find("amber", space="own"), ("'own'", "encoder")),
    "dimension of the query": (DimensionError, _find(vector=[1.0, 2.0]), ("2 columns", str(DIM))),
    "NaN in the query": (NonFiniteError, _find(vector=[_NAN] * DIM), ()),
    "zero query under cosine": (InputError, _find(vector=[0.0] * DIM), ("zero",)),
    "list of texts": (OrthantError, _find(["amber", "delta"]), ()),
    "lexical without a text": (InputError, _find(vector=[1.0] * DIM, mode="lexical"), ("'lexical'",)),
    "hybrid without a text": (InputError, _find(vector=[1.0] * DIM, mode="hybrid"), ()),
    "weights without effect": (InputError, _find("amber", mode="dense", weights={"dense": 1}), ("weights",)),
    "fusion without effect": (InputError, _find("amber", mode="lexical", fusion="rrf"), ("fusion",)),
    "depth without effect": (InputError, _find("amber", mode="dense", depth=10), ("depth",)),
    "syntax without effect": (InputError, _find("amber", mode="dense", syntax="plain"), ("syntax",)),
    "recall without effect": (InputError, _find("amber", mode="lexical", recall=0.9), ("recall",)),
    "threads without effect": (InputError, _find("amber", mode="lexical", threads=2), ("threads",)),
    "unknown leg": (InputError, _find("amber", weights={"colour": 1}), ("'dense'",)),
    "leg without a space": (InputError, _find("amber", weights={"sparse": 1}), ("without a sparse space",)),
    "tokens without a space": (InputError, _find("amber", weights={"tokens": 1}), ("no space of tokens",)),
    "negative weight": (InputError, _find("amber", weights={"dense": -1}), ()),
    "all weights zero": (InputError, _find("amber", weights={"dense": 0}), ()),
    "unknown fusion": (InputError, _find("amber", fusion="sum"), ("'rrf'",)),
    "recall above one": (InputError, _find("amber", recall=1.5), ("recall=1.5",)),
    "no threads": (InputError, _find("amber", threads=0), ()),
    "min_score NaN": (InputError, _find("amber", min_score=_NAN), ()),
    "where as list": (FilterError, _find("amber", where=[1]), ()),
    "unknown operator": (FilterError, _find("amber", where={"n": {"near": 3}}), ("near",)),
    "types that do not fit": (FilterError, _find("amber", where={"n": {"gt": "x"}}), ("'n'",)),
    "in without a list": (FilterError, _find("amber", where={"n": {"in": 3}}), ()),
    "get of an absent id": (NotFoundError, lambda c: c.get("zz"), ("'zz'",)),
    "get of a number": (InputError, lambda c: c.get([3]), ()),
    "get of a lone surrogate": (InputError, lambda c: c.get("\ud800"), ()),
    "query with a lone surrogate": (InputError, _find("a \ud800"), ("queries[0]", "surrogate")),
    "lexical query with a lone surrogate": (InputError, _find("a \ud800", mode="lexical"), ("surrogate",)),
    "offset beyond any list": (InputError, _find("amber", offset=10**30), ("at most",)),
    "empty fusion": (InputError, _find("amber", fusion=""), ("'rrf'",)),
    "empty syntax": (InputError, _find("amber", syntax=""), ("'plain'",)),
    "nothing as many": (InputError, lambda c: c.search_many(None), ("NoneType", "a list")),
    "export nowhere": (InputError, lambda c: c.export(""), ("path=''",)),
    "export to no path": (InputError, lambda c: c.export(None), ("NoneType",)),
    "import from nowhere": (InputError, lambda c: c.import_from(""), ("path=''",)),
    "import of nothing": (InputError, lambda c: c.import_foreign(""), ("source=''",)),
    "add from nowhere": (InputError, lambda c: c.add(""), ("source=''",)),
    "a matrix as the query": (InputError, _find(np.ones((1, DIM))), ("(1, 8)".replace("8", str(DIM)), "X[0]")),
    "a matrix as the query, dense": (InputError, _find([[1.0] * DIM], mode="dense"), ("(dim,)",)),
    "a name beyond any file system": (InputError, lambda c: c.export("x" * 300), ("path=",)),
    "half a character as a path": (InputError, lambda c: c.add_vectors("\ud800"), ("path=",)),
    "judgements as a number": (InputError, lambda c: c.duplicates(labelled=5), ("labelled", "int")),
    "pairs with a number of ids": (InputError, lambda c: c.adapt({"amber": 1}), ("int", "amber")),
    "a list among facets": (InputError, _find("amber", facets=[["tag"]]), ("facets",)),
    "clusters of a list": (NotFoundError, lambda c: c.clusters(2, space=["own"]), ("own",)),
    "diagnosis of a list": (InputError, lambda c: c.diagnose(space=["own"]), ("own",)),
    "one query as many": (InputError, lambda c: c.search_many("amber"), ()),
    "texts and vectors mixed": (InputError, lambda c: c.search_many(["amber", [1.0] * DIM]), ()),
    "vectors twice": (InputError, lambda c: c.search_many([[1.0] * DIM], vectors=[[1.0] * DIM]), ()),
    "fewer vectors than queries": (InputError, lambda c: c.search_many(["a", "b"], vectors=[[1.0] * DIM]), ()),
    "export onto something": (InputError, lambda c: c.export(c.path), ("exists",)),
    "export format": (InputError, lambda c: c.export(c.path / "x", format="xml"), ("'xml'",)),
}


@pytest.mark.parametrize("name", WRITES)
def test_w56_refused_writes(shared, name):
    kind, call, parts = WRITES[name]
    _refused(shared, kind, call, parts=parts)


@pytest.mark.parametrize("name", SEARCHES)
def test_w56_refused_searches(shared, name):
    kind, call, parts = SEARCHES[name]
    if kind is OrthantError:
        with pytest.raises(OrthantError):
            call(shared)
        return
    _refused(shared, kind, call, parts=parts)


@pytest.mark.parametrize("name", ["ids twice", "id empty", "text as bytes", "metadata with NaN", "one axis", "NaN"])
def test_refused_first_write_leaves_a_new_collection_empty(tmp_path, name):
    kind, call, _ = WRITES[name]
    for encoder in (FakeEncoder(), None):
        with Collection(tmp_path / str(encoder is None), encoder=encoder) as collection:
            if name in ("one axis", "NaN"):
                X = np.ones(3) if name == "one axis" else [[_NAN] * DIM]
                with pytest.raises(kind):
                    collection.upsert(["n"], vectors=X)
            else:
                with pytest.raises(kind):
                    call(collection)
            assert (len(collection), collection._store.generation.number, collection.spaces) == (0, 0, {})


def test_empty_calls_do_nothing(collection):
    before = _state(collection)
    assert collection.upsert([]).records == 0
    assert collection.upsert([], texts=[], metadata=[], vectors={"own": np.zeros((0, 3))}).records == 0
    assert collection.delete([]) == 0
    assert collection.delete(["absent"]) == 0
    assert collection.get([]) == [] and collection.search_many([]) == []
    assert collection.delete(where={"n": {"gt": 100}}) == 0
    assert _state(collection) == before


def test_w30_other_layouts_and_dtypes_are_converted(collection):
    X = np.random.default_rng(0).standard_normal((4, 3))
    layouts = {
        "float64": X,
        "fortran": np.asfortranarray(X.astype(np.float32)),
        "strided": np.repeat(X.astype(np.float32), 2, axis=0)[::2],
        "reversed": X[::-1].astype(np.float32)[::-1],
        "float16": X.astype(np.float16),
        "list": X.tolist(),
        "big-endian": X.astype(">f8"),
        "rows and None": [*X[:3], None],
    }
    for name, given in layouts.items():
        ids = [f"{name}{i}" for i in range(4)]
        collection.upsert(ids, vectors={"own": given})
        for i, record in enumerate(collection.get(ids, vectors=True)):
            if name == "rows and None" and i == 3:
                assert "own" not in record.vectors
            else:
                wanted = np.asarray(given[i], dtype=np.float64).astype(np.float32)
                np.testing.assert_array_equal(record.vectors["own"], wanted)
    collection.upsert(["int"], vectors={"own": np.array([[1, 2, 3]])})
    assert collection.search(vector=[1, 2, 3], space="own", k=1).ids == ["int"]


def test_w01_fewer_hits_than_k_never_raise(collection):
    for mode in ("dense", "lexical", "hybrid"):
        for k in (1, 5, 6, 1000, 10**12):
            hits = collection.search("amber", mode=mode, k=k)
            assert len(hits) == min(k, 2 if mode == "lexical" else 5)
        assert collection.search("amber", mode=mode, where={"n": {"gt": 99}}).ids == []
        assert collection.search("amber", mode=mode, offset=99).ids == []
        assert collection.search("amber", mode=mode, min_score=1e20).ids == []
    assert collection.search("zzz", mode="lexical").ids == []
    warned = collection.search("amber", where={"nn": 3})
    assert warned.ids == [] and "nn" in warned.plan.warnings[0]


def test_w60_any_text_is_an_id(collection):
    ids = ["日本", "😀", "a b", 'q"\\', "é" * 256, "x" * 512, "a\0b", "a", "%", "' OR 1=1 --", "\n", "\u202e"]
    collection.upsert(ids, texts=[f"t{i} 日本語 😀" for i in range(len(ids))], vectors={"own": np.eye(12, 3) + 1})
    assert [record.id for record in collection.get(ids)] == ids
    assert [record.text for record in collection.get(ids)] == [f"t{i} 日本語 😀" for i in range(len(ids))]
    assert collection.delete(["a\0b"]) == 1
    assert collection.get("a").text == "t7 日本語 😀"
    assert "a\0b" not in collection
    assert collection.delete(ids) == len(ids) - 1


def test_malformed_source_lines_are_named_and_nothing_is_written(collection, tmp_path):
    good = [json.dumps({"_id": f"j{i}", "text": f"amber {i}", "n": i}) for i in range(6000)]
    bad = {
        "broken": ('{"_id": "x", "text": ', "5001"),
        "no id": ('{"text": "x"}', "5001"),
        "id twice": (good[0], "5001"),
        "no object": ("[1, 2]", "5001"),
        "text as number": ('{"_id": "x", "text": 3}', "5001"),
        "NaN": ('{"_id": "x", "text": "y", "n": NaN}', "5001"),
        "overlong id": (json.dumps({"_id": "x" * 600, "text": "y"}), "5001"),
        "lone surrogate": ('{"_id": "x", "text": "\\ud800"}', "5001"),
    }
    for name, (line, number) in bad.items():
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join([*good[:5000], line, *good[5000:]]))
        text = _refused(collection, InputError, lambda c, path=path: c.add(path))
        assert "rows.jsonl" in text and number in text, (name, text)
    path = tmp_path / "latin.jsonl"
    path.write_bytes(good[0].encode() + b"\n" + '{"_id": "é"}'.encode("latin-1"))
    assert "2" in _refused(collection, InputError, lambda c: c.add(path))
    with pytest.raises(OrthantError, match=r"absent\.jsonl"):
        collection.add(tmp_path / "absent.jsonl")
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(good).encode())[:-20])
    with pytest.raises(OrthantError, match=r"cut\.jsonl\.gz"):
        collection.add(path)
    with pytest.raises(InputError):
        collection.add([{"_id": "x", "text": "y"}, {"_id": "y", "text": 5}])
    assert len(collection) == 5


def test_w35_another_encoder_is_refused_with_three_ways_out(collection, tmp_path):
    collection.close()
    for other in (FakeEncoder(seed=1), FakeEncoder(dim=8)):
        with pytest.raises(EncoderMismatchError) as caught:
            Collection(tmp_path / "c", encoder=other)
        text = str(caught.value)
        assert other.fingerprint in text and FakeEncoder().fingerprint in text
        assert "Three ways out" in text and text.count(";") >= 3 and "upgrade(encoder)" in text
    with Collection(tmp_path / "c") as without:
        assert without.search("amber", mode="lexical").ids
        with pytest.raises(InputError, match=r"no encoder at hand.*fake:16:0"):
            without.search("amber", mode="dense")
        with pytest.raises(InputError, match=r"encoder fake:16:0 is not at hand.*None"):
            without.upsert(["n"], texts=["amber"])
        without.upsert(["n"], texts=["amber"], vectors={"default": [None]})
        assert "n" in without.search("amber", mode="lexical").ids


def test_w36_changed_canaries_raise_or_warn(collection, tmp_path):
    collection.close()
    changed = FakeEncoder(seed=2, fingerprint=FakeEncoder().fingerprint)
    with pytest.raises(EncoderMismatchError, match=r"smallest cosine -?0\.\d+.*expected at least 0\.999"):
        Collection(tmp_path / "c", encoder=changed)
    with pytest.warns(UserWarning, match="weights behind the name changed"):
        Collection(tmp_path / "c", encoder=changed, canaries="warn").close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Collection(tmp_path / "c", encoder=FakeEncoder()).close()


def test_opening_what_is_no_collection(tmp_path):
    with pytest.raises(NotFoundError, match="no collection at"):
        Collection(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="which is a file"):
        Collection(tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        Collection(tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="'hamming'"):
        Collection(tmp_path / "new", metric="hamming")
    with pytest.raises(InputError):
        Collection(tmp_path / "new", canaries="ignore")
    assert not (tmp_path / "new").exists()


def test_w39_a_metric_that_differs_from_the_stored_one(collection, tmp_path):
    collection.close()
    with pytest.raises(InputError, match="metric='l2' for a space made with 'cosine'"):
        Collection(tmp_path / "c", metric="l2")
    Collection(tmp_path / "c", metric="cosine").close()


def test_w39_a_space_keeps_its_definition_whatever_is_written_or_left_out(collection, tmp_path):
    kept = collection.spaces
    collection.upsert(["m"], texts=["amber"], metadata=[{"metric": "l2", "encoder": "other", "dim": 3}])
    assert collection.spaces == kept
    with pytest.raises(FrozenInstanceError):
        kept["default"].metric = "l2"
    collection.close()
    for settings in ({}, {"encoder": FakeEncoder()}):
        with Collection(tmp_path / "c", **settings) as opened:
            assert opened.spaces == kept
            told = opened.stats().spaces["default"]
            assert (told["dim"], told["metric"], told["fingerprint"]) == (DIM, "cosine", FakeEncoder().fingerprint)
            with pytest.raises(DimensionError):
                opened.upsert(["n"], vectors={"own": [[1.0, 2.0]]})
            with pytest.raises(InputError, match="which exists"):
                opened.add_space("own", dim=4)
            assert opened.spaces == kept


def test_w64_texts_are_never_given_an_encoder_nobody_chose(tmp_path):
    with Collection(tmp_path / "c") as collection:
        report = collection.upsert(["a", "b"], texts=["amber fjord", "kelp"])
        assert (report.vectors, collection.spaces) == ({}, {})
        # By words they are found; by meaning is refused, with the ways to pick an encoder.
        assert collection.search("kelp").plan.mode == "lexical"
        for mode in ("dense", "hybrid"):
            with pytest.raises(InputError, match=r"no encoder at hand.*encoder='static' \(or another\)"):
                collection.search("kelp", mode=mode)


class _Broken(FakeEncoder):
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def encode_with_report(self, items: Any, **settings: Any) -> Any:
        X, report = super().encode_with_report(items)
        return (self.result(X), report) if self.result and len(items) != 6 else (X, report)


@pytest.mark.parametrize(
    ("result", "kind"),
    [(lambda X: X[:, :3], DimensionError), (lambda X: X * _NAN, NonFiniteError), (lambda X: X[:0], DimensionError)],
)
def test_a_broken_encoder_changes_nothing(tmp_path, result, kind):
    with Collection(tmp_path / "c", encoder=_Broken(result)) as collection:
        with pytest.raises(kind, match="encoder"):
            collection.upsert(["a"], texts=["amber"])
        assert len(collection) == 0 and collection.spaces == {}
