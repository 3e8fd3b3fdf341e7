"""The adapter starts at the frozen encoder, has true gradients, never leaves it for worse, and masks second answers."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import load_artifact
from orthant.errors import DimensionError, EncoderMismatchError, InputError, NotFittedError
from orthant.index import Flat
from orthant.transforms import ResidualAdapter
from orthant.transforms.adaptation.contrast import Positives, info_nce
from orthant.transforms.adaptation.residuals import Residual, unit_backward
from orthant.transforms.adaptation.training import reciprocal_ranks, split
from orthant.transforms.alignment.spaces import unit_rows

DIM = 24


def pairs(n=500, noise=1.0, seed=0):
    """Queries are their items, turned in a few directions and blurred."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n, DIM)).astype(np.float32)
    basis = np.linalg.qr(np.random.default_rng(7).standard_normal((DIM, DIM)))[0]
    turned = items + 2.5 * items @ basis[:, :6] @ basis[:, 6:12].T + noise * rng.standard_normal((n, DIM))
    return turned.astype(np.float32), items


def value(adapter, queries, items):
    ids = np.arange(len(queries))
    Q, C = adapter.transform(queries), adapter.transform_target(items)
    return float(reciprocal_ranks(Q, ids, C, ids, Positives(ids, ids)).mean())


def plain(queries, items):
    ids = np.arange(len(queries))
    return float(reciprocal_ranks(unit_rows(queries), ids, unit_rows(items), ids, Positives(ids, ids)).mean())


@pytest.mark.parametrize("sides", ["query", "both"])
@pytest.mark.parametrize("kind", ["linear", "memory"])
def test_held_out_queries_find_their_items_better(sides, kind):
    train_pairs, judged = pairs(), pairs(seed=1)
    settings = {"rank": 12, "learning_rate": 0.01 if kind == "linear" else 0.02}
    adapter = ResidualAdapter(sides=sides, kind=kind, **settings).fit(*train_pairs)
    gain = value(adapter, *judged) - plain(*judged)
    assert gain > (0.05 if kind == "linear" else 0.005)
    assert adapter.best_epoch_ == int(np.argmax(adapter.history_)) > 0
    assert len(adapter.up_items_) == (12 if sides == "both" else 0)


def split_ways(n=600, seed=0):
    """What is unlike in items makes some of them long, and so their cosines small: no query can undo that."""
    rng = np.random.default_rng(seed)
    shared, noise = rng.standard_normal((n, 8)), rng.standard_normal((n, 8)) * np.exp(2 * rng.standard_normal((n, 1)))
    queries, items = np.hstack([shared + 0.5 * rng.standard_normal((n, 8)), 0 * shared]), np.hstack([shared, noise])
    return queries.astype(np.float32), items.astype(np.float32)


def test_sides_are_chosen_by_pairs_that_are_set_aside():
    settings = {"rank": 12, "learning_rate": 0.01, "epochs": 10}
    forced = {sides: ResidualAdapter(sides=sides, **settings).fit(*split_ways()) for sides in ("query", "both")}
    chosen = ResidualAdapter(sides="auto", **settings).fit(*split_ways())
    assert chosen.sides_ == "both" and chosen.history_ == forced["both"].history_
    assert chosen.validated_ == {"none": chosen.history_[0], **{s: max(one.history_) for s, one in forced.items()}}
    np.testing.assert_array_equal(chosen.up_items_, forced["both"].up_items_)
    judged = split_ways(seed=1)
    assert value(chosen, *judged) > value(forced["query"], *judged) + 0.05


def test_where_both_serve_alike_items_stay_as_they_are():
    items = np.random.default_rng(3).standard_normal((200, DIM)).astype(np.float32)
    adapter = ResidualAdapter(sides="auto", epochs=3).fit(items, items)
    assert adapter.sides_ == "query" and adapter.best_epoch_ == 0
    with pytest.raises(NotFittedError):
        _ = ResidualAdapter(sides="auto").sides_


def twins(n=1000, seed=0):
    """Items in pairs of which a batch seldom holds both; queries turn wholly what the two are told apart by."""
    rng = np.random.default_rng(seed)
    centre, apart = rng.standard_normal((n, 16)).repeat(2, axis=0), rng.standard_normal((n, 8)).repeat(2, axis=0)
    apart[1::2] *= -1
    turns = [np.linalg.qr(np.random.default_rng(5).standard_normal((d, d)))[0] for d in (16, 8)]
    queries = np.hstack([centre + 0.7 * centre @ turns[0], 0.3 * apart @ turns[1]])
    return queries.astype(np.float32), np.hstack([centre, 0.3 * apart]).astype(np.float32)


