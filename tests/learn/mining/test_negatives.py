"""Mining against a plain loop in float64, against sentence-transformers, and over an approximate index."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.encoders.callable import CallableEncoder
from orthant.errors import InputError, NonFiniteError, NotFoundError
from orthant.index import Flat, Graph
from orthant.learn.mining.negatives import mine_negatives
from orthant.learn.mining.rules import MiningRules
from orthant.learn.mining.soft_labels import soft_labels


def _unit(rng, n, d):
    X = rng.standard_normal((n, d)).astype(np.float32)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def _flat(X, metric="cosine"):
    index = Flat(X.shape[1], metric=metric)
    index.add(X)
    return index


@pytest.fixture(scope="module")
def scene():
    """60 queries near their positives, over 300 texts of which the last ten repeat the first ten."""
    rng = np.random.default_rng(3)
    X = _unit(rng, 300, 16)
    texts = [f"text number {i}" for i in range(290)] + [f"Text  number {i}" for i in range(10)]
    positives = [[int(i), int(i + 1)] if i % 3 == 0 else int(i) for i in rng.choice(289, 60, replace=False)]
    near = np.stack([X[p[0] if isinstance(p, list) else p] for p in positives])
    Q = near + 0.8 * _unit(rng, 60, 16)
    return X, texts, positives, Q / np.linalg.norm(Q, axis=1, keepdims=True)


def _mine(scene, **options):
    X, texts, positives, Q = scene
    options.setdefault("index", _flat(X))
    queries = [f"query {i}" for i in range(len(Q))]
    return mine_negatives(queries, positives, texts, query_vectors=Q, **options)


def _reference(scene, rules, groups=None):
    """Chosen ids per query by a loop over all texts in float64: top sampling."""
    X, texts, positives, Q = scene
    X, Q = X.astype(np.float64), Q.astype(np.float64)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    S = Q / np.linalg.norm(Q, axis=1, keepdims=True) @ X.T
    own = [S[i, p].min() if isinstance(p, list) else S[i, p] for i, p in enumerate(positives)]
    pooled = [S[i, j] for i, p in enumerate(positives) for j in (p if isinstance(p, list) else [p])]
    threshold = np.inf if rules.percentile_margin is None else np.percentile(pooled, rules.percentile_margin)
    out = []
    for i, p in enumerate(positives):
        relevant = set(p if isinstance(p, list) else [p])
        same = {" ".join(texts[j].lower().split()) for j in relevant}
        chosen, seen, rank = [], set(), -1
        for j in np.argsort(-S[i], kind="stable"):
            form = " ".join(texts[j].lower().split())
            if j in relevant or form in same or form in seen:
                continue
            if groups is not None and groups[j] in {groups[r] for r in relevant}:
                continue
            seen.add(form)
            rank += 1
            s = S[i, j]
            keep = rules.ranks[0] <= rank < rules.ranks[1]
            keep &= rules.absolute_margin is None or s < own[i] - rules.absolute_margin
            keep &= rules.relative_margin is None or s < own[i] - rules.relative_margin * abs(own[i])
            keep &= s < threshold
            keep &= rules.max_score is None or s <= rules.max_score
            keep &= rules.min_score is None or s >= rules.min_score
            if keep and len(chosen) < rules.num_negatives:
                chosen.append(int(j))
        out.append(chosen)
    return out


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ranks": (7, 20)},
        {"absolute_margin": 0.1},
        {"relative_margin": 0.3},
        {"percentile_margin": 10.0},
        {"max_score": 0.4},
        {"min_score": 0.45, "num_negatives": 10},
        {"relative_margin": 0.1, "max_score": 0.6, "min_score": 0.2, "ranks": (2, 30), "num_negatives": 5},
    ],
    ids=lambda s: "+".join(s) or "plain",
)
def test_every_rule_equals_a_plain_loop(scene, settings):
    rules = MiningRules(**settings)
    plain = _reference(scene, MiningRules(num_negatives=rules.num_negatives))
    expected = _reference(scene, rules)
    mined = _mine(scene, rules=rules, depth=300)
    assert [row.tolist() for row in mined.ids] == expected
    assert not settings or expected != plain  # the rule did something here


def test_groups_and_known_ids_are_never_negatives(scene):
    groups = [i // 10 for i in range(300)]
    mined = _mine(scene, groups=groups, depth=300)
    assert [row.tolist() for row in mined.ids] == _reference(scene, MiningRules(), groups)
    first = [row[:1].tolist() for row in mined.ids]
    again = _mine(scene, groups=groups, known=first, depth=300)
    assert not any(set(a) & set(row.tolist()) for a, row in zip(first, again.ids, strict=True))


def test_every_rejected_candidate_has_its_reason(scene):
    X, texts, positives, Q = scene
    texts = [*texts]
    vectors = X.copy()
    vectors[5], texts[5] = Q[0], "Query  0"  # equal in text to a query
    mined = _mine(
        (vectors, texts, positives, Q), rules=MiningRules(relative_margin=0.3, max_score=0.35, min_score=0.1), depth=300
    )
    rejected = list(mined.rejections())
    assert len(rejected) + sum(map(len, mined.ids)) == 60 * 300
    reasons = {(r["query"], r["id"]): r["reason"] for r in rejected}
    assert reasons[0, 5] == "same text as query"
    assert {"relevant", "repeated text", "beyond ranks", "relative margin", "above max score", "not sampled"} <= set(
        reasons.values()
    )
    for (row, key), reason in reasons.items():
        relevant = positives[row] if isinstance(positives[row], list) else [positives[row]]
        assert (reason == "relevant") == (key in relevant)
    report = mined.report()
    assert report.rejected == {reason: list(reasons.values()).count(reason) for reason in set(reasons.values())}
    assert report.chosen + sum(report.rejected.values()) == report.candidates == 60 * 300


def test_what_is_left_is_counted_and_not_invented(scene):
    mined = _mine(scene, rules=MiningRules(num_negatives=5, min_score=0.6))
    counts = np.array([len(row) for row in mined.ids])
    assert counts.min() == 0 and (counts[counts > 0] < 5).any()
    report = mined.report()
    assert report.without_negatives == (counts == 0).mean()
    assert report.with_too_few == ((counts > 0) & (counts < 5)).mean()
    triplets, tuples = mined.to_rows(), mined.to_rows(layout="tuple")
    pairs = np.array([len(p) for p in mined.positives])
    assert len(triplets) == (counts * pairs).sum() and len(tuples) == pairs[counts == 5].sum()
    assert len(mined.to_rows(layout="list", fewest=0)) == pairs.sum()
    assert all(set(row) == {"anchor", "positive", *(f"negative_{i}" for i in range(1, 6))} for row in tuples)


def test_sampling_ways(scene):
    rules = {way: MiningRules(num_negatives=3, ranks=(0, 31), sampling=way) for way in ("top", "random", "spread")}
    mined = {way: _mine(scene, rules=r) for way, r in rules.items()}
    survivors = _reference(scene, MiningRules(num_negatives=31, ranks=(0, 31)))
    for row, pool in enumerate(survivors):
        assert mined["top"].ids[row].tolist() == pool[:3]
        assert mined["spread"].ids[row].tolist() == [pool[0], pool[15], pool[30]]
        assert set(mined["random"].ids[row].tolist()) <= set(pool)
    again, other = _mine(scene, rules=rules["random"]), _mine(scene, rules=rules["random"], seed=1)
    same = [np.array_equal(a, b) for a, b in zip(mined["random"].ids, again.ids, strict=True)]
    assert all(same) and not all(np.array_equal(a, b) for a, b in zip(again.ids, other.ids, strict=True))
    # A uniform draw of 3 out of 31, 60 times: every third of the ranks gets its share.
    places = [pool.index(i) for pool, ids in zip(survivors, mined["random"].ids, strict=True) for i in ids.tolist()]
    assert 30 < np.mean(np.array(places) < 10) * 180 < 90


def test_consistency_filter_drops_or_flags(scene):
    X, _, positives, Q = scene
    S = Q @ X.T
    expected = []
    for i, p in enumerate(positives):
        relevant = p if isinstance(p, list) else [p]
        others = np.delete(S[i], relevant)
        expected += [(i, j) for j in relevant if 1 + (others > S[i, j]).sum() > 4]
    assert 5 < len(expected) < 75
    dropped = _mine(scene, consistency_top_k=4)
    flagged = _mine(scene, consistency_top_k=4, inconsistent="flag")
    assert dropped.inconsistent == flagged.inconsistent == expected
    assert dropped.report().dropped_pairs == flagged.report().flagged_pairs == len(expected)
    assert dropped.report().pairs == flagged.report().pairs == 81
    kept = {(i, p) for i, row in enumerate(dropped.positives) for p in row}
    assert not kept & set(expected) and len(kept) == 81 - len(expected)
    assert sum(row["flagged"] for row in flagged.to_rows(layout="list")) == len(expected)
    # A query that lost all its pairs gets no negatives.
    assert all(len(ids) == 0 for ids, p in zip(dropped.ids, dropped.positives, strict=True) if not p)
    assert all(len(ids) == 3 for ids in flagged.ids)


def test_a_dropped_positive_no_longer_sets_the_margin(scene):
    dropped = _mine(scene, consistency_top_k=1, rules=MiningRules(relative_margin=0.05))
    for row, (ids, scores) in enumerate(zip(dropped.ids, dropped.scores, strict=True)):
        if dropped.positives[row]:
            assert (scores < min(dropped.positive_scores[row]) * 0.95 + 1e-6).all() and len(ids)


def test_approximate_index_gives_the_exact_negatives(scene):
    index = Graph(16, metric="cosine", seed=0)
    index.add(scene[0])
    rules = MiningRules(relative_margin=0.2, num_negatives=5)
    exact = _mine(scene, rules=rules, consistency_top_k=20)
    mined = _mine(scene, index=index, rules=rules, consistency_top_k=20, recall=0.99)
    assert [r.tolist() for r in mined.ids] == [r.tolist() for r in exact.ids]
    assert mined.inconsistent == exact.inconsistent


class _ByNumber:
    """A teacher that prefers the text whose number is nearest to the query's."""

    def score(self, query, records):
        number = int(query.split()[1])
        return -np.abs(np.array([int(text.split()[-1]) for text in records], dtype=np.float32) - number)


