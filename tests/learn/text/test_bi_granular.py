"""Codes and vectors for two tiers, trained in stages."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError
from orthant.index import TwoTier
from orthant.learn.samplers import LocalityCentric
from orthant.learn.text import BiGranularTrainer

DIM, BLOCKS = 16, 20


def pairs(n: int = 480, seed: int = 0):
    """Documents of 20 blocks; a query is its document seen through a map that must be learned."""
    rng = np.random.default_rng(seed)
    documents = 3 * rng.standard_normal((BLOCKS, DIM))[np.arange(n) % BLOCKS] + rng.standard_normal((n, DIM))
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((DIM, DIM)))[0]
    mixed = documents @ (0.6 * np.eye(DIM) + 0.8 * turn) + 0.05 * rng.standard_normal((n, DIM))
    return mixed.astype(np.float32), documents.astype(np.float32)


def made_trainer(**settings) -> BiGranularTrainer:
    queries, documents = pairs()
    given = {"m": 4, "candidates": 30, "batch_size": 32, "learning_rate": 1e-2, "threads": 1, **settings}
    return BiGranularTrainer(queries, documents, np.arange(len(queries)), **given)


def recall(trainer: BiGranularTrainer, k: int = 10) -> float:
    made = trainer.export()
    codes = made.quantizer.encode(made.light_map.transform(trainer.documents))
    scores = made.quantizer.score(made.query_map.transform(trainer.queries), codes, metric="cosine")
    return float((np.argsort(-scores, axis=1)[:, :k] == trainer.positives[:, None]).any(axis=1).mean())


def test_trained_codes_find_more_than_codes_of_the_same_maps():
    found = {}
    for books in (False, True):
        trainer = made_trainer()
        trainer.warm(epochs=2)
        trainer.fit_codes(epochs=4, books=books)
        found[books] = recall(trainer)
    assert found[True] > found[False] + 0.02


def test_stages_go_on_from_each_other_and_leave_frozen_sides_alone():
    trainer = made_trainer()
    trainer.warm(epochs=2)
    trainer.fit_codes(epochs=2)
    first = trainer.export()
    near = trainer.found()
    assert near.shape == (480, 30) and not (near == trainer.positives[:, None]).any()
    trainer.fit_full(epochs=2)
    second = trainer.export()
    trainer.unify(epochs=1)
    third = trainer.export()
    weight = lambda network: network.layers[0].arrays["weight"]  # noqa: E731
    assert not np.array_equal(weight(first.full_map), weight(second.full_map))
    assert not np.array_equal(weight(second.query_map), weight(third.query_map))
    for name in ("light_map", "full_map"):
        np.testing.assert_array_equal(weight(getattr(second, name)), weight(getattr(third, name)))
    np.testing.assert_array_equal(first.quantizer.codebooks_, third.quantizer.codebooks_)


def test_equal_seeds_give_equal_maps():
    weights = []
    for _ in range(2):
        trainer = made_trainer()
        trainer.warm(epochs=1)
        trainer.fit_codes(epochs=1)
        trainer.fit_full(epochs=1)
        weights.append(trainer.export().full_map.layers[0].arrays["weight"])
    np.testing.assert_array_equal(*weights)


def test_the_sampler_gathers_blocks_and_random_batches_do_not():
    block = np.arange(400) // 20
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.choice(np.flatnonzero(block == b), 8, replace=False) for b in block])
    shares = {}
    for name, settings in {
        "snowball": {},
        "walk": {"strategy": "random-walk"},
        "random": {"share": 0.0},
    }.items():
        sampler = LocalityCentric(candidates, **settings)
        batches = list(sampler.batches_with_negatives(400, batch_size=10, seed=1))
        rows = [row for batch in batches for row, _ in batch]
        assert sorted(rows) == list(range(400))
        own = [np.mean([block[n] == block[row] for _, n in batch for row, _ in batch]) for batch in batches]
        shares[name] = float(np.mean(own))
    assert shares["snowball"] >= 0.8 and shares["walk"] >= 0.5 and shares["random"] < 0.2


def test_what_was_trained_is_served_by_two_tiers():
    trainer = made_trainer()
    trainer.warm(epochs=2)
    trainer.fit_codes(epochs=2)
    trainer.fit_full(epochs=1)
    made = trainer.export()
    full, light = made.full_map.transform(trainer.documents), made.light_map.transform(trainer.documents)
    index = TwoTier(DIM, quantizer=made.quantizer)
    index.add(full, light=light)
    np.testing.assert_array_equal(index._state.codes, made.quantizer.encode(light))
    np.testing.assert_array_equal(index.reconstruct([5, 2]), full[[5, 2]])
    with pytest.raises(DimensionError, match="light"):
        index.add(full[:2], light=light[:1])
    with pytest.raises(InputError, match="quantizer"):
        TwoTier(DIM).add(full, light=light)


def test_what_does_not_belong_together_is_refused():
    queries, documents = pairs(40)
    for positives, error in (
        (np.arange(39), DimensionError),
        (np.arange(40) - 1, InputError),
        (np.ones(40), DimensionError),
    ):
        with pytest.raises(error, match="positives"):
            BiGranularTrainer(queries, documents, positives, batch_size=8, candidates=5)
    with pytest.raises(InputError, match="divisor"):
        BiGranularTrainer(queries, documents, np.arange(40), m=5, batch_size=8, candidates=5)
    with pytest.raises(InputError, match="candidates"):
        BiGranularTrainer(queries, documents, np.arange(40), m=4, batch_size=8, candidates=40)
    trainer = BiGranularTrainer(queries, documents, np.arange(40), m=4, batch_size=8, candidates=5)
    for early in (trainer.export, trainer.fit_full, trainer.unify):
        with pytest.raises(InputError, match="first"):
            early()
