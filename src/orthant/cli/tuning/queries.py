"""Sample queries from a file, as several verbs take them: texts, or vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["sample_queries"]

_VECTOR_ENDINGS = (".npy", ".fvecs", ".hdf5", ".h5")


def sample_queries(given: str, *, vectors: bool = True) -> Any:
    """Read sample queries.

    Parameters
    ----------
    given : str
        ``.txt`` with one query per line, a file of vectors, or else JSON lines with ``_id`` and ``text``, plain or
        gzipped.
    vectors : bool, default True
        Take files of vectors too.

    Returns
    -------
    list of str, or ndarray of shape (q, dim)
        At least one query; empty lines of a ``.txt`` are left out.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        Damaged, empty, not UTF-8, or a file of vectors where texts are needed.
    """
    from orthant.errors import InputError, NotFoundError, message

    path = Path(given)
    if not path.is_file():
        raise NotFoundError(message(f"no file {path}", "a file of queries", "check the path"))
    if ".npz" in path.name or path.suffix in _VECTOR_ENDINGS:
        if not vectors:
            raise InputError(message(f"vectors in {path}", "queries as text", "pass queries.jsonl, or .txt"))
        from orthant.datasets.vector_files import read_vectors

        return read_vectors(path)
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(message(f"{path}, which is not UTF-8", "queries in UTF-8", "convert it")) from error
        found = [line for line in lines if line.strip()]
    else:
        from orthant.evaluation.trec import read_queries

        found = list(read_queries(path).values())
    if not found:
        raise InputError(message(f"no query in {path}", "one at least", "check that it is the right file"))
    return found
