"""What a collection promises: every mode and metric, replacing, paging, export, maintenance, threads, any history."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import orthant
from collection.fake_graph import FakeGraph
from collection.fakes import DIM, WORDS, FakeEncoder, naive_scores, text_of
from orthant.collection.collection import Collection
from orthant.collection.storage import graphs, maintenance, merging, segments, store
from orthant.collection.storage.segments import SegmentFolder
from orthant.errors import EncoderMismatchError, InputError, NotFoundError

ENCODER = FakeEncoder()


@pytest.fixture
def filled(tmp_path):
    """200 records with texts, metadata and vectors of an encoder."""
    rng = np.random.default_rng(1)
    with Collection(tmp_path / "c", encoder=ENCODER) as collection:
        ids = [f"r{i}" for i in range(200)]
        collection.upsert(
            ids,
            texts=[text_of(rng) for _ in ids],
            metadata=[{"n": i, "parity": "odd" if i % 2 else "even", "deep": {"third": i % 3}} for i in range(200)],
        )
        yield collection


def _texts(collection: Collection) -> dict[str, str]:
    ids = list(collection.ids())
    return {record.id: record.text for record in collection.get(ids)}


def test_upsert_get_and_replace(tmp_path):
    with Collection(tmp_path / "c", encoder=ENCODER) as collection:
        report = collection.upsert(["a", "b"], texts=["amber", None], metadata=[{"x": [1, {"y": None}]}, None])
        assert (report.records, report.replaced, report.vectors, report.without_vector) == (
            2,
            0,
            {"default": 1},
            {"default": 1},
        )
        record = collection.get("a", vectors=True)
        assert (record.id, record.text, record.metadata) == ("a", "amber", {"x": [1, {"y": None}]})
        np.testing.assert_array_equal(record.vectors["default"], ENCODER.encode(["amber"])[0])
        assert collection.get("b", vectors=True).vectors == {} and collection.get("b").text is None
        # Replaced whole: neither text, metadata nor vector of the former record is left.
        assert collection.upsert(["a"], metadata=[{"z": 1}]).replaced == 1
        record = collection.get("a", vectors=True)
        assert (record.text, record.metadata, record.vectors) == (None, {"z": 1}, {})
        assert (
            collection.search("amber", mode="lexical").ids == [] and collection.search("amber", mode="dense").ids == []
        )
        assert "a" in collection and "zz" not in collection and 3 not in collection and "" not in collection
        assert collection.get(["zz", "a", "a"])[0] is None and len(collection) == 2
        with pytest.raises(NotFoundError):
            collection.get("zz")
        assert collection.delete(["a", "zz", "a"]) == 1 and len(collection) == 1


def test_search_sees_writes_at_once(filled):
    filled.upsert(["new"], texts=["orchid unheard"])
    for mode in ("dense", "lexical", "hybrid"):
        assert filled.search("orchid unheard", mode=mode, k=1).ids == ["new"]
    filled.delete(["new"])
    for mode in ("dense", "lexical", "hybrid"):
        assert "new" not in filled.search("orchid unheard", mode=mode, k=300).ids


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_dense_search_is_exact_in_every_metric(tmp_path, metric):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 7)) * rng.uniform(0.1, 10, size=(300, 1))
    with Collection(tmp_path / "c", metric=metric) as collection:
        ids = [f"r{i}" for i in range(300)]
        for part in np.array_split(np.arange(300), 4):
            collection.upsert([ids[i] for i in part], vectors=X[part], metadata=[{"n": int(i)} for i in part])
        collection.delete([f"r{i}" for i in range(50, 90)])
        kept = np.array([i for i in range(300) if not 50 <= i < 90])
        for q in rng.standard_normal((5, 7)):
            scores = naive_scores(q, X[kept].astype(np.float32), metric)
            best = kept[np.argsort(-scores, kind="stable")[:10]]
            hits = collection.search(vector=q, k=10)
            assert hits.ids == [f"r{i}" for i in best] and hits.plan.mode == "dense"
            np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:10], rtol=1e-5)
            inside = kept[kept < 120]
            scores = naive_scores(q, X[inside].astype(np.float32), metric)
            hits = collection.search(vector=q, k=5, where={"n": {"lt": 120}})
            assert hits.ids == [f"r{i}" for i in inside[np.argsort(-scores, kind="stable")[:5]]]
            assert hits.plan.allowed == len(inside)


def test_w06_w07_filters_come_first_in_every_mode(filled):
    texts = _texts(filled)
    for mode in ("dense", "lexical", "hybrid"):
        hits = filled.search("amber lagoon", mode=mode, k=100, where={"parity": "odd", "deep.third": 1})
        wanted = {f"r{i}" for i in range(200) if i % 2 and i % 3 == 1}
        if mode == "lexical":
            wanted = {key for key in wanted if {"amber", "lagoon"} & set(texts[key].split())}
        assert set(hits.ids) == wanted, mode
        assert all(hit.metadata["parity"] == "odd" for hit in hits)
        assert hits.plan.allowed == 34


def test_w79_pages_are_stable_and_never_overlap(filled):
    for options in ({"mode": "dense"}, {"mode": "lexical"}, {"mode": "hybrid"}, {"mode": "hybrid", "fusion": "rrf"}):
        whole = filled.search("amber lagoon", k=60, **options)
        pages = [filled.search("amber lagoon", k=7, offset=begin, **options) for begin in range(0, 60, 7)]
        joined = [hit for page in pages for hit in page][:60]
        assert [hit.id for hit in joined] == whole.ids
        assert [hit.rank for hit in joined] == list(range(1, len(whole) + 1))
        assert len(set(whole.ids)) == len(whole)


def test_w80_fused_scores_are_in_unit_range_with_legs(filled):
    dense = {hit.id: hit.score for hit in filled.search("amber lagoon", mode="dense", k=200)}
    lexical = {hit.id: hit.score for hit in filled.search("amber lagoon", mode="lexical", k=200)}
    for fusion in ("minmax", "rrf"):
        hits = filled.search("amber lagoon", k=50, fusion=fusion, weights={"dense": 1, "lexical": 3})
        assert all(0 <= hit.score <= 1 for hit in hits)
        for hit in hits:
            assert hit.legs["dense"].score == pytest.approx(dense[hit.id], abs=1e-6)
            assert hit.legs["lexical"].score == pytest.approx(lexical.get(hit.id, 0.0), rel=1e-5)
            assert hit.score == pytest.approx(
                0.25 * hit.legs["dense"].normalized + 0.75 * hit.legs["lexical"].normalized, abs=1e-6
            )
    cut = filled.search("amber lagoon", k=50, min_score=0.5)
    every = filled.search("amber lagoon", k=50)
    assert cut.ids == [hit.id for hit in every if hit.score >= 0.5] and 0 < len(cut) < 50


def test_w80_raw_scores_cannot_be_summed(filled):
    with pytest.raises(InputError, match="expected one of 'minmax', 'rrf'"):
        filled.search("amber", mode="hybrid", fusion="sum")


def test_operators_bind_every_leg(filled):
    texts = _texts(filled)
    for query, fits in {
        "amber -cedar": lambda words: "cedar" not in words,
        "+amber lagoon": lambda words: "amber" in words,
    }.items():
        hits = filled.search(query, k=100, mode="hybrid")
        assert len(hits) and all(fits(texts[key].split()) for key in hits.ids)
    hits = filled.search("amber", k=1, explain=True, mode="lexical")
    assert hits[0].matched == ("amber",)


def test_w34_several_spaces_with_several_encoders(tmp_path):
    other = FakeEncoder(dim=8, seed=3)
    with Collection(tmp_path / "c", encoder=ENCODER, metric="dot") as collection:
        collection.upsert(["early"], texts=["amber"])
        collection.add_space("small", encoder=other, metric="l2")
        collection.add_space("own", dim=2)
        report = collection.upsert(["a", "b"], texts=["amber fjord", "kelp"], vectors={"own": [[1, 0], None]})
        assert report.vectors == {"default": 2, "small": 2, "own": 1}
        record = collection.get("a", vectors=True)
        assert {name: x.shape for name, x in record.vectors.items()} == {"default": (16,), "small": (8,), "own": (2,)}
        assert collection.search("amber fjord", space="small", mode="dense").ids == ["a", "b"]
        assert collection.search(vector=[1, 1], space="own").ids == ["a"]
        assert {name: (s.dim, s.metric) for name, s in collection.spaces.items()} == {
            "default": (16, "dot"),
            "own": (2, "cosine"),
            "small": (8, "l2"),
        }
        stats = collection.stats()
        assert stats.records == 3 and stats.spaces["small"]["without_vector"] == 1
    with Collection(tmp_path / "c", encoder=ENCODER) as collection:
        assert collection.search(vector=other.encode(["kelp"])[0], space="small", k=1).ids == ["b"]
        assert collection.check().ok


def test_vectors_only_and_text_only(tmp_path):
    with Collection(tmp_path / "v") as collection:
        collection.upsert(["a", "b"], vectors=np.eye(2))
        assert collection.search([1.0, 0.1]).ids == ["a", "b"]
        assert collection.check().notes
    with Collection(tmp_path / "t") as collection:
        collection.upsert(["a", "b"], texts=["amber fjord", "kelp"])
        assert collection.spaces == {} and collection.search("fjord").ids == ["a"]
        assert collection.search("fjord").plan.mode == "lexical"
    with Collection(tmp_path / "t", read_only=True) as collection:
        assert collection.search("kelp").ids == ["b"] and collection.check().ok


def test_texts_without_a_known_word(tmp_path):
    with Collection(tmp_path / "c", encoder=ENCODER) as collection:
        report = collection.upsert(["a", "b", "c"], texts=["!!!", "amber", ""])
        assert report.vectors == {"default": 1}
        assert collection.search("amber", mode="dense", k=5).ids == ["b"]
        hits = collection.search("???", mode="dense")
        assert hits.ids == [] and "no token" in hits.plan.warnings[0]


@pytest.mark.parametrize("format", ["folder", "parquet"])
def test_export_and_import_round_trip(filled, tmp_path, format):
    filled.add_space("own", dim=2, metric="l2")
    filled.upsert(["v", "w"], vectors={"own": [[1, 2], None], "default": [None, None]}, metadata=[{"é": [1]}, None])
    if format == "parquet":
        pytest.importorskip("pyarrow")
    target = tmp_path / ("out.parquet" if format == "parquet" else "out")
    assert filled.export(target).records == 202
    ids = list(filled.ids())
    truth = filled.get(ids, vectors=True)
    with Collection(tmp_path / "copy", encoder=ENCODER) as copy:
        assert copy.import_from(target).records == 202
        assert copy.spaces["own"].metric == "l2"
        for one, two in zip(truth, copy.get(ids, vectors=True), strict=True):
            assert (one.id, one.text, one.metadata) == (two.id, two.text, two.metadata)
            assert one.vectors.keys() == two.vectors.keys()
            for name in one.vectors:
                np.testing.assert_array_equal(one.vectors[name], two.vectors[name])
        assert copy.search("amber lagoon", k=20).ids == filled.search("amber lagoon", k=20).ids
    with Collection(tmp_path / "other", encoder=FakeEncoder(seed=9)) as other:
        with pytest.raises(EncoderMismatchError):
            other.import_from(target)
        assert len(other) == 0


def _total(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_w10_add_and_delete_rounds_keep_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 128)
    rng = np.random.default_rng(0)
    path = tmp_path / "c"
    with Collection(path) as collection:
        for i in range(50):
            ids = [f"r{i}-{j}" for j in range(100)]
            texts = [text_of(rng, 30) for _ in ids]
            collection.upsert(ids, texts=texts, vectors=rng.standard_normal((100, 64)))
            if i >= 10:
                collection.delete([f"r{i - 10}-{j}" for j in range(100)])
        assert len(collection) == 1000
        vectors = sum(file.stat().st_size for file in (path / "vectors").rglob("*.seg"))
        assert vectors < 1.3 * 1000 * 256 + 3 * 4096
        left = {record.id: record for record in collection.get(list(collection.ids()), vectors=True)}
    with Collection(tmp_path / "fresh") as fresh:
        fresh.upsert(
            list(left),
            texts=[record.text for record in left.values()],
            vectors=np.stack([record.vectors["default"] for record in left.values()]),
        )
    assert _total(path) < 1.3 * _total(tmp_path / "fresh")


def test_compaction_across_segments_keeps_rows_in_order(tmp_path, monkeypatch):
    """Segments are looked up by bisection: a rewrite of several must merge their rows, not append them."""
    monkeypatch.setattr(segments, "_MAX_SEGMENT_BYTES", 40 * 12)
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 8)
    monkeypatch.setattr(maintenance, "_PART", 16)
    rng = np.random.default_rng(2)
    held: dict[str, np.ndarray] = {}
    with Collection(tmp_path / "c", metric="l2") as collection:
        for i in range(40):
            ids = [f"r{j}" for j in rng.choice(300, size=12, replace=False)]
            X = rng.standard_normal((12, 3)).astype(np.float32)
            collection.upsert(ids, vectors=X)
            held |= dict(zip(ids, X, strict=True))
            gone = [key for key in held if rng.random() < 0.04]
            collection.delete(gone)
            held = {key: x for key, x in held.items() if key not in gone}
            if i % 4 == 3:
                records = collection.get(list(held), vectors=True)
                for record in records:
                    np.testing.assert_array_equal(record.vectors["default"], held[record.id])
                key = next(iter(held))
                assert collection.search(vector=held[key], k=1).ids == [key]
                for view in collection._store.generation.spaces["default"].segments:
                    assert (np.diff(view.rows) > 0).all()
        assert len(collection._store.generation.spaces["default"].segments) > 1
        assert collection.check().ok
    with Collection(tmp_path / "c", metric="l2", read_only=True) as collection:
        for record in collection.get(list(held), vectors=True):
            np.testing.assert_array_equal(record.vectors["default"], held[record.id])


def test_readers_follow_compactions_and_saves(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 8)
    monkeypatch.setattr(maintenance, "_TAIL_RECORDS", 10)
    monkeypatch.setattr(maintenance, "_TAIL_SHARE", 0.0)
    rng = np.random.default_rng(4)
    model: dict[str, str] = {}
    with Collection(tmp_path / "c", encoder=ENCODER) as writer:
        writer.upsert(["first"], texts=["amber"])
        model["first"] = "amber"
        reader = Collection(tmp_path / "c", encoder=ENCODER, read_only=True)
        sleeper = Collection(tmp_path / "c", encoder=ENCODER, read_only=True)
        for i in range(40):
            ids = [f"r{j}" for j in rng.choice(30, size=4, replace=False)]
            texts = [text_of(rng) for _ in ids]
            writer.upsert(ids, texts=texts)
            model |= dict(zip(ids, texts, strict=True))
            writer.delete([ids[0]])
            model.pop(ids[0])
            assert _texts(reader) == model
            word = WORDS[i % len(WORDS)]
            wanted = {key for key, text in model.items() if word in text.split()}
            assert set(reader.search(word, mode="lexical", k=50).ids) == wanted
        # One that looked away meanwhile finds its generation purged and starts from the derived files.
        assert _texts(sleeper) == model
        assert sleeper.search("amber lagoon", k=9).ids == writer.search("amber lagoon", k=9).ids
        reader.close()
        sleeper.close()


def test_reopening_with_derived_files_and_a_tail(tmp_path):
    rng = np.random.default_rng(6)
    path = tmp_path / "c"
    ids = [f"r{i}" for i in range(20_000)]
    words = np.array(WORDS)
    texts = [" ".join(row) for row in words[rng.integers(len(words), size=(20_000, 4))]]
    with Collection(path) as collection:
        collection.upsert(ids, texts=texts, metadata=[{"n": i % 97} for i in range(20_000)])
    with Collection(path) as collection:
        assert collection._store.saved[0] == collection._store.generation.number
        collection.delete([f"r{i}" for i in range(0, 3000, 3)])
        collection.upsert([f"r{i}" for i in range(5, 900, 7)], texts=["tail amber"] * 128, metadata=[{"n": 200}] * 128)
        queries = ("amber lagoon", "tail", '"amber basin"', "pebb*")
        asked = [collection.search_many(queries, mode="lexical", k=50, where=w) for w in (None, {"n": {"gt": 40}})]
        truth = [[(hit.id, hit.score) for hit in hits] for part in asked for hits in part]
        assert collection._store.saved[0] < collection._store.generation.number
        reader = Collection(path, read_only=True)
        assert reader._store.saved[0] == collection._store.saved[0]
        for other in (reader, collection):
            if other is collection:
                collection._store.rebuild()
            asked = [other.search_many(queries, mode="lexical", k=50, where=w) for w in (None, {"n": {"gt": 40}})]
            assert [[(hit.id, hit.score) for hit in hits] for part in asked for hits in part] == truth
        reader.close()


def test_stats_and_describe(filled):
    stats = filled.stats().to_dict()
    assert stats["records"] == 200 and stats["spaces"]["default"]["vectors"] == 200
    assert stats["spaces"]["default"]["fingerprint"] == ENCODER.fingerprint
    assert set(stats["fields"]) >= {"n", "parity", "deep.third"}
    assert "records=200" in repr(filled) and "default: 16 cosine" in repr(filled)
    report = filled.check()
    assert (report.ok, report.records, report.vectors, report.problems) == (True, 200, 200, [])


def test_w14_upkeep_runs_by_itself_and_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 64)
    # After a failure it pauses for some commits; here for one.
    monkeypatch.setattr(store, "_UPKEEP_PAUSE", 1)
    with Collection(tmp_path / "c") as collection:
        collection.upsert([f"r{i}" for i in range(200)], vectors=np.eye(200, 8) + 1)
        collection.snapshot("before")
        collection.delete([f"r{i}" for i in range(30)])
        stats = collection.stats()
        told = stats.spaces["default"]
        assert (told["vectors"], told["dead_slots"], told["dead_share"], told["segments"]) == (170, 30, 0.15, 1)
        assert told["bytes"] > 0 and stats.bytes["total"] >= stats.bytes["vectors"] > 0

        def full(*arguments, **settings):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            # A compaction that cannot be done loses no write, and old snapshots can be given up without it.
            patch.setattr(segments.SegmentFolder, "append", full)
            collection.delete([f"r{i}" for i in range(30, 60)])
            assert len(collection) == 140 and collection.stats().spaces["default"]["dead_slots"] == 60
            assert any("full disk" in line for line in collection.stats().repairs)
            collection.drop_snapshot("before")
            assert collection.snapshots() == []
        collection.delete(["r60"])
        assert collection.stats().spaces["default"]["dead_slots"] == 0
        assert collection.check().ok


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="private memory is read from /proc")
def test_w23_an_open_collection_is_mapped_not_held(tmp_path):
    """What is not used is the system's to take back: nothing has to be loaded or unloaded, and no search can fail."""
    rng = np.random.default_rng(0)
    with Collection(tmp_path / "c", metric="l2") as collection:
        X = rng.standard_normal((10_000, 512)).astype(np.float32)
        collection.upsert([f"r{i}" for i in range(len(X))], vectors=X)
    code = (
        "import sys, numpy as np, re, orthant\n"
        "held = lambda: int(re.search(r'RssAnon:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"
        "def ask(path):\n"
        "    opened = orthant.open(path, read_only=True)\n"
        "    assert opened.search(vector=np.ones(512), k=1).ids\n"
        "    return opened\n"
        "first = ask(sys.argv[1]); before = held()\n"
        "others = [ask(sys.argv[1]) for _ in range(6)]\n"
        "assert first.search(vector=np.ones(512), k=1).ids\n"
        "print(held() - before)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(orthant.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(tmp_path / "c")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert int(done.stdout) < 0.5 * 6 * X.nbytes


def test_w31_w53_threads_write_and_search_together(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 32)
    monkeypatch.setattr(maintenance, "_TAIL_RECORDS", 40)
    monkeypatch.setattr(maintenance, "_TAIL_SHARE", 0.0)
    errors: list[BaseException] = []
    done = threading.Event()

    def guarded(work):
        def run() -> None:
            try:
                work()
            except (Exception, AssertionError) as error:  # noqa: BLE001 - shown by the main thread
                errors.append(error)
                done.set()

        return threading.Thread(target=run)

    with Collection(tmp_path / "c", encoder=ENCODER) as collection:
        collection.upsert([f"s{i}" for i in range(40)], texts=[f"amber stays s{i}" for i in range(40)])

        def write(name: str) -> None:
            rng = np.random.default_rng(ord(name))
            for i in range(25):
                ids = [f"{name}{j}" for j in rng.choice(20, size=5, replace=False)]
                # Both records of a call carry one stamp: a search must never see half of the call.
                collection.upsert(ids, texts=[f"basin {name} {i}"] * 5, metadata=[{"by": name, "i": i}] * 5)
                if i % 3 == 0:
                    collection.delete(ids[:2])

        def read() -> None:
            while not done.is_set():
                assert len(collection.search("stays", mode="lexical", k=50)) == 40
                hits = collection.search("amber stays", mode="hybrid", k=20)
                assert len(set(hits.ids)) == 20 and all(hit.id.startswith("s") for hit in hits[:5])
                hits = collection.search("basin", mode="dense", k=30, where={"by": "a"})
                assert all(hit.metadata["by"] == "a" and hit.text.startswith("basin a") for hit in hits)
                record = collection.get("s7", vectors=True)
                np.testing.assert_array_equal(record.vectors["default"], ENCODER.encode([record.text])[0])

        writers = [guarded(lambda name=name: write(name)) for name in "ab"]
        readers = [guarded(read) for _ in range(8)]
        for thread in [*readers, *writers]:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert not errors, errors[0]
        assert collection.check().ok
        for record in collection.get(list(collection.ids()), vectors=True):
            np.testing.assert_array_equal(record.vectors["default"], ENCODER.encode([record.text])[0])


class History(RuleBasedStateMachine):
    """Random upserts, deletions, searches and reopenings against a dict and naive search (W13)."""

    ids = st.lists(st.sampled_from([f"r{i}" for i in range(12)]), min_size=1, max_size=5, unique=True)

    @initialize()
    def start(self) -> None:
        import tempfile

        root = Path("/dev/shm")
        self.folder = tempfile.TemporaryDirectory(dir=root if root.is_dir() else None)
        self.path = Path(self.folder.name) / "c"
        self.model: dict[str, tuple[str | None, dict]] = {}
        self.collection = Collection(self.path, encoder=ENCODER)

    @rule(ids=ids, seed=st.integers(0, 1000), bare=st.booleans())
    def upsert(self, ids: list[str], seed: int, bare: bool) -> None:
        rng = np.random.default_rng(seed)
        texts = [None if bare and i == 0 else text_of(rng, 3) for i in range(len(ids))]
        metadata = [{"n": int(rng.integers(4))} for _ in ids]
        report = self.collection.upsert(ids, texts=texts, metadata=metadata)
        assert report.replaced == sum(key in self.model for key in ids)
        self.model |= dict(zip(ids, zip(texts, metadata, strict=True), strict=True))

    @rule(ids=ids)
    def delete(self, ids: list[str]) -> None:
        assert self.collection.delete(ids) == sum(self.model.pop(key, None) is not None for key in ids)

    @rule(n=st.integers(0, 3))
    def delete_where(self, n: int) -> None:
        gone = [key for key, (_, metadata) in self.model.items() if metadata["n"] == n]
        assert self.collection.delete(where={"n": n}) == len(gone)
        for key in gone:
            del self.model[key]

    @rule()
    def finish(self) -> None:
        self.collection.finish()

    @rule(ids=ids, seed=st.integers(0, 1000))
    def load(self, ids: list[str], seed: int) -> None:
        with self.collection.bulk():
            for key in ids:
                self.upsert([key], seed, False)

    @rule(read_only=st.booleans())
    def reopen(self, read_only: bool) -> None:
        self.collection.close()
        if read_only:
            with Collection(self.path, encoder=ENCODER, read_only=True) as reader:
                assert sorted(reader.ids()) == sorted(self.model)
        self.collection = Collection(self.path, encoder=ENCODER)

    @rule(word=st.sampled_from(WORDS), n=st.none() | st.integers(0, 3), k=st.integers(1, 15))
    def search(self, word: str, n: int | None, k: int) -> None:
        where = None if n is None else {"n": n}
        fits = {key: text for key, (text, metadata) in self.model.items() if n in (None, metadata["n"])}
        texts = {key: text for key, text in fits.items() if text}
        hits = self.collection.search(word, mode="lexical", k=15, where=where)
        assert set(hits.ids) == {key for key, text in texts.items() if word in text.split()}
        hits = self.collection.search(word, mode="dense", k=k, where=where)
        scores = (
            naive_scores(ENCODER.encode([word])[0], ENCODER.encode(list(texts.values())), "cosine") if texts else []
        )
        np.testing.assert_allclose([hit.score for hit in hits], sorted(scores, reverse=True)[:k], atol=1e-6)
        hybrid = self.collection.search(word, mode="hybrid", k=15, where=where)
        assert len(set(hybrid.ids)) == len(hybrid) and set(hybrid.ids) <= set(fits)

    @invariant()
    def same_records(self) -> None:
        if not hasattr(self, "collection"):
            return
        assert len(self.collection) == len(self.model)
        found = self.collection.get(list(self.model), vectors=True)
        for key, record in zip(self.model, found, strict=True):
            assert (record.id, record.text, record.metadata) == (key, *self.model[key])
            assert ("default" in record.vectors) == bool(record.text)

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            assert self.collection.check().ok
            self.collection.close()
            self.folder.cleanup()


_SUPPRESSED = [HealthCheck.too_slow, HealthCheck.data_too_large]
History.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, derandomize=True, deadline=None, suppress_health_check=_SUPPRESSED
)


class TestW13History(History.TestCase):
    """Run the state machine with small thresholds, so that upkeep takes part."""

    @pytest.fixture(autouse=True)
    def frequent_upkeep(self, monkeypatch):
        for name, value in (("_MINIMUM_SLOTS", 6), ("_TAIL_RECORDS", 12), ("_TAIL_SHARE", 0.0)):
            monkeypatch.setattr(maintenance, name, value)
        for name, value in (("BREAK_EVEN", 4), ("_TAIL_ROWS", 2), ("_ROWS_PER_COMMIT", 4), ("_CLOSE_ROWS", 1)):
            monkeypatch.setattr(merging, name, value)
        monkeypatch.setattr(graphs, "graph_class", lambda: FakeGraph)


def test_w48_segment_folder_names_are_relative(filled):
    folder: SegmentFolder = filled._store.generation.spaces["default"].folder
    database = (filled.path / "store.sqlite").read_bytes()
    assert str(filled.path).encode() not in database and folder.path(0).is_relative_to(filled.path)
    assert folder.dim == DIM
