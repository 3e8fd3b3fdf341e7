"""A map keeps neighbours together better than two principal components do, and holds exactly the live records."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.collection.layout.points import field_of_rows, lay_out, records_of_rows
from orthant.errors import InputError, NotFoundError


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Twelve groups in 32 dimensions, 600 records."""
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 12, 600)
    X = (1.5 * rng.normal(size=(12, 32))[groups] + rng.normal(size=(600, 32))).astype(np.float32)
    collection = orthant.open(tmp_path_factory.mktemp("layout") / "c")
    metadata = [{"group": int(g)} for g in groups]
    collection.upsert([f"r{i}" for i in range(600)], vectors=X, metadata=metadata)
    yield collection, groups
    collection.close()


def _kept(places, groups, k=10):
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((groups[np.argsort(distances, axis=1)[:, :k]] == groups[:, None]).mean())


def test_neighbours_stay_together_better_than_by_components_alone(grouped):
    collection, groups = grouped
    placed, components = lay_out(collection), lay_out(collection, epochs=0)
    assert _kept(placed.places, groups) > 0.9
    assert _kept(placed.places, groups) > _kept(components.places, groups) + 0.2
    assert np.abs(placed.places).max() <= 1 and np.abs(placed.places).max() > 0.8


def test_a_map_is_the_same_again_and_tells_its_progress(grouped):
    collection, _ = grouped
    told = []
    first = lay_out(collection, progress=lambda stage, share: told.append((stage, share)))
    assert np.array_equal(first.places, lay_out(collection).places)
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert {stage for stage, _ in told} == {"finding neighbours", "placing points"}


def test_a_limit_takes_an_even_sample(grouped):
    collection, _ = grouped
    placed = lay_out(collection, limit=50, epochs=0)
    assert len(placed.rows) == 50 and placed.records == 600
    ids = records_of_rows(collection, placed.rows)
    assert [int(key[1:]) for key in ids] == [12 * i for i in range(50)]


def test_removed_records_are_not_on_a_new_map_and_have_no_id_on_an_old_one(tmp_path):
    with orthant.open(tmp_path / "c") as collection:
        collection.upsert(["a", "b", "c"], vectors=np.eye(3), metadata=[{"n": 1}, {"n": 2}, {}])
        placed = lay_out(collection)
        collection.delete(["b"])
        assert records_of_rows(collection, placed.rows) == ["a", None, "c"]
        assert field_of_rows(collection, "n", placed.rows)[0] == 1
        assert len(lay_out(collection).rows) == 2 and lay_out(collection).generation > placed.generation


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_and_equal_records_have_finite_places(tmp_path, count):
    with orthant.open(tmp_path / "c", metric="dot") as collection:
        collection.upsert(["x"], vectors=np.ones((1, 4)))
        collection.delete(["x"])
        if count:
            collection.upsert([f"r{i}" for i in range(count)], vectors=np.ones((count, 4)))
        places = lay_out(collection).places
    assert places.shape == (count, 2) and np.isfinite(places).all()


def test_strange_spaces_are_refused(grouped):
    collection, _ = grouped
    with pytest.raises(NotFoundError, match="'elsewhere'"):
        lay_out(collection, space="elsewhere")
    with pytest.raises(InputError, match="limit"):
        lay_out(collection, limit=0)
