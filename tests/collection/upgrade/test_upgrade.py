"""Replacing the encoder of a space: rehearsal, run, cut-over, way back, and what is refused on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder
from collection.upgrade import child
from collection.upgrade.encoders import Newer, texts
from orthant.collection.collection import Collection
from orthant.collection.space_encoders import SpaceEncoders
from orthant.errors import EncoderMismatchError, InputError, NotFoundError

COUNT = 300
QUERIES = texts(40, seed=1)


class Refusing(FakeEncoder):
    """The old encoder, which cannot read everything."""

    def encode_with_report(self, items, **settings):
        if any("poison" in item for item in items):
            raise ValueError("cannot read this")
        return super().encode_with_report(items, **settings)


def ranks(collection, **settings):
    found = collection.search_many(QUERIES, mode="dense", **settings)
    return [[(hit.id, hit.score) for hit in result] for result in found]


def names(found):
    return [[key for key, _ in one] for one in found]


def vector_files(path):
    """Bytes of every segment by its name; the upgrade's own folders have a number behind a dot."""
    return {f.relative_to(path): f.read_bytes() for f in sorted((Path(path) / "vectors").rglob("*.seg"))}


def overlap(found, truth):
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(names(found), names(truth), strict=True)]))


@pytest.fixture
def opened(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        yield collection


@pytest.fixture(scope="module")
def ideal(tmp_path_factory):
    """What a collection made by the newer encoder answers."""
    with Collection(tmp_path_factory.mktemp("ideal") / "c", encoder=Newer()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        return ranks(collection)


def test_w33_w34_a_model_is_replaced_in_one_step_and_back_to_the_byte(opened, ideal):
    before, files = ranks(opened), vector_files(opened.path)
    plan = opened.upgrade(Newer(), using="reencode")
    assert plan.status().phase == "planned"
    report = plan.run(batch_size=64)
    assert (report.encoded, report.remaining, report.share) == (COUNT, 0, 1.0)
    assert ranks(opened) == before, "nothing that is answered changes before the commit"
    assert plan.commit().phase == "committed"
    assert names(ranks(opened)) == names(ideal)
    assert opened.spaces["default"].fingerprint == "newer:24"
    assert plan.rollback().phase == "closed"
    assert ranks(opened) == before
    assert vector_files(opened.path) == files
    assert list(opened.spaces) == ["default"]
    assert opened.check().ok


def test_w38_mapped_vectors_bring_most_of_a_new_model_and_a_mixed_state_lies_between_the_ends(opened, ideal):
    old = overlap(ranks(opened), ideal)
    new = Newer()
    plan = opened.upgrade(new, using="low-rank", pairs=150)
    plan.run()
    assert new.encoded <= 150 + 12, "no record outside the sample is encoded"
    plan.commit()
    states = [overlap(ranks(opened), ideal)]
    assert states[0] > old + 0.02
    for share in (0.25, 0.5, 0.75, 1.0):
        assert plan.run(share, batch_size=32).share >= share
        states.append(overlap(ranks(opened), ideal))
    assert min(states) >= states[0] - 0.02
    assert states[-1] == 1.0
    assert names(ranks(opened)) == names(ideal)
    plan.release()
    assert list(opened.spaces) == ["default"]
    assert names(ranks(opened)) == names(ideal)
    with pytest.raises(NotFoundError):
        plan.rollback()


def test_both_models_are_asked_where_the_way_is_joint(opened):
    plan = opened.upgrade(Newer(), using="joint", pairs=150)
    plan.run(0.5)
    plan.commit()
    dense = opened.search(QUERIES[0], mode="dense")
    assert dense.plan.legs[0].method.startswith("bridge")
    # A vector brings no text for the old model: its part is left out.
    assert len(opened.search(vector=Newer().encode([QUERIES[0]])[0], mode="dense")) == 10
    fused = opened.search(QUERIES[0], mode="hybrid")
    assert {leg.name for leg in fused.plan.legs} == {"dense", "lexical"}
    # A moved query is no longer its text, which the old model would be asked with.
    moved, alone = {"toward": [Newer().encode([QUERIES[1]])[0]], "strength": 0.5}, Newer().encode([QUERIES[0]])[0]
    steered = opened.search(QUERIES[0], mode="dense", steer=moved)
    assert steered.ids == opened.search(vector=alone, mode="dense", steer=moved).ids
    ids = {hit.id for hit in opened.search(QUERIES[0], mode="dense", where={"n": 1})}
    assert not ids
    pages = [hit.id for offset in (0, 10) for hit in opened.search(QUERIES[0], mode="dense", offset=offset)]
    assert pages == [hit.id for hit in opened.search(QUERIES[0], mode="dense", k=20)]


def test_mixed_scores_are_those_of_the_blend_of_arrays(opened):
    from orthant.collection.upgrade.calibration import blend

    new = Newer()
    plan = opened.upgrade(new, using="procrustes", pairs=150)
    plan.run(0.4)
    plan.commit()
    records = opened.get([f"r{i}" for i in range(COUNT)], vectors=True)
    encoded = np.array(["default" in record.vectors for record in records])
    assert 0.39 < encoded.mean() < 0.42
    assert len(set(np.flatnonzero(encoded) < COUNT / 2)) == 2, "spread over the collection"
    mapped = np.stack([record.vectors["default.mapped"] for record in records])
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    Q = new.encode(QUERIES)
    wanted = blend(Q @ new.encode(texts(COUNT)).T, Q @ mapped.T, encoded)
    for row, result in zip(wanted, ranks(opened), strict=True):
        got = dict(result)
        assert np.allclose([row[int(key[1:])] for key in got], list(got.values()), atol=2e-5)


@pytest.mark.parametrize("using", ["reencode", "low-rank"])
def test_a_killed_run_goes_on_where_it_was(tmp_path, using):
    path = tmp_path / "c"
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        before = ranks(collection)
    source = os.pathsep.join([str(Path(orthant.__file__).parents[1]), str(Path(child.__file__).parents[2])])
    command = [sys.executable, str(child.__file__), str(path), using]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source}) as process:
        for _ in range(12):
            assert process.stdout is not None
            assert process.stdout.readline()
        process.kill()
    with Collection(path, encoder=FakeEncoder()) as collection:
        assert ranks(collection) == before
        new = Newer()
        plan = collection.upgrade(new, using=using)
        done = plan.status().encoded
        assert 0 < done < COUNT
        with pytest.raises(InputError, match="second upgrade"):
            collection.upgrade(FakeEncoder(8), using="reencode")
        plan.run(1.0)
        assert plan.status().encoded == COUNT
        assert new.encoded <= COUNT - done + 12
        plan.commit()
        assert collection.check().ok
    # The old encoder no longer fits, and says so instead of giving wrong neighbours.
    with pytest.raises(EncoderMismatchError):
        Collection(path, encoder=FakeEncoder())
    with Collection(path, encoder=Newer()) as collection:
        assert collection.upgrade(Newer()).rollback().phase == "closed"
    with Collection(path, encoder=FakeEncoder()) as collection:
        assert ranks(collection) == before


