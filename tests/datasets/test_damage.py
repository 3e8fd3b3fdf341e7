"""Damaged files: the error names the file and the line, and nothing is guessed."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from orthant import datasets
from orthant.datasets.readers import files
from orthant.errors import InputError

CORPUS = [{"_id": "d1", "title": "", "text": "one"}, {"_id": "d2", "title": "t", "text": "two"}]
QUERIES = [{"_id": "q1", "text": "which"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td2\t1\n"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(gzip.compress(content.encode()))


@pytest.fixture
def tree(tmp_path):
    write(tmp_path / "npl" / "corpus.jsonl.gz", CORPUS)
    write(tmp_path / "npl" / "queries.jsonl.gz", QUERIES)
    write(tmp_path / "npl" / "qrels.tsv.gz", QRELS)
    return tmp_path


def test_a_small_tree_loads(tree):
    found = datasets.load("npl", root=tree)
    assert found.qrels == {"q1": {"d2": 1}}
    assert found.corpus[1] == datasets.Document("d2", "t", "two", {})


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("corpus.jsonl.gz", '{"_id": "d1", "title": "", "text": "x"}\n{"_id": "d2",\n', "line 2"),
        ("corpus.jsonl.gz", '["d1"]\n', "a JSON list"),
        ("corpus.jsonl.gz", '{"_id": "d1", "title": ""}\n', "no field 'text'"),
        ("corpus.jsonl.gz", '{"_id": 7, "title": "", "text": "x"}\n', "'_id' of type int"),
        ("corpus.jsonl.gz", [*CORPUS, CORPUS[0]], "second document with id 'd1' .*line 3"),
        ("queries.jsonl.gz", '{"_id": "q1", "text": null}\n', "'text' of type NoneType"),
        ("qrels.tsv.gz", "query\tdoc\tscore\nq1\td2\t1\n", "header .*line 1"),
        ("qrels.tsv.gz", QRELS + "q1\td2\n", "2 fields .*line 3"),
        ("qrels.tsv.gz", QRELS + "q9\td2\t1\n", "query 'q9' .*line 3"),
        ("qrels.tsv.gz", QRELS + "q1\td9\t1\n", "document 'd9' .*line 3"),
        ("qrels.tsv.gz", QRELS + "q1\td1\thigh\n", "score='high' .*line 3"),
        ("qrels.tsv.gz", QRELS + "q1\td1\tnan\n", "score='nan' .*line 3"),
        ("qrels.tsv.gz", "", "header .*line 1"),
    ],
)
def test_a_bad_row_names_file_and_line(tree, file, content, told):
    write(tree / "npl" / file, content)
    with pytest.raises(InputError, match=told) as caught:
        datasets.load("npl", root=tree)
    assert file in str(caught.value)


def test_truncated_foreign_and_wrongly_encoded_files_are_refused(tree):
    path = tree / "npl" / "corpus.jsonl.gz"
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole[:-4],
        b"plain text",
        gzip.compress(b'{"_id": "\xff"}\n'),
        b"\x1f\x8b",
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"corpus\.jsonl\.gz"):
            datasets.load("npl", root=tree)


def test_bad_csv_rows(tmp_path):
    folder = tmp_path / "word_benchmarks" / "word-similarity" / "monolingual" / "en"
    folder.mkdir(parents=True)
    (folder / "simlex999.csv").write_text(",word1,word2,similarity\n0,a,b,3\n1,c,d,much\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"similarity='much' .*line 3"):
        datasets.load("word_benchmarks", root=tmp_path)
    (folder / "simlex999.csv").write_text(",word1,word2,similarity\n0,a,b\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"3 fields .*line 2"):
        datasets.load("word_benchmarks", root=tmp_path)
    outliers = tmp_path / "word_benchmarks" / "outlier-detection" / "monolingual" / "en"
    outliers.mkdir(parents=True)
    (outliers / "8-8-8.csv").write_text(",category,outliers,words\n0,c,open('x'),\"['a']\"\n", encoding="utf-8")
    with pytest.raises(InputError, match="list of words"):
        datasets.load("word_benchmarks", task="outliers", root=tmp_path)


def test_bad_numbers_labels_and_answers(tmp_path):
    write(tmp_path / "amazon_hin" / "user_item.tsv.gz", "user\titem\trating\ttimestamp\n1\t2\t5\t9\n1\tx\t5\t9\n")
    with pytest.raises(InputError, match=r"item='x' .*line 3"):
        datasets.load("amazon_hin", root=tmp_path)
    write(tmp_path / "stackoverflow_titles" / "titles.tsv.gz", "label\ttitle\n21\thow\n")
    with pytest.raises(InputError, match=r"label='21' .*line 2"):
        datasets.load("stackoverflow_titles", root=tmp_path)
    row = {"_id": "0", "question": "q", "options": ["a"], "answer": 1, "explanation": "e", "category": "c"}
    write(tmp_path / "teleqna" / "teleqna.jsonl.gz", [row])
    with pytest.raises(InputError, match=r"answer=1 .*line 1"):
        datasets.load("teleqna", root=tmp_path)
    header = "split\tquestion\tsentence\tlabel\n"
    write(tmp_path / "trecqa" / "trecqa.tsv.gz", header + "train\tq\ts\tyes\n")
    with pytest.raises(InputError, match=r"label='yes' .*line 2"):
        datasets.load("trecqa", root=tmp_path)


def test_a_candidate_judged_twice_keeps_the_higher_grade(tmp_path):
    rows = "train\tq\ts\t1\ntrain\tq\ts\t0\ntrain\tq\tother\t0\ndev\tq2\ts\t0\n"
    write(tmp_path / "trecqa" / "trecqa.tsv.gz", "split\tquestion\tsentence\tlabel\n" + rows)
    found = datasets.load("trecqa", root=tmp_path)
    assert found.qrels == {"q0": {"s0": 1, "s1": 0}, "q1": {"s0": 0}}
    assert found.judged == ["q0"]


def test_a_table_target_out_of_range_and_a_missing_number(tmp_path):
    header = [
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education_num",
        "marital_status",
        "occupation",
        "relationship",
        "race",
        "sex",
    ]
    header += ["capital_gain", "capital_loss", "hours_per_week", "native_country", "income"]
    row = ["25", "?", "1", "a", "7", "b", "c", "d", "e", "f", "0", "0", "40", "g", "0"]
    lines = ["\t".join(header), "\t".join(row), "\t".join(["?", *row[1:]])]
    write(tmp_path / "adult" / "train.tsv.gz", "\n".join(lines) + "\n")
    found = datasets.load("adult", split="train", root=tmp_path)
    assert found.numeric["age"][0] == 25
    assert np.isnan(found.numeric["age"][1])
    assert found.categorical["workclass"].tolist() == ["", ""]
    write(tmp_path / "adult" / "train.tsv.gz", "\n".join([*lines, "\t".join([*row[:-1], "2"])]) + "\n")
    with pytest.raises(InputError, match=r"income='2' .*line 4"):
        datasets.load("adult", split="train", root=tmp_path)
    write(tmp_path / "adult" / "train.tsv.gz", "\n".join([*lines, "\t".join(["old", *row[1:]])]) + "\n")
    with pytest.raises(InputError, match=r"age='old' .*line 4"):
        datasets.load("adult", split="train", root=tmp_path)


def test_w50_arrays_refuse_pickles_missing_names_and_foreign_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npz"):
        files.arrays(path, ["x"])
    np.savez(path, x=np.arange(3))
    with pytest.raises(InputError, match="without y"):
        files.arrays(path, ["x", "y"])
    assert list(files.arrays(path, ["x"], optional=["y"])) == ["x"]
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match=r"a\.npz"):
        files.arrays(path, ["x"])
    single = tmp_path / "a.npy"
    np.save(single, np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"a\.npy"):
        files.load_array(single)


def test_queries_can_be_thinned_or_sampled_with_a_seed(tmp_path):
    fields = {"title": "t", "text": "answer", "qtype": "x", "source": "y"}
    rows = [{"_id": f"a{i}", "question": f"what {i % 20}", **fields} for i in range(30)]
    write(tmp_path / "medquad" / "qa.jsonl.gz", rows)
    every = datasets.load("medquad", every=1, root=tmp_path)
    assert len(every) == 20
    assert every.qrels["a3"] == {"a3": 1, "a23": 1}
    assert list(datasets.load("medquad", root=tmp_path).queries) == ["a0", "a8", "a16"]
    sampled = [datasets.load("medquad", sample=5, seed=s, root=tmp_path).queries for s in (1, 1, 2)]
    assert len(sampled[0]) == 5
    assert sampled[0] == sampled[1] != sampled[2]
    assert len(datasets.load("medquad", sample=99, root=tmp_path)) == 20
    with pytest.raises(InputError, match="every=0"):
        datasets.load("medquad", every=0, root=tmp_path)


def test_a_reverse_dictionary_asks_for_the_words_of_a_definition(tmp_path):
    header = "synset\tpos\tlexfile\tmembers\tdefinition\texamples\tili\n"
    rows = [f"s{i}\tn\tnoun.animal\tword{i}|other{i}\tmeaning {i}\t\ti{i}\n" for i in range(4)]
    write(tmp_path / "wordnet" / "synsets.tsv.gz", header + "".join(rows))
    found = datasets.load_retrieval("wordnet", every=2, root=tmp_path)
    assert found.queries == {"s0": "meaning 0", "s2": "meaning 2"}
    assert found.qrels == {"s0": {"s0": 1}, "s2": {"s2": 1}}
    assert found.corpus[1].text == "word1, other1"
    write(tmp_path / "wordnet" / "relations.tsv.gz", "source\trelation\ttarget\ns0\thypernym\ts9\n")
    with pytest.raises(InputError, match=r"s0 -> s9 .*line 2"):
        datasets.load("wordnet", root=tmp_path)


def test_vectors_and_rows_must_match(tmp_path):
    folder = tmp_path / "minilm_short_texts"
    for name, rows in (("base", 3), ("queries_in", 2), ("queries_out", 2)):
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{name}.npy", np.ones((rows, 4), dtype=np.float16))
        write(folder / f"{name}.tsv.gz", "source\tid\ttext\n" + "a\tb\tc\n" * 2)
    with pytest.raises(InputError, match=r"base\.tsv\.gz"):
        datasets.load("minilm_short_texts", root=tmp_path)
    assert datasets.load("minilm_short_texts", texts="drop", root=tmp_path).base.shape == (3, 4)


def test_word_vectors_must_be_even_and_numeric(tmp_path):
    path = tmp_path / "vectors_small" / "glove_6B_100d_first100.txt.gz"
    write(path, "the 1 2 3\nof 1 2\n")
    with pytest.raises(InputError, match=r"2 values .*line 2"):
        datasets.load("vectors_small", part="glove", root=tmp_path)
    write(path, "the 1 2 x\n")
    with pytest.raises(InputError, match=r"'the' .*line 1"):
        datasets.load("vectors_small", part="glove", root=tmp_path)


def test_a_graph_with_edges_outside_is_refused(tmp_path):
    (tmp_path / "graphs").mkdir()
    np.savez(tmp_path / "graphs" / "cora.npz", edges=np.array([[0, 5]], dtype=np.int32), num_nodes=np.int64(3))
    with pytest.raises(InputError, match="between known nodes"):
        datasets.load("graphs", root=tmp_path)
