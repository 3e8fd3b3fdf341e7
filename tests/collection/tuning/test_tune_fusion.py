"""Learned fusion weights: true figures, honest recommendations, and a setting that is stored and taken back."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
from orthant.collection.fusion import DEFAULT_WEIGHTS
from orthant.collection.tuning.judging import Setting, settings_of
from orthant.errors import FilterError, InputError, StoreReadOnlyError
from orthant.measures import score_run

NOUNS = [f"noun{i}" for i in range(80)]


class Meaning:
    """Knows what the query's first word means, and nothing else; ``strength`` says how well."""

    dim, max_tokens = 32, None

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self.fingerprint = f"meaning:{strength}"
        self._inner = FakeEncoder(self.dim)

    def encode(self, items, *, role="document", batch_size=64, progress=False):
        X = []
        for text in items:
            word = text.split()[0].removeprefix("about-")
            noise = np.random.default_rng(abs(hash_of(text))).standard_normal(self.dim)
            X.append(self.strength * self._inner.encode([word])[0] + (1 - self.strength) * noise / self.dim**0.5)
        return np.array(X, dtype=np.float32)

    def encode_with_report(self, items, **settings):
        from orthant.types import EncodeReport

        return self.encode(items, **settings), EncodeReport(items=len(items))


def hash_of(text):
    import zlib

    return zlib.crc32(text.encode())


def made(path, strength):
    """Records about nouns; queries share misleading words with others, so that words alone are half right."""
    rng = np.random.default_rng(0)
    collection = Collection(path, encoder=Meaning(strength))
    noise = [f"filler{i}" for i in range(60)]
    texts = [f"{noun} {' '.join(rng.choice(noise, 6))} copy{i}" for noun in NOUNS for i in range(3)]
    collection.upsert([f"r{i}" for i in range(len(texts))], texts=texts)
    asked = {}
    for i, noun in enumerate(NOUNS):
        own = texts[3 * i].split()
        other = texts[int(rng.integers(len(texts)))].split()
        words = [*rng.choice(own[1:7], 1), *rng.choice(other[1:7], 4)]
        asked[f"about-{noun} {' '.join(words)}"] = [f"r{3 * i + j}" for j in range(3)]
    return collection, asked


@pytest.fixture(scope="module")
def strong(tmp_path_factory):
    collection, asked = made(tmp_path_factory.mktemp("tune") / "c", 0.5)
    yield collection, asked
    collection.close()


def searched(collection, asked, **settings):
    if settings["mode"] != "dense":
        settings["syntax"] = "plain"
    run = {text: collection.search(text, k=10, **settings).ids for text in asked}
    return score_run(run, asked, ["ndcg@10"])["ndcg@10"].mean


def test_a_gain_that_is_there_is_found_and_measured_as_searches_have_it(strong):
    collection, asked = strong
    report = collection.tune_fusion(asked)
    assert report.recommended and not report.applied and collection.fusion is None
    assert report.sentence.startswith("Use ") and report.chosen["weights"]["dense"] > 0.5
    assert report.in_sample == pytest.approx(searched(collection, asked, mode="hybrid", **report.chosen))
    assert report.values["present"] == pytest.approx(searched(collection, asked, mode="hybrid"))
    for leg in ("dense", "lexical"):
        assert report.values[f"{leg} alone"] == pytest.approx(searched(collection, asked, mode=leg))
    c = report.against("present")
    assert c.low <= c.difference <= c.high and c.arm_mean == pytest.approx(report.held_out)
    assert c.queries == report.queries == len(asked) and report.p_value < 0.01
    assert report.held_out <= report.in_sample + 1e-9 and len(report.by_fold) == 5
    assert json.loads(json.dumps(report.to_dict()))["settings"] == report.chosen
    assert report.to_dict() == collection.tune_fusion(asked).to_dict()
    assert str(report).count("against") == 3


@pytest.mark.parametrize("method", ["minmax", "rrf"])
def test_every_setting_is_valued_as_a_search_with_it(strong, method, monkeypatch):
    from orthant.collection.tuning import learning

    collection, asked = strong
    kept = {}
    original = learning.values_of

    def keep(found, grades, settings, **more):
        kept["settings"], kept["values"] = settings, original(found, grades, settings, **more)
        return kept["values"]

    monkeypatch.setattr(learning, "values_of", keep)
    few = dict(list(asked.items())[:25])
    collection.tune_fusion(few, methods=[method], depth=30)
    for i in (1, 5, 12, 20):
        setting = kept["settings"][i]
        assert setting.method == method
        mean = searched(collection, few, mode="hybrid", fusion=method, weights=setting.weights, depth=30)
        assert kept["values"][i].mean() == pytest.approx(mean)


