"""``orthant eval``: the harness's own figures, with all that is needed to repeat them."""

from __future__ import annotations

import gzip
import json

import pytest

import orthant
from orthant.cli.evaluate import CollectionSearcher
from orthant.evaluation.retrieval import evaluate

QUERIES = {"q1": "a toy flying in the wind", "q2": "ship in a port", "q3": "baking", "q4": "string instrument"}
QRELS = {"q1": {"kite": 2, "storm": 1}, "q2": {"boat": 1}, "q3": {"bread": 1}, "q4": {"violin": 1}}
METRICS = {"ndcg@10", "recall@100", "mrr@10", "map", "precision@10"}


@pytest.fixture
def judged(tmp_path, records_file):
    """Options that name a corpus, queries and judgements, one of them gzipped."""
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wb") as corpus:
        corpus.write(records_file.read_bytes())
    lines = "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in QUERIES.items())
    (tmp_path / "queries.jsonl").write_text(lines, encoding="utf-8")
    rows = "".join(f"{q}\t{d}\t{grade}\n" for q, grades in QRELS.items() for d, grade in grades.items())
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows, encoding="utf-8")
    names = {"--corpus": "corpus.jsonl.gz", "--queries": "queries.jsonl", "--qrels": "qrels.tsv"}
    return [str(part) for option, name in names.items() for part in (option, tmp_path / name)]


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_w66_figures_are_the_harness_own(run, judged, records_file, tmp_path, mode):
    ran = run("eval", *judged, "--encoder", "static", "--mode", mode, "--json")
    assert ran.code == 0
    assert ran.json.keys() == {"metrics", "missing", "context"}
    assert ran.json["metrics"].keys() == METRICS
    with orthant.open(tmp_path / "c", encoder="static") as collection:
        collection.add(records_file)
        expected = evaluate(CollectionSearcher(collection, mode), queries=QUERIES, qrels=QRELS)
    assert ran.json["metrics"] == pytest.approx(dict(expected.metrics), abs=0)
    assert ran.json["missing"] == list(expected.missing)


def test_w65_the_context_says_what_was_measured(run, judged):
    context = run("eval", *judged, "--encoder", "static", "--mode", "hybrid", "--json").json["context"]
    target = context["target"]
    assert (target["mode"], target["fusion"]) == ("hybrid", "minmax")
    assert target["weights"] == {"dense": 0.4, "lexical": 0.6}
    assert target["fingerprint"] == orthant.load_encoder("static").fingerprint
    assert len(context["data_sha256"]) == 64 and context["data"]["documents"] == 6
    assert {"orthant", "python", "numpy"} <= context["versions"].keys() and "cpu" in context["machine"]
    chosen = run(
        "eval", *judged, "--encoder", "static", "--fusion", "rrf", "--dense-weight", "0.5", "--json"
    ).json["context"]["target"]  # fmt: skip
    assert (chosen["fusion"], chosen["weights"]) == ("rrf", {"dense": 0.5, "lexical": 0.5})
    words = run("eval", *judged, "--encoder", "static", "--mode", "lexical", "--json").json["context"]["target"]
    assert words["fingerprint"] is None and words["fusion"] is None


def test_other_data_has_another_hash(run, judged, tmp_path):
    before = run("eval", *judged, "--mode", "lexical", "--json").json["context"]["data_sha256"]
    with (tmp_path / "qrels.tsv").open("a", encoding="utf-8") as file:
        file.write("q3\tkite\t1\n")
    assert run("eval", *judged, "--mode", "lexical", "--json").json["context"]["data_sha256"] != before


def test_missing_queries_are_listed_and_count_as_zero(run, judged, tmp_path):
    with (tmp_path / "queries.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"_id": "q5", "text": "zzxxqq"}\n')
    with (tmp_path / "qrels.tsv").open("a", encoding="utf-8") as file:
        file.write("q5\tkite\t1\n")
    ran = run("eval", *judged, "--mode", "lexical", "--json")
    assert "q5" in ran.json["missing"]
    assert f"{len(ran.json['missing'])} queries found nothing" in run("eval", *judged, "--mode", "lexical").out


def test_metrics_and_depth_can_be_chosen(run, judged):
    ran = run(
        "eval", *judged, "--encoder", "static", "--metric", "recall@1", "--metric", "map", "--depth", "500", "--json"
    )
    assert list(ran.json["metrics"]) == ["recall@1", "map"]
    assert ran.json["context"]["settings"]["depth"] == 500 and ran.json["context"]["target"]["candidates"] == 500


def test_a_person_sees_a_table_and_what_it_rests_on(run, judged):
    out = run("eval", *judged, "--encoder", "static").out
    for words in (
        "6 documents, 4 judged queries, hybrid search",
        "ndcg@10",
        "encoder:",
        "name=static-minilm",
        "minmax (dense 0.40",
    ):
        assert words in out


def test_refusals(refused, judged, monkeypatch, tmp_path):
    refused("eval", *judged, says=["--mode hybrid", "--encoder static"])
    refused("eval", *judged, "--mode", "fuzzy", says=["--mode", "fuzzy"])
    refused("eval", *judged, "--mode", "lexical", "--metric", "ndgc@10", says=["ndgc@10"])
    refused("eval", *judged, "--mode", "lexical", "--fusion", "rrf", says=["fusion"])
    refused("eval", *judged, "--mode", "lexical", "--depth", "5", says=["depth"])
    refused("eval", *judged[:4], says=["--qrels"])
    refused("eval", *judged, "--data", "cranfield", says=["--data NAME"])
    refused("eval", says=["--data NAME"])
    refused("eval", "--data", "cranfeld", says=["cranfield"])
    monkeypatch.delenv("ORTHANT_DATA", raising=False)
    refused("eval", "--data", "cranfield", "--mode", "lexical", says=["ORTHANT_DATA"])
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1"\n', encoding="utf-8")
    refused("eval", *judged, "--mode", "lexical", says=["queries.jsonl", "1"])


@pytest.mark.data
def test_a_named_set(run, data_root, monkeypatch):
    monkeypatch.setenv("ORTHANT_DATA", str(data_root))
    ran = run("eval", "--data", "cranfield", "--mode", "lexical", "--json")
    assert 0.3 < ran.json["metrics"]["ndcg@10"] < 0.5
    assert ran.json["context"]["data"]["name"] == "cranfield" and len(ran.json["context"]["data"]["files_sha256"]) == 64
