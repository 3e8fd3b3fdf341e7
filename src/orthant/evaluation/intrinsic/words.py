"""What people say about words, against what their vectors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from orthant.datasets.kinds import LabelledTexts, TextPairs
from orthant.datasets.structures import Analogies, Outliers
from orthant.encoders.words.vectors import WordVectors
from orthant.errors import InputError, message
from orthant.kernels.clustering.kmeans import kmeans
from orthant.measures.correlation import spearman
from orthant.types import FloatArray, Report
from orthant.validate import check_choice

__all__ = ["evaluate_words"]

Task = TextPairs | Analogies | LabelledTexts | Outliers
_BLOCK = 512


_CLASSES = ("-n", "-v", "-j", "-a", "-r")


def evaluate_words(words: WordVectors, task: Task, *, lower: bool = True, method: str = "add", seed: int = 0) -> Report:
    """Judge word vectors by one benchmark, such as those of ``datasets.load("word_benchmarks", ...)``.

    Figures of two models compare only where both know the same words: look at ``covered``, and restrict both to common
    words where it differs.

    Parameters
    ----------
    words : WordVectors
        What is judged.
    task : TextPairs, Analogies, LabelledTexts or Outliers
        Pairs with scores: rank correlation. Analogies: share answered exactly. Words with classes: purity of as many
        clusters as there are classes. Groups with outliers: share in which the outlier is farthest.
    lower : bool, default True
        Look words up in lower case where they are not known as they stand. Those with a word class behind them
        (``sun-n``) are looked up without it as well.
    method : {"add", "multiply"}, default "add"
        How analogies are answered.
    seed : int, default 0
        Of the clustering.

    Returns
    -------
    Report
        Metrics ``spearman``, ``accuracy``, ``purity`` or ``accuracy``, and ``covered``, the share of items of which all
        words are known. Items that are not known are listed as missing and are in no figure.

    Raises
    ------
    InputError
        Fewer than two items whose words are known, pairs without scores, or another kind of task.

    Notes
    -----
    Answers to analogies are looked for among all words but the three asked with. Cost: O(V d) per analogy.

    References
    ----------
    Hill, Reichart, Korhonen: SimLex-999. Computational Linguistics 41(4), 2015. Mikolov et al.: Efficient estimation of
    word representations in vector space, 2013, section 4.1. Camacho-Collados, Navigli: Find the word that does not
    belong. RepEval 2016.

    Examples
    --------
    >>> words = WordVectors(["sea", "ship", "oven"], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> pairs = TextPairs("toy", ["sea", "sea", "ship"], ["ship", "oven", "oven"], np.array([9.0, 1.0, 2.0]))
    >>> round(evaluate_words(words, pairs).metrics["spearman"], 4)
    1.0
    """
    check_choice(method, ("add", "multiply"), name="method")
    judges: dict[type, Callable[[], tuple[dict[str, float], list[str], int]]] = {
        TextPairs: lambda: _similarity(words, task, lower),
        Analogies: lambda: _analogies(words, task, lower, method),
        LabelledTexts: lambda: _categories(words, task, lower, seed),
        Outliers: lambda: _outliers(words, task, lower),
    }
    if type(task) not in judges:
        raise InputError(message(f"a task of type {type(task).__name__}", "pairs, analogies, classes or outliers",
                                 "read one with datasets.load('word_benchmarks', task=...)"))  # fmt: skip
    metrics, missing, total = judges[type(task)]()
    metrics["covered"] = round(1 - len(missing) / max(1, total), 6)
    context = {"task": task.name, "items": total, "fingerprint": words.fingerprint, "words": len(words), "seed": seed}
    return Report(metrics, missing, context)


def _place(words: WordVectors, word: str, lower: bool) -> int:
    # MEN and others write the word class behind the word, as in "sun-n".
    plain = word[:-2] if word[-2:] in _CLASSES else word
    forms = (word, plain, word.lower(), plain.lower()) if lower else (word, plain)
    return next((words.position(form) for form in forms if form in words), -1)


def _unit(words: WordVectors) -> FloatArray:
    rows = words.vectors
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30), dtype=np.float32)


def _enough(count: int, name: str) -> None:
    if count < 2:
        raise InputError(
            message(f"{count} item(s) of {name} with known words", "two at least", "train on more text, or lower-case")
        )


def _similarity(words: WordVectors, task: Any, lower: bool) -> tuple[dict[str, float], list[str], int]:
    if task.scores is None:
        raise InputError(message(f"{task.name} without scores", "pairs with judged similarity", "use another part"))
    places = np.array(
        [[_place(words, word, lower) for word in pair] for pair in zip(task.first, task.second, strict=True)]
    )
    known = (places >= 0).all(axis=1)
    _enough(int(known.sum()), task.name)
    unit = _unit(words)
    cosines = np.einsum("ij,ij->i", unit[places[known, 0]], unit[places[known, 1]])
    missing = [f"{task.first[i]} {task.second[i]}" for i in np.flatnonzero(~known)]
    return {"spearman": spearman(cosines, np.asarray(task.scores)[known])}, missing, len(places)


def _analogies(words: WordVectors, task: Any, lower: bool, method: str) -> tuple[dict[str, float], list[str], int]:
    places = np.array([[_place(words, word, lower) for word in item[1:]] for item in task.items])
    known = (places >= 0).all(axis=1)
    _enough(int(known.sum()), task.name)
    unit, asked = _unit(words), places[known]
    right = 0
    for start in range(0, len(asked), _BLOCK):
        part = asked[start : start + _BLOCK]
        a, b, c = (unit[part[:, i]] @ unit.T for i in range(3))
        scores = b - a + c if method == "add" else (1 + b) * (1 + c) / (1 + a + 2e-3)
        np.put_along_axis(scores, part[:, :3], -np.inf, axis=1)
        right += int((scores.argmax(axis=1) == part[:, 3]).sum())
    missing = [" ".join(task.items[i][1:]) for i in np.flatnonzero(~known)]
    return {"accuracy": right / len(asked)}, missing, len(places)


def _categories(words: WordVectors, task: Any, lower: bool, seed: int) -> tuple[dict[str, float], list[str], int]:
    places = np.array([_place(words, word, lower) for word in task.texts])
    known = places >= 0
    labels = np.asarray(task.labels)[known]
    _enough(int(known.sum()), task.name)
    classes, labels = np.unique(labels, return_inverse=True)
    rows = _unit(words)[places[known]]
    clusters = kmeans(rows, len(classes), seed=seed).labels
    together = np.zeros((len(classes), len(classes)))
    np.add.at(together, (clusters, labels), 1)
    missing = [task.texts[i] for i in np.flatnonzero(~known)]
    return {"purity": float(together.max(axis=1).sum() / len(rows))}, missing, len(places)


def _outliers(words: WordVectors, task: Any, lower: bool) -> tuple[dict[str, float], list[str], int]:
    unit, right, asked, missing, total = _unit(words), 0, 0, [], 0
    for group in task.groups:
        inside = [place for word in group.words if (place := _place(words, word, lower)) >= 0]
        for outlier in group.outliers:
            total += 1
            place = _place(words, outlier, lower)
            if place < 0 or len(inside) < 2:
                missing.append(f"{group.category}: {outlier}")
                continue
            rows = unit[[*inside, place]]
            closeness = (rows @ rows.T).sum(axis=1)
            right += int(closeness.argmin() == len(inside))
            asked += 1
    _enough(asked, task.name)
    return {"accuracy": right / asked}, missing, total
