"""Labelled, scored, judged and inferred texts as rows of (anchor, positive, negatives).

Every function returns a ``PairTable``; what cannot become a row is refused, or counted in ``dropped``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.kinds import RetrievalSet
from orthant.errors import InputError, NonFiniteError, NotFoundError, message
from orthant.learn.conversion.tables import PairTable
from orthant.learn.conversion.texts import check_filled, normalised_text
from orthant.validate import as_texts, check_count

__all__ = [
    "graded_pairs",
    "pairs_from_definitions",
    "pairs_from_retrieval",
    "pairs_from_scores",
    "pairs_from_triplets",
]

Row = dict[str, Any]


def aligned(columns: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return text columns of one length without blank texts.

    Parameters
    ----------
    columns : mapping of str to iterable of str
        Columns by the name of their argument.

    Returns
    -------
    list of list of str
        The columns, in the order given.

    Raises
    ------
    InputError
        Columns of different lengths, or a blank text.
    """
    out = {name: as_texts(texts, name=name) for name, texts in columns.items()}
    lengths = {name: len(texts) for name, texts in out.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(message(f"columns of lengths {lengths}", "one length", "align the columns"))
    for name, texts in out.items():
        check_filled(texts, name=name)
    return list(out.values())


def negative_columns(negatives: Sequence[str]) -> Row:
    """Return the columns of a row's negatives: ``negative``, or ``negative_1`` and so on.

    Parameters
    ----------
    negatives : sequence of str
        Texts, none to many.

    Returns
    -------
    dict of str to str
        The columns.
    """
    if len(negatives) == 1:
        return {"negative": negatives[0]}
    return {f"negative_{i}": text for i, text in enumerate(negatives, 1)}


def _as_scores(scores: npt.ArrayLike, count: int) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(message("scores that are not numbers", "one number per pair", "convert them")) from error
    if values.shape != (count,):
        raise InputError(message(f"scores of shape {values.shape}", f"({count},)", "pass one score per pair"))
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise NonFiniteError(message(f"scores[{row}]={values[row]}", "finite scores", "drop or fill that pair"))
    return values


def pairs_from_scores(
    first: Iterable[str],
    second: Iterable[str],
    scores: npt.ArrayLike,
    *,
    threshold: float,
    both_directions: bool = True,
    name: str = "scored pairs",
) -> PairTable:
    """Keep the pairs that people scored as near-equal in meaning: similarity data for a contrastive training.

    Use ``graded_pairs`` where the training reads scores.

    Parameters
    ----------
    first, second : iterable of str
        The two sides, n each, none blank.
    scores : array-like of shape (n,)
        Larger is more similar, on any scale.
    threshold : float
        Smallest score that counts as positive; 4 on the 0..5 scale of STS. Lower gives more and looser pairs.
    both_directions : bool, default True
        Add each pair the other way round too.
    name : str, default "scored pairs"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, ``score``; pairs of one and the same text are dropped and counted.

    Raises
    ------
    InputError, NonFiniteError
        Columns that do not fit, blank texts, scores that are not finite, or no pair at the threshold.

    References
    ----------
    Lee et al., NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models, arXiv:2405.17428,
    section 4.2 (similarity data).

    Examples
    --------
    >>> table = pairs_from_scores(["a cat", "a dog"], ["one cat", "a car"], [4.8, 1.0], threshold=4)
    >>> [(row["anchor"], row["positive"]) for row in table]
    [('a cat', 'one cat'), ('one cat', 'a cat')]
    """
    left, right = aligned({"first": first, "second": second})
    values = _as_scores(scores, len(left))
    rows: list[Row] = []
    below = same = 0
    for a, b, score in zip(left, right, values.tolist(), strict=True):
        if score < threshold:
            below += 1
        elif normalised_text(a) == normalised_text(b):
            same += 1
        else:
            rows.append({"anchor": a, "positive": b, "score": score})
            if both_directions:
                rows.append({"anchor": b, "positive": a, "score": score})
    if not rows:
        best = f"{values.max():g}" if len(values) else "none"
        raise InputError(
            message(
                f"threshold={threshold}, which no pair of two texts reaches (best {best})",
                "a lower threshold",
                "lower it",
            )
        )
    return PairTable(name, rows, {"below threshold": below, "equal texts": same})


def graded_pairs(
    first: Iterable[str],
    second: Iterable[str],
    scores: npt.ArrayLike,
    *,
    low: float,
    high: float,
    name: str = "graded pairs",
) -> PairTable:
    """Return pairs with their scores on 0..1: for losses that order or regress similarities.

    Parameters
    ----------
    first, second : iterable of str
        The two sides, n each, none blank.
    scores : array-like of shape (n,)
        Larger is more similar.
    low, high : float
        Ends of the scale that the scores are given on; they become 0 and 1.
    name : str, default "graded pairs"
        Name of the table.

    Returns
    -------
    PairTable
        ``sentence1``, ``sentence2``, ``score``.

    Raises
    ------
    InputError, NonFiniteError
        Columns that do not fit, a score outside the scale, ``low`` not below ``high``, or one score throughout: a loss
        over pairs of pairs has no term then.

    Examples
    --------
    >>> graded_pairs(["a", "b"], ["c", "d"], [5, 0], low=0, high=5).rows[0]
    {'sentence1': 'a', 'sentence2': 'c', 'score': 1.0}
    """
    left, right = aligned({"first": first, "second": second})
    values = _as_scores(scores, len(left))
    if not low < high:
        raise InputError(message(f"low={low}, high={high}", "low below high", "swap them"))
    outside = np.flatnonzero((values < low) | (values > high))
    if len(outside):
        row = int(outside[0])
        raise InputError(
            message(f"scores[{row}]={values[row]:g}", f"a score from {low:g} to {high:g}", "correct the scale")
        )
    if len(np.unique(values)) < 2:
        raise InputError(message("one score for all pairs", "scores that differ", "use pairs_from_scores"))
    scaled = ((values - low) / (high - low)).tolist()
    rows = [{"sentence1": a, "sentence2": b, "score": s} for a, b, s in zip(left, right, scaled, strict=True)]
    return PairTable(name, rows)


def pairs_from_triplets(
    anchors: Iterable[str], positives: Iterable[str], negatives: Iterable[str], *, name: str = "triplets"
) -> PairTable:
    """Check triplets that somebody curated.

    Parameters
    ----------
    anchors, positives, negatives : iterable of str
        n each, none blank.
    name : str, default "triplets"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, ``negative``; repeated triplets are dropped and counted.

    Raises
    ------
    InputError
        An anchor equal to its positive or negative, or a negative that is a positive of the same anchor elsewhere.

    Examples
    --------
    >>> pairs_from_triplets(["sun"], ["our star"], ["our moon"]).rows
    [{'anchor': 'sun', 'positive': 'our star', 'negative': 'our moon'}]
    """
    columns = aligned({"anchors": anchors, "positives": positives, "negatives": negatives})
    forms = [tuple(map(normalised_text, triple)) for triple in zip(*columns, strict=True)]
    relevant: dict[str, set[str]] = {}
    for anchor, positive, _ in forms:
        relevant.setdefault(anchor, set()).add(positive)
    rows: list[Row] = []
    seen: set[tuple[str, ...]] = set()
    for i, (form, triple) in enumerate(zip(forms, zip(*columns, strict=True), strict=True)):
        if form[0] in form[1:]:
            raise InputError(
                message(f"triplet {i} whose anchor is also its other side", "three different texts", "drop it")
            )
        if form[2] in relevant[form[0]]:
            raise InputError(
                message(
                    f"triplet {i} whose negative is a positive of the same anchor", "a text that is none", "drop it"
                )
            )
        if form not in seen:
            seen.add(form)
            rows.append(dict(zip(("anchor", "positive", "negative"), triple, strict=True)))
    return PairTable(name, rows, {"repeated": len(forms) - len(rows)})


def pairs_from_retrieval(data: RetrievalSet, *, minimum_grade: int = 1, judged_negatives: int = 0) -> PairTable:
    """Return one row per query and relevant document.

    Parameters
    ----------
    data : RetrievalSet
        Corpus, queries and judgements.
    minimum_grade : int, default 1
        Smallest grade that counts as relevant.
    judged_negatives : int, default 0
        How many documents that were judged and graded below 1 stand beside each positive; a query with fewer is
        dropped and counted. 0 takes none: mine them.

    Returns
    -------
    PairTable
        ``anchor``, ``positive``, negatives, ``id`` (the document's) and ``query_id``. A document's text is its title
        and body; relevant documents without text are dropped and counted.

    Raises
    ------
    NotFoundError
        A judged id that is not in the corpus.
    InputError
        Counts out of range.

    Examples
    --------
    >>> from orthant.datasets import Document
    >>> data = RetrievalSet("toy", [Document("d1", "", "a lamp")], {"q1": "light"}, {"q1": {"d1": 1}})
    >>> pairs_from_retrieval(data).rows
    [{'anchor': 'light', 'positive': 'a lamp', 'id': 'd1', 'query_id': 'q1'}]
    """
    grade = check_count(minimum_grade, name="minimum_grade")
    wanted = check_count(judged_negatives, name="judged_negatives", minimum=0)
    texts = {d.id: d.content for d in data.corpus}
    rows: list[Row] = []
    dropped = {"query without relevant documents": 0, "empty text": 0, "too few judged negatives": 0}
    for query, text in data.queries.items():
        judged = data.qrels.get(query, {})
        missing = [key for key in judged if key not in texts]
        if missing:
            raise NotFoundError(
                message(f"document {missing[0]!r}, judged for query {query!r}", "an id of the corpus", "add or drop it")
            )
        relevant = [key for key, value in judged.items() if value >= grade]
        negatives = [texts[key] for key, value in judged.items() if value <= 0 and texts[key].strip()][:wanted]
        dropped["query without relevant documents"] += not relevant
        for key in relevant:
            if not texts[key].strip() or not text.strip():
                dropped["empty text"] += 1
            elif len(negatives) < wanted:
                dropped["too few judged negatives"] += 1
            else:
                row = {"anchor": text, "positive": texts[key], **negative_columns(negatives)}
                rows.append({**row, "id": key, "query_id": query})
    return PairTable(data.name, rows, dropped)


def pairs_from_definitions(
    entries: Mapping[str, str] | Iterable[tuple[str, str]], *, name: str = "dictionary"
) -> PairTable:
    """Return (term, definition) pairs of a dictionary or glossary.

    Parameters
    ----------
    entries : mapping of str to str, or iterable of (term, definition)
        A term may have several definitions in the second form.
    name : str, default "dictionary"
        Name of the table.

    Returns
    -------
    PairTable
        ``anchor`` the term, ``positive`` the definition, ``group`` the term: senses of one term stay on one side of a
        split. Entries with a blank side, or defined by themselves, are dropped and counted.

    Raises
    ------
    InputError
        Entries that are not pairs of texts.

    Examples
    --------
    >>> pairs_from_definitions({"alb": "a white vestment", "x": " "}).dropped["empty text"]
    1
    """
    items = entries.items() if isinstance(entries, Mapping) else entries
    rows: list[Row] = []
    dropped = {"empty text": 0, "defined by itself": 0}
    for i, entry in enumerate(items):
        if isinstance(entry, str) or len(entry) != 2:
            raise InputError(message(f"entry {i}: {entry!r}", "a term and a definition", "pass pairs"))
        term, definition = as_texts(entry, name=f"entries[{i}]")
        if not term.strip() or not definition.strip():
            dropped["empty text"] += 1
        elif normalised_text(term) == normalised_text(definition):
            dropped["defined by itself"] += 1
        else:
            rows.append({"anchor": term, "positive": definition, "group": normalised_text(term)})
    return PairTable(name, rows, dropped)
