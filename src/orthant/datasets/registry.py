"""Named data sets: list them, describe them, load them, and fingerprint their files.

Start here; the record types are in `kinds` and `structures`, the readers in `readers`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from orthant.datasets.inventory import INVENTORY, DatasetInfo
from orthant.datasets.kinds import RetrievalSet
from orthant.datasets.readers.files import data_root, find
from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_choice, check_count

__all__ = ["available", "data_hash", "describe", "folder_hash", "load", "load_retrieval", "names", "root"]

_CHUNK_BYTES = 1 << 20
_hashes: dict[tuple[tuple[str, int, int], ...], str] = {}


def root(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds the data sets: ``path``, or the one that ``ORTHANT_DATA`` names.

    Parameters
    ----------
    path : str or path-like, optional
        The folder. Left out, the environment variable is read, each time anew.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    NotFoundError
        Neither is given, or it is not a folder.
    """
    return data_root(path)


def names(view: str | None = None) -> list[str]:
    """Return the names of all data sets, or of those with a view.

    Parameters
    ----------
    view : str, optional
        Such as ``"retrieval"`` for everything that ``load_retrieval`` takes.

    Returns
    -------
    list of str
        Sorted. Whether a set's files are on this machine is told by ``available``.

    Examples
    --------
    >>> from orthant import datasets
    >>> len(datasets.names())
    41
    >>> datasets.names("table")
    ['adult', 'criteo_sample']
    """
    if view is None:
        return list(INVENTORY)
    known = sorted({v for info in INVENTORY.values() for v in info.views})
    view = check_choice(view, known, name="view")
    return [name for name, info in INVENTORY.items() if view in info.views]


