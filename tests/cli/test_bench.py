"""``orthant bench``: JSON with the promised keys, files, tables, and refusals."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Vectors and queries, in two formats."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.standard_normal((600, 8)).astype(np.float16))
    np.savez(folder / "q.npz", all=rng.standard_normal((40, 8)))
    return ["--vectors", folder / "x.npy", "--queries", f"{folder / 'q.npz'}:all"]


def test_ann_prints_one_object_with_the_promised_keys(run, files):
    ran = run("bench", "ann", *files, "--peers", "none", "--repetitions", 1, "--recall", 0.9, "--k", 3, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["missing"] == []
    (entry,) = ran.json["results"]
    assert entry["engine"] == "orthant" and entry["threads"] == 1
    assert entry["qps_at"].keys() == {"0.90", "0.95", "0.99"}
    assert entry["points"][-1].keys() >= {"recall", "qps"} and entry["build_s"] >= 0
    assert [one["asked"] for one in ran.json["kept"]] == [0.9]
    context = ran.json["context"]
    assert context["k"] == 3 and context["data"]["vectors"] == 600 and len(context["data_sha256"]) == 64


def test_ann_shows_a_table_and_writes_files(run, files, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    out = tmp_path / "figures"
    ran = run("bench", "ann", *files, "--peers", "none", "--repetitions", 1, "--metric", "l2", "--out", out)
    assert ran.code == 0, ran.err
    assert "orthant" in ran.out and "bytes/vector" in ran.out and "600 x 8, l2" in ran.out
    assert sorted(path.name for path in out.iterdir()) == ["ann.html", "ann.json", "ann.png"]


def test_filtered_shows_a_table_and_writes_json(run, files, tmp_path):
    chosen = [*files, "--selectivity", 0.1, "--cell-budget-s", 0.01, "--out", tmp_path]
    ran = run("bench", "filtered", *chosen)
    assert ran.code == 0, ran.err
    assert "anti-correlated" in ran.out and "unlike in 0 of 3" in ran.out
    assert len(json.loads((tmp_path / "filtered.json").read_text())["cells"]) == 9


def test_what_makes_no_sense_is_refused(refused, files, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    refused("bench", "ann", says=["--data NAME"])
    refused("bench", "ann", *files, "--data", "mnist", says=["Choose one"])
    refused("bench", "ann", "--data", "nothing", says=["minilm_short_texts"])
    refused("bench", "ann", "--data", "token_vectors", says=["make_vectors.py"])
    refused("bench", "ann", *files, "--peers", "annoy", says=["annoy", "hnswlib"])
    refused("bench", "ann", *files, "--recall", "1.5", says=["1.5"])
    refused("bench", "ann", *files, "--metric", "hamming", says=["hamming", "cosine"])
    refused("bench", "filtered", *files, "--selectivity", "7", says=["selectivity"])
    refused("bench", "ann", "--vectors", tmp_path / "none.npy", "--queries", tmp_path / "none.npy", says=["none.npy"])
    refused("bench", "collection", "--rivals", "pinecone", says=["pinecone", "lancedb"])


def test_study_of_filters_runs_over_a_folder(run, tmp_path):
    from orthant.datasets.vector_files import write_vectors

    rng = np.random.default_rng(0)
    write_vectors(tmp_path / "database_vectors.fvecs", rng.standard_normal((300, 6)).astype(np.float32))
    write_vectors(tmp_path / "query_vectors.fvecs", rng.standard_normal((8, 6)).astype(np.float32))
    rows = [json.dumps({"main_categories": ["cs"] if i % 2 else ["math"]}) for i in range(300)]
    (tmp_path / "database_attributes.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "emis_query_attributes.jsonl").write_text('{"label": "cs"}\n' * 8, encoding="utf-8")
    done = run("bench", "filtered", "--study", tmp_path, "--k", 5, "--count", 6, "--json")
    assert done.code == 0, done.err
    found = done.json["kinds"]
    assert [one["kind"] for one in found] == ["set"] and found[0]["queries"] == 6
    assert {"planner", "navigating-graph"} <= {arm["arm"] for arm in found[0]["arms"]}
    refused = run("bench", "filtered", "--study", tmp_path, "--data", "mnist")
    assert refused.code == 2 and "--study" in refused.err


def test_a_study_of_attributes_with_other_names(run, refused, published):
    path = published / "database_attributes.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("update_date", "year"), encoding="utf-8")
    study = ("bench", "filtered", "--study", published, "--count", 3, "--json")
    refused(*study, says=["'year'", "--attribute range=NAME"])
    done = run(*study, "--attribute", "range=year")
    assert done.code == 0, done.err
    assert {one["kind"]: one["column"] for one in done.json["kinds"]}["range"] == "year"
    refused(*study, "--attribute", "year", says=["KIND=NAME"])
    refused(*study, "--attribute", "dates=year", says=["dates", "'range'"])
    refused("bench", "filtered", "--study", "short_texts", "--attribute", "range=year", says=["short_texts"])
    refused("bench", "filtered", "--data", "mnist", "--attribute", "range=year", says=["--study"])


@pytest.fixture
def published(tmp_path):
    """A small folder with every file that the published study ships, truth by a plain scan."""
    from orthant.datasets.vector_files import write_vectors

    rng = np.random.default_rng(1)
    X, Q = rng.standard_normal((200, 6)).astype(np.float32), rng.standard_normal((9, 6)).astype(np.float32)
    write_vectors(tmp_path / "database_vectors.fvecs", X)
    write_vectors(tmp_path / "query_vectors.fvecs", Q)
    counts, dates = rng.integers(1, 4, 200).tolist(), rng.integers(14_000, 20_000, 200).tolist()
    tags = [[str(one) for one in rng.choice(["cs", "math", "stat"], rng.integers(1, 3), replace=False)] for _ in X]
    rows = [
        {"number_of_sub_categories": count, "update_date": date, "main_categories": some, "has_comment": True}
        for count, date, some in zip(counts, dates, tags, strict=True)
    ]
    asked = {
        "em": ([{"label": 1 + i % 3} for i in range(9)], lambda row, q: row["number_of_sub_categories"] == q["label"]),
        # The last range holds fewer rows than neighbours are wanted, so that its truth is shorter.
        "r": (
            [{"range_start": 14_000 + 300 * i, "range_end": 17_000} for i in range(8)]
            + [{"range_start": min(dates), "range_end": min(dates)}],
            lambda row, q: q["range_start"] <= row["update_date"] <= q["range_end"],
        ),
        "emis": ([{"label": "stat" if i % 2 else "cs"} for i in range(9)],
                 lambda row, q: q["label"] in row["main_categories"]),
    }  # fmt: skip
    for part, (queries, fits) in asked.items():
        words = []
        for q, wanted in zip(Q, queries, strict=True):
            order = [i for i in np.argsort(np.square(X - q).sum(axis=1)).tolist() if fits(rows[i], wanted)][:10]
            words += [len(order), *order]
        np.array(words, "<i4").tofile(tmp_path / f"ground_truth_{part}.ivecs")
        text = "".join(json.dumps(one) + "\n" for one in queries)
        (tmp_path / f"{part}_query_attributes.jsonl").write_text(text, encoding="utf-8")
    np.array([1, 0] * 9, "<i4").tofile(tmp_path / "ground_truth.ivecs")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "database_attributes.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_files_of_the_published_study_are_read_as_they_are(run, refused, published):
    study = ("bench", "filtered", "--study", published)
    done = run(*study, "--k", 10, "--count", 9, "--json")
    assert done.code == 0, done.err
    assert [(one["kind"], one["truth_agreement"]) for one in done.json["kinds"]] == [
        ("equality", 1.0), ("range", 1.0), ("set", 1.0),
    ]  # fmt: skip
    with (published / "r_query_attributes.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("not json\n")
    assert run(*study, "--count", 3, "--json").code == 0
    (published / "em_query_attributes.jsonl").write_text('{"label": 1}\n{"lable": 2}\n', encoding="utf-8")
    refused(*study, says=["em_query_attributes.jsonl", "line 2", "label"])
    (published / "em_query_attributes.jsonl").unlink()
    data = (published / "database_vectors.fvecs").read_bytes()
    (published / "database_vectors.fvecs").write_bytes(data[:-9])
    refused(*study, says=["database_vectors.fvecs"])
    (published / "database_vectors.fvecs").write_bytes(data[: 28 * 150])
    refused(*study, says=["database_attributes.jsonl", "150"])


def test_rivals_under_filters_are_asked_for_by_name(run, refused, files, tmp_path):
    chosen = ("bench", "filtered", *files, "--selectivity", 0.1, "--cell-budget-s", 0.01)
    ran = run(*chosen, "--rival", "numpy-table", "--json")
    assert ran.code == 0, ran.err
    assert all(cell["arms"]["numpy-table"]["recall"] == 1.0 for cell in ran.json["cells"])
    shown = run(*chosen, "--rival", "lancedb", "--rivals-python", tmp_path / "absent")
    assert shown.code == 0 and "lancedb is missing" in shown.out
    refused(*chosen, "--rival", "magic", says=["magic", "lancedb"])
