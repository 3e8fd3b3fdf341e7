"""Vectors: sentence vectors of short texts, small samples, word-vector text files, MNIST as vectors."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from orthant.datasets.kinds import VectorSet, WordVectors
from orthant.datasets.readers.files import arrays, bad_row, find, load_array, tsv_rows
from orthant.datasets.readers.images import mnist
from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_choice

__all__ = ["minilm_short_texts", "mnist_vectors", "vectors_small"]

Root = str | os.PathLike[str] | None

_RECORD = ("source", "id", "text")
_WORD_FILES = {"glove": "glove_6B_100d_first100.txt.gz", "words": "word_vectors_1000.txt.gz"}


def minilm_short_texts(*, texts: str = "keep", root: Root = None) -> VectorSet:
    """Read 70,000 sentence vectors (384 dimensions, unit length) with queries in and out of distribution.

    Parameters
    ----------
    texts : {"keep", "drop"}, default "keep"
        Drop the source, id and text of each vector: faster when only vectors are needed.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    VectorSet
        Base (70000, 384), queries ``"in"`` (2000, 384) and ``"out"`` (3000, 384), float32 widened from float16:
        norms are 1 within 0.001.
    """
    texts = check_choice(texts, ("keep", "drop"), name="texts")
    found: dict[str, FloatArray] = {}
    records: dict[str, list[dict[str, str]]] = {}
    for part, file in (("base", "base"), ("in", "queries_in"), ("out", "queries_out")):
        path = find(root, "minilm_short_texts", f"{file}.npy")
        found[part] = as_vectors(load_array(path), name=f"vectors of {path.name}")
        if texts == "drop":
            continue
        table = find(root, "minilm_short_texts", f"{file}.tsv.gz")
        records[part] = [dict(zip(_RECORD, row, strict=True)) for _, row in tsv_rows(table, _RECORD)]
        if len(records[part]) != len(found[part]):
            bad_row(table, len(records[part]) + 1, f"{len(records[part])} rows", f"{len(found[part])}, one per vector")
    base_records = records.pop("base", None)
    return VectorSet("minilm_short_texts", found.pop("base"), found, base_records, records)


def vectors_small(*, part: str = "histograms8", root: Root = None) -> VectorSet | WordVectors:
    """Read a small sample: topic histograms (rows sum to 1) or word vectors from the text format.

    Parameters
    ----------
    part : {"histograms8", "histograms128", "glove", "words"}, default "histograms8"
        10,000 x 8 with 1,000 queries; 1,000 x 128 without queries; 100 GloVe words x 100; 1,000 words x 48.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    VectorSet or WordVectors
        Histograms, or words with vectors.
    """
    part = check_choice(part, ("histograms8", "histograms128", *_WORD_FILES), name="part")
    name = f"vectors_small/{part}"
    if part in _WORD_FILES:
        return _word_vectors(name, find(root, "vectors_small", _WORD_FILES[part]))
    path = find(root, "vectors_small", "topic_histograms.npz")
    if part == "histograms128":
        return VectorSet(name, as_vectors(arrays(path, ["hist128"])["hist128"]))
    found = arrays(path, ["hist8_base", "hist8_query"])
    return VectorSet(name, as_vectors(found["hist8_base"]), {"test": as_vectors(found["hist8_query"])})


def _word_vectors(name: str, path: Path) -> WordVectors:
    """Read ``word v1 v2 ...`` lines; every line must have as many numbers as the first."""
    words: list[str] = []
    rows: list[FloatArray] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as handle:
            for line, text in enumerate(handle, 1):
                word, *numbers = text.split()
                try:
                    row = np.array(numbers, dtype=np.float32)
                except ValueError:
                    bad_row(path, line, f"word {word!r} with a value that is not a number", "numbers after the word")
                if rows and len(row) != len(rows[0]):
                    bad_row(path, line, f"{len(row)} values", f"{len(rows[0])}, as in the first line")
                words.append(word)
                rows.append(row)
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(message(f"damaged file {path} ({error})", "gzip of UTF-8 lines", "restore it")) from error
    return WordVectors(name, tuple(words), as_vectors(np.array(rows), name=f"vectors of {path.name}"))


def mnist_vectors(*, root: Root = None) -> VectorSet:
    """Read MNIST as 784-dimensional vectors: 60,000 base, 10,000 queries. A smoke test, not a headline.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    VectorSet
        Pixels 0..255 as float32; the label of each vector in its record.
    """
    train, test = mnist(split="train", root=root), mnist(split="test", root=root)
    base_records = [{"label": int(label)} for label in train.labels]
    query_records = {"test": [{"label": int(label)} for label in test.labels]}
    return VectorSet("mnist", train.as_vectors(), {"test": test.as_vectors()}, base_records, query_records)