def test_failing_records_are_listed_tried_again_and_block_the_commit(opened):
    opened.upsert(["bad", "worse"], texts=["word1 poison", "word2 poison"])
    new = Newer(refuses="poison")
    plan = opened.upgrade(new, using="reencode")
    # Written while the upgrade is planned: nothing of it is lost.
    report = plan.run(batch_size=100)
    assert sorted(report.failed) == ["bad", "worse"]
    assert "cannot read this" in report.failed["bad"]
    with pytest.raises(InputError, match="2 records that could not be encoded"):
        plan.commit()
    assert plan.accept(["bad"]) == 1
    with pytest.raises(InputError, match="did not fail"):
        plan.accept(["r1"])
    with pytest.raises(InputError, match="worse"):
        plan.commit()
    new.refuses = None
    assert plan.run().failed == {}
    assert plan.commit().phase == "committed"
    assert plan.status().encoded == COUNT + 2


def test_a_record_that_was_let_go_does_not_hold_up_the_release(opened):
    opened.upsert(["bad"], texts=["unreadable word1"])
    # Whether it is in the sample or not, one bad text costs only itself.
    plan = opened.upgrade(Newer(refuses="unreadable"), using="low-rank", pairs=COUNT + 1)
    plan.run()
    plan.commit()
    assert set(plan.run(1.0).failed) == {"bad"}
    with pytest.raises(InputError, match="1 records that are found by mapped vectors only"):
        plan.release()
    assert plan.accept() == 1
    assert plan.release().phase == "closed"
    assert "bad" in opened.search("unreadable", mode="lexical").ids
    assert opened.check().ok


def test_a_run_that_is_told_to_stop_ends_at_its_batch_and_goes_on(opened):
    # While the sample is encoded nothing has begun.
    plan = opened.upgrade(Newer(), using="low-rank")
    asked = iter([False, True])
    report = plan.run(stop=lambda: next(asked))
    assert (report.encoded, report.mapped, report.remaining) == (0, 0, COUNT)
    assert plan.status().phase == "planned" and list(asked) == []
    with pytest.raises(InputError, match="was stopped"):
        opened.upgrade(Newer()).rehearse(QUERIES, stop=lambda: True)
    plan = opened.upgrade(Newer(), using="reencode")
    report = plan.run(batch_size=8, stop=lambda: True)
    assert report.encoded == 8 and report.remaining == COUNT - 8
    assert plan.run(stop=lambda: False).remaining == 0
    with pytest.raises(InputError, match="seed"):
        opened.upgrade(Newer(), seed=-1)


