"""Files of arxiv-for-fanns: read as they are, refused where they do not fit; real attributes of short texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from orthant.datasets.readers.filtered import Filters, read_fanns, short_text_filters
from orthant.datasets.vector_files import write_vectors
from orthant.errors import InputError, NotFoundError


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    write_vectors(tmp_path / "database_vectors.fvecs", rng.standard_normal((5, 3)).astype(np.float32))
    write_vectors(tmp_path / "query_vectors.fvecs", rng.standard_normal((2, 3)).astype(np.float32))
    rows = [
        {"number_of_sub_categories": n, "update_date": date, "main_categories": tags, "authors": ["x"]}
        for n, date, tags in (
            (1, 20200101, ["cs"]), (2, 20200315, ["cs", "math"]), (1, 20210601, []), (3, 20190101, None),
            (1, 20200102, ["math"]),
        )
    ]  # fmt: skip
    write_lines(tmp_path / "database_attributes.jsonl", rows)
    write_lines(tmp_path / "em_query_attributes.jsonl", [{"label": 1}, {"label": 9}])
    write_lines(tmp_path / "r_query_attributes.jsonl", [{"range_start": 20200101, "range_end": 20200315}] * 2)
    write_lines(tmp_path / "emis_query_attributes.jsonl", [{"label": "math"}, {"label": "cs"}])
    # Fewer neighbours than wanted: rows of differing lengths.
    np.array([3, 0, 4, 2, 0], "<i4").tofile(tmp_path / "ground_truth_em.ivecs")
    return tmp_path


def test_a_folder_is_read(folder):
    data = read_fanns(folder)
    assert data.base.shape == (5, 3) and data.queries.shape == (2, 3) and data.metric == "l2"
    allowed = {kind: [f.allowed(a).nonzero()[0].tolist() for a in f.asked] for kind, f in data.filters.items()}
    assert allowed == {"equality": [[0, 2, 4], []], "range": [[0, 1, 4]] * 2, "set": [[1, 4], [0, 1]]}
    assert [ids.tolist() for ids in data.filters["equality"].truth] == [[0, 4, 2], []]
    assert data.filters["set"].truth is None
    assert len(read_fanns(folder, limit=1).filters["set"].asked) == 1
    other = read_fanns(folder, columns={"set": "authors"}).filters["set"]
    assert other.column == "authors" and other.values[0] == ("x",)


def test_folders_that_do_not_fit_are_refused(folder):
    # Who runs the command line has no argument columns; both learn what the attributes are called.
    with pytest.raises(InputError, match=r"'authors', 'main_categories'.*columns=.*--attribute set=NAME"):
        read_fanns(folder, columns={"set": "nothing"})
    with pytest.raises(InputError, match="one of 'equality', 'range', 'set'"):
        read_fanns(folder, columns={"label": "authors"})
    np.array([3, 0, 9, 2, 0], "<i4").tofile(folder / "ground_truth_em.ivecs")
    with pytest.raises(InputError, match="names row 9"):
        read_fanns(folder)
    np.array([3, 0, 4], "<i4").tofile(folder / "ground_truth_em.ivecs")
    with pytest.raises(InputError, match="ends in row 0"):
        read_fanns(folder)
    (folder / "ground_truth_em.ivecs").unlink()
    write_lines(folder / "r_query_attributes.jsonl", [{"range_start": 2, "range_end": 1}] * 2)
    with pytest.raises(InputError, match="line 1"):
        read_fanns(folder)
    (folder / "r_query_attributes.jsonl").unlink()
    write_lines(folder / "em_query_attributes.jsonl", [{"label": 1}])
    with pytest.raises(InputError, match="one per query"):
        read_fanns(folder)
    (folder / "em_query_attributes.jsonl").unlink()
    write_lines(folder / "database_attributes.jsonl", [{"main_categories": "cs"}] * 5)
    with pytest.raises(InputError, match="a list"):
        read_fanns(folder)
    (folder / "emis_query_attributes.jsonl").unlink()
    with pytest.raises(NotFoundError, match="query attributes"):
        read_fanns(folder)
    with pytest.raises(NotFoundError, match="database_vectors"):
        read_fanns(folder / "nowhere")


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("database_attributes", b'{"main_categories": ["\xff"]}', "line 2.*UTF-8|UTF-8.*line 2"),
        ("database_attributes", b'{"main_categories": [["cs"]]}', "line 2.*a list of strings"),
        ("database_attributes", b'{"number_of_sub_categories": [1]}', "line 2.*a string or a number"),
        ("em_query_attributes", b'{"label": {"a": 1}}', "line 2.*a string or a number"),
        ("emis_query_attributes", b'{"label": ["cs"]}', "line 2.*a string or a number"),
        ("r_query_attributes", b'{"range_start": NaN, "range_end": 3}', "line 2.*numbers"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(folder, name, line, says):
    path = folder / f"{name}.jsonl"
    lines = path.read_bytes().splitlines()
    lines[1] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(InputError, match=says):
        read_fanns(folder)


def test_rows_without_a_value_fit_nothing():
    assert not Filters("equality", "x", [None], [1]).allowed(1).any()
    assert not Filters("range", "x", [None], [(0, 1)]).allowed((0, 1)).any()
    assert not Filters("set", "x", [None], ["a"]).allowed("a").any()


def test_short_texts_have_real_attributes(data_root):
    data = short_text_filters(relation="own")
    assert len(data.base) == len(data.filters["set"].values) == 70_000
    assert {f.kind for f in data.filters.values()} == {"equality", "range", "set"}
    for filters in data.filters.values():
        assert len(filters.asked) == len(data.queries) == 2_000
    # A query of its own kind has neighbours of that kind; one that asks for a drawn kind has not.
    near = (data.queries[:60] @ data.base.T).argmax(axis=1).tolist()

    def fitting(filters):
        return np.mean([filters.values[i] == filters.asked[j] for j, i in enumerate(near)])

    own, drawn = (one.filters["equality"] for one in (data, short_text_filters(relation="drawn", seed=1)))
    assert fitting(own) > 0.4 > 2 * fitting(drawn)
