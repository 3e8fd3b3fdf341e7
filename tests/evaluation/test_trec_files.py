"""Run, judgement, query and corpus files: round trips and strictness."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.errors import InputError, NonFiniteError, NotFoundError
from orthant.evaluation import read_corpus, read_qrels, read_queries, read_run, write_qrels, write_run
from orthant.measures import score_run

identifiers = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)
finite = st.floats(-1e6, 1e6, allow_nan=False)
table = st.dictionaries(identifiers, st.dictionaries(identifiers, finite, min_size=1, max_size=6), max_size=4)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(run=table, grades=st.integers(-2, 4), name=st.sampled_from(["f.txt", "f.txt.gz"]))
def test_round_trips(tmp_path_factory, run, grades, name):
    folder = tmp_path_factory.getbasetemp()
    write_run(folder / name, run)
    again = read_run(folder / name)
    assert again == run
    qrels = {query: dict.fromkeys(results, grades) for query, results in run.items()}
    for layout in ("trec", "beir"):
        write_qrels(folder / name, qrels, layout=layout)
        assert read_qrels(folder / name) == qrels
    if run and grades >= 1:
        assert (
            score_run(again, qrels, ["ndcg@10"])["ndcg@10"].mean == score_run(run, qrels, ["ndcg@10"])["ndcg@10"].mean
        )


def test_files_written_are_what_trec_eval_reads(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run = {"q1": {"a": 0.1, "b": 0.1, "c": 0.3}, "q2": {"a": 1e-7}}
    qrels = {"q1": {"a": 1, "c": 0}, "q2": {"z": 2}}
    write_run(tmp_path / "run", run)
    write_qrels(tmp_path / "qrels", qrels, layout="trec")
    with open(tmp_path / "run") as handle:
        assert pytrec_eval.parse_run(handle) == run
    with open(tmp_path / "qrels") as handle:
        assert pytrec_eval.parse_qrel(handle) == qrels


def test_equal_content_gives_equal_bytes(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_run(tmp_path / name, {"q": {"d": 0.5}})
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    # Bytes 4 to 8 of a gzip file are its time stamp.
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4)


def test_gzip_is_known_by_content_not_by_name(tmp_path):
    path = tmp_path / "qrels.tsv"
    path.write_bytes(gzip.compress(b"query-id\tcorpus-id\tscore\nq\td\t1\n"))
    assert read_qrels(path) == {"q": {"d": 1}}


def test_beir_ids_may_hold_spaces_and_marks_and_line_ends_are_dropped(tmp_path):
    path = tmp_path / "qrels.tsv"
    path.write_bytes(b"\xef\xbb\xbfquery-id\tcorpus-id\tscore\r\nq 1\td 1\t1\r\n\r\n")
    assert read_qrels(path) == {"q 1": {"d 1": 1}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("q 0 d 1\nq 0 d\n", 2),
        ("q 0 d 1\nq 0 e one\n", 2),
        ("q 0 d 1\n\nq 0 d 0\n", 3),
        ("q 0 d 1.5\n", 1),
        ("query-id\tcorpus-id\tscore\nq\td\n", 2),
        ("query-id\tcorpus-id\tscore\nq\t\t1\n", 2),
        ("q\td\t1\n", 1),
    ],
)
def test_bad_judgements_name_file_and_line(tmp_path, text, line):
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"bad\.tsv, line {line}"):
        read_qrels(path)


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("q Q0 d 1 0.5\n", InputError, 1),
        ("q Q0 d 1 0.5 t\nq Q0 e x 0.4 t\n", InputError, 2),
        ("q Q0 d 1 half t\n", InputError, 1),
        ("q Q0 d 1 nan t\n", NonFiniteError, 1),
        ("q Q0 d 1 inf t\n", NonFiniteError, 1),
        ("q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n", InputError, 2),
    ],
)
def test_bad_runs_name_file_and_line(tmp_path, text, error, line):
    path = tmp_path / "bad.run"
    path.write_text(text)
    with pytest.raises(error, match=rf"bad\.run, line {line}"):
        read_run(path)


def test_queries_and_corpus(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"_id": "1", "title": "T", "text": "B", "year": 3}\n\n{"_id": "2", "title": null, "text": "C"}\n')
    assert read_corpus(path) == {"1": "T\nB", "2": "C"}
    assert read_queries(path) == {"1": "B", "2": "C"}
    for text in (
        '{"_id": 1, "text": "a"}',
        '{"_id": "1"}',
        "[1]",
        "{",
        '{"_id": "1", "text": ""}\n{"_id": "1", "text": ""}',
    ):
        path.write_text('{"_id": "0", "text": "a"}\n' + text)
        with pytest.raises(InputError, match=r"x\.jsonl, line [23]"):
            read_queries(path)


def test_damaged_and_absent_files(tmp_path):
    path = tmp_path / "f.gz"
    whole = gzip.compress("".join(f"q 0 d{i} 1\n" for i in range(5000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged file"):
        read_qrels(path)
    path.write_bytes(b"q 0 \xff 1\n")
    with pytest.raises(InputError, match="damaged file"):
        read_qrels(path)
    with pytest.raises(NotFoundError):
        read_run(tmp_path / "absent")


def test_what_a_layout_cannot_hold_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "f"
    write_run(path, {"q": {"d": 1.0}})
    before = path.read_bytes()
    for error, call in (
        (InputError, lambda: write_run(path, {"q": {"a b": 1.0}})),
        (InputError, lambda: write_run(path, {"q": {"d": 1.0}}, tag="")),
        (NonFiniteError, lambda: write_run(path, {"q": {"d": float("nan")}})),
        (InputError, lambda: write_qrels(path, {"q 1": {"d": 1}}, layout="trec")),
        (InputError, lambda: write_qrels(path, {"q\t1": {"d": 1}})),
        (InputError, lambda: write_qrels(path, {"q": {"d": 0.5}})),
        (InputError, lambda: write_qrels(path, {"q": {"d": 1}}, layout="csv")),
    ):
        with pytest.raises(error):
            call()
    assert path.read_bytes() == before
