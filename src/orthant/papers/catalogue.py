"""The 61 rows as one list: by key, as JSON, counted, and as records to search.

Reading a row imports one small module; no method, no data and no torch is touched.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypedDict

from orthant.errors import NotFoundError, message
from orthant.papers.record import STATUSES, Paper, Status, Wing

__all__ = ["KEYS", "Record", "as_json", "counts", "documents", "keys", "paper", "papers"]

# The order in which tables list the rows.
KEYS: Mapping[Wing, tuple[str, ...]] = {
    "search": (
        "muvera",
        "crisp",
        "bebr",
        "leanvec",
        "distill-vq",
        "bidr",
        "hnsw-study",
        "filtered-ann",
        "limit",
        "mbat",
        "lr2vq",
    ),
    "space": (
        "adapted-retrieval",
        "query-drift",
        "stationary",
        "relative",
        "aspects",
        "sesa",
        "text-vectors-thesis",
        "word-to-multimodal-survey",
        "frozen-glyphs",
        "ebv",
        "loki",
        "label-shift",
        "gap-alignment",
        "pdv",
        "decor",
    ),
    "text": (
        "nv-embed",
        "kalm-v2",
        "qzhou",
        "lg-anna",
        "causal2vec",
        "matryoshka-2d",
        "defsent-plus",
        "longembed",
        "o1-embedder",
        "t-vec",
        "gaprune",
        "self-positioning",
        "atlas",
        "future-token",
        "seqpe",
    ),
    "recommend": (
        "din",
        "optembed",
        "unified-embedding",
        "table-compression",
        "sheaf",
        "fastrp",
        "restore",
    ),
    "vision": (
        "vlm2vec",
        "vlm2vec-v2",
        "imaginator",
        "hovle",
        "starvector",
        "timesnet",
        "ctvis",
        "ecaml",
        "msbreg",
        "hpm",
        "conditional-attention",
        "resgen",
        "simvq",
    ),
}
_WING_OF: dict[str, Wing] = {key: wing for wing, row_keys in KEYS.items() for key in row_keys}


class Record(TypedDict):
    """A row as a record of a collection."""

    id: str
    text: str
    metadata: dict[str, Any]


def keys() -> tuple[str, ...]:
    """Return the keys of all rows, wing by wing.

    Returns
    -------
    tuple of str
        61 keys.

    Examples
    --------
    >>> keys()[:3]
    ('muvera', 'crisp', 'bebr')
    """
    return tuple(_WING_OF)


def paper(key: str) -> Paper:
    """Return one row; use it when only one is needed, since no other module is read.

    Parameters
    ----------
    key : str
        Such as ``"leanvec"``; case does not matter.

    Returns
    -------
    Paper
        The row.

    Raises
    ------
    NotFoundError
        No such key; the error names the closest ones.

    Examples
    --------
    >>> paper("leanvec").lives_in[0]
    'orthant.transforms.leanvec'
    """
    name = str(key).strip().lower()
    if name not in _WING_OF:
        raise NotFoundError(message(f"paper key {key!r}", _nearest(name), "list all keys with `orthant papers`"))
    module = importlib.import_module(f"orthant.papers.{_WING_OF[name]}.{name.replace('-', '_')}")
    row: Paper = module.PAPER
    return row


def papers() -> tuple[Paper, ...]:
    """Return every row, wing by wing.

    Returns
    -------
    tuple of Paper
        61 rows.

    Examples
    --------
    >>> len(papers())
    61
    """
    return tuple(paper(key) for key in keys())


def counts() -> dict[Status, int]:
    """Count the rows of each status.

    Returns
    -------
    dict of str to int
        All four statuses, also those without a row.

    Examples
    --------
    >>> sum(counts().values())
    61
    """
    out: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    for row in papers():
        out[row.status] += 1
    return out


def as_json() -> dict[str, list[dict[str, Any]]]:
    """Return the catalogue as JSON values, as ``orthant papers --json`` prints it.

    Returns
    -------
    dict
        ``{"papers": [...]}``; each entry has ``key``, ``title``, ``arxiv``, ``year``, ``lives_in``, ``status`` and
        ``claims`` (names), and also ``wing``, ``summary``, ``last_measured`` and ``reproduce``.

    Examples
    --------
    >>> as_json()["papers"][0]["key"]
    'muvera'
    """
    return {"papers": [_entry(row) for row in papers()]}


def documents() -> list[Record]:
    """Return the rows as records for a collection, which makes the catalogue searchable by meaning.

    Returns
    -------
    list of dict
        ``id`` is the key; ``text`` is title, summary and keywords; ``metadata`` has ``wing``, ``year``, ``status``,
        ``lives_in``, ``arxiv``, ``last_measured``, ``reproduce``, ``date`` (the month it was posted) and ``url``.

    Examples
    --------
    >>> record = documents()[0]
    >>> record["id"], record["metadata"]["reproduce"]
    ('muvera', 'orthant reproduce muvera')
    """
    return [_record(row) for row in papers()]


def _entry(row: Paper) -> dict[str, Any]:
    from orthant.papers.results import last_measured

    return {
        "key": row.key,
        "title": row.title,
        "arxiv": row.arxiv,
        "year": row.year,
        "lives_in": list(row.lives_in),
        "status": row.status,
        "claims": [claim.name for claim in row.claims],
        "wing": row.wing,
        "summary": row.summary,
        "last_measured": last_measured(row.key),
        "reproduce": f"orthant reproduce {row.key}",
    }


def _record(row: Paper) -> Record:
    entry = _entry(row)
    names = ("wing", "year", "status", "lives_in", "arxiv", "last_measured", "reproduce")
    text = f"{row.title}\n{row.summary}\n{', '.join(row.keywords)}"
    told = {name: entry[name] for name in names} | {"date": row.posted, "url": row.url}
    return {"id": row.key, "text": text, "metadata": told}


def _nearest(name: str) -> str:
    import difflib

    close = (
        difflib.get_close_matches(name, _WING_OF, n=3, cutoff=0.5)
        or [key for key in _WING_OF if name and name in key][:3]
    )
    return f"one of {len(_WING_OF)} keys" + (f", perhaps {' or '.join(repr(key) for key in close)}" if close else "")