def test_a_reranker_replaces_scores_and_order(scene):
    mined = _mine(scene, reranker=_ByNumber(), rules=MiningRules(absolute_margin=5.0), depth=300)
    _, texts, positives, _ = scene
    for row, ids in enumerate(mined.ids):
        relevant = positives[row] if isinstance(positives[row], list) else [positives[row]]
        worst = max(abs(r - row) for r in relevant)
        numbers = [abs(int(texts[i].split()[-1]) - row) for i in ids.tolist()]
        assert numbers == sorted(numbers) and all(n > worst + 5 for n in numbers)
        assert min(mined.positive_scores[row]) == -worst


def test_soft_labels_are_the_teachers(scene):
    mined = _mine(scene, rules=MiningRules(num_negatives=2))
    raw = soft_labels(mined, _ByNumber())
    sharp = soft_labels(mined, _ByNumber(), temperature=50.0)
    rows = mined.to_rows(layout="tuple", labels=raw)
    assert len(rows) == len(raw) == 81
    for (query, positive), values in raw.items():
        listed = [positive, *mined.ids[query].tolist()]
        expected = -np.abs(np.array([int(mined.texts[i].split()[-1]) for i in listed], dtype=np.float64) - query)
        np.testing.assert_array_equal(values, expected)
        softmax = np.exp(expected / 50) / np.exp(expected / 50).sum()
        np.testing.assert_allclose(sharp[query, positive], softmax, atol=1e-6)
    with pytest.raises(InputError, match="labels for triplets"):
        mined.to_rows(labels=raw)


