"""Clusters of a collection: labels, sizes, medoids, words, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.collection.collection import Collection
from orthant.collection.duplicates.clusters import silhouette
from orthant.errors import InputError, NotFoundError

TOPICS = {
    "sea": ("ships", "sailing", "harbour", "waves"),
    "bread": ("ovens", "dough", "flour", "baking"),
    "sky": ("clouds", "winds", "stars", "storms"),
}
SIZES = {"sea": 40, "bread": 30, "sky": 20}


@pytest.fixture(params=["cosine", "l2"])
def filled(tmp_path, request):
    """Three heaps of vectors with words of their own and common ones."""
    rng = np.random.default_rng(0)
    topics = [topic for topic, size in SIZES.items() for _ in range(size)]
    rng.shuffle(topics)
    centres = {topic: 4 * rng.standard_normal(8) for topic in TOPICS}
    texts = [
        " ".join([*rng.choice(TOPICS[t], size=3, replace=False), "common", f"filler{i}"]) for i, t in enumerate(topics)
    ]
    X = [centres[t] + 0.4 * rng.standard_normal(8) for t in topics]
    with Collection(tmp_path / "c", metric=request.param) as collection:
        ids = [f"{topic}-{i}" for i, topic in enumerate(topics)]
        metadata = [{"topic": t, "i": i} for i, t in enumerate(topics)]
        for part in (slice(0, 30), slice(30, None)):
            collection.upsert(ids[part], texts=texts[part], vectors=X[part], metadata=metadata[part])
        collection.upsert(["plain"], texts=["no vector here"], vectors=[None])
        yield collection


@pytest.mark.parametrize("options", [{"k": 3}, {}, {"method": "graph", "neighbours": 15}])
def test_heaps_are_found_with_their_words(filled, options):
    report = filled.clusters(**options)
    assert [cluster.size for cluster in report.clusters] == [40, 30, 20]
    assert report.left_out == 1 and len(report.ids) == 90 and report.silhouette > 0.6
    for cluster, topic in zip(report.clusters, TOPICS, strict=True):
        members = report.members(cluster.label)
        assert len(members) == SIZES[topic] and {key.split("-")[0] for key in members} == {topic}
        assert len(cluster.words) == 4
        assert set(cluster.words) <= set(TOPICS[topic]), "words as written, not stems"
        X = np.stack([r.vectors["default"] for r in filled.get(members, vectors=True)]).astype(np.float64)
        if filled.spaces["default"].metric == "cosine":
            X /= np.linalg.norm(X, axis=1, keepdims=True)
        total = ((X[:, None] - X[None]) ** 2).sum(axis=(1, 2))
        assert cluster.medoid == members[int(total.argmin())]
    assert json.loads(json.dumps(report.to_dict()))["labels"][report.ids[0]] == int(report.labels[0])


def test_filters_words_and_seeds(filled):
    report = filled.clusters(2, where={"topic": {"in": ["sea", "sky"]}}, words=2, seed=3)
    assert [cluster.size for cluster in report.clusters] == [40, 20]
    assert all(len(cluster.words) == 2 for cluster in report.clusters)
    again = filled.clusters(2, where={"topic": {"in": ["sea", "sky"]}}, words=0, seed=3)
    assert (again.labels == report.labels).all() and all(cluster.words == () for cluster in again.clusters)
    filled.delete(where={"topic": "sea"})
    assert [cluster.size for cluster in filled.clusters(2).clusters] == [30, 20]


def test_loners_belong_to_no_cluster_of_a_graph(tmp_path):
    with Collection(tmp_path / "c", metric="l2") as collection:
        X = [[0, 0], [0, 1], [0, 2], [50, 0], [9, 9], [9, 8], [9, 7]]
        collection.upsert(list("abcdefg"), vectors=X)
        report = collection.clusters(method="graph", neighbours=2)
        assert report.members(0) == ["a", "b", "c"] and report.members(1) == ["e", "f", "g"]
        assert report.members(-1) == ["d"] and report.judged == 6


def test_silhouette_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    X, labels = rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 4, size=40)
    labels[0] = 9
    D = np.linalg.norm(X[:, None].astype(np.float64) - X[None], axis=2)
    values = []
    for i in range(40):
        own = [j for j in range(40) if labels[j] == labels[i] and j != i]
        if not own:
            values.append(0.0)
            continue
        a = D[i, own].mean()
        b = min(D[i, labels == other].mean() for other in set(labels.tolist()) - {labels[i]})
        values.append((b - a) / max(a, b))
    assert silhouette(X, labels) == pytest.approx(np.mean(values), abs=1e-6)
    assert silhouette(X, np.zeros(40, np.int64)) is None


def test_odd_collections(tmp_path):
    with Collection(tmp_path / "c") as collection:
        with pytest.raises(NotFoundError):
            collection.clusters()
        collection.add_space("default", dim=2)
        for options in ({}, {"method": "graph"}):
            empty = collection.clusters(**options)
            assert empty.clusters == () and empty.silhouette is None and empty.ids == ()
        collection.upsert(["a", "b"], vectors=[[1, 0], [1, 0]])
        assert [cluster.size for cluster in collection.clusters(2).clusters] == [2]


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"k": 91}, {"k": 2, "method": "graph"}, {"neighbours": 3}, {"method": "density"},
                {"method": "graph", "neighbours": 0}, {"words": -1}],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(filled, options):
    with pytest.raises(InputError):
        filled.clusters(**options)
