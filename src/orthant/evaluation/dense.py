"""Exact dense search over an encoder's vectors: the plain target that other searchers are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import EncoderMismatchError, InputError, message
from orthant.index.flat import Flat
from orthant.types import Encoder, EncodeReport, FloatArray, Metric, Role
from orthant.validate import as_texts, as_vectors, check_count, check_metric

__all__ = ["DenseSearcher", "as_documents"]


class DenseSearcher:
    """Encode documents once and search them exactly; the baseline for any index, filter or fusion.

    Not for more documents than fit in memory as float32 vectors.

    Parameters
    ----------
    encoder : Encoder
        Encodes documents now and queries later, each in its role.
    documents : mapping of str to str, or sequence of records
        Text by id, or records with ``id`` (or ``_id``), ``title`` and ``text``.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score. Under cosine, documents and queries whose vector is zero (no known token) are left out and counted.
    batch_size : int, default 64
        Items encoded at once; larger needs more memory.

    Raises
    ------
    InputError
        No documents, an unknown metric, or texts that are not str.
    NonFiniteError, DimensionError
        An encoder that returns NaN or another shape.

    Notes
    -----
    Cost O(n d) memory, and O(n d) multiplications per query.

    Examples
    --------
    >>> import numpy as np
    >>> class Letters:
    ...     dim, fingerprint, max_tokens = 26, "letters", None
    ...     def encode(self, items, *, role="document", batch_size=64, progress=False):
    ...         return np.array([[s.count(chr(97 + i)) for i in range(26)] for s in items], np.float32)
    >>> DenseSearcher(Letters(), {"1": "ab", "2": "zz"}, metric="dot").search_texts(["aab"], k=1)
    [[('1', 3.0)]]
    """

    def __init__(
        self,
        encoder: Encoder,
        documents: Mapping[str, Any] | Sequence[Any],
        *,
        metric: Metric = "cosine",
        batch_size: int = 64,
    ) -> None:
        texts = as_documents(documents)
        if not texts:
            raise InputError(message("no documents", "at least one", "pass the corpus"))
        self.encoder = encoder
        self.metric = check_metric(metric)
        self._batch_size = check_count(batch_size, name="batch_size")
        self._reports: dict[str, EncodeReport] = {}
        vectors = self._encode(list(texts.values()), "document")
        kept = self._usable(vectors)
        self._ids = [key for key, keep in zip(texts, kept, strict=True) if keep]
        self._without_vector = len(texts) - len(self._ids)
        self._index = Flat(vectors.shape[1], metric=self.metric)
        if self._ids:
            self._index.add(vectors[kept])

    def search_texts(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return the k best documents of each query.

        Parameters
        ----------
        queries : sequence of str
            Texts.
        k : int
            Results per query, at least 1.

        Returns
        -------
        list of list of tuple
            (document id, score), best first; equal scores in the order of the documents; empty for a query without a
            vector under cosine.

        Raises
        ------
        InputError
            Queries that are not texts, or k below 1.
        """
        k = check_count(k, name="k")
        texts = as_texts(queries, name="queries")
        out: list[list[tuple[str, float]]] = [[] for _ in texts]
        if not texts or not self._ids:
            return out
        vectors = self._encode(texts, "query")
        usable = np.flatnonzero(self._usable(vectors))
        if not len(usable):
            return out
        hits = self._index.search(vectors[usable], min(k, len(self._ids)))
        for i, rows, values in zip(usable, hits.ids, hits.scores, strict=True):
            out[i] = [(self._ids[row], float(v)) for row, v in zip(rows, values, strict=True) if row >= 0]
        return out

    def describe(self) -> dict[str, Any]:
        """Return what a report says about the target: encoder, prompts, lengths, dtype and what was cut."""
        encoder = self.encoder
        about: dict[str, Any] = {
            "fingerprint": encoder.fingerprint,
            "encoder": type(encoder).__name__,
            "prompts": getattr(encoder, "prompts", None),
            "max_tokens": encoder.max_tokens,
            "dim": encoder.dim,
            "dtype": str(getattr(encoder, "dtype", "float32")),
            "metric": self.metric,
            "documents_without_vector": self._without_vector,
        }
        for role, report in self._reports.items():
            about["truncated_queries" if role == "query" else "truncated_documents"] = report.truncated_items
            about[f"truncated_{role}_tokens"] = report.truncated_tokens
        return about

    def _encode(self, texts: list[str], role: Role) -> FloatArray:
        if hasattr(self.encoder, "encode_with_report"):
            vectors, self._reports[role] = self.encoder.encode_with_report(
                texts, role=role, batch_size=self._batch_size
            )
        else:
            vectors = self.encoder.encode(texts, role=role, batch_size=self._batch_size)
        out = as_vectors(vectors, dim=self.encoder.dim, name=f"{role} vectors")
        if len(out) != len(texts):
            raise EncoderMismatchError(
                message(f"{len(out)} vectors for {len(texts)} {role} texts", "one each", "repair the encoder")
            )
        return out

    def _usable(self, vectors: FloatArray) -> npt.NDArray[np.bool_]:
        if self.metric != "cosine":
            return np.ones(len(vectors), dtype=np.bool_)
        usable: npt.NDArray[np.bool_] = (vectors != 0).any(axis=1)
        return usable


def as_documents(documents: Mapping[str, Any] | Sequence[Any]) -> dict[str, str]:
    r"""Return documents as text by id.

    Parameters
    ----------
    documents : mapping, or sequence of records
        Text or record by id, or records with ``id`` (or ``_id``), ``title`` and ``text``, as mappings or objects.

    Returns
    -------
    dict of str to str
        Title and text joined by a newline, or the one that is not empty.

    Raises
    ------
    InputError
        A record without id or text, or an id given twice.

    Examples
    --------
    >>> as_documents([{"_id": "1", "title": "Logs", "text": "Of a keeper."}])
    {'1': 'Logs\nOf a keeper.'}
    """
    if isinstance(documents, Mapping):
        return {key: _text(value, repr(key)) for key, value in documents.items()}
    if isinstance(documents, (str, bytes)):
        raise InputError(message("documents as one text", "{id: text} or records", "name each document"))
    out: dict[str, str] = {}
    for i, record in enumerate(documents):
        key = _field(record, "_id") if _field(record, "_id") is not None else _field(record, "id")
        if key is None or key in out:
            raise InputError(
                message(f"documents[{i}] {'without an id' if key is None else f'with id {key!r} again'}",
                        "a distinct '_id' or 'id' each", "repair that record")
            )  # fmt: skip
        out[key] = _text(record, f"[{i}]")
    return out


def _field(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)


def _text(record: Any, which: str) -> str:
    if isinstance(record, str):
        return record
    title, text = _field(record, "title") or "", _field(record, "text")
    if not isinstance(text, str) or not isinstance(title, str):
        raise InputError(
            message(f"document {which} without a text", "a str, or a record with 'text'", "repair that record")
        )
    return "\n".join(filter(None, (title, text)))