def available(*, root: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the names of the data sets whose folder is present.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    list of str
        Sorted; the files inside are not looked at.

    Raises
    ------
    NotFoundError
        There is no data folder.
    """
    base = data_root(root)
    return [name for name in INVENTORY if (base / name).is_dir()]


def _info(name: str) -> DatasetInfo:
    if name in INVENTORY:
        return INVENTORY[name]
    close = difflib.get_close_matches(str(name), INVENTORY, n=3, cutoff=0.5)
    remedy = (
        f"check the spelling: did you mean {' or '.join(repr(c) for c in close)}"
        if close
        else "call orthant.datasets.names()"
    )
    raise NotFoundError(message(f"data set {name!r}", f"one of {len(INVENTORY)} names", remedy))


def _reader(info: DatasetInfo, view: str) -> Callable[..., Any]:
    module, function = info.views[view].split(":")
    return getattr(importlib.import_module(f"orthant.datasets.readers.{module}"), function)


def _options(reader: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(p for p in inspect.signature(reader).parameters if p != "root")


def describe(name: str) -> DatasetInfo:
    """Return what a data set is: kind, licence, attribution, splits, parts, columns, and the options of ``load``.

    Parameters
    ----------
    name : str
        One of ``names()``.

    Returns
    -------
    DatasetInfo
        Needs no data folder.

    Raises
    ------
    NotFoundError
        Unknown name; close ones are proposed.

    Examples
    --------
    >>> from orthant import datasets
    >>> info = datasets.describe("cosqa")
    >>> info.licence, info.splits, info.options["retrieval"]
    ('open', ('dev', 'test'), ('split',))
    """
    info = _info(name)
    return replace(info, options={view: _options(_reader(info, view)) for view in info.views})


def load(
    name: str,
    *,
    view: str | None = None,
    part: str | None = None,
    split: str | None = None,
    lang: str | None = None,
    lang_second: str | None = None,
    lang_query: str | None = None,
    lang_corpus: str | None = None,
    task: str | None = None,
    queries: str | None = None,
    duplicates: Literal["keep", "drop"] | None = None,
    texts: Literal["keep", "drop"] | None = None,
    every: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Any:
    """Read a data set by name; an option that the set does not have is refused, never ignored.

    Parameters
    ----------
    name : str
        One of ``names()``.
    view : str, optional
        Which record type, where a set has several: ``describe(name).views`` lists them. Left out, the first.
    part : str, optional
        Which file of a set with several (``describe(name).parts``).
    split : str, optional
        Rows of one split only. Left out, every split, in the origin's order.
    lang, lang_second : str, optional
        Languages of ``stsb`` and ``word_benchmarks``.
    lang_query, lang_corpus : str, optional
        Languages of ``xquad``; ``lang_corpus="all"`` indexes all twelve.
    task : str, optional
        Kind of word benchmark.
    queries : str, optional
        Which queries of ``qmsum``: specific, answer or general.
    duplicates : {"keep", "drop"}, optional
        Repeated bodies in ``newsgroups20``.
    texts : {"keep", "drop"}, optional
        Texts beside the vectors of ``minilm_short_texts``.
    every : int, optional
        Take every n-th row as a query, from 1.
    sample : int, optional
        Take so many rows as queries, at random, instead.
    seed : int, optional
        For ``sample``.
    limit : int, optional
        Keep the first rows only (queries, for a retrieval set; base vectors, for a vector set), from 1. Many
        labelled sets are sorted by class: shuffle instead.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    RetrievalSet, TextPairs, LabelledTexts, DocumentSet, VectorSet, ImageSet, ...
        One of the types in ``orthant.datasets.kinds`` and ``orthant.datasets.structures``. The functions in
        ``orthant.datasets.readers`` do the same with exact return types.

    Raises
    ------
    NotFoundError
        Unknown name, or the data folder, the set's folder or a file is missing.
    InputError
        An option the set does not have, a value out of range, or a damaged row (file and line are named).
    MissingExtraError
        JPEG or PNG pictures without Pillow.
    """
    info = _info(name)
    chosen = next(iter(info.views)) if view is None else check_choice(view, tuple(info.views), name=f"view of {name}")
    reader = _reader(info, chosen)
    given = {
        "part": part, "split": split, "lang": lang, "lang_second": lang_second, "lang_query": lang_query,
        "lang_corpus": lang_corpus, "task": task, "queries": queries, "duplicates": duplicates, "texts": texts,
        "every": every, "sample": sample, "seed": seed,
    }  # fmt: skip
    options = {key: value for key, value in given.items() if value is not None}
    accepted = _options(reader)
    for key in options:
        if key not in accepted:
            expected = f"options {', '.join((*accepted, 'limit'))}" if accepted else "no option but limit"
            raise InputError(message(f"{key}={options[key]!r} for {name!r} ({chosen})", expected, f"leave {key} out"))
    if limit is not None:
        limit = check_count(limit, name="limit")
    found = reader(**options, root=root)
    return found if limit is None else _first(found, limit, name)


def _first(found: Any, limit: int, name: str) -> Any:
    if isinstance(found, list):
        return found[:limit]
    if not hasattr(found, "head"):
        kind = type(found).__name__
        raise InputError(message(f"limit={limit} for {name!r}", f"no limit for a {kind}", "leave limit out"))
    return found.head(limit)


def load_retrieval(
    name: str,
    *,
    part: str | None = None,
    split: str | None = None,
    lang_query: str | None = None,
    lang_corpus: str | None = None,
    queries: str | None = None,
    every: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    root: str | os.PathLike[str] | None = None,
) -> RetrievalSet:
    """Read a data set as corpus, queries and judgements, whatever its first view is.

    Parameters
    ----------
    name : str
        One of ``names("retrieval")``.
    part, split, lang_query, lang_corpus, queries, every, sample, seed, limit, root : optional
        As for ``load``.

    Returns
    -------
    RetrievalSet
        The set.

    Raises
    ------
    NotFoundError, InputError
        As for ``load``; also a set without a retrieval view.
    """
    return load(
        name,
        view="retrieval",
        part=part,
        split=split,
        lang_query=lang_query,
        lang_corpus=lang_corpus,
        queries=queries,
        every=every,
        sample=sample,
        seed=seed,
        limit=limit,
        root=root,
    )


def data_hash(name: str, *, root: str | os.PathLike[str] | None = None) -> str:
    """Return the SHA-256 over a set's file names and contents: put it in every report.

    Parameters
    ----------
    name : str
        One of ``names()``.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    str
        64 hexadecimal digits, the same on every machine with the same files. Hidden files do not count.

    Raises
    ------
    NotFoundError
        Unknown name, or the folder is missing.

    Notes
    -----
    Reads every byte once per process (60 MB: about 0.1 s); a file whose size or time changed is read again.
    """
    return folder_hash(find(root, _info(name).name))


def folder_hash(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of a folder's files.

    Parameters
    ----------
    folder : Path
        It must exist.

    Returns
    -------
    str
        64 hexadecimal digits. Hidden files do not count.
    """
    files = sorted(
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    key = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for _, path in files)
    if key not in _hashes:
        digest = hashlib.sha256()
        for relative, path in files:
            inner = hashlib.sha256()
            with open(path, "rb") as handle:
                while block := handle.read(_CHUNK_BYTES):
                    inner.update(block)
            digest.update(f"{relative}\0{inner.hexdigest()}\n".encode())
        _hashes[key] = digest.hexdigest()
    return _hashes[key]
