"""Retrieval sets whose queries come from their own rows: code search, medical answers, papers, meetings, programs.

The same rows without queries (for filters, clustering, haystacks) come from the ``..._documents`` functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from orthant.datasets.kinds import Document, DocumentSet, RetrievalSet, TextPairs
from orthant.datasets.readers.files import bad_row, find, json_rows
from orthant.datasets.readers.retrieval import documents
from orthant.validate import check_choice, check_count

__all__ = [
    "cosqa",
    "cosqa_pairs",
    "medquad",
    "medquad_documents",
    "nl2code",
    "papers",
    "papers_documents",
    "qmsum",
    "qmsum_documents",
]

Root = str | os.PathLike[str] | None

_PAPER = {"_id": str, "title": str, "text": str, "venue": str, "year": int, "authors": list}
_MEDICAL = {"_id": str, "title": str, "question": str, "text": str, "qtype": str, "source": str}
_CODE_FIELDS = {
    "pydocs": ("_id", "intent", "snippet"),
    "mbpp": ("task_id", "text", "code"),
    "humaneval": ("task_id", "prompt", "canonical_solution"),
    "smcalflow": ("_id", "utterance", "program"),
}


def _chosen(keys: Sequence[str], every: int, sample: int | None, seed: int) -> list[str]:
    """Return every n-th key, or a seeded sample in the order given."""
    if sample is None:
        return list(keys[:: check_count(every, name="every")])
    count = min(check_count(sample, name="sample"), len(keys))
    rows = np.random.default_rng(seed).choice(len(keys), size=count, replace=False)
    return [keys[i] for i in np.sort(rows)]


def cosqa(*, split: str | None = None, root: Root = None) -> RetrievalSet:
    """Read CoSQA: web queries to Python functions, one right function each.

    Parameters
    ----------
    split : {"dev", "test"}, optional
        500 queries each; left out, both. Tune on dev, report on test.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        6,267 functions without titles.
    """
    splits = ("dev", "test") if split is None else (check_choice(split, ("dev", "test"), name="split"),)
    corpus = documents(find(root, "cosqa", "corpus.jsonl.gz"), {"_id": str, "title": str, "text": str})
    known = {d.id for d in corpus}
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for part in splits:
        path = find(root, "cosqa", f"queries_{part}.jsonl.gz")
        for line, row in json_rows(path, {"_id": str, "text": str, "relevant": str}):
            if row["relevant"] not in known:
                bad_row(path, line, f"function {row['relevant']!r}", "an id of the corpus file")
            queries[row["_id"]] = row["text"]
            qrels[row["_id"]] = {row["relevant"]: 1}
    return RetrievalSet("cosqa" if split is None else f"cosqa/{split}", corpus, queries, qrels)


def cosqa_pairs(*, root: Root = None) -> TextPairs:
    """Read CoSQA's 604 labelled (query, code) pairs: labelled negatives for training.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    TextPairs
        ``scores`` 1 when the code answers the query, else 0.
    """
    rows = [
        r
        for _, r in json_rows(find(root, "cosqa", "pairs_labelled.jsonl.gz"), {"query": str, "code": str, "label": int})
    ]
    scores = np.array([r["label"] for r in rows], dtype=np.float32)
    return TextPairs("cosqa/pairs", [r["query"] for r in rows], [r["code"] for r in rows], scores=scores)


def medquad_documents(*, root: Root = None) -> DocumentSet:
    """Read MedQuAD's 16,407 answers with filterable fields.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        Title: the focus (disease, drug). Metadata: ``question``, ``qtype``, ``source``, UMLS codes, ``url``.
    """
    return DocumentSet("medquad", documents(find(root, "medquad", "qa.jsonl.gz"), _MEDICAL))


def medquad(*, every: int = 8, sample: int | None = None, seed: int = 0, root: Root = None) -> RetrievalSet:
    """Read MedQuAD as question-to-answer retrieval; all answers of a question are relevant.

    Parameters
    ----------
    every : int, default 8
        Take every n-th of the 14,979 distinct questions, in the order of the file; 1 takes all.
    sample : int, optional
        Take so many distinct questions at random instead.
    seed : int, default 0
        For ``sample``.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        All 16,407 answers as corpus; the question itself is not among a document's metadata.
    """
    answers: dict[str, list[str]] = {}
    corpus: list[Document] = []
    for document in medquad_documents(root=root).documents:
        metadata = dict(document.metadata)
        answers.setdefault(metadata.pop("question"), []).append(document.id)
        corpus.append(Document(document.id, document.title, document.text, metadata))
    chosen = _chosen(list(answers), every, sample, seed)
    queries = {answers[question][0]: question for question in chosen}
    qrels = {answers[question][0]: dict.fromkeys(answers[question], 1) for question in chosen}
    return RetrievalSet("medquad", corpus, queries, qrels)


def papers_documents(*, root: Root = None) -> DocumentSet:
    """Read 10,175 papers with titles, abstracts and filterable fields.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        Metadata ``venue``, ``year``, ``track``, ``status``, ``authors``, ``keywords``, ``citations`` (or None).
        16 abstracts are empty.
    """
    return DocumentSet("papers", documents(find(root, "papers", "papers.jsonl.gz"), _PAPER))


def papers(*, every: int = 5, sample: int | None = None, seed: int = 0, root: Root = None) -> RetrievalSet:
    """Read the papers as title-to-abstract retrieval; the corpus holds abstracts only, without their titles.

    Parameters
    ----------
    every : int, default 5
        Take every n-th title, in the order of the file; 1 takes all.
    sample : int, optional
        Take so many titles at random instead.
    seed : int, default 0
        For ``sample``.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        10,159 abstracts (the 16 empty ones are left out) with their metadata; one relevant abstract per title.
    """
    rows = [d for d in papers_documents(root=root).documents if d.text.strip()]
    corpus = [Document(d.id, "", d.text, d.metadata) for d in rows]
    titles = {d.id: d.title for d in rows}
    chosen = _chosen(list(titles), every, sample, seed)
    return RetrievalSet("papers", corpus, {i: titles[i] for i in chosen}, {i: {i: 1} for i in chosen})


def nl2code(*, part: str = "pydocs", every: int | None = None, root: Root = None) -> RetrievalSet:
    """Read natural language to code: intents to calls, tasks to programs, utterances to dialogue programs.

    Parameters
    ----------
    part : {"pydocs", "mbpp", "humaneval", "smcalflow"}, default "pydocs"
        MBPP and HumanEval are evaluation sets: never train on them.
    every : int, optional
        Take every n-th row as a query; left out, 10 for pydocs and 1 for the others.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        One document per distinct piece of code; equal intents share one query whose code pieces are all relevant.
    """
    part = check_choice(part, tuple(_CODE_FIELDS), name="part")
    step = check_count((10 if part == "pydocs" else 1) if every is None else every, name="every")
    key, ask, code = _CODE_FIELDS[part]
    file = "smcalflow_valid.jsonl.gz" if part == "smcalflow" else f"{part}.jsonl.gz"
    types: dict[str, type | tuple[type, ...]] = {key: (str, int), ask: str, code: str}
    rows = [row for _, row in json_rows(find(root, "nl2code", file), types)]
    codes: dict[str, str] = {}
    intents: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for row in rows:
        codes.setdefault(row[code], str(row[key]))
        intents.setdefault(row[ask], str(row[key]))
        qrels.setdefault(intents[row[ask]], {})[codes[row[code]]] = 1
    queries = {intents[row[ask]]: row[ask] for row in rows[::step]}
    corpus = [Document(i, "", text) for text, i in codes.items()]
    return RetrievalSet(f"nl2code/{part}", corpus, queries, {q: qrels[q] for q in queries})


def qmsum_documents(*, split: str | None = None, root: Root = None) -> DocumentSet:
    """Read QMSum's 232 meeting transcripts: long documents, median 8,109 words.

    Parameters
    ----------
    split : {"train", "val", "test"}, optional
        Left out, all.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    DocumentSet
        One line per turn, ``speaker: words``. Metadata ``split``, ``domain``, ``topics`` (with turn spans).
    """
    if split is not None:
        split = check_choice(split, ("train", "val", "test"), name="split")
    path = find(root, "qmsum", "meetings.jsonl.gz")
    types = {"_id": str, "split": str, "domain": str, "turns": list, "topics": list}
    found: list[Document] = []
    for line, row in json_rows(path, types):
        if split not in (None, row["split"]):
            continue
        if not all(isinstance(turn, list) and len(turn) == 2 for turn in row["turns"]):
            bad_row(path, line, "turns of another shape", "a list of [speaker, text]")
        text = "\n".join(f"{speaker}: {words}" for speaker, words in row["turns"])
        metadata = {"split": row["split"], "domain": row["domain"], "topics": row["topics"], "turns": len(row["turns"])}
        found.append(Document(row["_id"], "", text, metadata))
    return DocumentSet("qmsum", found)


def qmsum(*, queries: str = "specific", split: str | None = None, root: Root = None) -> RetrievalSet:
    """Read QMSum as long-document retrieval: find the meeting that a question is about.

    Parameters
    ----------
    queries : {"specific", "answer", "general"}, default "specific"
        The specific questions; their answers as queries (easier); or the general questions, which do not identify
        a meeting and serve as a control.
    split : {"train", "val", "test"}, optional
        Queries of one split; left out, all. The corpus is always all 232 meetings.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        One relevant meeting per query.
    """
    queries = check_choice(queries, ("specific", "answer", "general"), name="queries")
    if split is not None:
        split = check_choice(split, ("train", "val", "test"), name="split")
    corpus = qmsum_documents(root=root).documents
    known = {d.id for d in corpus}
    path = find(root, "qmsum", "queries.jsonl.gz")
    kind = "general" if queries == "general" else "specific"
    asked: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for line, row in json_rows(
        path, {"_id": str, "split": str, "meeting": str, "kind": str, "text": str, "answer": str}
    ):
        if row["kind"] != kind or split not in (None, row["split"]):
            continue
        if row["meeting"] not in known:
            bad_row(path, line, f"meeting {row['meeting']!r}", "an id of the meetings file")
        asked[row["_id"]] = row["answer"] if queries == "answer" else row["text"]
        qrels[row["_id"]] = {row["meeting"]: 1}
    return RetrievalSet(f"qmsum/{queries}", corpus, asked, qrels)
