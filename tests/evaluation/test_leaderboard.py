"""Leaderboards under exact and approximate search, and the vectors they are made from."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.generators import subspace_sphere
from orthant.datasets.kinds import Document, RetrievalSet
from orthant.errors import InputError
from orthant.evaluation import judged_vectors, leaderboard
from orthant.evaluation.judged_vectors import JudgedVectors, encode_judged, shrink
from orthant.evaluation.leaderboard import SETTINGS, GraphSetting, leaderboard_shift


def judged(name="set", n=60, q=10):
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    corpus = [Document(str(i), "", " ".join(rng.choice(words, 8))) for i in range(n)]
    queries = {f"q{i}": corpus[i].text for i in range(q)}
    return RetrievalSet(name, corpus, queries, {f"q{i}": {str(i): 1, str(n - 1 - i): 0} for i in range(q)})


def vectors(encoders):
    ids = tuple(str(i) for i in range(len(next(iter(encoders.values()))[0])))
    queries = tuple(f"q{i}" for i in range(len(next(iter(encoders.values()))[1])))
    return JudgedVectors("set", ids, queries, {q: {q[1:]: 1} for q in queries}, encoders)


def test_shrinking_keeps_what_is_relevant():
    small = shrink(judged(), documents=12, queries=5, seed=1)
    assert len(small.corpus) == 12 and len(small.queries) == 5
    names = {document.id for document in small.corpus}
    assert all(q[1:] in names for q in small.queries)
    assert all(set(grades) <= names for grades in small.qrels.values())
    assert {d.id for d in shrink(judged(), documents=12, queries=5, seed=2).corpus} != names
    assert [int(d.id) for d in small.corpus] == sorted(int(d.id) for d in small.corpus)
    with pytest.raises(InputError, match="judged"):
        shrink(RetrievalSet("x", [], {"q": "?"}, {}), documents=1, queries=1)


def test_vectors_are_made_once_per_text_and_recipe(tmp_path, monkeypatch):
    calls = []

    def make(documents, queries):
        calls.append(len(documents))
        return np.ones((len(documents), 3), np.float32), np.ones((len(queries), 3), np.float32)

    identity = ["one"]
    monkeypatch.setitem(judged_vectors.STUDY_ENCODERS, "counted", (lambda: identity[0], make))
    lines = []
    for _ in range(2):
        found = encode_judged(judged(), ["counted"], cache=tmp_path, progress=lines.append)
    assert calls == [60] and len(lines) == 1
    assert found.vectors["counted"][0].shape == (60, 3) and found.query_ids[0] == "q0"
    identity[0] = "two"
    encode_judged(judged(), ["counted"], cache=tmp_path)
    encode_judged(judged(n=61), ["counted"], cache=tmp_path)
    assert calls == [60, 60, 61]
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    encode_judged(judged(), ["counted"], cache=tmp_path)
    assert calls[-1] == 60 and len(calls) == 4
    with pytest.raises(InputError, match="encoder"):
        encode_judged(judged(), ["nothing"], cache=tmp_path)


def test_encoders_from_the_texts_alone_find_the_text_itself(tmp_path):
    made = encode_judged(judged(), ["lsa-100", "random-words", "static-128"], cache=tmp_path)
    for documents, queries in made.vectors.values():
        unit = documents / np.linalg.norm(documents, axis=1, keepdims=True)
        assert (np.argmax(queries @ unit.T, axis=1) == np.arange(10)).mean() >= 0.9
    assert made.vectors["static-128"][0].shape == (60, 128)


class _Half:
    """Finds the first neighbour for queries with an even number only."""

    def __init__(self, X):
        self.X = X

    def search(self, Q, k, *, effort):
        found = np.argsort(-(Q @ self.X.T), axis=1, kind="stable")[:, :k].astype(np.int64)
        if effort == 10:
            found[1::2] = -1
        return found, None


def test_losses_and_moves_are_counted(monkeypatch):
    built = []

    def build(engine, X, *, degree, construction, seed):
        built.append((degree, seed))
        return _Half(X) if degree == 4 and X.shape[1] == 20 else _Exact(X)

    class _Exact(_Half):
        def search(self, Q, k, *, effort):
            return super().search(Q, k, effort=0)

    monkeypatch.setattr(leaderboard, "build_graph", build)
    points = np.eye(20, dtype=np.float32)
    noisy = np.hstack([points, np.roll(points, 1, axis=0) * 1.1])
    asked = np.hstack([points, np.zeros((20, 20), np.float32)])
    # "short" is perfect until half its answers are lost; "long" stays at its lower level.
    asked[::4, 20:] = 2 * np.eye(20, dtype=np.float32)[::4]
    report = leaderboard_shift(
        [vectors({"short": (points, points), "long": (noisy, asked)})],
        settings={"poor": GraphSetting(4, 16, 10), "fine": GraphSetting(16, 128, 64)},
        seeds=(0, 1),
    )
    assert report.exact[0, 0] == 1 and 0.5 < report.exact[1, 0] < 1
    assert report.loss("poor")[0, 0] == pytest.approx(0.5) and report.loss("fine").max() == 0
    assert report.recall["poor"][0, 0] == pytest.approx(0.5)
    assert report.moves("poor").tolist() == [[1, 1], [1, 1]] and report.moves("fine").max() == 0
    assert report.figures("poor")["positions_moved"] == 1
    assert sorted(set(built)) == [(4, 0), (4, 1), (16, 0), (16, 1)]
    assert "poor: recall@10 0.75" in str(report)
    assert report.to_dict()["figures"]["fine"]["ndcg_lost"] == 0


def test_rows_without_a_word_are_left_out():
    pytest.importorskip("faiss")
    points = subspace_sphere(300, 16, 16, seed=0)
    empty = points.copy()
    empty[[5, 200]] = 0
    asked = points[:20].copy()
    asked[7] = 0
    report = leaderboard_shift([vectors({"whole": (points, points[:20]), "gaps": (empty, asked)})])
    # Query 7 has no vector and document 5 cannot be found: 18 of 20.
    assert report.exact[:, 0].tolist() == pytest.approx([1.0, 0.9])
    assert report.recall["high"].min() > 0.99
    assert set(report.approximate) == set(SETTINGS)


def test_sets_that_cannot_be_compared_are_refused():
    one = vectors({"a": (np.eye(12), np.eye(12))})
    with pytest.raises(InputError, match="two"):
        leaderboard_shift([one])
    with pytest.raises(InputError, match="at least one"):
        leaderboard_shift([])
