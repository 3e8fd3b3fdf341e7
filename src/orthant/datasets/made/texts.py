"""Which texts a made vector set is of: chunks of newsgroup messages, and documents whose tokens are taken.

Everything follows from the data folder and a seed, so two machines with the same files encode the same texts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from orthant.datasets.readers.known_item import medquad_documents, papers_documents, qmsum_documents
from orthant.datasets.readers.labelled import ag_news, newsgroups20
from orthant.datasets.readers.long_texts import movies

__all__ = ["TEXTS", "MadeTexts", "chunks"]

Root = str | os.PathLike[str] | None

CHUNK_WORDS = 50
CHUNK_STRIDE = 35
CHUNK_COUNT = 140_000
TOKEN_COUNT = 1_000_000
QUERY_COUNT = 4_000
_HELD_OUT = 0.04
# A document of the token set: long enough for context, short enough that attention stays cheap.
_DOCUMENT_WORDS = 80
# Query tokens are drawn from so many documents: about ten from each, so that they are hardly correlated.
_QUERY_DOCUMENTS = 400


@dataclass(frozen=True)
class MadeTexts:
    """The texts of one made set.

    Attributes
    ----------
    sources : tuple of str
        Data sets they come from.
    base : list of str
        Texts whose vectors are indexed, in random order.
    queries : dict of str to list of str
        Texts of the queries: ``"in"`` from held-out texts of the same kind, ``"out"`` from another kind.
    rows : int
        Base vectors wanted: texts beyond them are left out.
    query_rows : int
        Query vectors wanted of each kind.
    per_token : bool
        One vector per token instead of one per text.
    max_tokens : int
        Window of the encoder, special tokens included.
    """

    sources: tuple[str, ...]
    base: list[str]
    queries: dict[str, list[str]]
    rows: int
    query_rows: int
    per_token: bool
    max_tokens: int


def chunks(text: str, *, words: int = CHUNK_WORDS, stride: int = CHUNK_STRIDE) -> Iterator[str]:
    """Yield overlapping stretches of a text.

    Parameters
    ----------
    text : str
        Cut at white space.
    words : int, default 50
        Words per stretch; the last is shorter.
    stride : int, default 35
        Words from one beginning to the next; below ``words`` the stretches overlap.

    Yields
    ------
    str
        At least one stretch where the text has a word.

    Examples
    --------
    >>> list(chunks("a b c d e", words=3, stride=2))
    ['a b c', 'c d e']
    """
    parts = text.split()
    overlap = max(0, words - stride)
    # A stretch that would lie within the one before it is left out.
    for start in range(0, max(1, len(parts) - overlap) if parts else 0, stride):
        yield " ".join(parts[start : start + words])


def _shuffled(texts: Sequence[str], generator: np.random.Generator) -> list[str]:
    unique = list(dict.fromkeys(texts))
    return [unique[i] for i in generator.permutation(len(unique))]


def _split(documents: Sequence[str], generator: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return documents to index and documents held out, so that no query shares its document with the base."""
    held = generator.random(len(documents)) < _HELD_OUT
    kept = [one for one, out in zip(documents, held, strict=True) if not out]
    return kept, [one for one, out in zip(documents, held, strict=True) if out]


def newsgroups_chunks(root: Root, *, seed: int) -> MadeTexts:
    """Return chunks of newsgroup messages; queries are chunks of other messages, and news and medical questions.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder.
    seed : int
        Of the split and the order.

    Returns
    -------
    MadeTexts
        140,000 chunks of about 50 words.
    """
    generator = np.random.default_rng(seed)
    kept, held = _split(newsgroups20(duplicates="drop", root=root).texts, generator)
    base = _shuffled([chunk for text in kept for chunk in chunks(text)], generator)
    near = _shuffled([chunk for text in held for chunk in chunks(text)], generator)
    questions = [str(one.metadata["question"]) for one in medquad_documents(root=root).documents]
    half = QUERY_COUNT // 2
    far = _shuffled(ag_news(root=root).texts, generator)[:half] + _shuffled(questions, generator)[:half]
    return MadeTexts(
        sources=("ag_news", "medquad", "newsgroups20"),
        base=base[:CHUNK_COUNT],
        queries={"in": near[:QUERY_COUNT], "out": _shuffled(far, generator)},
        rows=CHUNK_COUNT,
        query_rows=QUERY_COUNT,
        per_token=False,
        max_tokens=64,
    )


def token_vectors(root: Root, *, seed: int) -> MadeTexts:
    """Return written documents whose tokens are indexed; queries are tokens of others, and of spoken meetings.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder.
    seed : int
        Of the split and the order.

    Returns
    -------
    MadeTexts
        Abstracts, medical answers and film plots, enough for 1,000,000 tokens.
    """
    generator = np.random.default_rng(seed)
    written = [
        next(chunks(one.text, words=_DOCUMENT_WORDS, stride=_DOCUMENT_WORDS), "")
        for read in (papers_documents, medquad_documents, movies)
        for one in read(root=root).documents
    ]
    kept, held = _split([one for one in dict.fromkeys(written) if one], generator)
    spoken = [
        chunk
        for meeting in qmsum_documents(root=root).documents
        for chunk in chunks(meeting.text, words=_DOCUMENT_WORDS, stride=8 * _DOCUMENT_WORDS)
    ]
    return MadeTexts(
        sources=("medquad", "movies", "papers", "qmsum"),
        base=_shuffled(kept, generator),
        queries={
            "in": _shuffled(held, generator)[:_QUERY_DOCUMENTS],
            "out": _shuffled(spoken, generator)[:_QUERY_DOCUMENTS],
        },
        rows=TOKEN_COUNT,
        query_rows=QUERY_COUNT,
        per_token=True,
        max_tokens=128,
    )


TEXTS: dict[str, Callable[..., MadeTexts]] = {"newsgroups_chunks": newsgroups_chunks, "token_vectors": token_vectors}
