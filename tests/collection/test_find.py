from __future__ import annotations

import numpy as np
import pytest

import orthant
from orthant.errors import DimensionError, FilterError, InputError, NonFiniteError


@pytest.fixture
def films(tmp_path):
    with orthant.open(tmp_path / "films") as collection:
        years = [1950, 1960, 1970, 1980, 1990]
        collection.upsert(
            [f"f{y}" for y in years], texts=[f"film of {y}" for y in years], metadata=[{"y": y} for y in years]
        )
        yield collection


def test_find_lists_records_in_insertion_order(films):
    assert [r.id for r in films.find()] == ["f1950", "f1960", "f1970", "f1980", "f1990"]
    assert [r.id for r in films.find({"y": {"gt": 1955}}, limit=2, offset=1)] == ["f1970", "f1980"]
    films.upsert(["f1960"], texts=["again"], metadata=[{"y": 1960}])
    films.delete(["f1950"])
    assert [r.id for r in films.find({"y": {"lt": 1975}})] == ["f1970", "f1960"]
    assert films.find({"y": 1}) == []
    assert films.find({"y": 1990})[0].metadata == {"y": 1990}


def test_find_refuses_what_it_cannot_mean(films):
    for settings in ({"limit": 0}, {"offset": -1}, {"limit": 2.5}):
        with pytest.raises(InputError):
            films.find(**settings)
    with pytest.raises(FilterError):
        films.find({"y": {"above": 3}})


def test_add_vectors_checks_everything_first(tmp_path):
    X = np.random.default_rng(0).standard_normal((300, 8))
    np.save(tmp_path / "x.npy", X)
    with orthant.open(tmp_path / "c") as collection:
        report = collection.add_vectors(tmp_path / "x.npy", id_prefix="v", batch_size=64)
        assert (report.records, report.vectors) == (300, {"default": 300})
        assert collection.search(vector=X[17], k=1).ids == ["v17"]
        generation = collection.stats().generation
        X[250, 3] = np.nan
        np.save(tmp_path / "bad.npy", X)
        with pytest.raises(NonFiniteError, match="250"):
            collection.add_vectors(tmp_path / "bad.npy", id_prefix="w", batch_size=64)
        np.save(tmp_path / "wide.npy", np.ones((3, 9)))
        with pytest.raises(DimensionError):
            collection.add_vectors(tmp_path / "wide.npy")
        with pytest.raises(DimensionError):
            collection.add_vectors(tmp_path / "x.npy", ids=["only one"])
        assert (len(collection), collection.stats().generation) == (300, generation)


def test_zero_vectors_are_fine_where_the_metric_allows_them(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 4)))
    with orthant.open(tmp_path / "l2", metric="l2") as collection:
        assert collection.add_vectors(tmp_path / "x.npy").records == 2
    with orthant.open(tmp_path / "cosine") as collection, pytest.raises(InputError, match="zero"):
        collection.add_vectors(tmp_path / "x.npy")