def test_without_a_gain_the_default_is_kept(tmp_path):
    collection, asked = made(tmp_path / "c", 0.5)
    with collection:
        best = collection.tune_fusion(asked, apply=True)
        assert best.applied
        again = collection.tune_fusion(asked, apply=True)
        assert not again.recommended and not again.applied
        assert again.present == best.chosen and "Keep the present weights" in again.sentence
        assert again.settings == best.chosen
        rng = np.random.default_rng(4)
        # Judgements that have nothing to do with the queries.
        blind = {text: [f"r{i}" for i in rng.integers(0, 240, 3)] for text in asked}
        collection.reset_fusion()
        report = collection.tune_fusion(blind, apply=True)
        assert not report.recommended and report.sentence.startswith("Keep the default")
        assert collection.fusion is None and report.settings == {"fusion": "minmax", "weights": dict(DEFAULT_WEIGHTS)}


def test_a_leg_that_is_better_alone_is_said(tmp_path, monkeypatch):
    from orthant.collection.tuning import learning

    collection, asked = made(tmp_path / "c", 0.5)
    # Only settings that use the bad leg much: then a leg alone wins.
    monkeypatch.setattr(
        learning,
        "settings_of",
        lambda legs, methods, present: [present, Setting("rrf", {"dense": 0.3, "lexical": 0.7})],
    )
    with collection:
        report = collection.tune_fusion(asked)
    assert not report.recommended and "search with mode='dense'" in report.sentence


