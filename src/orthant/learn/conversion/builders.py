"""Whole data sets as training pairs, split so that no document or module stands on two sides."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from orthant.datasets import Document, read_python_documentation
from orthant.datasets.readers.known_item import medquad_documents, papers_documents
from orthant.learn.conversion.records import pairs_from_records
from orthant.learn.conversion.splitting import deduplicate, split_by_group
from orthant.learn.conversion.tables import PairTable

__all__ = ["medquad_pairs", "papers_pairs", "pydocs_pairs"]

Root = str | os.PathLike[str] | None
Shares = Mapping[str, float] | None

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(])")


def medquad_pairs(*, shares: Shares = None, seed: int = 0, root: Root = None) -> dict[str, PairTable]:
    """Return MedQuAD's (question, answer) pairs; a disease or drug stands in one split only.

    Parameters
    ----------
    shares : mapping of str to float, optional
        As for ``split_by_group``: 0.8 train, 0.1 dev, 0.1 test when left out.
    seed : int, default 0
        Of the split.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    dict of str to PairTable
        ``anchor`` the question, ``positive`` the answer, ``id`` of the answer, ``group`` its focus.

    Raises
    ------
    NotFoundError
        The data is not there.
    InputError
        Shares that do not sum to 1.
    """
    rows = (
        {**d.metadata, "id": d.id, "focus": d.title.casefold() or d.id, "text": d.text}
        for d in medquad_documents(root=root).documents
    )
    table = pairs_from_records(rows, anchor="question", positive="text", group_field="focus", name="medquad")
    return split_by_group(deduplicate(table), shares=shares, seed=seed)


def papers_pairs(*, shares: Shares = None, seed: int = 0, root: Root = None) -> dict[str, PairTable]:
    """Return (title, abstract) pairs of the papers; a paper, and copies of it, stand in one split only.

    Parameters
    ----------
    shares : mapping of str to float, optional
        As for ``split_by_group``: 0.8 train, 0.1 dev, 0.1 test when left out.
    seed : int, default 0
        Of the split.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    dict of str to PairTable
        ``anchor`` the title, ``positive`` the abstract, ``id`` and ``group`` of the paper.

    Raises
    ------
    NotFoundError
        The data is not there.
    InputError
        Shares that do not sum to 1.
    """
    table = pairs_from_records(papers_documents(root=root).documents, anchor="title", positive="text", name="papers")
    return split_by_group(deduplicate(table), shares=shares, seed=seed)


def pydocs_pairs(
    packages: Sequence[str] = ("stdlib",),
    *,
    minimum_words: tuple[int, int] = (4, 12),
    shares: Shares = None,
    seed: int = 0,
    processes: int = 2,
) -> dict[str, PairTable]:
    """Return (summary, body) pairs of documented Python objects; a module stands in one split only.

    What is installed differs between machines, so no published figure may rest on these pairs.

    Parameters
    ----------
    packages : sequence of str, default ("stdlib",)
        As for ``orthant.datasets.read_python_documentation``.
    minimum_words : (int, int), default (4, 12)
        Fewest words of summary and body; lower brings in summaries that describe nothing.
    shares : mapping of str to float, optional
        As for ``split_by_group``: 0.8 train, 0.1 dev, 0.1 test when left out.
    seed : int, default 0
        Of the split.
    processes : int, default 2
        Interpreters that parse, from 1.

    Returns
    -------
    dict of str to PairTable
        ``anchor`` the first sentence of the docstring, ``positive`` the rest, ``id`` the public name, ``group`` the
        top-level module of the standard library, or module and submodule of a package (``numpy.linalg``).

    Raises
    ------
    InputError
        No package, or fewer modules than splits.

    Examples
    --------
    >>> parts = pydocs_pairs(["json", "logging", "asyncio"], processes=1)
    >>> sorted(parts), any(row["group"].startswith("asyncio") for row in parts["train"])
    (['dev', 'test', 'train'], True)
    """
    documents = read_python_documentation(packages, processes=processes).documents
    table = pairs_from_records(
        _summaries(documents),
        anchor="summary",
        positive="body",
        group_field="module",
        minimum_words=minimum_words,
        name="pydocs",
    )
    return split_by_group(deduplicate(table), shares=shares, seed=seed)


def _summaries(documents: Sequence[Document]) -> Iterator[dict[str, str]]:
    """Yield summary and body of each docstring; the signature in front of it would name the object."""
    for document in documents:
        if document.metadata["kind"] in ("module", "topic"):
            continue
        doc = document.text.partition("\n\n")[2].strip()
        paragraph, _, rest = doc.partition("\n\n")
        sentences = _SENTENCE_END.split(" ".join(paragraph.split()), maxsplit=1)
        body = "\n\n".join(part for part in (*sentences[1:], rest.strip()) if part)
        module = document.metadata["module"].split(".")
        depth = 1 if document.metadata["package"] == "stdlib" else 2
        yield {"id": document.id, "summary": sentences[0], "body": body, "module": ".".join(module[:depth])}
