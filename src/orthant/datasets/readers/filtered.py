"""Vectors with attributes and filtered queries: the files of a published study, and real attributes of short texts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.datasets.readers.files import bad_row, find, json_rows
from orthant.datasets.readers.vectors import minilm_short_texts
from orthant.datasets.vector_files import read_vectors
from orthant.errors import InputError, NotFoundError, message
from orthant.types import FloatArray, IdArray, Metric
from orthant.validate import check_choice

__all__ = ["FANNS_COLUMNS", "FilterKind", "FilteredVectors", "Filters", "read_fanns", "short_text_filters"]

FilterKind = Literal["equality", "range", "set"]
Root = str | os.PathLike[str] | None

FANNS_COLUMNS: Mapping[FilterKind, str] = {
    "equality": "number_of_sub_categories",
    "range": "update_date",
    "set": "main_categories",
}
"""Attribute that each kind of query is about, in arxiv-for-fanns."""

_FANNS_PARTS: Mapping[FilterKind, str] = {"equality": "em", "range": "r", "set": "emis"}


@dataclass(frozen=True, eq=False)
class Filters:
    """One attribute, and what each query asks of it.

    Attributes
    ----------
    kind : {"equality", "range", "set"}
        Equal to a value; between two values, both inclusive; holding a value.
    column : str
        Name of the attribute.
    values : sequence of length n
        Per row a value, or a tuple of values for ``"set"``. None: the row has none and fits no query.
    asked : sequence of length q
        Per query the value, or (low, high).
    truth : tuple of ndarray of int64, or None
        Rows of the exact neighbours of each query as they came with the data, nearest first.
    """

    kind: FilterKind
    column: str
    values: Sequence[Any]
    asked: Sequence[Any]
    truth: tuple[IdArray, ...] | None = None

    def allowed(self, wanted: Any) -> npt.NDArray[np.bool_]:
        """Return the rows that fit one query, by a plain loop: the oracle of every index.

        Parameters
        ----------
        wanted : object
            An element of ``asked``.

        Returns
        -------
        ndarray of shape (n,), bool
            True where a row fits.
        """
        if self.kind == "equality":
            return np.array([value == wanted for value in self.values], dtype=bool)
        if self.kind == "set":
            return np.array([value is not None and wanted in value for value in self.values], dtype=bool)
        low, high = wanted
        return np.array([value is not None and low <= value <= high for value in self.values], dtype=bool)


@dataclass(frozen=True, eq=False)
class FilteredVectors:
    """Vectors, queries, and filters of several kinds for the same queries.

    Attributes
    ----------
    name : str
        Of the data.
    base : ndarray of shape (n, d), float32
        What is indexed; may be mapped, with strided rows.
    queries : ndarray of shape (q, d), float32
        Queries.
    metric : {"cosine", "dot", "l2"}
        Score.
    filters : mapping of str to Filters
        By kind.
    """

    name: str
    base: FloatArray
    queries: FloatArray
    metric: Metric
    filters: Mapping[str, Filters]


def read_fanns(
    folder: str | Path,
    *,
    columns: Mapping[FilterKind, str] | None = None,
    metric: Metric = "l2",
    limit: int | None = None,
) -> FilteredVectors:
    """Read a folder in the format of arxiv-for-fanns: ``.fvecs`` vectors, JSON lines of attributes, ``.ivecs`` truth.

    Parameters
    ----------
    folder : str or Path
        With ``database_vectors.fvecs``, ``database_attributes.jsonl``, ``query_vectors.fvecs``, and per kind of filter
        ``em_``, ``r_`` or ``emis_query_attributes.jsonl``; at least one kind. ``ground_truth_em.ivecs`` and so on are
        read where they are there.
    columns : mapping, optional
        Attribute of each kind, where it is not that of ``FANNS_COLUMNS``.
    metric : {"cosine", "dot", "l2"}, default "l2"
        Score; the truth that comes with the study's files is Euclidean.
    limit : int, optional
        Queries to read at most; left out, all.

    Returns
    -------
    FilteredVectors
        Base and queries mapped, not loaded. A truth row is shorter than the others where fewer rows fit.

    Raises
    ------
    NotFoundError
        A file is missing.
    InputError
        Files that do not fit each other, or a line that is not what it should be; the text names file and line.

    Notes
    -----
    A query line is ``{"label": value}`` for equality and sets, ``{"range_start": low, "range_end": high}`` for ranges.
    Attributes are held as Python values: some hundred bytes per row.
    """
    for kind in columns or ():
        check_choice(kind, list(FANNS_COLUMNS), name="kind of filter")
    root, names = Path(folder), dict(FANNS_COLUMNS) | dict(columns or {})
    base = read_vectors(_file(root, "database_vectors.fvecs"))
    queries = read_vectors(_file(root, "query_vectors.fvecs"))[:limit]
    present = [kind for kind, part in _FANNS_PARTS.items() if (root / f"{part}_query_attributes.jsonl").is_file()]
    if not present:
        raise NotFoundError(
            message(f"no query attributes in {root}", "em_, r_ or emis_query_attributes.jsonl", "copy one there")
        )
    if base.shape[1] != queries.shape[1]:
        raise InputError(
            message(f"queries of {queries.shape[1]} columns", f"{base.shape[1]}, as the base", "use one encoder")
        )
    values = _columns(root / "database_attributes.jsonl", {kind: names[kind] for kind in present}, len(base))
    filters: dict[str, Filters] = {}
    for kind in present:
        path = root / f"{_FANNS_PARTS[kind]}_query_attributes.jsonl"
        asked = [_asked(path, line, row, kind) for line, row in _lines(path, len(queries))]
        if len(asked) < len(queries):
            bad_row(path, len(asked) + 1, f"{len(asked)} lines", f"{len(queries)}, one per query")
        truth = root / f"ground_truth_{_FANNS_PARTS[kind]}.ivecs"
        found = _read_truth(truth, len(queries), len(base)) if truth.is_file() else None
        filters[kind] = Filters(kind, names[kind], values[kind], asked, found)
    return FilteredVectors(root.name, base, queries, metric, filters)


def _file(root: Path, name: str) -> Path:
    if not (root / name).is_file():
        raise NotFoundError(message(f"no {name} in {root}", "the files of arxiv-for-fanns", "check the folder"))
    return root / name


def _lines(path: Path, limit: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) of a plain JSON-lines file; blank lines are skipped."""
    count = 0
    with _file(path.parent, path.name).open("rb") as stream:
        for line, text in enumerate(stream, 1):
            if count == limit:
                return
            if not text.strip():
                continue
            try:
                row = json.loads(text.decode("utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                bad_row(path, line, f"text that is not JSON in UTF-8 ({error})", "one JSON object per line")
            if not isinstance(row, dict):
                bad_row(path, line, type(row).__name__, "one JSON object per line")
            count += 1
            yield line, row


def _columns(path: Path, wanted: Mapping[FilterKind, str], rows: int) -> dict[FilterKind, list[Any]]:
    out: dict[FilterKind, list[Any]] = {kind: [] for kind in wanted}
    line, seen = 0, set[str]()
    for line, row in _lines(path, rows + 1):
        seen.update(row)
        for kind, name in wanted.items():
            value = row.get(name)
            if value is not None and not _FITS[kind](value):
                bad_row(path, line, f"{name}={value!r}", _EXPECTED[kind])
            out[kind].append(tuple(value) if isinstance(value, list) else value)
    for kind, name in wanted.items():
        if len(out[kind]) != rows:
            bad_row(path, line, f"{len(out[kind])} rows or more", f"{rows}, one per vector")
        if all(value is None for value in out[kind]):
            there = ", ".join(repr(one) for one in sorted(seen)[:10]) or "none"
            given = f"{path.name} without {name!r}, the attribute of {kind} queries (there are: {there})"
            remedy = f'pass columns={{"{kind}": NAME}} (on the command line --attribute {kind}=NAME)'
            raise InputError(message(given, "rows with that attribute", remedy))
    return out


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_label(value: Any) -> bool:
    # NaN is not equal to itself, so no row would ever fit it.
    return isinstance(value, (str, int, float)) and value == value


_FITS: Mapping[FilterKind, Callable[[Any], bool]] = {
    "equality": _is_label,
    "range": _is_number,
    "set": lambda value: isinstance(value, list) and all(_is_label(one) for one in value),
}
_EXPECTED: Mapping[FilterKind, str] = {
    "equality": "a string or a number",
    "range": "a number",
    "set": "a list of strings or numbers",
}


def _asked(path: Path, line: int, row: Mapping[str, Any], kind: FilterKind) -> Any:
    if kind != "range":
        if "label" not in row:
            bad_row(path, line, f"fields {sorted(row)}", "'label'")
        if not _is_label(row["label"]):
            bad_row(path, line, f"label={row['label']!r}", "a string or a number")
        return row["label"]
    low, high = row.get("range_start"), row.get("range_end")
    for end in (low, high):
        if not _is_number(end) or end != end:
            bad_row(path, line, f"{row!r}", "numbers range_start and range_end")
    if low > high:  # type: ignore[operator]
        bad_row(path, line, f"range_start={low} above range_end={high}", "a range that is not empty")
    return low, high


def _read_truth(path: Path, queries: int, rows: int) -> tuple[IdArray, ...]:
    """Read rows of differing lengths, which ``read_vectors`` refuses: fewer neighbours than wanted may fit."""
    words = np.fromfile(path, dtype="<i4")
    out: list[IdArray] = []
    at = 0
    while len(out) < queries:
        end = at + 1 + int(words[at]) if at < len(words) else len(words) + 1
        if end > len(words) or end <= at:
            raise InputError(
                message(f"{path.name} ends in row {len(out)}", f"{queries} rows, each with its length", "copy it again")
            )
        ids = words[at + 1 : end].astype(np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= rows):
            raise InputError(
                message(f"row {len(out)} of {path.name} names row {ids.max()}", f"0 to {rows - 1}", "use its own base")
            )
        out.append(ids)
        at = end
    return tuple(out)


def short_text_filters(*, relation: str = "drawn", seed: int = 0, root: Root = None) -> FilteredVectors:
    """Read 70,000 sentence vectors with real attributes of their records, and 2,000 filtered queries of each kind.

    Parameters
    ----------
    relation : {"drawn", "own"}, default "drawn"
        Whether a query asks for the attribute of a row drawn at random, as the study does, or for that of the record
        that it is the vector of, which makes filter and query say the same.
    seed : int, default 0
        Of the draws.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    FilteredVectors
        ``"equality"``: the kind of a record, such as films of a decade, papers of a venue, medical questions of a type,
        nouns; ``"range"``: characters of the text, from that of one drawn row to that of another (or for ``"own"`` from
        half to twice its own); ``"set"``: tags, which are its source, kind and genres.
    """
    check_choice(relation, ("drawn", "own"), name="relation")
    found = minilm_short_texts(root=root)
    details = _details(root)
    base = [_attributes(record, details) for record in found.base_records or ()]
    own = [_attributes(record, details) for record in found.query_records["in"]]
    rng, filters, known = np.random.default_rng(seed), {}, {tag for row in base for tag in row["set"]}
    for kind in ("equality", "range", "set"):
        values = [row[kind] for row in base]
        if relation == "own":
            asked = [row[kind] for row in own]
        else:
            asked = [values[i] for i in rng.integers(0, len(values), len(own))]
        if kind == "set":
            kept = [[tag for tag in tags if tag in known] for tags in asked]
            asked = [tags[int(rng.integers(len(tags)))] for tags in kept]
        elif kind == "range" and relation == "own":
            asked = [(value // 2, 2 * value) for value in asked]
        elif kind == "range":
            others = [values[i] for i in rng.integers(0, len(values), len(own))]
            asked = [(min(pair), max(pair)) for pair in zip(asked, others, strict=True)]
        filters[kind] = Filters(kind, kind, values, asked)  # type: ignore[arg-type]
    return FilteredVectors("minilm_short_texts", found.base, found.queries["in"], "cosine", filters)


def _details(root: Root) -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """Return kind and further tags of the records that have some, by source and id."""
    out: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
    optional = (str, type(None))
    for _, row in json_rows(find(root, "movies", "movies.jsonl.gz"), {"_id": str, "decade": int, "genres": list}):
        out["movies", row["_id"]] = f"films of the {row['decade']}s", tuple(row["genres"])
    for _, row in json_rows(find(root, "papers", "papers.jsonl.gz"), {"_id": str, "venue": str, "year": int}):
        out["papers", row["_id"]] = f"papers of {row['venue']}", (f"year {row['year']}",)
    for _, row in json_rows(find(root, "medquad", "qa.jsonl.gz"), {"_id": str, "qtype": str, "source": optional}):
        out["medquad", row["_id"]] = f"questions of {row['qtype']}", (f"from {row['source']}",)
    return out


def _attributes(
    record: Mapping[str, str], details: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]]
) -> dict[str, Any]:
    source, name, text = record["source"], record["id"], record["text"]
    kind, more = details.get((source, name), (f"{source} {name[-1] if source == 'wordnet' else ''}".strip(), ()))
    return {"equality": kind, "range": len(text), "set": tuple(dict.fromkeys((source, kind, *more)))}
