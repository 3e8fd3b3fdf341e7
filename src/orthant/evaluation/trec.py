"""Run files, relevance judgements, queries and corpora as files, plain or gzipped.

Strict: a line that does not fit is refused with file and line number, and nothing is returned.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Never

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, NonFiniteError, NotFoundError, message
from orthant.measures.runs import rank_documents
from orthant.validate import check_choice

__all__ = ["read_corpus", "read_qrels", "read_queries", "read_run", "write_qrels", "write_run"]

_BEIR_HEADER = ["query-id", "corpus-id", "score"]
_GZIP_MAGIC = b"\x1f\x8b"


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    r"""Read relevance judgements: TREC's four columns, or BEIR's three with a header.

    Parameters
    ----------
    path : str or Path
        Plain or gzipped text. With the header ``query-id corpus-id score`` the columns are split at tabs, else
        ``query iteration document grade`` is split at white space. Blank lines are skipped.

    Returns
    -------
    dict of str to dict of str to int
        Grade by document, by query, in the order of the file.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        A damaged file, or a line with other columns, a grade that is no integer, or a pair judged twice.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "qrels.txt"
    >>> _ = path.write_text("q1 0 d1 2\n")
    >>> read_qrels(path)
    {'q1': {'d1': 2}}
    """
    path = Path(path)
    qrels: dict[str, dict[str, int]] = {}
    tabbed = False
    for number, text in _lines(path):
        if number == 1 and text.strip().split() == _BEIR_HEADER:
            tabbed = True
            continue
        if not text.strip():
            continue
        fields = text.split("\t") if tabbed else text.split()
        width = 3 if tabbed else 4
        if len(fields) != width or not all(fields):
            expected = "query, document and grade between tabs" if tabbed else "query, iteration, document and grade"
            if number == 1:
                expected += ", or the header 'query-id<tab>corpus-id<tab>score'"
            _refuse(path, number, f"{len(fields)} columns", expected)
        query, document, grade = fields[0], fields[-2], fields[-1]
        judged = qrels.setdefault(query, {})
        if document in judged:
            _refuse(path, number, f"document {document!r} judged twice for query {query!r}", "one grade per pair")
        judged[document] = _integer(path, number, grade.strip(), "grade")
    return qrels


def write_qrels(
    path: str | Path, qrels: Mapping[str, Mapping[str, int]], *, layout: Literal["trec", "beir"] = "beir"
) -> None:
    r"""Write relevance judgements; gzipped when the name ends in ``.gz``.

    Parameters
    ----------
    path : str or Path
        Replaced as a whole, or left as it was when something is wrong.
    qrels : mapping of str to mapping of str to int
        Grade by document, by query.
    layout : {"beir", "trec"}, default "beir"
        Three tab-separated columns with a header, or TREC's four without.

    Raises
    ------
    InputError
        An id that the layout cannot hold, or a grade that is no integer.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "qrels.tsv"
    >>> write_qrels(path, {"q1": {"d1": 2}})
    >>> path.read_text()
    'query-id\tcorpus-id\tscore\nq1\td1\t2\n'
    """
    check_choice(layout, ("beir", "trec"), name="layout")
    trec = layout == "trec"
    lines = [] if trec else ["\t".join(_BEIR_HEADER)]
    for query, judged in qrels.items():
        for document, grade in judged.items():
            if isinstance(grade, bool) or int(grade) != grade:
                raise InputError(message(f"grade {grade!r} of query {query!r}", "an integer", "round or rescale it"))
            ids = (_id(query, spaces=not trec), _id(document, spaces=not trec))
            lines.append(f"{ids[0]} 0 {ids[1]} {int(grade)}" if trec else f"{ids[0]}\t{ids[1]}\t{int(grade)}")
    _write(path, lines)


def read_run(path: str | Path) -> dict[str, dict[str, float]]:
    r"""Read a TREC run file.

    Parameters
    ----------
    path : str or Path
        Plain or gzipped text, six columns split at white space: query, ``Q0``, document, rank, score, tag. The rank
        column is not used, as in trec_eval: the score decides. Blank lines are skipped.

    Returns
    -------
    dict of str to dict of str to float
        Score by document, by query, in the order of the file.

    Raises
    ------
    NotFoundError
        No such file.
    NonFiniteError
        A score that is NaN or infinite.
    InputError
        A damaged file, or a line with other columns, ranks or scores that are no numbers, a document listed twice.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.txt"
    >>> _ = path.write_text("q1 Q0 d1 1 0.5 demo\n")
    >>> read_run(path)
    {'q1': {'d1': 0.5}}
    """
    path = Path(path)
    run: dict[str, dict[str, float]] = {}
    for number, text in _lines(path):
        if not text.strip():
            continue
        fields = text.split()
        if len(fields) != 6:
            _refuse(path, number, f"{len(fields)} columns", "six: query, Q0, document, rank, score, tag")
        query, _, document, rank, score, _ = fields
        _integer(path, number, rank, "rank")
        try:
            value = float(score)
        except ValueError:
            _refuse(path, number, f"score {score!r}", "a number")
        if not math.isfinite(value):
            raise NonFiniteError(
                message(f"score {score!r} of query {query!r} in {path}, line {number}", "a finite number", "repair it")
            )
        results = run.setdefault(query, {})
        if document in results:
            _refuse(path, number, f"document {document!r} twice for query {query!r}", "each document once")
        results[document] = value
    return run


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], *, tag: str = "orthant") -> None:
    r"""Write a TREC run file, ranked as trec_eval ranks; gzipped when the name ends in ``.gz``.

    Parameters
    ----------
    path : str or Path
        Replaced as a whole, or left as it was when something is wrong.
    run : mapping of str to mapping of str to float
        Score by document, by query. A query without results leaves no line.
    tag : str, default "orthant"
        Name of the run, without white space.

    Raises
    ------
    InputError
        An id or tag with white space.
    NonFiniteError
        A score that is NaN or infinite.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.txt"
    >>> write_run(path, {"q1": {"d1": 0.5, "d2": 0.75}}, tag="demo")
    >>> path.read_text()
    'q1 Q0 d2 1 0.75 demo\nq1 Q0 d1 2 0.5 demo\n'
    """
    tag = _id(tag, spaces=False)
    lines = []
    for query, results in run.items():
        name = _id(query, spaces=False)
        for rank, document in enumerate(rank_documents(results, query), 1):
            lines.append(f"{name} Q0 {_id(document, spaces=False)} {rank} {float(results[document])!r} {tag}")
    _write(path, lines)


def read_queries(path: str | Path) -> dict[str, str]:
    """Read queries from JSON lines.

    Parameters
    ----------
    path : str or Path
        Plain or gzipped, one object per line with ``_id`` and ``text``, both strings; other fields are ignored.

    Returns
    -------
    dict of str to str
        Text by id, in the order of the file.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        A damaged file, a line that is no such object, or an id that occurs twice.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "queries.jsonl"
    >>> _ = path.write_text('{"_id": "q1", "text": "lighthouse"}')
    >>> read_queries(path)
    {'q1': 'lighthouse'}
    """
    return {key: row["text"] for key, row in _records(Path(path))}


def read_corpus(path: str | Path) -> dict[str, str]:
    r"""Read the documents of a corpus from JSON lines as texts; fields beyond title and text are not kept.

    Parameters
    ----------
    path : str or Path
        Plain or gzipped, one object per line with ``_id`` and ``text``, and ``title`` where there is one.

    Returns
    -------
    dict of str to str
        Title and text joined by a newline, or the one that is not empty, by id.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        A damaged file, a line that is no such object, or an id that occurs twice.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "corpus.jsonl"
    >>> _ = path.write_text('{"_id": "d1", "title": "Logs", "text": "Of a keeper."}')
    >>> read_corpus(path)
    {'d1': 'Logs\nOf a keeper.'}
    """
    return {key: "\n".join(filter(None, (row.get("title"), row["text"]))) for key, row in _records(Path(path))}


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: set[str] = set()
    for number, text in _lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            _refuse(path, number, f"text that is not JSON ({error})", "one JSON object per line")
        if not isinstance(row, dict):
            _refuse(path, number, f"a JSON {type(row).__name__}", "an object with '_id' and 'text'")
        for field, kinds in (("_id", str), ("text", str), ("title", (str, type(None)))):
            if not isinstance(row.get(field), kinds):  # type: ignore[arg-type]
                given = f"{field!r} of type {type(row[field]).__name__}" if field in row else f"no {field!r}"
                _refuse(path, number, given, f"{field!r} as a str")
        if row["_id"] in seen:
            _refuse(path, number, f"id {row['_id']!r} for the second time", "distinct ids")
        seen.add(row["_id"])
        yield row["_id"], row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines without their ends."""
    if not path.is_file():
        raise NotFoundError(message(f"no file {path}", "an existing file", "check the path"))
    number = 0
    with open(path, "rb") as probe:
        zipped = probe.read(2) == _GZIP_MAGIC
    try:
        with gzip.open(path, "rb") if zipped else open(path, "rb") as handle:
            for number, raw in enumerate(handle, 1):
                # utf-8-sig drops the mark that some editors put before the first line.
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            message(f"a damaged file {path} at line {number} ({error})", "UTF-8 text, plain or gzipped", "restore it")
        ) from error


def _refuse(path: Path, number: int, given: str, expected: str) -> Never:
    raise InputError(message(f"{given} in {path}, line {number}", expected, "correct the line"))


def _integer(path: Path, number: int, text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        _refuse(path, number, f"{what} {text!r}", "an integer")


def _id(value: Any, *, spaces: bool) -> str:
    text = str(value)
    # str.split() decides, because that is what readers of the format use.
    if not text or (text.split() != [text] if not spaces else any(c in text for c in "\t\r\n") or not text.strip()):
        raise InputError(
            message(f"id {text!r}", "no white space in TREC files, no tab or line end in others", "rename it")
        )
    return text


def _write(path: str | Path, lines: list[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    # A fixed time stamp keeps equal content equal, byte for byte.
    write_bytes_atomically(path, gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)
