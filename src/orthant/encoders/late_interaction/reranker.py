"""Scores between sets of token vectors, and a reranker that takes them from store or makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.types import FloatArray, TokenEncoder
from orthant.validate import as_ragged, as_vectors, check_count

__all__ = ["MaxSimReranker", "maxsim"]


def maxsim(queries: Any, documents: Any, *, threads: int | None = None) -> FloatArray:
    """Return the MaxSim score of every query with every document, exactly.

    Parameters
    ----------
    queries : Ragged, or sequence of array-like of shape (length, d)
        One set of vectors per query, such as ``encode_tokens(..., role="query")`` returns.
    documents : Ragged, or sequence of array-like of shape (length, d)
        One set of vectors per document.
    threads : int, optional
        Left out, all that the process may use.

    Returns
    -------
    ndarray of shape (q, n), float32
        ``sum_i max_j <q_i, d_j>``; larger is closer. Queries of different lengths have scores of different sizes.

    Raises
    ------
    InputError
        A set without vectors.
    DimensionError
        Vectors of different widths.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Cost: tokens of the queries times tokens of the documents times d.

    References
    ----------
    O. Khattab, M. Zaharia: ColBERT, arXiv:2004.12832, section 3.3.

    Examples
    --------
    >>> maxsim([[[1, 0], [0, 1]]], [[[1, 0], [0.5, 0.5]], [[0, 3]]]).tolist()
    [[1.5, 3.0]]
    """
    asked = as_ragged(queries, name="queries", nonempty=True)
    found = as_ragged(documents, dim=asked.values.shape[1], name="documents", nonempty=True)
    return maxsim_scores(asked.values, asked.offsets, found.values, found.offsets, threads=threads)


class MaxSimReranker:
    """Rerank candidates by MaxSim between their token vectors and those of the query.

    Use it behind a quick first search: it looks at some dozens to hundreds of candidates. Tokens of documents can be
    stored beforehand, which makes reranking a matter of milliseconds; without them each candidate is encoded anew.

    Parameters
    ----------
    encoder : TokenEncoder
        Makes tokens of queries, and of records without stored ones.
    tokens : mapping of id to array-like of shape (length, dim), optional
        Stored tokens of documents by id.
    batch_size : int, default 64
        Records encoded per run.
    threads : int, optional
        For the comparison; left out, all that the process may use.

    Raises
    ------
    InputError
        An object that does not encode tokens.

    Notes
    -----
    The score is ``sum_i max_j <q_i, d_j>`` over tokens i of the query and j of the record.

    References
    ----------
    O. Khattab, M. Zaharia: ColBERT, arXiv:2004.12832, section 3.5 (reranking).

    Examples
    --------
    >>> from orthant.types import Ragged
    >>> class Letters:
    ...     dim, fingerprint = 26, "letters"
    ...     def encode_tokens(self, items, *, role="document", batch_size=64):
    ...         rows = [np.eye(26, dtype=np.float32)[[ord(c) - 97 for c in item]] for item in items]
    ...         return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
    >>> MaxSimReranker(Letters()).score("abc", ["cab", "bad", "def"]).tolist()
    [3.0, 2.0, 0.0]
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        *,
        tokens: Mapping[Any, npt.ArrayLike] | None = None,
        batch_size: int = 64,
        threads: int | None = None,
    ) -> None:
        if not callable(getattr(encoder, "encode_tokens", None)):
            given = f"a {type(encoder).__name__} as an encoder of tokens"
            raise InputError(message(given, "an object with encode_tokens", "pass load_token_encoder(folder)"))
        if tokens is not None and not hasattr(tokens, "__getitem__"):
            given = f"tokens as a {type(tokens).__name__}"
            raise InputError(message(given, "a mapping from id to vectors", "pass {id: array}"))
        self._encoder = encoder
        self._tokens: Mapping[Any, npt.ArrayLike] = {} if tokens is None else tokens
        self._batch_size = check_count(batch_size, name="batch_size")
        self._threads = threads if threads is None else check_count(threads, name="threads")

    def score(self, query: str, records: Sequence[Any]) -> FloatArray:
        """Return how well each record answers a query.

        Parameters
        ----------
        query : str
            The question.
        records : sequence
            Texts; mappings or objects with ``text`` and, for stored tokens, ``id``, such as the hits of a search.

        Returns
        -------
        ndarray of shape (m,), float32
            MaxSim scores in the order of the records, larger is better.

        Raises
        ------
        InputError
            A record without text and without stored tokens, or one without a single token that counts.
        DimensionError
            Stored tokens of another width.
        """
        asked = self._encoder.encode_tokens([query], role="query", batch_size=1)
        if not len(records):
            return np.zeros(0, dtype=np.float32)
        rows: list[FloatArray | None] = [self._stored(record) for record in records]
        fresh = [i for i, row in enumerate(rows) if row is None]
        if fresh:
            texts = [_text(records[i], i) for i in fresh]
            made = self._encoder.encode_tokens(texts, role="document", batch_size=self._batch_size)
            for place, i in enumerate(fresh):
                rows[i] = made[place]
        return maxsim(asked, rows, threads=self._threads)[0]

    def _stored(self, record: Any) -> FloatArray | None:
        key = _field(record, "id")
        if key is None or key not in self._tokens:
            return None
        return as_vectors(self._tokens[key], dim=self._encoder.dim, name=f"stored tokens of {key!r}")


def _field(record: Any, name: str) -> Any:
    if isinstance(record, str):
        return record if name == "text" else None
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)


def _text(record: Any, place: int) -> str:
    text = _field(record, "text")
    if not isinstance(text, str):
        given = f"record {place} ({type(record).__name__}) without text and without stored tokens"
        raise InputError(message(given, "a text, or tokens stored under its id", "search with include_text=True"))
    return text