def test_ids_of_an_index_with_gaps(scene):
    X, texts, positives, Q = scene
    ids = np.arange(300)[::-1] * 7 + 11
    index = Flat(16)
    index.add(X, ids)
    moved = [[int(ids[j]) for j in p] if isinstance(p, list) else int(ids[p]) for p in positives]
    corpus = {int(ids[i]): texts[i] for i in range(300)}
    mined = mine_negatives([f"query {i}" for i in range(60)], moved, corpus, index=index, query_vectors=Q)
    assert [r.tolist() for r in mined.ids] == [[int(ids[j]) for j in r] for r in _mine(scene).ids]


def test_an_encoder_encodes_queries_as_queries():
    seen = []

    class Recording(CallableEncoder):
        def encode(self, items, *, role="document", **options):
            seen.append(role)
            return super().encode(items, role=role, **options)

    encoder = Recording(lambda items: [[len(t), 1.0] for t in items], dim=2, name="lengths")
    index = _flat(np.array([[1, 1], [2, 1], [9, 1]], dtype=np.float32))
    mined = mine_negatives(["a"], [0], ["x", "yy", "z" * 9], index=index, encoder=encoder)
    assert seen == ["query"] and mined.ids[0].tolist() == [1, 2]


def test_files_hold_every_candidate(scene, tmp_path):
    mined = _mine(scene)
    mined.write(tmp_path / "mined")
    lines = [json.loads(x) for x in (tmp_path / "mined" / "rejected.jsonl").read_text().splitlines()]
    assert lines == list(mined.rejections())
    chosen = [json.loads(x)["negatives"] for x in (tmp_path / "mined" / "negatives.jsonl").read_text().splitlines()]
    assert chosen == [row.tolist() for row in mined.ids]
    assert json.loads((tmp_path / "mined" / "report.json").read_text())["chosen"] == 180
    assert "180 negatives" in str(mined.report())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"absolute_margin": -0.1}, "absolute_margin"),
        ({"relative_margin": -0.05}, "relative_margin"),
        ({"relative_margin": 1.5}, "relative_margin"),
        ({"percentile_margin": 101}, "percentile_margin"),
        ({"num_negatives": 0}, "num_negatives"),
        ({"num_negatives": 6, "ranks": (5, 10)}, "at least as many ranks"),
        ({"ranks": (5, 5)}, "ranks"),
        ({"ranks": (-1, 5)}, "ranks"),
        ({"ranks": 50}, "one past the last"),
        ({"sampling": "best"}, "sampling"),
        ({"min_score": 0.5, "max_score": 0.4}, "bounds in order"),
        ({"max_score": float("nan")}, "finite"),
    ],
)
def test_rules_out_of_range_are_refused(settings, text):
    with pytest.raises(InputError, match=text):
        MiningRules(**settings)


