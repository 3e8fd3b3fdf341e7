"""Classes and inference labels as rows: a text with its label, with a text of its class, with what it entails."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.learn.conversion.pairs import aligned, negative_columns
from orthant.learn.conversion.tables import PairTable
from orthant.learn.conversion.texts import check_filled, normalised_text
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["NLI_SCORES", "graded_from_nli", "pairs_from_classes", "pairs_from_labels", "pairs_from_nli"]

NLI_SCORES: Mapping[str, float] = {"entailment": 1.0, "neutral": 0.5, "contradiction": 0.0}
"""How near two texts are when the first entails, permits or contradicts the second."""

Row = dict[str, Any]


def _labelled(texts: Iterable[str], labels: Sequence[Hashable]) -> tuple[list[str], list[Hashable]]:
    listed = as_texts(texts)
    check_filled(listed, name="texts")
    classes = [label.item() if isinstance(label, np.generic) else label for label in labels]
    if len(classes) != len(listed):
        raise InputError(message(f"{len(classes)} labels for {len(listed)} texts", "one per text", "align them"))
    return listed, classes


def pairs_from_labels(
    texts: Iterable[str],
    labels: Sequence[Hashable],
    *,
    names: Mapping[Hashable, str] | Sequence[str],
    template: str = "{label}",
    negatives: int = 0,
    seed: int = 0,
    name: str = "labels",
) -> PairTable:
    """Pair each text with the name of its class; other names are the negatives.

    Use it when names say what the classes mean. With many texts per class, train without in-batch negatives or mask
    equal classes: the ``class`` column is there for that.

    Parameters
    ----------
    texts : iterable of str
        n texts, none blank.
    labels : sequence of length n
        Class of each text.
    names : mapping of label to str, or sequence of str
        What each class is called; a sequence is indexed by integer labels.
    template : str, default "{label}"
        Wording around the name, such as ``"a question about {label}"``.
    negatives : int, default 0
        Other names per row, drawn at random; at most the number of classes less one.
    seed : int, default 0
        Of the draw.
    name : str, default "labels"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, negatives, ``class``.

    Raises
    ------
    InputError
        A label without a name, two classes of one name, a template without ``{label}``, or too many negatives.

    References
    ----------
    Lee et al., NV-Embed, arXiv:2405.17428, section 4.2 (classification data, label form).

    Examples
    --------
    >>> pairs_from_labels(["my card is lost"], [1], names=["top-up", "lost card"], negatives=1).rows
    [{'anchor': 'my card is lost', 'positive': 'lost card', 'negative': 'top-up', 'class': 'lost card'}]
    """
    listed, classes = _labelled(texts, labels)
    known: dict[Hashable, str] = (
        dict(names) if isinstance(names, Mapping) else dict(enumerate(as_texts(names, name="names")))
    )
    if template.count("{label}") != 1 or template.replace("{label}", "").count("{"):
        raise InputError(message(f"template={template!r}", "one field, {label}", "write 'about {label}'"))
    unnamed = [label for label in dict.fromkeys(classes) if label not in known]
    if unnamed:
        raise InputError(message(f"label {unnamed[0]!r} without a name", "a name for every label", "add it to names"))
    wordings = {label: template.replace("{label}", text) for label, text in known.items()}
    check_filled(list(known.values()), name="names")
    if len(set(map(normalised_text, wordings.values()))) < len(wordings):
        raise InputError(message("two classes of one name", "names that differ", "rename one"))
    count = check_count(negatives, name="negatives", minimum=0, maximum=max(len(known) - 1, 0))
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for text, label in zip(listed, classes, strict=True):
        others = [wording for other, wording in wordings.items() if other != label]
        chosen = [others[i] for i in rng.permutation(len(others))[:count]] if count else []
        rows.append({"anchor": text, "positive": wordings[label], **negative_columns(chosen), "class": known[label]})
    return PairTable(name, rows)


def pairs_from_classes(
    texts: Iterable[str],
    labels: Sequence[Hashable],
    *,
    negatives: int = 0,
    singletons: str = "refuse",
    seed: int = 0,
    name: str = "classes",
) -> PairTable:
    """Pair each text with another text of its class or cluster; texts of other classes are the negatives.

    Parameters
    ----------
    texts : iterable of str
        n texts, none blank.
    labels : sequence of length n
        Class or cluster of each text.
    negatives : int, default 0
        Texts of other classes per row, drawn at random.
    singletons : {"refuse", "drop"}, default "refuse"
        What to do with classes that have one distinct text only: they cannot make a pair.
    seed : int, default 0
        Of all draws.
    name : str, default "classes"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, negatives, ``class``; one row per distinct text. Repeated texts of one class, and
        texts that stand in several classes, are dropped and counted.

    Raises
    ------
    InputError
        Classes with one text, fewer texts of other classes than negatives asked for, or columns that do not fit.

    Notes
    -----
    The positives of a class are a random cycle through its texts, so each text is a positive exactly once.

    References
    ----------
    Lee et al., NV-Embed, arXiv:2405.17428, section 4.2 (classification data, example form); QZhou-Embedding Technical
    Report, arXiv:2508.21632, section on data transformation.

    Examples
    --------
    >>> table = pairs_from_classes(["red", "green", "cat", "dog"], ["colour", "colour", "pet", "pet"], negatives=1)
    >>> table.rows[0]["anchor"], table.rows[0]["positive"], table.rows[0]["negative"] in ("cat", "dog")
    ('red', 'green', True)
    """
    listed, classes = _labelled(texts, labels)
    singletons = check_choice(singletons, ("refuse", "drop"), name="singletons")
    count = check_count(negatives, name="negatives", minimum=0)
    members, dropped = _distinct(listed, classes)
    alone = [label for label, found in members.items() if len(found) < 2]
    if alone and singletons == "refuse":
        raise InputError(
            message(
                f"{len(alone)} classes with fewer than two distinct texts, such as {alone[0]!r}",
                "at least two texts per class",
                "pass singletons='drop', or pairs_from_labels",
            )
        )
    total = sum(map(len, members.values()))
    dropped["class with one text"] = sum(len(members[label]) for label in alone)
    pool = [(text, label) for label, found in members.items() for text in found]
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for label, found in members.items():
        if len(found) < 2:
            continue
        if total - len(found) < count:
            raise InputError(
                message(f"negatives={count}", f"at most {total - len(found)}, the texts outside {label!r}", "lower it")
            )
        cycle = rng.permutation(len(found))
        follows = {found[a]: found[b] for a, b in zip(cycle, np.roll(cycle, -1), strict=True)}
        for text in found:
            row = {"anchor": text, "positive": follows[text], **negative_columns(_others(pool, label, count, rng))}
            rows.append({**row, "class": label})
    return PairTable(name, rows, dropped)


def _distinct(texts: list[str], classes: list[Hashable]) -> tuple[dict[Hashable, list[str]], dict[str, int]]:
    """Return the distinct texts of each class; a text of two classes would be its own negative."""
    homes: dict[str, set[Hashable]] = {}
    for text, label in zip(texts, classes, strict=True):
        homes.setdefault(normalised_text(text), set()).add(label)
    members: dict[Hashable, list[str]] = {label: [] for label in classes}
    seen: set[str] = set()
    dropped = {"repeated text": 0, "text in several classes": 0}
    for text, label in zip(texts, classes, strict=True):
        form = normalised_text(text)
        if len(homes[form]) > 1:
            dropped["text in several classes"] += 1
        elif form in seen:
            dropped["repeated text"] += 1
        else:
            seen.add(form)
            members[label].append(text)
    return members, dropped


def _others(pool: list[tuple[str, Hashable]], label: Hashable, count: int, rng: np.random.Generator) -> list[str]:
    """Draw distinct texts of other classes, by rejection: almost every draw is of another class."""
    chosen: dict[int, str] = {}
    while len(chosen) < count:
        i = int(rng.integers(len(pool)))
        if pool[i][1] != label:
            chosen.setdefault(i, pool[i][0])
    return list(chosen.values())


def _nli(premises: Iterable[str], hypotheses: Iterable[str], labels: Sequence[str]) -> list[tuple[str, str, str]]:
    left, right = aligned({"premises": premises, "hypotheses": hypotheses})
    names = [label.lower() for label in as_texts(labels, name="labels")]
    if len(names) != len(left):
        raise InputError(message(f"{len(names)} labels for {len(left)} pairs", "one per pair", "align them"))
    for i, label in enumerate(names):
        check_choice(label, tuple(NLI_SCORES), name=f"labels[{i}]")
    return list(zip(left, right, names, strict=True))


def pairs_from_nli(
    premises: Iterable[str], hypotheses: Iterable[str], labels: Sequence[str], *, name: str = "nli"
) -> PairTable:
    """Pair each premise with what it entails; what contradicts the same premise is the hard negative.

    Parameters
    ----------
    premises, hypotheses : iterable of str
        n each, none blank.
    labels : sequence of {"entailment", "neutral", "contradiction"}, length n
        In any case.
    name : str, default "nli"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, ``negative``: all combinations per premise. Premises without both an entailed and a
        contradicting text are counted as dropped.

    Raises
    ------
    InputError
        An unknown label, or columns that do not fit.

    References
    ----------
    QZhou-Embedding Technical Report, arXiv:2508.21632, section on data transformation.

    Examples
    --------
    >>> pairs_from_nli(["It rains."] * 2, ["It is wet.", "It is dry."], ["entailment", "contradiction"]).rows
    [{'anchor': 'It rains.', 'positive': 'It is wet.', 'negative': 'It is dry.'}]
    """
    by_premise: dict[str, dict[str, list[str]]] = {}
    for premise, hypothesis, label in _nli(premises, hypotheses, labels):
        by_premise.setdefault(premise, {}).setdefault(label, []).append(hypothesis)
    rows: list[Row] = []
    incomplete = 0
    for premise, found in by_premise.items():
        made = [
            {"anchor": premise, "positive": positive, "negative": negative}
            for positive in dict.fromkeys(found.get("entailment", []))
            for negative in dict.fromkeys(found.get("contradiction", []))
        ]
        incomplete += not made
        rows.extend(made)
    return PairTable(name, rows, {"premise without both labels": incomplete})


def graded_from_nli(
    premises: Iterable[str], hypotheses: Iterable[str], labels: Sequence[str], *, name: str = "nli"
) -> PairTable:
    """Return inference pairs with ordered scores: 1 entailment, 0.5 neutral, 0 contradiction.

    Parameters
    ----------
    premises, hypotheses : iterable of str
        n each, none blank.
    labels : sequence of {"entailment", "neutral", "contradiction"}, length n
        In any case.
    name : str, default "nli"
        Name of the table.

    Returns
    -------
    PairTable
        ``sentence1``, ``sentence2``, ``score``.

    Raises
    ------
    InputError
        An unknown label, or columns that do not fit.

    Examples
    --------
    >>> graded_from_nli(["It rains."], ["It may be cold."], ["neutral"]).rows[0]["score"]
    0.5
    """
    rows = [
        {"sentence1": a, "sentence2": b, "score": NLI_SCORES[label]}
        for a, b, label in _nli(premises, hypotheses, labels)
    ]
    return PairTable(name, rows)
