"""Words: similarity, analogy, categorisation, outlier and relation benchmarks, and the Open English WordNet."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import numpy as np

from orthant.datasets.kinds import Document, LabelledTexts, RetrievalSet, TextPairs
from orthant.datasets.readers.files import bad_row, csv_rows, data_root, find, number, tsv_rows
from orthant.datasets.structures import Analogies, Analogy, OutlierGroup, Outliers, Synset, WordNet
from orthant.errors import InputError, message
from orthant.validate import check_choice, check_count

__all__ = ["WORD_TASKS", "word_benchmarks", "wordnet", "wordnet_definitions"]

Root = str | os.PathLike[str] | None

# task: (folder, part taken when none is named, columns)
WORD_TASKS = {
    "similarity": ("word-similarity", "simlex999", ("", "word1", "word2", "similarity")),
    "analogy": ("word-analogy", "google-analogies", ("", "type", "word1", "word2", "word3", "target")),
    "categories": ("word-categorization", "ap", ("", "category", "word")),
    "outliers": ("outlier-detection", "8-8-8", ("", "category", "outliers", "words")),
    "relations": ("semantic-relation", "bless", ("", "word1", "word2", "relation")),
}
_SIMVERB = ("", "similarity", "word1", "word2", "relation")


def word_benchmarks(
    *, task: str = "similarity", part: str | None = None, lang: str = "en", root: Root = None
) -> TextPairs | Analogies | LabelledTexts | Outliers:
    """Read one of 44 word benchmarks.

    Parameters
    ----------
    task : {"similarity", "analogy", "categories", "outliers", "relations"}, default "similarity"
        What is asked of the words.
    part : str, optional
        File name without ``.csv``, such as ``"men"`` or ``"msr"``; left out, simlex999, google-analogies, ap,
        8-8-8 or bless. A wrong name is answered with the list.
    lang : str, default "en"
        A language, or two for cross-lingual similarity (``"en-de"``, with part rg65, semeval17 or wordsim353).
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    TextPairs, Analogies, LabelledTexts or Outliers
        Pairs with ``scores`` for similarity (each file has its own scale) and with ``labels`` for relations;
        words with classes for categories. Rows of the files that name no word (40 in four files) are left out.
    """
    task = check_choice(task, tuple(WORD_TASKS), name="task")
    folder, default, columns = WORD_TASKS[task]
    kind = "cross-lingual" if "-" in lang else "monolingual"
    if part is None and kind == "cross-lingual":
        part = "semeval17"
    chosen = default if part is None else part
    path = data_root(root).joinpath("word_benchmarks", folder, kind, lang, f"{chosen}.csv")
    if not path.is_file():
        _explain_missing(path, root, folder, chosen, lang)
    name = f"word_benchmarks/{task}/{lang}/{chosen}"
    if task == "similarity":
        return _similarity(name, path)
    rows = list(csv_rows(path, columns))
    if task == "analogy":
        return Analogies(name, [Analogy(*(field.strip() for field in row[1:])) for _, row in rows])
    if task == "outliers":
        return Outliers(name, [OutlierGroup(r[1], _words(path, i, r[3]), _words(path, i, r[2])) for i, r in rows])
    if task == "relations":
        return TextPairs(name, [r[1] for _, r in rows], [r[2] for _, r in rows], labels=[r[3] for _, r in rows])
    rows = [(line, row) for line, row in rows if row[2].strip()]
    names = tuple(sorted({row[1] for _, row in rows}))
    position = {label: i for i, label in enumerate(names)}
    labels = np.array([position[row[1]] for _, row in rows], dtype=np.int64)
    return LabelledTexts(name, [row[2] for _, row in rows], labels, names)


def _explain_missing(path: Path, root: Root, folder: str, part: str, lang: str) -> None:
    """Raise with the parts that exist, or say that the set is not there."""
    base = find(root, "word_benchmarks", folder)
    known = sorted(f"{p.parent.name}/{p.stem}" for p in base.glob("*/*/*.csv"))
    raise InputError(
        message(f"part={part!r}, lang={lang!r}", f"one of {', '.join(known)} (lang/part)", "choose one of these")
    )


def _similarity(name: str, path: Path) -> TextPairs:
    simverb = path.stem == "simverb-3500"
    rows = list(csv_rows(path, _SIMVERB if simverb else WORD_TASKS["similarity"][2]))
    first, second, score = (2, 3, 1) if simverb else (1, 2, 3)
    rows = [(line, row) for line, row in rows if row[first].strip() or row[second].strip()]
    scores = np.array([number(path, line, "similarity", row[score]) for line, row in rows], dtype=np.float32)
    labels = [row[4] for _, row in rows] if simverb else None
    return TextPairs(name, [r[first].strip() for _, r in rows], [r[second].strip() for _, r in rows], scores, labels)


def _words(path: Path, line: int, text: str) -> tuple[str, ...]:
    """Read a field that the origin wrote as a Python list of strings; empty words are dropped."""
    try:
        words = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        bad_row(path, line, f"{text[:40]!r}", "a list of words")
    return tuple(word for word in words if word)


def wordnet(*, root: Root = None) -> WordNet:
    """Read the Open English WordNet: 107,525 meanings with definitions, 131,105 typed relations.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    WordNet
        Relations as positions; each is stored in one direction (hypernym, not hyponym).
    """
    path = find(root, "wordnet", "synsets.tsv.gz")
    columns = ("synset", "pos", "lexfile", "members", "definition", "examples", "ili")
    synsets = [
        Synset(r[0], r[1], r[2], tuple(r[3].split("|")), r[4], tuple(e for e in r[5].split(" | ") if e), r[6])
        for _, r in tsv_rows(path, columns)
    ]
    position = {synset.id: i for i, synset in enumerate(synsets)}
    path = find(root, "wordnet", "relations.tsv.gz")
    rows = list(tsv_rows(path, ("source", "relation", "target")))
    relations = tuple(sorted({row[1] for _, row in rows}))
    kind = {relation: i for i, relation in enumerate(relations)}
    edges = np.empty((len(rows), 3), dtype=np.int32)
    for i, (line, (source, relation, target)) in enumerate(rows):
        if source not in position or target not in position:
            bad_row(path, line, f"relation {source} -> {target}", "two synsets of the synsets file")
        edges[i] = position[source], kind[relation], position[target]
    return WordNet("wordnet", synsets, relations, edges)


def wordnet_definitions(*, every: int = 50, root: Root = None) -> RetrievalSet:
    """Read WordNet as a reverse dictionary: a definition asks for the meaning, known by its words alone.

    Parameters
    ----------
    every : int, default 50
        Take every n-th meaning's definition as a query; 1 takes all 107,525.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet
        Corpus: one document per meaning, its text the words joined by commas; metadata ``pos`` and ``lexfile``.
        Several meanings can have the same words: only the defined one counts as relevant.
    """
    path = find(root, "wordnet", "synsets.tsv.gz")
    columns = ("synset", "pos", "lexfile", "members", "definition", "examples", "ili")
    rows = [row for _, row in tsv_rows(path, columns)]
    corpus = [Document(r[0], "", ", ".join(r[3].split("|")), {"pos": r[1], "lexfile": r[2]}) for r in rows]
    queries = {row[0]: row[4] for row in rows[:: check_count(every, name="every")]}
    return RetrievalSet("wordnet/definitions", corpus, queries, {key: {key: 1} for key in queries})
