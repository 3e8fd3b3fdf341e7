"""Texts with one class each: news, intents, titles, reviews, question types, newsgroups."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets.kinds import LabelledTexts
from orthant.datasets.readers.files import bad_row, find, json_rows, tsv_rows
from orthant.errors import InputError, message
from orthant.validate import check_choice

__all__ = [
    "CLINC150_SPLITS",
    "SENTENCE_CLASSES",
    "STACKOVERFLOW_TAGS",
    "ag_news",
    "banking77",
    "clinc150",
    "newsgroups20",
    "sentence_classes",
    "stackoverflow_titles",
]

Root = str | os.PathLike[str] | None

CLINC150_SPLITS = ("train", "val", "test", "oos_train", "oos_val", "oos_test")
SENTENCE_CLASSES = ("mr", "subj", "cr", "mpqa", "sst2", "trec")
STACKOVERFLOW_TAGS = (
    "wordpress", "oracle", "svn", "apache", "excel", "matlab", "visual-studio", "cocoa", "osx", "bash",
    "spring", "hibernate", "scala", "sharepoint", "ajax", "qt", "drupal", "linq", "haskell", "magento",
)  # fmt: skip


def _by_name(
    name: str,
    texts: list[str],
    classes: Sequence[str],
    splits: list[str] | None = None,
    metadata: list[Mapping[str, Any]] | None = None,
) -> LabelledTexts:
    """Number the classes in the order of their names."""
    names = tuple(sorted(set(classes)))
    position = {label: i for i, label in enumerate(names)}
    labels = np.array([position[c] for c in classes], dtype=np.int64)
    return LabelledTexts(name, texts, labels, names, splits, metadata)


def _numbered(path: Path, line: int, text: str, first: int, count: int) -> int:
    """Return a class number as a position, or say where it is out of range."""
    value = int(text) - first if text.isdecimal() else -1
    if not 0 <= value < count:
        bad_row(path, line, f"label={text!r}", f"an integer from {first} to {first + count - 1}")
    return value


def ag_news(*, root: Root = None) -> LabelledTexts:
    """Read the test part of AG News: 7,600 short news, 4 topics.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    LabelledTexts
        Text: title, newline, body. Metadata ``title``. There is no training part: split it with a seed.
    """
    names = tuple(find(root, "ag_news", "classes.txt").read_text(encoding="utf-8").split("\n"))
    names = tuple(n for n in names if n)
    path = find(root, "ag_news", "ag_news_test.tsv.gz")
    rows = list(tsv_rows(path, ("id", "label", "title", "text")))
    labels = np.array([_numbered(path, line, row[1], 0, len(names)) for line, row in rows], dtype=np.int64)
    metadata: list[Mapping[str, Any]] = [{"title": row[2]} for _, row in rows]
    return LabelledTexts("ag_news", [f"{row[2]}\n{row[3]}" for _, row in rows], labels, names, metadata=metadata)


def banking77(*, split: str | None = None, root: Root = None) -> LabelledTexts:
    """Read Banking77: customer questions with one of 77 intents.

    Parameters
    ----------
    split : {"train", "test"}, optional
        10,003 and 3,080 texts; left out, both.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    LabelledTexts
        Intents as classes; a split alone keeps the numbering, since each holds all 77.
    """
    choices = ("train", "test")
    rows: list[tuple[str, list[str]]] = []
    for part in choices if split is None else (check_choice(split, choices, name="split"),):
        path = find(root, "banking77", f"{part}.tsv.gz")
        rows.extend((part, row) for _, row in tsv_rows(path, ("text", "intent")))
    return _by_name("banking77", [r[0] for _, r in rows], [r[1] for _, r in rows], [part for part, _ in rows])


def clinc150(*, split: str | None = None, root: Root = None) -> LabelledTexts:
    """Read CLINC150: assistant requests with 150 intents in 10 domains, and out-of-scope requests.

    Parameters
    ----------
    split : {"train", "val", "test", "oos_train", "oos_val", "oos_test"}, optional
        15,000, 3,000, 4,500, 100, 100 and 1,000 texts; left out, all 23,700.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    LabelledTexts
        Intents as classes (``"oos"`` is out of scope), numbered alike in every split. Metadata ``domain``.
    """
    if split is not None:
        split = check_choice(split, CLINC150_SPLITS, name="split")
    path = find(root, "clinc150", "clinc150.tsv.gz")
    rows = [row for _, row in tsv_rows(path, ("split", "text", "intent", "domain"))]
    metadata: list[Mapping[str, Any]] = [{"domain": row[3]} for row in rows]
    whole = _by_name("clinc150", [r[1] for r in rows], [r[2] for r in rows], [r[0] for r in rows], metadata)
    return whole if split is None else _only(whole, [r[0] == split for r in rows])


def _only(whole: LabelledTexts, keep: Sequence[bool]) -> LabelledTexts:
    """Return the kept rows with the numbering of the whole."""
    rows = [i for i, kept in enumerate(keep) if kept]
    return LabelledTexts(
        whole.name,
        [whole.texts[i] for i in rows],
        whole.labels[rows],
        whole.label_names,
        None if whole.splits is None else [whole.splits[i] for i in rows],
        None if whole.metadata is None else [whole.metadata[i] for i in rows],
    )


def stackoverflow_titles(*, root: Root = None) -> LabelledTexts:
    """Read 20,000 Stack Overflow titles with one of 20 tags, 1,000 each: clustering of very short texts.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    LabelledTexts
        Tags as classes, in the origin's order.
    """
    path = find(root, "stackoverflow_titles", "titles.tsv.gz")
    rows = list(tsv_rows(path, ("label", "title")))
    count = len(STACKOVERFLOW_TAGS)
    labels = np.array([_numbered(path, line, row[0], 1, count) for line, row in rows], dtype=np.int64)
    return LabelledTexts("stackoverflow_titles", [row[1] for _, row in rows], labels, STACKOVERFLOW_TAGS)


def sentence_classes(*, part: str = "mr", split: str | None = None, root: Root = None) -> LabelledTexts:
    """Read one of six transfer tasks: MR, SUBJ, CR, MPQA, SST-2 (two classes) or TREC (6 question types).

    Parameters
    ----------
    part : {"mr", "subj", "cr", "mpqa", "sst2", "trec"}, default "mr"
        10,662, 10,000, 3,775, 10,606, 9,613 and 5,952 texts.
    split : {"train", "dev", "test"}, optional
        Of sst2; trec has train and test; the others have no splits and refuse it. Left out, all rows.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    LabelledTexts
        Classes ``"0"`` and ``"1"``, or TREC's coarse types with ``fine`` (50 types) as metadata.
    """
    part = check_choice(part, SENTENCE_CLASSES, name="part")
    columns = {"sst2": ("split", "label", "text"), "trec": ("split", "coarse", "fine", "text")}
    header = columns.get(part, ("label", "text"))
    if split is not None:
        allowed = {"sst2": ("train", "dev", "test"), "trec": ("train", "test")}.get(part, ())
        if not allowed:
            raise InputError(message(f"split={split!r} for part {part!r}", "no split: it has none", "leave split out"))
        split = check_choice(split, allowed, name="split")
    rows = [row for _, row in tsv_rows(find(root, "sentence_classes", f"{part}.tsv.gz"), header)]
    splits = [row[0] for row in rows] if header[0] == "split" else None
    classes = [row[1 if splits else 0] for row in rows]
    metadata: list[Mapping[str, Any]] | None = [{"fine": row[2]} for row in rows] if part == "trec" else None
    whole = _by_name(f"sentence_classes/{part}", [row[-1] for row in rows], classes, splits, metadata)
    return whole if split is None else _only(whole, [s == split for s in splits or []])


def newsgroups20(*, split: str | None = None, duplicates: str = "keep", root: Root = None) -> LabelledTexts:
    """Read 20 Newsgroups: 19,997 dated messages in 20 groups.

    Parameters
    ----------
    split : {"train", "test"}, optional
        A fixed hash split (not the by-date one): 13,939 and 6,058 messages; left out, both.
    duplicates : {"keep", "drop"}, default "keep"
        Drop the 686 messages whose body came before: do so before measuring classification.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    LabelledTexts
        Text: subject, newline, body. Metadata ``id``, ``subject``, ``date`` (YYYY-MM-DD or None),
        ``organization``, ``crossposted``, ``duplicate``.
    """
    if split is not None:
        split = check_choice(split, ("train", "test"), name="split")
    duplicates = check_choice(duplicates, ("keep", "drop"), name="duplicates")
    texts: list[str] = []
    groups: list[str] = []
    splits: list[str] = []
    metadata: list[Mapping[str, Any]] = []
    types = {"_id": str, "group": str, "subject": str, "text": str, "duplicate": bool, "split": str}
    for _, row in json_rows(find(root, "newsgroups20", "newsgroups.jsonl.gz"), types):
        if split not in (None, row["split"]) or (duplicates == "drop" and row["duplicate"]):
            continue
        texts.append(f"{row['subject']}\n{row.pop('text')}")
        groups.append(row.pop("group"))
        splits.append(row.pop("split"))
        row["id"] = row.pop("_id")
        metadata.append(row)
    return _by_name("newsgroups20", texts, groups, splits, metadata)