def test_writes_and_deletes_go_on_during_and_after_the_upgrade(opened):
    plan = opened.upgrade(Newer(), using="low-rank", pairs=100)
    plan.run(0.3)
    opened.upsert(["r3", "late"], texts=["word5 word6", "word7 word8"])
    opened.delete(["r4", "r5"])
    plan.run(0.5, batch_size=16)
    plan.commit()
    opened.upsert(["later"], texts=["word9 word10"])
    assert "later" in opened.search("word9 word10", mode="dense", k=5).ids
    assert "late" in opened.search("word7 word8", mode="dense", k=5).ids
    assert "r4" not in [hit.id for hit in opened.search(QUERIES[0], mode="dense", k=COUNT)]
    plan.rollback()
    # Both encoders were at hand, so the old space has what was written since.
    assert opened.search("word9 word10", mode="dense", k=1).ids == ["later"]
    assert opened.check().ok


def test_a_rollback_encodes_what_was_written_without_the_old_encoder(tmp_path):
    path = tmp_path / "c"
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        before, files = ranks(collection), vector_files(path)
        plan = collection.upgrade(Newer(), using="reencode")
        plan.run()
        plan.commit()
        assert plan.status().newer_only == 0
    with Collection(path, encoder=Newer()) as collection:
        written = {"texts": ["word9 word10", "word11 poison", "word12 word13"]}
        with pytest.raises(InputError, match=r"default\.former"):
            collection.upsert(["late", "later", "r7"], **written)
        collection.upsert(["late", "later", "r7"], **written, vectors={"default.former": [None] * 3})
        plan = collection.upgrade(Newer())
        assert plan.status().newer_only == 3
        with pytest.raises(InputError, match=r"3 records without a vector of the old encoder .*'late'"):
            plan.rollback()
        with pytest.raises(EncoderMismatchError):
            plan.rollback(FakeEncoder(8))
        with pytest.raises(InputError, match=r"1 records .*'later': ValueError: cannot read this"):
            plan.rollback(Refusing())
        assert plan.status().phase == "committed", "a refused rollback leaves the upgrade as it was"
        assert plan.rollback(FakeEncoder()).failed == {}
        assert collection.search("word9 word10", mode="dense", k=1).ids == ["late"]
        assert collection.search("word12 word13", mode="dense", k=1).ids == ["r7"]
        assert all(vector_files(path)[name][: len(held)] == held for name, held in files.items()), "only added to"
        collection.delete(["late", "later", "r7"])
        kept = [[hit for hit in one if hit[0] != "r7"] for one in before]
        assert all(set(one) <= set(now) for one, now in zip(kept, ranks(collection), strict=True))
        assert collection.check().ok


def test_a_rollback_lets_records_go_only_when_told(tmp_path):
    path = tmp_path / "c"
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(40)], texts=texts(40))
        plan = collection.upgrade(Newer(), using="reencode")
        plan.run()
        plan.commit()
    with Collection(path, encoder=Newer()) as collection:
        collection.upsert(["late"], texts=["word9 word10"], vectors={"default.former": [None]})
        plan = collection.upgrade(Newer())
        assert plan.rollback(accept=True).failed == {"late": "the old encoder is not at hand"}
        assert "late" in collection.search("word9 word10", mode="lexical").ids


def test_readers_of_the_old_space_are_moved_or_refused_never_mixed(opened):
    class Same(Newer):
        """Of the old dimension, so that only the fingerprint tells."""

        def __init__(self):
            super().__init__(16, name="same")

    with Collection(opened.path, encoder=FakeEncoder(), read_only=True) as reader:
        before = ranks(reader)
        plan = opened.upgrade(Same(), using="reencode")
        plan.run()
        assert ranks(reader) == before
        plan.commit()
        with pytest.raises(EncoderMismatchError):
            reader.search(QUERIES[0], mode="dense")
        plan.rollback()
        assert ranks(reader) == before