def test_stored_weights_serve_later_searches_and_processes_and_can_be_taken_back(tmp_path):
    path = tmp_path / "c"
    collection, asked = made(path, 0.5)
    query = next(iter(asked))
    with collection:
        before = collection.search(query, mode="hybrid", syntax="plain")
        assert before.plan.fusion["weights"] == DEFAULT_WEIGHTS
        report = collection.tune_fusion(asked, apply=True)
        now = collection.search(query, mode="hybrid", syntax="plain")
        assert (now.plan.fusion["method"], now.plan.fusion["weights"]) == tuple(report.chosen.values())
        own = collection.search(query, mode="hybrid", weights={"dense": 1, "lexical": 3})
        assert own.plan.fusion["weights"] == {"dense": 0.25, "lexical": 0.75}
        collection.set_fusion({"dense": 3, "lexical": 1}, fusion="rrf")
        # Weights of one method say nothing about the other's.
        other = collection.search(query, mode="hybrid", fusion="minmax")
        assert other.plan.fusion["weights"] == DEFAULT_WEIGHTS
        assert collection.search(query, mode="hybrid").plan.fusion["weights"] == {"dense": 0.75, "lexical": 0.25}
        collection.upsert(["new"], texts=["noun1 filler1"])
        assert collection.fusion == {"fusion": "rrf", "weights": {"dense": 0.75, "lexical": 0.25}, "source": "set"}
        assert collection.stats().to_dict()["fusion"] == collection.fusion
    code = (
        "import orthant, sys; c = orthant.open(sys.argv[1], read_only=True); "
        "print(c.fusion['fusion'], c.search('noun1', mode='lexical').ids[0]); assert c.check().ok"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("rrf ")
    with Collection(path, encoder=Meaning(0.5)) as collection:
        assert collection.reset_fusion() and not collection.reset_fusion()
        assert collection.search(query, mode="hybrid").plan.fusion["weights"] == DEFAULT_WEIGHTS


def test_an_open_reader_follows_and_a_snapshot_keeps_its_own(tmp_path):
    with orthant.open(tmp_path / "c", encoder=FakeEncoder()) as writer:
        writer.upsert(["a", "b"], texts=["amber basin", "cedar delta"])
        with orthant.open(tmp_path / "c", encoder=FakeEncoder(), read_only=True) as reader:
            writer.set_fusion({"dense": 1})
            assert reader.search("amber").plan.fusion["weights"] == {"dense": 1.0, "lexical": 0.0}
            with pytest.raises(StoreReadOnlyError):
                reader.set_fusion({"dense": 1})
        writer.snapshot("then")
        writer.reset_fusion()
        writer.restore("then")
        assert writer.fusion["weights"]["dense"] == 1.0
        writer.snapshot("now")
        writer.set_fusion({"lexical": 1})
        writer.restore("now")
        assert writer.fusion["weights"]["dense"] == 1.0 and writer.check().ok
    with orthant.open(tmp_path / "c", encoder=FakeEncoder()) as again:
        assert again.fusion["weights"]["dense"] == 1.0


def test_what_does_not_count_is_counted(strong):
    collection, asked = strong
    queries = {f"q{i}": text for i, text in enumerate(asked)} | {"empty": "  "}
    qrels = {f"q{i}": dict.fromkeys(ids, 1) for i, ids in enumerate(asked.values())}
    qrels |= {"empty": {"r1": 1}, "unasked": {"r1": 1}, "q0": {"r0": 0}, "q1": {"gone": 2}, "q2": {"r6": 1, "lost": 1}}
    report = collection.tune_fusion(queries=queries, qrels=qrels)
    assert report.left_out == {"queries_without_text": 2, "queries_without_relevant": 2, "records_absent": 2}
    assert report.queries == len(asked) - 2


def test_bad_input_is_refused(strong, tmp_path):
    collection, asked = strong
    few = dict(list(asked.items())[:19])
    for bad, says in (
        ({"judgements": few}, "at least 20"),
        ({"judgements": {text: ["nobody"] for text in asked}}, "none is a record"),
        ({"judgements": dict.fromkeys(asked, "r1")}, "Correct them"),
        ({"judgements": {text: {"r1": float("nan")} for text in asked}}, "finite number"),
        ({"judgements": [1]}, "a mapping"),
        ({}, "one of them"),
        ({"judgements": asked, "qrels": asked}, "one of them"),
        ({"judgements": asked, "folds": 1}, "folds"),
        ({"judgements": asked, "folds": 500}, "at most one per query"),
        ({"judgements": asked, "metric": "ndgc"}, "ndgc"),
        ({"judgements": asked, "methods": ["sum"]}, "a method"),
        ({"judgements": asked, "alpha": 0.9}, "alpha"),
    ):
        with pytest.raises(InputError, match=says):
            collection.tune_fusion(**bad)
    with pytest.raises(FilterError):
        collection.tune_fusion(asked, where={"year": {"gte": []}})
    with orthant.open(tmp_path / "words") as words:
        words.upsert(["r0"], texts=["noun0"])
        with pytest.raises(InputError, match="two legs"):
            words.tune_fusion(asked)
    with orthant.open(tmp_path / "vectors", encoder=FakeEncoder()) as vectors:
        vectors.upsert(["r0"], vectors=np.ones((1, 16), np.float32))
        with pytest.raises(InputError, match="only the dense leg"):
            vectors.tune_fusion({text: ["r0"] for text in asked})
    with pytest.raises(InputError):
        collection.set_fusion({"dense": 0})
    with pytest.raises(InputError):
        collection.set_fusion(fusion="sum")


def test_nothing_is_learned_for_a_collection_that_cannot_keep_it(tmp_path):
    collection, asked = made(tmp_path / "c", 0.5)
    collection.close()
    with Collection(tmp_path / "c", encoder=Meaning(0.5), read_only=True) as reader:
        assert reader.tune_fusion(asked).recommended
        with pytest.raises(StoreReadOnlyError):
            reader.tune_fusion(asked, apply=True)


def test_more_legs_get_a_coarser_grid_and_the_present_setting_is_first():
    present = Setting("minmax", {"a": 0.5, "b": 0.3, "c": 0.2})
    tried = settings_of(["a", "b", "c"], ["minmax", "rrf"], present)
    assert tried[0] == present and len(tried) <= 2 * 250 + 1
    assert all(sum(setting.weights.values()) == pytest.approx(1) for setting in tried)
    near = [s.weights for s in tried if s.method == "minmax"]
    moved = [round(sum(abs(weights[leg] - present.weights[leg]) for leg in "abc"), 9) for weights in near]
    assert moved == sorted(moved)
    assert {tuple(s.weights.values()) for s in tried} >= {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
