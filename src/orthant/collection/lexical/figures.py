"""What a lexical index holds, and whether a stored one has the rules for words that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthant.collection.lexical.analysis import Analyzer
from orthant.errors import InputError, StoreVersionError, message

__all__ = ["LexicalStatistics", "stored_analyzer"]


@dataclass(frozen=True)
class LexicalStatistics:
    """What a lexical index holds.

    Attributes
    ----------
    documents : int
        Live documents, those without a word included.
    dead : int
        Removed documents that still take space.
    chunks : int
        Parts a query visits.
    terms : int
        Distinct terms with a posting list.
    postings : int
        Entries of all posting lists.
    words : int
        Stored words, stop words included.
    memory_bytes : int
        Bytes of the arrays, in memory or mapped; the vocabulary's strings not counted.
    average_length : float
        Mean number of ranked words per live document.
    """

    documents: int
    dead: int
    chunks: int
    terms: int
    postings: int
    words: int
    memory_bytes: int
    average_length: float


def stored_analyzer(path: str | Path, settings: Mapping[str, Any], wanted: Analyzer | None) -> Analyzer:
    """Return the rules for words of a stored index.

    Parameters
    ----------
    path : str or Path
        Of the file, for an error.
    settings : mapping
        Of the file.
    wanted : Analyzer or None
        The rules that it must have; None takes what it has.

    Returns
    -------
    Analyzer
        The rules.

    Raises
    ------
    StoreVersionError
        Rules of another release.
    InputError
        Other rules than wanted.
    """
    expected = settings["fingerprint"]
    if wanted is not None:
        if wanted.fingerprint != expected:
            raise InputError(
                message(f"{path} with rules {expected!r}", repr(wanted.fingerprint), "rebuild it, or use its rules")
            )
        return wanted
    try:
        found = Analyzer(**settings["analyzer"])
    except InputError as error:
        raise StoreVersionError(message(f"{path} with rules {expected!r}", "known ones", "upgrade orthant")) from error
    if found.fingerprint != expected:
        raise StoreVersionError(
            message(f"{path} with rules {expected!r}", repr(found.fingerprint), "rebuild the index")
        )
    return found