def test_searches_beside_a_cut_over_see_the_one_or_the_other(opened, ideal):
    before, seen, stop = names(ranks(opened)), [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.append([hit.id for hit in opened.search(QUERIES[0], mode="dense")])

    plan = opened.upgrade(Newer(), using="reencode")
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        plan.run(batch_size=50)
        plan.commit()
    finally:
        stop.set()
        thread.join()
    assert all(one in (before[0], names(ideal)[0]) for one in seen)


def test_a_search_between_a_cut_over_and_the_new_names_of_encoders_finds_its_own(opened, ideal, monkeypatch):
    """The commit is seen at once; encoders that were given as objects are known by their former names a moment on."""
    renamed, seen, before = SpaceEncoders.renamed, [], ranks(opened)

    def searched(self, given):
        seen.append((ranks(opened), [hit.id for hit in opened.search(QUERIES[0])]))
        renamed(self, given)
        seen.append((ranks(opened), [hit.id for hit in opened.search(QUERIES[0])]))

    monkeypatch.setattr(SpaceEncoders, "renamed", searched)
    plan = opened.upgrade(Newer(), using="reencode")
    plan.run()
    plan.commit()
    assert names(seen[0][0]) == names(ideal) and seen[0] == seen[1]
    plan.rollback()
    assert seen[2][0] == before and seen[2] == seen[3]


def test_a_rehearsal_changes_nothing_and_says_what_it_knows(opened):
    generation = opened._store.generation.number
    plan = opened.upgrade(Newer(), using="auto", pairs=200)
    found = plan.rehearse(QUERIES)
    assert found.metric == "overlap@10"
    assert "not whether they are better" in found.reason
    assert list(found.shares) == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert found.shares["1.00"].share == 1.0
    assert found.using == "joint-words"
    assert found.ways["words"] > found.ways["low-rank"] > found.ways["old"]
    assert opened._store.generation.number == generation
    assert plan.compatibility()["dims"] == [16, 24]
    with pytest.raises(InputError, match="at least 10"):
        plan.rehearse(QUERIES[:3])
    with pytest.raises(InputError, match="as one str"):
        plan.rehearse("word1 word2 word3 word4")


def test_w38_a_rehearsal_says_dont_where_the_new_model_is_no_better(opened):
    # The old model's own nearest records are what is relevant.
    qrels = {text: {hit.id: 1 for hit in opened.search(text, mode="dense", k=3)} for text in QUERIES}
    plan = opened.upgrade(Newer(noise=2.0), using="low-rank", pairs=COUNT)
    found = plan.rehearse(QUERIES, qrels)
    assert (found.action, found.worth_it) == ("don't", False)
    assert "no better" in found.reason
    # What is more than all of a loss is nothing that was gained.
    assert found.shares["0.00"].share > 0 and "of the gain" not in str(found) and "no gain" in str(found)


def test_what_cannot_be_upgraded_is_refused(opened, tmp_path):
    with pytest.raises(InputError, match="the encoder that the space has"):
        opened.upgrade(FakeEncoder())
    with pytest.raises(NotFoundError):
        opened.upgrade(Newer(), space="absent")
    with pytest.raises(NotFoundError):
        opened.upgrade()
    with (
        orthant.open(tmp_path / "empty", encoder=FakeEncoder()) as empty,
        pytest.raises(NotFoundError, match=r"without vectors.* with the new encoder"),
    ):
        empty.upgrade(Newer())
    with pytest.raises(NotFoundError):
        opened.upgrade(Newer()).commit()
    assert repr(opened.upgrade(Newer(), using="joint")).startswith("UpgradePlan(space='default', using='joint', to ")
    with pytest.raises(InputError, match="of the same width"):
        opened.upgrade(Newer(), using="drift").run()
    for using in ("low-rank", "auto"):
        with pytest.raises(InputError, match=r"could not encode .*cannot read this"):
            opened.upgrade(Newer(refuses="word"), using=using).run()
    with pytest.raises(InputError, match="at least 16"):
        opened.upgrade(Newer(), using="low-rank", pairs=5).run()
    assert list(opened.spaces) == ["default"]
    plan = opened.upgrade(Newer(), using="reencode")
    plan.run(0.2)
    with pytest.raises(InputError, match="without a vector of the new encoder"):
        plan.commit()
    with pytest.raises(InputError, match="not committed"):
        plan.release()


def test_a_space_that_is_being_filled_gets_no_graph_before_it_is_whole(opened, monkeypatch):
    from orthant.collection.storage import merging

    monkeypatch.setattr(merging, "BREAK_EVEN", 100)
    plan = opened.upgrade(Newer(), using="reencode")
    plan.run(0.6, batch_size=64)
    assert opened._store.generation.spaces["default.next"].graph is None
    opened.finish()
    assert opened._store.generation.spaces["default.next"].graph is None
    plan.run(1.0, batch_size=64)
    assert opened._store.generation.spaces["default.next"].graph is not None
    plan.commit()
    assert opened.search(QUERIES[0], mode="dense").plan.legs[0].method.startswith("graph")


def test_a_snapshot_holds_the_upgrade_and_goes_back_to_it(tmp_path):
    path = tmp_path / "c"
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        before = ranks(collection)
        plan = collection.upgrade(Newer(), using="reencode")
        plan.run()
        collection.snapshot("running")
        plan.commit()
    with Collection(path) as collection:
        collection.restore("running")
        assert collection.check().ok
    with Collection(path, encoder=FakeEncoder()) as collection:
        assert ranks(collection) == before
        assert collection.upgrade(Newer()).status().phase == "running"
        collection.upgrade(Newer()).commit()