def _small(**changes):
    given = {
        "queries": ["a", "b"],
        "positives": [0, 1],
        "corpus": ["x", "y", "z"],
        "index": _flat(np.eye(3, dtype=np.float32)),
        "query_vectors": np.eye(3)[:2],
        **changes,
    }
    return mine_negatives(given.pop("queries"), given.pop("positives"), given.pop("corpus"), **given)


class _Broken:
    def __init__(self, scores):
        self._scores = scores

    def score(self, query, records):
        return self._scores(len(records))


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"positives": [0, 9]}, NotFoundError, "ids in positives without a text: 9"),
        ({"known": [[9], []]}, NotFoundError, "ids in known"),
        ({"corpus": ["x", "y"]}, NotFoundError, "ids found by the index"),
        ({"corpus": ["x", "y", "z", "w"], "positives": [0, 3]}, NotFoundError, "relevant id 3"),
        ({"corpus": ["x", " ", "z"]}, InputError, "corpus\\[1\\] without a word"),
        ({"queries": ["a", ""]}, InputError, "queries\\[1\\] without a word"),
        ({"positives": [0, []]}, InputError, "positives\\[1\\] without an id"),
        ({"positives": [0]}, InputError, "one entry per query"),
        ({"positives": [0, "1"]}, InputError, "integer ids"),
        ({"query_vectors": None}, InputError, "neither of encoder"),
        ({"query_vectors": np.eye(3)}, InputError, "3 vectors for 2 queries"),
        ({"groups": [1]}, InputError, "1 groups for 3 texts"),
        ({"inconsistent": "keep"}, InputError, "inconsistent"),
        ({"consistency_top_k": 0}, InputError, "consistency_top_k"),
        ({"corpus": []}, InputError, "empty corpus"),
        ({"reranker": _Broken(lambda n: np.zeros(n + 1))}, InputError, "reranker scores of shape"),
        ({"reranker": _Broken(lambda n: np.full(n, np.nan))}, NonFiniteError, "not finite"),
        (
            {"index": _flat(np.eye(3, dtype=np.float32), "l2"), "rules": MiningRules(relative_margin=0.05)},
            InputError,
            "relative margin with the metric 'l2'",
        ),
    ],
)
def test_bad_input_is_refused(changes, error, text):
    with pytest.raises(error, match=text):
        _small(**changes)


