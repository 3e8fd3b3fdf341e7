"""Sentence pairs: STS benchmark in five languages, SICK, RTE."""

from __future__ import annotations

import os

import numpy as np

from orthant.datasets.kinds import TextPairs
from orthant.datasets.readers.files import bad_row, find, number, tsv_rows
from orthant.validate import check_choice

__all__ = ["STSB_LANGUAGES", "rte", "sick", "stsb"]

Root = str | os.PathLike[str] | None

STSB_LANGUAGES = ("en", "de", "es", "fr", "zh")
_STSB = ("sentence1", "sentence2", "score")
_SICK = ("pair_id", "sentence1", "sentence2", "relatedness", "entailment")
_RTE = ("set", "id", "task", "text", "hypothesis", "entailed")
_RTE_SPLITS = ("rte1_dev", "rte1_test", "rte2_dev", "rte2_test", "rte3_dev", "rte3_test")


def stsb(*, lang: str = "en", lang_second: str | None = None, split: str | None = None, root: Root = None) -> TextPairs:
    """Read the STS benchmark: sentence pairs scored 0..5, in one language or across two.

    Parameters
    ----------
    lang : {"en", "de", "es", "fr", "zh"}, default "en"
        Language of the first sentence.
    lang_second : str, optional
        Language of the second sentence, for cross-lingual similarity; left out, ``lang``.
    split : {"train", "dev", "test"}, optional
        5,749, 1,500 and 1,379 pairs; left out, all. Do not train on test.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    TextPairs
        Scores on 0..5; rows are aligned across languages.
    """
    lang = check_choice(lang, STSB_LANGUAGES, name="lang")
    other = lang if lang_second is None else check_choice(lang_second, STSB_LANGUAGES, name="lang_second")
    choices = ("train", "dev", "test")
    first: list[str] = []
    second: list[str] = []
    scores: list[float] = []
    splits: list[str] = []
    for part in choices if split is None else (check_choice(split, choices, name="split"),):
        path = find(root, "stsb", f"{lang}_{part}.tsv.gz")
        rows = list(tsv_rows(path, _STSB))
        first.extend(row[0] for _, row in rows)
        scores.extend(number(path, line, "score", row[2]) for line, row in rows)
        splits.extend([part] * len(rows))
        if other == lang:
            second.extend(row[1] for _, row in rows)
            continue
        other_path = find(root, "stsb", f"{other}_{part}.tsv.gz")
        translated = [row[1] for _, row in tsv_rows(other_path, _STSB)]
        if len(translated) != len(rows):
            bad_row(other_path, len(translated) + 1, f"{len(translated)} rows", f"{len(rows)} rows, as in {path.name}")
        second.extend(translated)
    name = f"stsb/{lang}" if other == lang else f"stsb/{lang}-{other}"
    return TextPairs(name, first, second, scores=np.array(scores, dtype=np.float32), splits=splits)


def sick(*, split: str | None = None, root: Root = None) -> TextPairs:
    """Read SICK: sentence pairs with relatedness 1..5 and an entailment label.

    Parameters
    ----------
    split : {"train", "trial", "test"}, optional
        4,500, 500 and 4,927 pairs; left out, all.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    TextPairs
        ``scores`` is the relatedness, ``labels`` ENTAILMENT, NEUTRAL or CONTRADICTION.
    """
    choices = ("train", "trial", "test")
    rows: list[tuple[str, float, list[str]]] = []
    for part in choices if split is None else (check_choice(split, choices, name="split"),):
        path = find(root, "sick", f"{part}.tsv.gz")
        rows.extend((part, number(path, line, "relatedness", row[3]), row) for line, row in tsv_rows(path, _SICK))
    return TextPairs(
        "sick",
        [row[1] for _, _, row in rows],
        [row[2] for _, _, row in rows],
        scores=np.array([score for _, score, _ in rows], dtype=np.float32),
        labels=[row[4] for _, _, row in rows],
        splits=[part for part, _, _ in rows],
    )


def rte(*, split: str | None = None, root: Root = None) -> TextPairs:
    """Read RTE 1-3: pairs of a passage and a hypothesis that it entails or not.

    Parameters
    ----------
    split : {"rte1_dev", "rte1_test", "rte2_dev", "rte2_test", "rte3_dev", "rte3_test"}, optional
        One challenge's part; left out, all 4,167 pairs.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    TextPairs
        ``first`` passages, ``second`` hypotheses, ``scores`` 1 when entailed, ``labels`` the task
        (IE, IR, QA, SUM ...).
    """
    if split is not None:
        split = check_choice(split, _RTE_SPLITS, name="split")
    path = find(root, "rte", "rte.tsv.gz")
    rows: list[list[str]] = []
    for line, row in tsv_rows(path, _RTE):
        if row[5] not in ("0", "1"):
            bad_row(path, line, f"entailed={row[5]!r}", "0 or 1")
        if split in (None, row[0]):
            rows.append(row)
    return TextPairs(
        "rte",
        [row[3] for row in rows],
        [row[4] for row in rows],
        scores=np.array([row[5] == "1" for row in rows], dtype=np.float32),
        labels=[row[2] for row in rows],
        splits=[row[0] for row in rows],
    )
