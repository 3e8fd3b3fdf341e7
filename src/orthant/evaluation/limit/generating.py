"""Tasks of the form "who likes what?": trivial for words, and full of combinations that one vector must tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, islice
from math import comb
from typing import Literal

import numpy as np

from orthant.datasets.kinds import Document, RetrievalSet
from orthant.errors import InputError, message
from orthant.evaluation.limit.words import FIRST_NAMES, ITEMS, LAST_NAMES
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["PATTERNS", "Pattern", "generate", "pattern_rows"]

Pattern = Literal["dense", "random", "cycle", "disjoint"]
PATTERNS: tuple[Pattern, ...] = ("dense", "random", "cycle", "disjoint")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MOST_NAMES = len(FIRST_NAMES) * len(LAST_NAMES) * len(_LETTERS)


def pattern_rows(pattern: Pattern, n_docs: int, n_queries: int, *, k: int = 2, seed: int = 0) -> list[tuple[int, ...]]:
    """Return which documents are relevant to each query under a pattern.

    Parameters
    ----------
    pattern : {"dense", "random", "cycle", "disjoint"}
        ``"dense"``: the first ``n_queries`` sets of k among as few documents as have that many, in lexicographic
        order; ``"random"``: k documents drawn per query; ``"cycle"``: k documents in a row, around; ``"disjoint"``: k
        documents of its own for each query.
    n_docs : int
        Documents there are; the dense pattern uses the first of them.
    n_queries : int
        Queries.
    k : int, default 2
        Relevant documents per query.
    seed : int, default 0
        Of the random pattern.

    Returns
    -------
    list of tuple of int
        Ascending positions of documents, one tuple per query.

    Raises
    ------
    InputError
        An unknown pattern, ``k`` above ``n_docs``, or fewer documents than the pattern needs.

    Examples
    --------
    >>> pattern_rows("dense", 10, 4)
    [(0, 1), (0, 2), (0, 3), (1, 2)]
    """
    check_choice(pattern, PATTERNS, name="pattern")
    check_count(seed, name="seed", minimum=0)
    n_docs, n_queries = check_count(n_docs, name="n_docs"), check_count(n_queries, name="n_queries")
    if check_count(k, name="k") > n_docs:
        raise InputError(message(f"k={k} of {n_docs} documents", "at most that many", "lower k or add documents"))
    if pattern == "dense":
        used = k
        while comb(used, k) < n_queries:
            used += 1
        _require(used, n_docs, pattern, n_queries)
        return list(islice(combinations(range(used), k), n_queries))
    if pattern == "random":
        rng = np.random.default_rng(seed)
        return [tuple(sorted(rng.choice(n_docs, k, replace=False).tolist())) for _ in range(n_queries)]
    if pattern == "cycle":
        return [tuple(sorted((i + j) % n_docs for j in range(k))) for i in range(n_queries)]
    _require(k * n_queries, n_docs, pattern, n_queries)
    return [tuple(range(k * i, k * i + k)) for i in range(n_queries)]


def _require(needed: int, n_docs: int, pattern: str, n_queries: int) -> None:
    if needed > n_docs:
        raise InputError(
            message(
                f"n_docs={n_docs} for {n_queries} queries of pattern {pattern!r}",
                f"at least {needed} documents",
                "raise n_docs or lower n_queries",
            )
        )


def generate(
    n_docs: int = 46,
    n_queries: int = 1000,
    *,
    k: int = 2,
    pattern: Pattern = "dense",
    min_items: int = 45,
    items: Sequence[str] | None = None,
    seed: int = 0,
) -> RetrievalSet:
    """Make a task in which every query asks who likes one thing, and k people do.

    Use it to see whether an encoder can return the combinations of documents that a pattern asks for. Words alone
    solve it, so what a search loses here it loses to its representation, not to the language.

    Parameters
    ----------
    n_docs : int, default 46
        People, one document each; 46 is the least that has 1,000 pairs.
    n_queries : int, default 1000
        Queries; each needs a thing of its own.
    k : int, default 2
        People who like the thing of a query.
    pattern : {"dense", "random", "cycle", "disjoint"}, default "dense"
        Who likes what; see `pattern_rows`. The dense pattern asks for the most combinations of the fewest people.
    min_items : int, default 45
        Things that everybody likes at least. Documents are filled up with things that no query asks for, and nobody's
        things are cut. Too few make the people of few queries easy to tell by the length of their text.
    items : sequence of str, optional
        Things to like, ``n_queries`` at least and more where documents are filled up; default about 1,700 single
        words of this package.
    seed : int, default 0
        Of things, names and the random pattern.

    Returns
    -------
    RetrievalSet
        Document ids are names; query ids ``"query_0"`` and so on.

    Raises
    ------
    InputError
        Too few things or people for what is asked, things of which one contains all words of another, or an unknown
        pattern.

    Notes
    -----
    Cost: O(n_docs min_items). Equal arguments give equal texts on every machine.

    References
    ----------
    O. Weller, M. Boratko, I. Naim, J. Lee: On the Theoretical Limitations of Embedding-Based Retrieval,
    arXiv:2508.21038, section 5.

    Examples
    --------
    >>> task = generate(5, 10, min_items=6, seed=1)
    >>> len(task.corpus), len(task.queries), sorted(len(r) for r in task.qrels.values())[-1]
    (5, 10, 2)
    >>> task.queries["query_0"].startswith("Who likes ")
    True
    """
    min_items = check_count(min_items, name="min_items")
    check_count(n_docs, name="n_docs", maximum=_MOST_NAMES)
    rows = pattern_rows(pattern, n_docs, n_queries, k=k, seed=seed)
    rng = np.random.default_rng(seed)
    pool = _shuffled(ITEMS if items is None else _checked(items), rng)
    liked: list[list[str]] = [[] for _ in range(n_docs)]
    if len(pool) < n_queries:
        _refuse_items(len(pool), n_queries)
    for thing, people in zip(pool, rows, strict=False):
        for person in people:
            liked[person].append(thing)
    spare = pool[n_queries:]
    missing = max(max(0, min_items - len(held)) for held in liked)
    if missing > len(spare):
        _refuse_items(len(pool), n_queries + missing)
    for held in liked:
        lacking = min_items - len(held)
        if lacking > 0:
            held += [spare[i] for i in rng.choice(len(spare), lacking, replace=False)]
    names = _names(n_docs, rng)
    corpus = [
        Document(name, "", _sentence(name, _shuffled(held, rng))) for name, held in zip(names, liked, strict=True)
    ]
    queries = {f"query_{i}": f"Who likes {pool[i]}?" for i in range(n_queries)}
    qrels = {f"query_{i}": {names[person]: 1 for person in people} for i, people in enumerate(rows)}
    return RetrievalSet(f"limit/generated-{pattern}", corpus, queries, qrels)


def _refuse_items(given: int, needed: int) -> None:
    raise InputError(
        message(f"{given} things to like", f"at least {needed}", "pass more items, or lower n_queries or min_items")
    )


def _shuffled(values: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [values[i] for i in rng.permutation(len(values))]


def _checked(items: Sequence[str]) -> list[str]:
    """Refuse things of which one holds all words of another: a query for "tea" is also answered by "green tea"."""
    found = as_texts(items, name="items")
    words = [frozenset(item.lower().split()) for item in found]
    holders: dict[str, list[int]] = {}
    for i, held in enumerate(words):
        for word in held:
            holders.setdefault(word, []).append(i)
    for i, held in enumerate(words):
        if not held:
            raise InputError(message(f"items[{i}] without a word", "at least one word each", "leave it out"))
        rarest = min(held, key=lambda word: len(holders[word]))
        for j in holders[rarest]:
            if j != i and held <= words[j]:
                raise InputError(
                    message(f"items {found[i]!r} and {found[j]!r}", "no thing whose words are all in another",
                            "leave one of them out")
                )  # fmt: skip
    return found


def _names(count: int, rng: np.random.Generator) -> list[str]:
    """Draw distinct names; a letter comes between where first and last names do not suffice."""
    firsts, lasts = len(FIRST_NAMES), len(LAST_NAMES)
    letters = 1 if count <= firsts * lasts else len(_LETTERS)
    out = []
    for number in rng.choice(firsts * lasts * letters, count, replace=False).tolist():
        middle = "" if letters == 1 else f" {_LETTERS[number // (firsts * lasts)]}."
        place = number % (firsts * lasts)
        out.append(f"{FIRST_NAMES[place // lasts]}{middle} {LAST_NAMES[place % lasts]}")
    return out


def _sentence(name: str, things: Sequence[str]) -> str:
    listed = things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
    return f"{name} likes {listed}."