def test_wrong_answers_that_lie_near_teach_what_a_batch_seldom_asks():
    judged, settings = twins(seed=1), {"rank": 8, "epochs": 10, "batch_size": 64, "learning_rate": 0.003}
    easy, hard = (ResidualAdapter(hard_negatives=count, **settings).fit(*twins()) for count in (0, 4))
    assert value(hard, *judged) > value(easy, *judged) + 0.02 > plain(*judged) + 0.1


@pytest.mark.parametrize("kind", ["linear", "memory"])
def test_gradients_are_those_of_the_loss(kind):
    rng = np.random.default_rng(0)
    X, C = rng.standard_normal((6, 5)), unit_rows(rng.standard_normal((9, 5)).astype(np.float32)).astype(np.float64)
    side = Residual(kind, rng.standard_normal((3, 5)), rng.standard_normal((3, 5)))
    masked = np.zeros((6, 9), dtype=bool)
    masked[0, 3] = masked[2, 5] = True

    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def loss():
        return info_nce(unit(side.forward(X)), C, masked, 0.3)[0]

    raw = side.forward(X)
    _, by_queries, by_items = info_nce(unit(raw), C, masked, 0.3)
    found = side.backward(X, unit_backward(raw, by_queries))
    for matrix, gradient in zip((side.down, side.up), found, strict=True):
        for place in ((0, 0), (1, 3), (2, 4)):
            kept = matrix[place]
            matrix[place] = kept + 1e-5
            above = loss()
            matrix[place] = kept - 1e-5
            below = loss()
            matrix[place] = kept
            assert gradient[place] == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-7)
    kept = C[3, 2]
    C[3, 2] = kept + 1e-5
    above = loss()
    C[3, 2] = kept - 1e-5
    assert by_items[3, 2] == pytest.approx((above - loss()) / 2e-5, rel=1e-3, abs=1e-7)


def test_it_begins_as_the_identity_and_stays_of_low_rank():
    queries, items = pairs()
    rng = np.random.default_rng(0)
    for kind in ("linear", "memory"):
        start = Residual.identity(kind, unit_rows(queries), 4, rng)
        np.testing.assert_array_equal(start.forward(queries), queries)
    adapter = ResidualAdapter(rank=3, learning_rate=0.01).fit(queries, items)
    added = adapter.down_.T.astype(np.float64) @ adapter.up_
    assert adapter.best_epoch_ > 0 and np.linalg.matrix_rank(added, tol=1e-4) == 3


def test_where_nothing_can_be_learned_the_frozen_vectors_are_kept():
    rng = np.random.default_rng(3)
    items = rng.standard_normal((300, DIM)).astype(np.float32)
    adapter = ResidualAdapter(learning_rate=0.05, weight_decay=0.0).fit(items, items)
    assert adapter.best_epoch_ == 0 and not adapter.up_.any()
    asked = rng.standard_normal((40, DIM)).astype(np.float32)
    index = Flat(DIM, "cosine")
    index.add(items)
    np.testing.assert_array_equal(index.search(adapter.transform(asked), 10).ids, index.search(asked, 10).ids)


def test_the_guard_keeps_the_best_epoch_of_a_training_that_goes_wrong():
    rng = np.random.default_rng(0)
    items = rng.standard_normal((600, DIM)).astype(np.float32)
    queries = (items + 0.9 * rng.standard_normal((600, DIM))).astype(np.float32)
    wild = {"sides": "both", "rank": DIM, "weight_decay": 0.0, "learning_rate": 0.3, "epochs": 12, "patience": 12}
    guarded = ResidualAdapter(**wild).fit(queries[:100], items[:100])
    assert guarded.history_[-1] < guarded.history_[0] - 0.1, "it must go wrong for this test to say anything"
    assert value(guarded, queries[100:], items[100:]) > plain(queries[100:], items[100:]) - 0.05


