"""Reading CSV and JSON lines: types, quotes, encodings, and every fault by file and line."""

from __future__ import annotations

import gzip
import os

import pytest

from fixtures.records import ROWS, check_parts, jsonl, whole
from orthant.datasets.records import read_records, scan_records
from orthant.errors import InputError

# ---------------------------------------------------------------- CSV


def test_csv_types_are_decided_by_the_whole_column(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid,text,int,float,zip,phone,late,empty,big,mixed,odd\r\n"
        b"007,12,1,1,02139,+49,1,,9223372036854775808,1,1_0\r\n"
        b'"8","a ""q"", b\nc",-2,2.5e3,10115,+1,2,,1,0.5,2\r\n'
        b"9,,,,,,x,,2,,3\r\n"
    )
    got = whole(path, batch_size=1)
    assert got.ids == ["007", "8", "9"]
    assert got.texts == ["12", 'a "q", b\nc', None]
    assert got.metadata[0] == {
        "int": 1,
        "float": 1.0,
        "zip": "02139",
        "phone": "+49",
        "late": "1",
        "big": "9223372036854775808",
        "mixed": 1.0,
        "odd": "1_0",
    }
    assert type(got.metadata[0]["float"]) is float
    assert got.metadata[1]["int"] == -2 and got.metadata[1]["float"] == 2500.0
    assert got.metadata[2] == {"late": "x", "big": "2", "odd": "3"}


def test_csv_wide_integers_are_not_rounded(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,text,n\na,x,9007199254740993\nb,x,0.5\n")
    assert whole(path).metadata[0] == {"n": "9007199254740993"}


def test_csv_declared_types(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,text,flag,n\n1,x,yes,5\n2,x,False,6\n")
    got = whole(path, types={"flag": "bool", "n": "str"})
    assert got.metadata == [{"flag": True, "n": "5"}, {"flag": False, "n": "6"}]
    with pytest.raises(InputError, match="line 2") as error:
        whole(path, types={"flag": "int"})
    check_parts(error, "'yes'", "'flag'")
    for types in ({"nope": "int"}, {"n": "date"}):
        with pytest.raises(InputError):
            read_records(path, types=types)


def test_csv_long_cells_delimiters_and_quotes(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f"id;text\n1;{'x' * 200_000}\n")
    assert len(whole(path, delimiter=";").texts[0]) == 200_000
    path = tmp_path / "x.tsv"
    path.write_text('id\ttext\n1\t"open\n2\tshut" \n')
    with pytest.raises(InputError, match="quote=None"):
        whole(path)
    assert whole(path, quote=None).texts == ['"open', 'shut" ']
    with pytest.raises(InputError, match="one character"):
        read_records(path, delimiter="||")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("id,text\n1,x\n2,x,y\n", "line 3"),
        ("id,text\n\n1\n", "line 3"),
        ('id,text\n1,"a\nb"\n2,"x"y\n', "line 4"),
        ('id,text\n1,x\n2,"never closed\n3,x\n', "line 3"),
        ("id,,text\n1,2,3\n", "column 1"),
        ("id,id,text\n1,2,3\n", "two columns"),
        ("", "header"),
    ],
)
def test_csv_faults_have_a_line(tmp_path, content, place):
    path = tmp_path / "books.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        scan_records(path)
    check_parts(error, "books.csv", place)


# ---------------------------------------------------------------- JSON lines


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "c", "text": "x"', "column 25"),
        (b'{"id": "c", "text": "x"} {}', "column"),
        (b"[1, 2]", "array"),
        (b'"text"', "string"),
        (b"null", "null"),
        (b'{"id": "c", "text": "\xff"}', "utf-8"),
        (b'{"id": "c", "text": 5}', "'text'"),
        (b'{"id": "c", "text": ["x"]}', "list"),
        (b'{"id": 1.5, "text": "x"}', "1.5"),
        (b'{"id": true, "text": "x"}', "True"),
        (b'{"id": null, "text": "x"}', "no id"),
        (b'{"text": "x"}', "no id"),
        (b'{"id": "", "text": "x"}', "empty id"),
        (b'{"id": "c", "text": "\\ud83d"}', "surrogate"),
        (b'{"id": "c", "text": "x", "n": NaN}', "NaN"),
        (b'{"id": "c", "text": "x", "n": -Infinity}', "Infinity"),
        (b'{"id": "c", "text": "x", "n": [1e999]}', "1e999"),
        (b'{"id": "c", "text": "x", "n": ' + b"9" * 5000 + b"}", "digits"),
        (b"[" * 200_000, "nested"),
    ],
)
def test_jsonl_faults_have_file_and_line(tmp_path, line, words):
    path = tmp_path / "books.jsonl"
    path.write_bytes(b'{"id": "a", "text": "x"}\n\n' + line + b'\n{"id": "d", "text": "x"}\n')
    with pytest.raises(InputError) as error:
        scan_records(path)
    check_parts(error, "books.jsonl, line 3:", words)


def test_jsonl_surrogate_pairs_and_escapes_are_fine(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"id": "a", "text": "\\ud83d\\ude00 \\u0000 \\\\ud800"}\r\n')
    assert whole(path).texts == ["\U0001f600 \x00 \\ud800"]


def test_fault_deep_in_the_file_is_found_before_anything_is_handed_out(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [{"id": i, "text": "x"} for i in range(3000)])
    with open(path, "a") as handle:
        handle.write('{"id": "last", "te')
    with pytest.raises(InputError, match="line 3001"):
        scan_records(path)
    assert len(next(read_records(path, batch_size=10))) == 10, "reading alone does not look ahead"


def test_repeated_ids_are_named_with_both_lines(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [{"id": i % 2999, "text": "x"} for i in range(3000)])
    with pytest.raises(InputError) as error:
        scan_records(path, batch_size=100)
    check_parts(error, "x.jsonl, line 3000", "id '0'", "x.jsonl, line 1")
    with pytest.raises(InputError, match="'1'"):
        scan_records([{"id": 1, "text": ""}, {"id": "1", "text": ""}])


def test_equal_hashes_of_different_ids_are_no_repeat(monkeypatch):
    import orthant.datasets.records as module

    monkeypatch.setattr(module, "hash", lambda key: 7, raising=False)
    assert scan_records(ROWS).records == 3
    with pytest.raises(InputError, match="'b'"):
        scan_records([*ROWS, ROWS[1]])


def test_damaged_compression(tmp_path):
    data = gzip.compress(
        b"".join(b'{"id": %d, "text": "%s"}\n' % (i, os.urandom(20).hex().encode()) for i in range(5000))
    )
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    for name, content in (("cut", data[: len(data) // 2]), ("flipped", bytes(flipped)), ("plain", b'{"id": 1}')):
        path = tmp_path / f"{name}.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            scan_records(path)
        check_parts(error, f"{name}.jsonl.gz", "line")


def test_encodings(tmp_path):
    path = tmp_path / "x.jsonl"
    line = '{"id": "a", "text": "café"}\n'
    for encoding in ("latin-1", "utf-16"):
        path.write_text(line, encoding=encoding)
        assert whole(path, encoding=encoding).texts == ["café"]
        with pytest.raises(InputError, match="UTF-8"):
            read_records(path)
    path.write_bytes(b"\xef\xbb\xbf" + line.encode())
    assert whole(path).texts == ["café"]
    with pytest.raises(InputError, match="encoding"):
        read_records(path, encoding="klingon")
