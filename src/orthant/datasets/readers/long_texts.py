"""Documents without judgements: speeches, plays, declarations, films, scientific papers, the catalogue; TeleQnA."""

from __future__ import annotations

import os

from orthant.datasets.kinds import Document, DocumentSet, RetrievalSet
from orthant.datasets.readers.files import bad_row, find, json_rows
from orthant.datasets.readers.retrieval import documents
from orthant.datasets.structures import Question, Questions
from orthant.validate import check_choice, check_count

__all__ = ["LONG_TEXTS", "catalogue", "longtexts", "movies", "scirex", "teleqna", "teleqna_explanations"]

Root = str | os.PathLike[str] | None

LONG_TEXTS = ("inaugural", "state_union", "shakespeare", "udhr")


def longtexts(*, part: str = "inaugural", root: Root = None) -> DocumentSet:
    """Read long public-domain texts: haystacks, and one text in 380 languages and scripts.

    Parameters
    ----------
    part : {"inaugural", "state_union", "shakespeare", "udhr"}, default "inaugural"
        59 and 65 speeches, 8 plays, 380 translations of one declaration.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        Metadata ``year`` and ``speaker`` for speeches; the id is the language code in udhr.
    """
    part = check_choice(part, LONG_TEXTS, name="part")
    types: dict[str, type] = {"_id": str, "text": str}
    if part in ("inaugural", "state_union"):
        types |= {"year": int, "speaker": str}
    return DocumentSet(f"longtexts/{part}", documents(find(root, "longtexts", f"{part}.jsonl.gz"), types))


def movies(*, root: Root = None) -> DocumentSet:
    """Read 36,273 films with year, decade, genres and cast: the set for many filter selectivities.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        34,532 have a text. Metadata ``year``, ``decade``, ``genres`` (list), ``cast`` (list), ``href`` (or None).
    """
    types = {"_id": str, "title": str, "text": str, "year": int, "decade": int, "genres": list, "cast": list}
    return DocumentSet("movies", documents(find(root, "movies", "movies.jsonl.gz"), types))


def catalogue(*, root: Root = None) -> DocumentSet:
    """Read titles and abstracts of 61 papers: tiny end-to-end tests and known-item search.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        Metadata ``arxiv`` (or None), ``year``, ``month`` (or None), ``wing``.
    """
    types = {"_id": str, "title": str, "text": str, "year": int, "wing": str}
    return DocumentSet("catalogue", documents(find(root, "catalogue", "abstracts.jsonl.gz"), types))


def scirex(*, root: Root = None) -> DocumentSet:
    """Read 306 scientific papers labelled with task, method, dataset and metric: aspect-specific similarity.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        Text: abstract, newline, body (about 29,000 characters). Metadata: the abstract, the four lists of names,
        ``results`` and ``mentions``. Two papers match in an aspect when their lists for it share a name.
    """
    types = {"_id": str, "abstract": str, "text": str, "task": list, "method": list, "dataset": list, "metric": list}
    rows = json_rows(find(root, "scirex", "papers.jsonl.gz"), types)
    found = [Document(row.pop("_id"), "", f"{row['abstract']}\n{row.pop('text')}", row) for _, row in rows]
    return DocumentSet("scirex", found)


def teleqna(*, root: Root = None) -> Questions:
    """Read TeleQnA: 10,000 telecommunications questions with options and an explanation.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Questions
        Five categories. Do not republish the file as plain text: its origin asks for that.
    """
    path = find(root, "teleqna", "teleqna.jsonl.gz")
    types = {"_id": str, "question": str, "options": list, "answer": int, "explanation": str, "category": str}
    found: list[Question] = []
    for line, row in json_rows(path, types):
        if not 0 <= row["answer"] < len(row["options"]):
            bad_row(path, line, f"answer={row['answer']}", f"a position among {len(row['options'])} options")
        options = tuple(row["options"])
        found.append(Question(row["_id"], row["question"], options, row["answer"], row["explanation"], row["category"]))
    return Questions("teleqna", found)


def teleqna_explanations(*, every: int = 10, root: Root = None) -> RetrievalSet:
    """Read TeleQnA as retrieval: a question asks for its explanation.

    Parameters
    ----------
    every : int, default 10
        Take every n-th question as a query; 1 takes all.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        10,000 explanations with ``category`` as metadata, one relevant each.
    """
    questions = teleqna(root=root).questions
    corpus = [Document(q.id, "", q.explanation, {"category": q.category}) for q in questions]
    queries = {q.id: q.text for q in questions[:: check_count(every, name="every")]}
    return RetrievalSet("teleqna/explanations", corpus, queries, {key: {key: 1} for key in queries})
