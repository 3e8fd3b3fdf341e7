"""What a rehearsal says of the collection as it will be, and of records that no map has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from collection.upgrade.encoders import Newer, texts
from orthant.collection.collection import Collection
from orthant.collection.upgrade.words import verdict
from orthant.errors import InputError
from orthant.measures import gain_recovered, ndcg

COUNT = 240
QUERIES = texts(40, seed=1)


def nearest(encoder, k=3):
    """The records that an encoder of good judgement finds."""
    found = Newer(noise=encoder).encode(QUERIES) @ Newer(noise=encoder).encode(texts(COUNT)).T
    return {text: {f"r{i}": 1 for i in np.argsort(-row)[:k]} for text, row in zip(QUERIES, found, strict=True)}


def figures(collection, judgements):
    results = collection.search_many(QUERIES, mode="dense")
    run = {text: {hit.id: hit.score for hit in one} for text, one in zip(QUERIES, results, strict=True)}
    return ndcg(run, judgements, k=10).values


@pytest.fixture
def opened(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(COUNT)], texts=texts(COUNT))
        yield collection


@pytest.mark.parametrize("using", ["low-rank", "joint-words"])
def test_where_all_records_teach_the_map_the_rehearsal_is_the_migration(opened, using):
    judgements = nearest(0.8)
    plan = opened.upgrade(Newer(noise=0.8), using=using, pairs=COUNT)
    found = plan.rehearse(QUERIES, judgements)
    assert found.seen == 1.0
    # A map is better at what it was learned from, so the two questions have two answers.
    assert found.now_means["0.00"] > found.means["0.00"] + 0.01
    plan.run()
    plan.commit()
    assert figures(opened, judgements).mean() == pytest.approx(found.now_means["0.00"], abs=1e-6)
    plan.run(1.0)
    assert figures(opened, judgements).mean() == pytest.approx(found.now_means["1.00"], abs=1e-6)


def test_the_map_is_the_same_whether_it_was_rehearsed_or_not(opened):
    judgements = nearest(0.8)

    def migrated(rehearsed):
        plan = opened.upgrade(Newer(noise=0.8), using="low-rank", pairs=60)
        found = plan.rehearse(QUERIES, judgements) if rehearsed else None
        plan.run()
        plan.commit()
        answers = [[(hit.id, hit.score) for hit in one] for one in opened.search_many(QUERIES, mode="dense")]
        plan.rollback()
        return found, answers

    found, answers = migrated(True)
    # Relevant records are encoded to judge, and teach the map nothing unless chance has drawn them.
    assert found.seen == 60 / COUNT and found.documents > 60
    assert answers == migrated(False)[1]


def test_w38_the_migration_lies_within_what_was_rehearsed_of_this_collection(opened):
    judgements = nearest(0.8, k=2)
    before = figures(opened, judgements)
    plan = opened.upgrade(Newer(noise=0.8), using="low-rank", pairs=COUNT // 2)
    found = plan.rehearse(QUERIES, judgements)
    plan.run()
    plan.commit()
    mapped = figures(opened, judgements)
    plan.run(1.0)
    real = gain_recovered(mapped, before, figures(opened, judgements)).share
    low, high = found.now["0.00"].interval
    assert low <= real <= high
    assert abs(real - found.now["0.00"].share) < abs(real - found.shares["0.00"].share)
    assert "50% of which the map is learned" in found.reason and "that it has not seen" in found.reason
    assert "records that the map has not seen:" in str(found) and "having seen 50% of it" in str(found)


def test_the_cautious_figure_decides_unless_the_other_is_asked_for(opened):
    plan = opened.upgrade(Newer(noise=0.8), using="low-rank", pairs=COUNT)
    found = plan.rehearse(QUERIES, nearest(0.8))
    none = replace(found.shares["0.00"], share=-0.1, interval=(-0.4, 0.2))
    some = replace(found.shares["0.00"], share=0.6, interval=(0.3, 0.9))
    gain = replace(found.shares["1.00"], gain=0.1, gain_interval=(0.05, 0.15))
    shares, now = {**found.shares, "0.00": none, "1.00": gain}, {**found.now, "0.00": some, "1.00": gain}
    told = replace(found, shares=shares, now=now, decided_by="unseen")
    assert verdict(told)[0] == "reencode"
    assert "0.60 of the gain" in verdict(told)[1] and "-0.10 of the gain" in verdict(told)[1]
    assert verdict(replace(told, decided_by="now"))[0] == "do"
    assert plan.rehearse(QUERIES, nearest(0.8), decide_by="now").decided_by == "now"
    with pytest.raises(InputError, match="decide_by"):
        plan.rehearse(QUERIES, decide_by="later")
