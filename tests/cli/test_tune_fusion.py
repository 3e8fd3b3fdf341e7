"""``orthant tune-fusion``: the library's report, stored only where asked and shown to be better."""

from __future__ import annotations

import json

import numpy as np
import pytest

import orthant

NAMES = ("red", "blue", "grey", "pale", "dark", "old")


@pytest.fixture
def judged(tmp_path):
    """Records that the shipped encoder tells by meaning, asked for in other words."""
    rng = np.random.default_rng(0)
    topics = {
        "A ship sails over the ocean": "vessel at sea", "The doctor treats a sick patient": "physician and illness",
        "A car drives down the road": "automobile on a street", "The baker makes fresh bread": "loaf from an oven",
        "The judge hears a case in court": "trial and law", "A teacher explains sums to pupils": "school mathematics",
        "The farmer harvests wheat in autumn": "crops and agriculture", "Snow falls on the mountain": "winter and ice",
    }  # fmt: skip
    texts, queries, qrels = {}, {}, {}
    for i, (text, query) in enumerate(topics.items()):
        for j in range(4):
            texts[f"r{i}-{j}"] = f"{text} {rng.choice(NAMES)} number {j}"
            words = list(topics)[int(rng.integers(8))].split()[1:3]
            queries[f"q{i}-{j}"] = f"{query} {' '.join(words)} {j}"
            qrels[f"q{i}-{j}"] = {f"r{i}-{n}": 1 for n in range(4)}
    with orthant.open(tmp_path / "c", encoder="static") as made:
        made.upsert(list(texts), texts=list(texts.values()))
    (tmp_path / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in queries.items()), encoding="utf-8"
    )
    rows = [f"{query}\t{key}\t{grade}" for query, held in qrels.items() for key, grade in held.items()]
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path, queries, qrels


def test_learn_apply_and_take_back(run, judged):
    folder, queries, qrels = judged
    files = ("--queries", str(folder / "queries.jsonl"), "--qrels", str(folder / "qrels.tsv"))
    first = run("tune-fusion", str(folder / "c"), *files, "--json")
    assert first.code == 0 and first.err == ""
    with orthant.open(folder / "c", read_only=True) as opened:
        assert opened.fusion is None
        assert first.json == json.loads(json.dumps(opened.tune_fusion(queries=queries, qrels=qrels).to_dict()))
    assert first.json["recommended"]
    applied = run("tune-fusion", str(folder / "c"), *files, "--apply")
    assert applied.code == 0 and applied.out.startswith("Use ") and "stored" in applied.err
    assert "fusion" in run("stats", str(folder / "c")).out
    assert run("stats", str(folder / "c"), "--json").json["fusion"]["source"] == "tuned"
    assert run("tune-fusion", str(folder / "c"), "--reset", "--json").json == {"reset": True}
    assert run("stats", str(folder / "c"), "--json").json["fusion"] is None


def test_refused(refused, judged, tmp_path):
    folder, *_ = judged
    refused("tune-fusion", str(folder / "nowhere"), "--reset", says=("no collection at",))
    refused("tune-fusion", str(folder / "c"), says=("--queries and --qrels",))
    refused("tune-fusion", str(folder / "c"), "--reset", "--apply", says=("--reset beside --apply",))
