"""Corpora with queries and relevance judgements: Cranfield, NPL, CISI, XQuAD, LIMIT, TREC-QA.

The sets whose queries are made from their own rows (titles, questions, intents) are in `known_item`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthant.datasets.kinds import Document, RetrievalSet, TextPairs
from orthant.datasets.readers.files import bad_row, find, json_rows, number, tsv_rows
from orthant.validate import check_choice

__all__ = ["XQUAD_LANGUAGES", "cisi", "cranfield", "documents", "limit", "npl", "trecqa", "trecqa_pairs", "xquad"]

Root = str | os.PathLike[str] | None
Types = Mapping[str, type | tuple[type, ...]]

XQUAD_LANGUAGES = ("en", "de", "es", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi", "ro")
_BASIC: Types = {"_id": str, "title": str, "text": str}
_QUERY: Types = {"_id": str, "text": str}
_QRELS = ("query-id", "corpus-id", "score")
_TRECQA = ("split", "question", "sentence", "label")


def documents(path: Path, types: Types) -> list[Document]:
    """Return the rows of a corpus file; fields beyond id, title and text become metadata.

    Parameters
    ----------
    path : Path
        Gzipped JSON lines with ``_id``, ``text`` and perhaps ``title``.
    types : mapping of str to type
        Fields that every row must have, with their types.

    Returns
    -------
    list of Document
        In the order of the file.

    Raises
    ------
    InputError
        A row of another form, or an id seen before.
    """
    found: list[Document] = []
    seen: set[str] = set()
    for line, row in json_rows(path, types):
        key = row.pop("_id")
        if key in seen:
            bad_row(path, line, f"a second document with id {key!r}", "unique ids")
        seen.add(key)
        found.append(Document(key, row.pop("title", ""), row.pop("text"), row))
    return found


def _queries(path: Path) -> dict[str, str]:
    return {row["_id"]: row["text"] for _, row in json_rows(path, _QUERY)}


def _judgements(
    path: Path, corpus: list[Document], queries: Mapping[str, str], *, lines: bool = False
) -> dict[str, dict[str, int]]:
    """Read qrels as tab-separated rows, or as JSON lines; every id must be known."""
    known = {d.id for d in corpus}
    qrels: dict[str, dict[str, int]] = {}
    rows: Any
    if lines:
        types: Types = {"query-id": str, "corpus-id": str, "score": (int, float)}
        rows = ((i, [row[c] for c in _QRELS]) for i, row in json_rows(path, types))
    else:
        rows = tsv_rows(path, _QRELS)
    for line, (query, document, score) in rows:
        if query not in queries:
            bad_row(path, line, f"query {query!r}", "an id of the queries file")
        if document not in known:
            bad_row(path, line, f"document {document!r}", "an id of the corpus file")
        qrels.setdefault(query, {})[document] = int(number(path, line, "score", score))
    return qrels


def _standard(name: str, root: Root, types: Types) -> RetrievalSet:
    corpus = documents(find(root, name, "corpus.jsonl.gz"), types)
    queries = _queries(find(root, name, "queries.jsonl.gz"))
    return RetrievalSet(name, corpus, queries, _judgements(find(root, name, "qrels.tsv.gz"), corpus, queries))


def cranfield(*, root: Root = None) -> RetrievalSet:
    """Read Cranfield: 1,400 aerodynamics abstracts, 225 queries; ``author``, ``bib``, ``year`` as metadata.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        Grades 1 (relevant) and 0 (judged, not relevant). Documents 471 and 995 have no text.
    """
    return _standard("cranfield", root, {**_BASIC, "author": str, "year": (int, type(None))})


def npl(*, root: Root = None) -> RetrievalSet:
    """Read NPL / Vaswani: 11,429 short lower-case abstracts without titles, 93 queries.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        Binary judgements.
    """
    return _standard("npl", root, _BASIC)


def cisi(*, root: Root = None) -> RetrievalSet:
    """Read CISI: 1,460 information-science abstracts, 112 long queries of which 76 are judged.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        Metadata ``author`` (list) and ``cites`` (list of [document, link kind, shared citations]).
    """
    return _standard("cisi", root, {**_BASIC, "author": list, "cites": list})


def xquad(*, lang_query: str = "en", lang_corpus: str = "en", root: Root = None) -> RetrievalSet:
    """Read XQuAD: 1,190 questions over 240 paragraphs, each in 12 languages, monolingual or crossed.

    Parameters
    ----------
    lang_query, lang_corpus : str, default "en"
        en, de, es, el, ru, tr, ar, vi, th, zh, hi or ro; ``lang_corpus="all"`` indexes all 2,880 paragraphs and
        counts the answer in every language as relevant.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        Metadata ``para`` and ``lang``; one relevant paragraph per language.
    """
    lang_query = check_choice(lang_query, XQUAD_LANGUAGES, name="lang_query")
    lang_corpus = check_choice(lang_corpus, (*XQUAD_LANGUAGES, "all"), name="lang_corpus")
    corpus = documents(find(root, "xquad", "corpus.jsonl.gz"), {**_BASIC, "para": str, "lang": str})
    corpus = [d for d in corpus if lang_corpus in (d.metadata["lang"], "all")]
    answers: dict[str, dict[str, int]] = {}
    for document in corpus:
        answers.setdefault(document.metadata["para"], {})[document.id] = 1
    path = find(root, "xquad", "queries.jsonl.gz")
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for line, row in json_rows(path, {**_QUERY, "lang": str, "para": str}):
        if row["lang"] != lang_query:
            continue
        if row["para"] not in answers:
            bad_row(path, line, f"paragraph {row['para']!r}", "a paragraph of the corpus file")
        queries[row["_id"]] = row["text"]
        qrels[row["_id"]] = dict(answers[row["para"]])
    return RetrievalSet(f"xquad/{lang_query}-{lang_corpus}", corpus, queries, qrels)


def limit(*, part: str = "small", root: Root = None) -> RetrievalSet:
    """Read LIMIT: who likes what, two relevant people per query; hard for single-vector embeddings.

    Parameters
    ----------
    part : {"small", "full"}, default "small"
        46 official documents, or 50,000 of which all but 46 are rebuilt distractors (say so with a figure).
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        1,000 test queries: do not train on them.
    """
    part = check_choice(part, ("small", "full"), name="part")
    file = "corpus.jsonl.gz" if part == "small" else "corpus_rebuilt.jsonl.gz"
    corpus = documents(find(root, "limit", part, file), _BASIC)
    queries = _queries(find(root, "limit", part, "queries.jsonl.gz"))
    qrels = _judgements(find(root, "limit", part, "qrels.jsonl.gz"), corpus, queries, lines=True)
    return RetrievalSet(f"limit/{part}", corpus, queries, qrels)


def trecqa_pairs(*, split: str | None = None, root: Root = None) -> TextPairs:
    """Read TREC-QA as (question, sentence) pairs with score 1 when the sentence answers the question.

    Parameters
    ----------
    split : {"train", "dev", "test"}, optional
        Left out, all 7,383 pairs.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    TextPairs
        ``first`` questions, ``second`` sentences, ``scores`` 0 or 1.
    """
    import numpy as np

    if split is not None:
        split = check_choice(split, ("train", "dev", "test"), name="split")
    path = find(root, "trecqa", "trecqa.tsv.gz")
    rows = [(line, row) for line, row in tsv_rows(path, _TRECQA) if split in (None, row[0])]
    for line, row in rows:
        if row[3] not in ("0", "1"):
            bad_row(path, line, f"label={row[3]!r}", "0 or 1")
    return TextPairs(
        "trecqa",
        [row[1] for _, row in rows],
        [row[2] for _, row in rows],
        scores=np.array([row[3] == "1" for _, row in rows], dtype=np.float32),
        splits=[row[0] for _, row in rows],
    )


def trecqa(*, split: str | None = None, root: Root = None) -> RetrievalSet:
    """Read TREC-QA for re-ranking: the judged sentences of a question are its candidates.

    Parameters
    ----------
    split : {"train", "dev", "test"}, optional
        Left out, all 269 questions.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        Corpus of distinct sentences; ``qrels[q]`` lists the candidates of q with grade 1 or 0. A sentence that the
        file judges twice for one question keeps the higher grade.
    """
    pairs = trecqa_pairs(split=split, root=root)
    sentences: dict[str, str] = {}
    questions: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for question, sentence, score in zip(pairs.first, pairs.second, pairs.scores.tolist(), strict=True):  # type: ignore[union-attr]
        document = sentences.setdefault(sentence, f"s{len(sentences)}")
        query = questions.setdefault(question, f"q{len(questions)}")
        grades = qrels.setdefault(query, {})
        grades[document] = max(int(score), grades.get(document, 0))
    corpus = [Document(key, "", text) for text, key in sentences.items()]
    return RetrievalSet("trecqa", corpus, {key: text for text, key in questions.items()}, qrels)