def test_fewer_texts_than_negatives_is_no_error():
    mined = _small(rules=MiningRules(num_negatives=10, ranks=(0, 10)))
    assert [len(row) for row in mined.ids] == [2, 2]
    assert mined.report().with_too_few == 1.0


def test_a_negative_positive_score_is_counted():
    index = _flat(np.array([[1, 0], [-1, 0.1], [0, 1]], dtype=np.float32))
    mined = mine_negatives(
        ["a"], [1], ["x", "y", "z"], index=index, query_vectors=[[1, 0]], rules=MiningRules(relative_margin=0.05)
    )
    assert mined.report().positives_not_above_zero == 1
    assert mined.report().without_negatives == 1.0  # all others score above the positive


def test_copies_of_a_relevant_text_are_named():
    index = _flat(np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3]], dtype=np.float32))
    mined = mine_negatives(["q"], [0], ["Lamp", "lamp ", "boat", "BOAT"], index=index, query_vectors=[[1, 0]])
    assert [r["reason"] for r in mined.rejections()] == ["relevant", "same text as relevant", "repeated text"]
    assert mined.ids[0].tolist() == [2]


def test_relevant_texts_do_not_count_against_each_other():
    index = _flat(np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3]], dtype=np.float32))
    options = {"index": index, "query_vectors": [[1, 0]], "consistency_top_k": 1}
    mined = mine_negatives(["q"], [[0, 2]], ["a", "b", "c", "d"], known=[[1]], **options)
    assert mined.positive_ranks == [[1, 1]] and mined.inconsistent == []
    assert mine_negatives(["q"], [[0, 2]], ["a", "b", "c", "d"], **options).inconsistent == [(0, 2)]


def test_a_second_search_is_made_only_for_positives_out_of_sight(scene):
    searched = []

    class Counting(Flat):
        def search(self, Q, k=10, **options):
            searched.append((len(Q), options.get("allowed")))
            return super().search(Q, k, **options)

    index = Counting(16)
    index.add(scene[0])
    _mine(scene, index=index, depth=300, batch_size=25)
    assert [count for count, _ in searched] == [25, 25, 10]
    searched.clear()
    mined = _mine(scene, index=index, depth=5)
    unseen = [set(p) - set(row.tolist()) for p, row in zip(mined.positives, mined.candidate_ids, strict=True)]
    assert [set(ids.tolist()) for _, ids in searched[1:]] == [ids for ids in unseen if ids]
