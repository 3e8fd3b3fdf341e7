"""What stores are compared on: records, queries and exact answers, written once for the processes that read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.evaluation.stores.store import Query, Rows
from orthant.types import FloatArray

__all__ = ["Corpus", "QueryFile", "newsgroup_corpus", "read_queries", "read_rows", "recall_of", "write_inputs"]

_QUERY_WORDS = 8
_CHARACTERS = 200
_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Corpus:
    """Records in a row, and questions to them.

    Attributes
    ----------
    texts : list of str
        One per record.
    metadata : list of dict
        As `Rows` has them.
    vectors : ndarray of shape (n, d)
        Float32, of unit length.
    queries : list of Query
        From texts that are not among the records.
    name : str
        For the report.
    """

    texts: list[str]
    metadata: list[dict[str, Any]]
    vectors: FloatArray
    queries: list[Query]
    name: str


@dataclass(frozen=True, eq=False)
class QueryFile:
    """Queries as a process reads them.

    Attributes
    ----------
    tune, judge : list of Query
        Effort is chosen on the former, figures are from the latter.
    """

    tune: list[Query]
    judge: list[Query]


def newsgroup_corpus(records: int, spare: int, *, root: str | None = None) -> Corpus:
    """Return chunks of newsgroup messages with what is known of their messages.

    Parameters
    ----------
    records : int
        Records that are loaded.
    spare : int
        Further records, which replace loaded ones later. As many as there are, where there are fewer.
    root : str, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Corpus
        Of the made set ``newsgroups_chunks``; a query is the first words of a chunk of a held-out message with the
        vector of the chunk.

    Raises
    ------
    InputError
        More records than there are.
    NotFoundError
        The data, or the made vectors, are not there.
    """
    from orthant.datasets.made.store import load_made
    from orthant.datasets.made.texts import chunks, newsgroups_chunks
    from orthant.datasets.readers.labelled import newsgroups20

    made = newsgroups_chunks(root, seed=0)
    vectors = load_made("newsgroups_chunks", root=root).vectors
    if records > len(made.base):
        raise InputError(message(f"{records} records", f"at most {len(made.base)}", "ask for fewer"))
    messages = newsgroups20(duplicates="drop", root=root)
    about: dict[str, dict[str, Any]] = {}
    for text, label, known in zip(messages.texts, messages.labels.tolist(), messages.metadata or [], strict=True):
        for chunk in chunks(text):
            about.setdefault(
                chunk,
                {
                    "newsgroup": messages.label_names[label],
                    "date": known["date"] or "",
                    "organization": known["organization"] or "",
                    "characters": len(chunk),
                },
            )
    count = min(records + spare, len(made.base))
    asked = [
        Query(
            " ".join(text.split()[:_QUERY_WORDS]), np.asarray(vector, np.float32), about[text]["newsgroup"], _CHARACTERS
        )
        for text, vector in zip(made.queries["in"], vectors.queries["in"], strict=True)
    ]
    texts = made.base[:count]
    return Corpus(texts, [about[one] for one in texts], np.array(vectors.base[:count]), asked, "newsgroups_chunks")


def write_inputs(corpus: Corpus, folder: Path, *, tune: int, judge: int) -> None:
    """Write records and queries where the processes of the stores read them.

    Parameters
    ----------
    corpus : Corpus
        The first queries are for tuning, the next for judging; an empty text is left out.
    folder : Path
        Exists.
    tune, judge : int
        How many; fewer where there are fewer.
    """
    np.save(folder / "vectors.npy", corpus.vectors)
    with open(folder / "records.jsonl", "w", encoding="utf-8") as file:
        for text, one in zip(corpus.texts, corpus.metadata, strict=True):
            file.write(json.dumps([text, one]) + "\n")
    asked = [one for one in corpus.queries if one.text.strip()]
    parts = {"tune": asked[:tune], "judge": asked[tune : tune + judge]}
    tuned, judged = (np.stack([one.vector for one in parts[name]]) for name in ("tune", "judge"))
    np.savez(folder / "queries.npz", tune=tuned, judge=judged)
    words = {name: [[q.text, q.group, q.characters] for q in part] for name, part in parts.items()}
    (folder / "queries.json").write_text(json.dumps(words), encoding="utf-8")


def read_queries(folder: Path) -> QueryFile:
    """Read what `write_inputs` wrote of the queries.

    Parameters
    ----------
    folder : Path
        The same.

    Returns
    -------
    QueryFile
        Both parts.
    """
    words = json.loads((folder / "queries.json").read_text(encoding="utf-8"))
    with np.load(folder / "queries.npz", allow_pickle=False) as archive:
        parts = {
            name: [
                Query(text, vector, group, characters)
                for (text, group, characters), vector in zip(words[name], archive[name], strict=True)
            ]
            for name in ("tune", "judge")
        }
    return QueryFile(**parts)


def read_rows(folder: Path, numbers: range | np.ndarray, batch: int) -> Iterator[Rows]:
    """Read records by number, in batches.

    Parameters
    ----------
    folder : Path
        As `write_inputs` wrote it.
    numbers : range or ndarray of int
        Record ``n`` has the id ``c<n>``.
    batch : int
        Records per batch; the last is smaller.

    Yields
    ------
    Rows
        In the order of the numbers.
    """
    with open(folder / "records.jsonl", encoding="utf-8") as file:
        lines = file.readlines()
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    for start in range(0, len(numbers), batch):
        part = [int(n) for n in numbers[start : start + batch]]
        pairs = [json.loads(lines[n]) for n in part]
        yield Rows(
            [f"c{n}" for n in part], [one[0] for one in pairs], [one[1] for one in pairs], np.array(vectors[part])
        )


def recall_of(
    corpus: Corpus, live: np.ndarray, queries: list[Query], found: list[list[str]], k: int, *, filtered: bool
) -> float:
    """Return the share of the k nearest records that were found, compared with an exact scan.

    Parameters
    ----------
    corpus : Corpus
        All records.
    live : ndarray of int
        Numbers of those that the store holds.
    queries : list of Query
        As asked.
    found : list of list of str
        Ids per query.
    k : int
        Neighbours that were asked for.
    filtered : bool
        Whether only records count that satisfy the query's filter.

    Returns
    -------
    float
        Mean over the queries with at least one neighbour. A record as close as the k-th counts, whichever of several
        it is; a record that is not live, or does not satisfy the filter, counts for nothing.
    """
    shares: list[float] = []
    groups = np.array([corpus.metadata[n]["newsgroup"] for n in live])
    characters = np.array([corpus.metadata[n]["characters"] for n in live])
    place = {f"c{n}": i for i, n in enumerate(live.tolist())}
    vectors = corpus.vectors[live]
    for query, ids in zip(queries, found, strict=True):
        scores = vectors @ query.vector
        if filtered:
            scores[(groups != query.group) | (characters < query.characters)] = -np.inf
        wanted = min(k, int(np.isfinite(scores).sum()))
        if wanted == 0:
            continue
        last = -np.partition(-scores, wanted - 1)[wanted - 1]
        hits = sum(scores[place[one]] >= last - _TIE for one in dict.fromkeys(ids[:k]) if one in place)
        shares.append(min(hits, wanted) / wanted)
    return float(np.mean(shares))
