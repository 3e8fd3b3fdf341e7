"""The harness: targets, missing queries, context, comparison and tables."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from orthant.errors import DimensionError, EncoderMismatchError, InputError, NonFiniteError, NotFoundError
from orthant.evaluation import (
    DenseSearcher,
    compare,
    evaluate,
    evaluate_sts,
    hash_data,
    read_run,
    run_context,
    tabulate,
    write_run,
)
from orthant.evaluation.context import code_hash, versions
from orthant.types import EncodeReport, Report


class Letters:
    """Counts letters: an encoder small enough to reason about."""

    dim, fingerprint, max_tokens = 26, "letters/1", 8
    prompts = {"query": "", "document": ""}

    def encode(self, items, *, role="document", batch_size=64, progress=False):
        cut = [s[: self.max_tokens] for s in items]
        return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in cut], np.float32).reshape(-1, 26)

    def encode_with_report(self, items, *, role="document", batch_size=64, progress=False):
        long = [s for s in items if len(s) > self.max_tokens]
        report = EncodeReport(len(items), len(long), sum(len(s) - self.max_tokens for s in long))
        return self.encode(items, role=role), report


CORPUS = {"d1": "aab", "d2": "bcc", "d3": "", "d4": "ddddddddddd", "d5": "aab"}
QUERIES = {"q1": "aab", "q2": "bcc", "q3": "???", "q4": "unjudged"}
QRELS = {"q1": {"d1": 1}, "q2": {"d1": 1, "d2": 0}, "q3": {"d4": 1}}


def test_an_encoder_is_searched_exactly_and_described():
    report = evaluate(Letters(), corpus=CORPUS, queries=QUERIES, qrels=QRELS, metrics=["mrr", "recall@2"], seed=4)
    # d1 and d5 are equal, and equal scores go by id descending.
    assert report.scores["mrr"].per_query == {"q1": 0.5, "q2": pytest.approx(1 / 3), "q3": 0.0}
    assert report.missing == ["q3"]
    assert list(report.run["q1"])[:2] == ["d1", "d5"]
    target, data = report.context["target"], report.context["data"]
    assert target["fingerprint"] == "letters/1"
    assert target["max_tokens"] == 8
    assert target["prompts"] == {"query": "", "document": ""}
    assert target["dtype"] == "float32"
    assert target["documents_without_vector"] == 1
    assert (target["truncated_documents"], target["truncated_document_tokens"]) == (1, 3)
    assert (target["truncated_queries"], target["truncated_query_tokens"]) == (0, 0)
    assert (data["queries"], data["queries_unjudged"], data["documents"]) == (3, 1, 5)
    assert report.context["seeds"] == [4]
    assert len(report.context["data_sha256"]) == 64
    assert report.context["seconds"] >= 0
    assert set(report.to_dict()) == {"metrics", "missing", "context"}
    json.dumps(report.to_dict())


def test_w66_files_are_enough(tmp_path):
    rows = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES}
    for name, texts in rows.items():
        (tmp_path / name).write_text("".join(json.dumps({"_id": k, "text": v}) + "\n" for k, v in texts.items()))
    (tmp_path / "qrels.tsv.gz").write_bytes(
        gzip.compress(b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\nq2\td2\t0\nq3\td4\t1\n")
    )
    paths = {"corpus": tmp_path / "corpus.jsonl", "queries": str(tmp_path / "queries.jsonl")}
    from_files = evaluate(Letters(), **paths, qrels=tmp_path / "qrels.tsv.gz")
    from_memory = evaluate(Letters(), corpus=CORPUS, queries=QUERIES, qrels=QRELS)
    assert from_files.metrics == from_memory.metrics
    assert from_files.context["data"] == from_memory.context["data"]
    assert from_files.context["data_sha256"] == from_memory.context["data_sha256"]
    with pytest.raises(NotFoundError):
        evaluate(Letters(), corpus=tmp_path / "absent", queries=QUERIES, qrels=QRELS)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_dense_searcher_against_a_plain_sort(metric):
    rng = np.random.default_rng(0)
    texts = {f"d{i}": "".join(rng.choice(list("abcdef"), 6)) for i in range(200)}
    queries = ["".join(rng.choice(list("abcdef"), 6)) for _ in range(20)]
    searcher = DenseSearcher(Letters(), texts, metric=metric)
    X, Q = (Letters().encode(list(t)).astype(float) for t in (texts.values(), queries))
    products = Q @ X.T
    if metric == "cosine":
        products /= np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(X, axis=1)
    if metric == "l2":
        products = -((Q[:, None] - X[None]) ** 2).sum(2)
    for i, hits in enumerate(searcher.search_texts(queries, k=7)):
        best = np.sort(products[i])[::-1][:7]
        assert [score for _, score in hits] == pytest.approx(best.tolist(), abs=1e-5)
        assert [products[i][int(d[1:])] for d, _ in hits] == pytest.approx(best.tolist(), abs=1e-5)
    assert searcher.search_texts([], k=3) == []
    assert DenseSearcher(Letters(), {"d": "???"}).search_texts(["a"], k=3) == [[]]
    assert DenseSearcher(Letters(), {"d": "a"}).search_texts(["???"], k=3) == [[]]
    assert len(searcher.search_texts(["a"], k=1000)[0]) == 200


class Fixed:
    """A searcher with a script."""

    fingerprint = "fixed/1"

    def __init__(self, answers):
        self.answers = answers
        self.asked = None

    def search_texts(self, queries, *, k):
        self.asked = (list(queries), k)
        return [self.answers[q] for q in queries]


def test_w67_missing_queries_are_listed_or_refused():
    target = Fixed({"one": [("d1", 1.0)], "two": []})
    arguments = {"queries": {"a": "one", "b": "two"}, "qrels": {"a": {"d1": 1}, "b": {"d1": 1}}, "metrics": ["mrr"]}
    report = evaluate(target, **arguments)
    assert (report.metrics, report.missing) == ({"mrr": 0.5}, ["b"])
    assert report.context["target"] == {"kind": "Fixed", "fingerprint": "fixed/1"}
    with pytest.raises(InputError, match="no results"):
        evaluate(target, strict=True, **arguments)
    nothing = evaluate(Fixed({"one": [], "two": []}), **arguments)
    assert (nothing.metrics, nothing.missing) == ({"mrr": 0.0}, ["a", "b"])


def test_w68_self_matches_are_excluded_without_losing_a_place():
    target = Fixed({"x": [("a", 9.0), ("b", 2.0), ("c", 1.0)], "y": [("a", 3.0), ("b", 2.0), ("c", 1.0)]})
    arguments = {"queries": {"a": "x", "q": "y"}, "qrels": {"a": {"c": 1}, "q": {"c": 1}}, "metrics": ["map", "mrr@2"]}
    report = evaluate(target, exclude_self=True, depth=2, **arguments)
    assert target.asked[1] == 3
    assert report.run == {"a": {"b": 2.0, "c": 1.0}, "q": {"a": 3.0, "b": 2.0}}
    assert report.scores["map"].per_query == {"a": 0.5, "q": 0.0}


def test_judged_queries_without_text_are_left_out_and_counted():
    arguments = {"queries": {"a": "one"}, "qrels": {"a": {"d": 1}, "z": {"d": 1}}, "metrics": ["mrr"]}
    report = evaluate(Fixed({"one": [("d", 1.0)]}), **arguments)
    assert report.metrics["mrr"] == 1.0
    assert report.context["data"]["judged_without_text"] == 1
    with pytest.raises(InputError, match="without text"):
        evaluate(Fixed({"one": [("d", 1.0)]}), strict=True, **arguments)


def test_a_saved_run_gives_the_same_figures(tmp_path):
    report = evaluate(Letters(), corpus=CORPUS, queries=QUERIES, qrels=QRELS)
    write_run(tmp_path / "run.gz", report.run)
    again = evaluate(read_run(tmp_path / "run.gz"), queries=QUERIES, qrels=QRELS)
    assert again.metrics == report.metrics
    assert again.missing == report.missing


@pytest.mark.parametrize(
    ("target", "changes", "error", "words"),
    [
        (Letters(), {"corpus": None}, InputError, "corpus"),
        (object(), {}, InputError, "search_texts"),
        (Letters(), {"metrics": "mrr"}, InputError, "list of names"),
        (Letters(), {"metrics": ["mrr@200"]}, InputError, "raise depth|Raise depth"),
        (Letters(), {"metrics": ["mmr"]}, InputError, "metric 'mmr'"),
        (Letters(), {"queries": {"other": "x"}}, InputError, "no judged query"),
        (Letters(), {"queries": ["x"]}, InputError, "queries of type list"),
        (Letters(), {"queries": {"q1": None}}, InputError, "NoneType"),
        (Letters(), {"depth": 0}, InputError, "depth"),
        (Letters(), {"corpus": {}}, InputError, "no documents"),
        (Letters(), {"corpus": [{"text": "x"}]}, InputError, "without an id"),
        (Letters(), {"corpus": {"d1": {"title": "x"}}}, InputError, "without a text"),
        (Fixed({t: [("d1", float("nan"))] for t in QUERIES.values()}), {}, NonFiniteError, "'q1'"),
        (Fixed({t: [("d1", 1.0), ("d1", 0.5)] for t in QUERIES.values()}), {}, InputError, "twice"),
        ({"x": {"d1": 1.0}}, {}, InputError, "did not run"),
    ],
)
def test_bad_arguments_are_refused(target, changes, error, words):
    arguments = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS, "metrics": ["mrr"]} | changes
    with pytest.raises(error, match=words):
        evaluate(target, **arguments)


def test_a_searcher_that_loses_a_query_is_refused():
    class Short:
        def search_texts(self, queries, *, k):
            return [[("d1", 1.0)]] * (len(queries) - 1)

    with pytest.raises(InputError, match="2 rankings for 3 queries"):
        evaluate(Short(), queries=QUERIES, qrels=QRELS)


def test_an_encoder_that_loses_a_row_is_refused():
    class Short(Letters):
        def encode_with_report(self, items, **options):
            return self.encode(items)[1:], EncodeReport()

    with pytest.raises(EncoderMismatchError):
        DenseSearcher(Short(), CORPUS)


def three_arms():
    rng = np.random.default_rng(0)
    queries = {f"q{i}": "x" for i in range(40)}
    qrels = {q: {"d0": 1} for q in queries}
    good = {q: ["d0", "d1", "d2"] if rng.random() < 0.9 else ["d1", "d0"] for q in queries}
    poor = {q: ["d2", "d1", "d0"] for q in queries}
    make = {"queries": queries, "qrels": qrels, "metrics": ["mrr", "precision@1"]}
    return evaluate(poor, **make), evaluate(good, **make), make


def test_w69_comparison_and_table_explain_themselves():
    poor, good, _ = three_arms()
    arms = {"poor": poor, "good": good, "same": poor, "late": None}
    report = compare(arms, resamples=500)
    assert report.missing == ("late",)
    assert [(c.arm, c.metric, c.significant()) for c in report.comparisons] == [
        ("good", "mrr", True),
        ("same", "mrr", False),
        ("good", "precision@1", True),
        ("same", "precision@1", False),
    ]
    table = tabulate(arms, significance=report, digits=3)
    lines = table.text().splitlines()
    assert lines[0].split() == ["arm", "mrr", "precision@1"]
    assert lines[2].split() == ["poor", "(a)", "0.333", "0.000"]
    assert lines[3].split()[1].endswith("^a")
    assert "^" not in lines[4]
    assert lines[5].split() == ["late", "missing", "missing"]
    assert (
        "a: differs from poor (p < 0.05; two-sided paired randomisation test, 40 queries paired by id" in table.text()
    )
    assert "late did not run: missing is not zero." in table.text()
    assert "<sup>a</sup>" in table.markdown()
    plain = json.loads(json.dumps(table.to_dict()))
    assert plain["rows"]["late"] == {"mrr": None, "precision@1": None}
    assert plain["differs_from"]["good"]["mrr"] == ["poor"]
    assert plain["rows"]["poor"]["mrr"] == pytest.approx(1 / 3)
    with pytest.raises(InputError):
        tabulate(arms, metrics=["map"])
    with pytest.raises(InputError):
        tabulate({"late": None})


def test_w70_reports_on_other_data_are_not_compared():
    poor, good, make = three_arms()
    other = evaluate({q: ["d0"] for q in make["queries"]}, **make | {"qrels": {q: {"d1": 1} for q in make["queries"]}})
    with pytest.raises(InputError, match="qrels_sha256"):
        compare({"poor": poor, "other": other})
    few = dict(list(make["queries"].items())[:10])
    part = evaluate({q: ["d0"] for q in few}, **make | {"queries": few})
    found = compare({"poor": poor, "part": part}, metrics=["mrr"]).comparisons[0]
    assert (found.queries, len(found.dropped_baseline)) == (10, 30)
    for bad in ({"poor": None, "good": good}, {"poor": poor, "good": Report({"mrr": 1.0})}):
        with pytest.raises(InputError):
            compare(bad)
    with pytest.raises(InputError, match="no metric 'map'"):
        compare({"poor": poor, "good": good}, metrics=["map"])


def test_w65_the_context_names_machine_versions_code_and_data():
    context = run_context(seed=[1, 2], data_hash="x", packages=["no-such-package"])
    json.dumps(context)
    assert context["seeds"] == [1, 2]
    assert context["machine"]["cpu"]
    assert context["versions"]["numpy"] == np.__version__
    assert context["versions"]["no-such-package"] is None
    assert {"orthant", "python", "scipy", "numba"} <= set(versions())
    assert context["code_sha256"] == code_hash()
    assert run_context()["seeds"] == []


def test_the_code_hash_follows_the_sources(tmp_path, monkeypatch):
    import orthant.evaluation.context as module

    package = tmp_path / "orthant"
    (package / "evaluation").mkdir(parents=True)
    source = package / "evaluation" / "context.py"
    monkeypatch.setattr(module, "__file__", str(source))
    seen = []
    for content in (b"x = 1\n", b"x = 1\r\n", b"x = 2\n"):
        source.write_bytes(content)
        code_hash.cache_clear()
        seen.append(code_hash())
    (package / "a.py").write_text("")
    code_hash.cache_clear()
    seen.append(code_hash())
    code_hash.cache_clear()
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3


def test_data_hashes_tell_values_types_and_nesting_apart():
    values = [1, 1.0, "1", b"1", True, None, [1], [[1]], {"a": 1}, np.array([1]), np.array([1.0]), np.array([[1]]), []]
    assert len({hash_data(v) for v in values}) == len(values)
    assert hash_data(np.arange(6).reshape(2, 3)[:, ::2]) == hash_data(np.array([[0, 2], [3, 5]]))
    assert hash_data({1, 2}) == hash_data({2, 1})
    assert hash_data([["a"], "b"]) != hash_data([["a", "b"]])
    for bad in (object(), np.array([None])):
        with pytest.raises(InputError):
            hash_data(bad)


def test_similarity_is_correlated_and_undefined_pairs_are_listed():
    first, second = ["ab", "ab", "ab", "???", "abc"], ["ab", "bc", "cd", "a", "abd"]
    report = evaluate_sts(Letters(), first, second, [5, 2.5, 0, 5, 3])
    assert report.metrics["spearman"] == pytest.approx(1.0)
    assert report.missing == ["3"]
    assert report.context["data"] == {"pairs": 5, "pairs_used": 4}
    assert report.context["target"]["fingerprint"] == "letters/1"
    with pytest.raises(InputError, match="zero vector"):
        evaluate_sts(Letters(), first, second, [5, 2.5, 0, 5, 3], strict=True)
    with pytest.raises(DimensionError):
        evaluate_sts(Letters(), first, second, [1, 2])
    with pytest.raises(NonFiniteError):
        evaluate_sts(Letters(), first, second, [5, 2.5, np.nan, 5, 3])


def test_cranfield_with_a_trivial_run(data_root):
    folder = data_root / "cranfield"
    arguments = {"queries": folder / "queries.jsonl.gz", "qrels": folder / "qrels.tsv.gz"}
    target = DenseSearcher(Letters(), _cranfield_texts(folder))
    report = evaluate(target, **arguments, corpus=folder / "corpus.jsonl.gz", metrics=["ndcg@10", "recall@100"])
    assert report.context["data"]["queries"] == 225
    assert report.context["data"]["documents"] == 1400
    assert report.context["target"]["documents_without_vector"] == 2
    assert 0 < report.metrics["ndcg@10"] < report.metrics["recall@100"] < 0.5
    pytrec_eval = pytest.importorskip("pytrec_eval")
    from orthant.evaluation import read_qrels

    evaluator = pytrec_eval.RelevanceEvaluator(read_qrels(arguments["qrels"]), {"ndcg_cut.10"})
    expected = np.mean([v["ndcg_cut_10"] for v in evaluator.evaluate(report.run).values()])
    assert report.metrics["ndcg@10"] == pytest.approx(expected, abs=1e-9)


def _cranfield_texts(folder):
    from orthant.evaluation import read_corpus

    return read_corpus(folder / "corpus.jsonl.gz")