def test_second_answers_are_left_out_of_the_sum():
    queries, items = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 3])
    right = Positives(queries, items).of_batch(np.arange(4))
    wanted = np.eye(4, dtype=bool)
    # Query 0 has two answers, and item 1 stands twice in the batch.
    wanted[0, 1] = wanted[1, 0] = wanted[0, 2] = wanted[1, 2] = wanted[2, 1] = True
    np.testing.assert_array_equal(right, wanted)
    Q = C = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    with_mask, by_queries, _ = info_nce(Q, C, right & ~np.eye(4, dtype=bool), 0.1)
    without, _, _ = info_nce(Q, C, np.zeros((4, 4), dtype=bool), 0.1)
    assert with_mask < 0.01 < 0.3 < without
    assert np.abs(by_queries).max() < 0.01


def test_whole_groups_are_held_out():
    groups = np.repeat(np.arange(20), 5)
    kept, out = split(groups, 0.2, np.random.default_rng(0))
    assert len(out) == 20 and not set(groups[kept]) & set(groups[out])
    kept, out = split(np.array([0, 1]), 0.9, np.random.default_rng(0))
    assert len(kept) == len(out) == 1


def test_ranks_count_the_best_answer_and_half_of_the_ties():
    C = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    Q = np.array([[1, 0], [0, 1]], dtype=np.float32)
    found = reciprocal_ranks(Q, np.array([0, 1]), C, np.arange(3), Positives(np.array([0, 1, 1]), np.array([0, 0, 1])))
    np.testing.assert_allclose(found, [1 / 1.5, 1.0])


def test_further_wrong_answers_take_part():
    queries, items = pairs(200)
    others = pairs(400, seed=5)[1]
    harder = ResidualAdapter(epochs=1).fit(queries, items, others=others)
    assert harder.history_[0] < ResidualAdapter(epochs=1).fit(queries, items).history_[0]


def test_equal_seeds_give_equal_adapters_and_files_bring_them_back(tmp_path):
    queries, items = pairs(200)
    settings = {"sides": "both", "rank": 4, "epochs": 3, "learning_rate": 0.01, "source": "m", "target": "m"}
    one, two = (ResidualAdapter(**settings).fit(queries, items) for _ in range(2))
    np.testing.assert_array_equal(one.up_, two.up_)
    one.save(tmp_path / "a")
    back = load_artifact(tmp_path / "a")
    np.testing.assert_array_equal(back.transform(queries), one.transform(queries))
    np.testing.assert_array_equal(back.transform_target(items), one.transform_target(items))
    assert back.best_epoch_ == one.best_epoch_ and back.history_ == one.history_
    assert back.sides_ == "both" and back.validated_ == one.validated_
    with pytest.raises(EncoderMismatchError, match="other"):
        back.check_fingerprints(source="other")


def test_a_query_without_direction_stays_without():
    queries, items = pairs(200)
    adapter = ResidualAdapter(kind="memory", learning_rate=0.02, rank=8).fit(queries, items)
    assert adapter.up_.any() and not adapter.transform(np.zeros((1, DIM), dtype=np.float32)).any()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"rank": DIM + 1}, "rank"),
        ({"rank": 0}, "rank"),
        ({"sides": "items"}, "sides"),
        ({"kind": "cubic"}, "kind"),
        ({"tau": 0.0}, "tau"),
        ({"validation": 1.0}, "validation"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_settings_out_of_range_are_refused(settings, word):
    with pytest.raises(InputError, match=word):
        ResidualAdapter(**settings).fit(*pairs(40))


def test_bad_pairs_are_refused():
    queries, items = pairs(40)
    with pytest.raises(DimensionError, match="40 source rows and 39"):
        ResidualAdapter().fit(queries, items[:-1])
    with pytest.raises(DimensionError):
        ResidualAdapter().fit(queries, items[:, :5])
    with pytest.raises(InputError, match="same item"):
        ResidualAdapter().fit(queries, np.repeat(items[:1], 40, axis=0))
    with pytest.raises(InputError, match="one group"):
        ResidualAdapter().fit(queries, items, groups=["m"] * 40)
    with pytest.raises(DimensionError, match="groups"):
        ResidualAdapter().fit(queries, items, groups=["m", "n"])
    zero = queries.copy()
    zero[3] = 0
    with pytest.raises(InputError):
        ResidualAdapter().fit(zero, items)
    zero[3] = np.nan
    with pytest.raises(InputError):
        ResidualAdapter().fit(zero, items)
    with pytest.raises(NotFittedError):
        ResidualAdapter().transform(queries)
