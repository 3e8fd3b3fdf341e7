"""Rerankers: what scores a query against records again, and how any of them is called safely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.tokens.reranking import parse_stored_tokens
from orthant.errors import InputError, MissingExtraError, NotFoundError, OrthantError, message
from orthant.types import FloatArray, Reranker
from orthant.validate import check_count

__all__ = ["CrossEncoderReranker", "FunctionReranker", "RerankError", "as_reranker", "checked_scores"]


class RerankError(OrthantError):
    """A reranker gave no usable answer for some record; no hit was returned."""


def as_reranker(given: Any) -> Reranker:
    """Return a reranker, wrapping a cross-encoder.

    Parameters
    ----------
    given : Reranker, cross-encoder or str
        ``"tokens"`` or ``"tokens:SPACE"`` for stored token vectors; else an object with ``score(query, records)``, or
        with ``predict`` and ``rank`` as sentence-transformers' ``CrossEncoder`` has them.

    Returns
    -------
    Reranker
        The object itself, or a :class:`CrossEncoderReranker` around it.

    Raises
    ------
    InputError
        Anything else.

    Examples
    --------
    >>> as_reranker(FunctionReranker(lambda query, record: 0.0)).score("q", ["a"]).tolist()
    [0.0]
    """
    if isinstance(given, str):
        return parse_stored_tokens(given)
    if not isinstance(given, type):
        if callable(getattr(given, "score", None)):
            return given  # type: ignore[no-any-return]
        if _is_cross_encoder(given):
            return CrossEncoderReranker(given)
    raise InputError(
        message(
            f"rerank={given!r}",
            "an object with score(query, records)",
            "wrap a function in FunctionReranker, a cross-encoder's folder in CrossEncoderReranker",
        )
    )


def checked_scores(reranker: Reranker, query: Any, records: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return a reranker's scores, checked; what it raises is passed on.

    Parameters
    ----------
    reranker : Reranker
        What scores.
    query : str or ndarray of shape (dim,)
        The query's text, or its vector where there is no text.
    records : sequence of m records
        With ``id``, ``text`` and ``metadata``.

    Returns
    -------
    ndarray of shape (m,), float64
        Finite scores; not rounded to float32, in which times in seconds would be equal for two minutes.

    Raises
    ------
    RerankError
        Another number of scores, something that is no number, NaN or infinity.
    """
    if not len(records):
        return np.zeros(0)
    name = type(reranker).__name__
    given = reranker.score(query, records)
    try:
        scores = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RerankError(
            message(f"scores of {name} that are no numbers ({error})", "one number per record", "correct the reranker")
        ) from error
    if scores.shape != (len(records),):
        raise RerankError(
            message(
                f"scores of shape {scores.shape} from {name} for {len(records)} records",
                f"shape ({len(records)},)",
                "return one number per record, in their order",
            )
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        record = getattr(records[int(bad[0])], "id", int(bad[0]))
        raise RerankError(
            message(f"the score {scores[bad[0]]} of {name} for record {record!r}", "a finite number", "correct it")
        )
    return scores


def text_of(record: Any, place: int, *, needed_by: str) -> str:
    """Return the text of a record.

    Parameters
    ----------
    record : object, mapping or str
        With a ``text``.
    place : int
        Its position, for the error.
    needed_by : str
        Name of the reranker, for the error.

    Returns
    -------
    str
        The text.

    Raises
    ------
    RerankError
        No text.
    """
    if isinstance(record, str):
        return record
    text = record.get("text") if isinstance(record, dict) else getattr(record, "text", None)
    if not isinstance(text, str):
        key = record.get("id") if isinstance(record, dict) else getattr(record, "id", None)
        raise RerankError(
            message(
                f"record {place if key is None else key!r} without a text for {needed_by}",
                "records with texts",
                "leave such records out with where={...}, or rerank by FunctionReranker",
            )
        )
    return text


def require_text(query: Any, *, needed_by: str) -> str:
    """Return a query's text.

    Parameters
    ----------
    query : object
        What was asked.
    needed_by : str
        Name of the reranker, for the error.

    Returns
    -------
    str
        The text.

    Raises
    ------
    InputError
        A vector, or nothing.
    """
    if not isinstance(query, str):
        given = f"a query without a text for {needed_by}"
        raise InputError(message(given, "a text query", "pass query='...' beside vector=[...]"))
    return query


class FunctionReranker:
    """Score records with a function of your own, such as freshness, price or a rule.

    Parameters
    ----------
    function : callable of (query, record)
        Returns one number per record, larger is better. The query is the text, or the vector where there is no text; a
        record has ``id``, ``text`` and ``metadata``.

    Raises
    ------
    InputError
        Not callable.

    Notes
    -----
    Cost: one call per candidate, ``rerank_depth`` of them. What the function raises ends the search.

    Examples
    --------
    >>> from orthant.collection.results import Record
    >>> newest = FunctionReranker(lambda query, record: record.metadata["year"])
    >>> newest.score("kites", [Record("a", metadata={"year": 1990}), Record("b", metadata={"year": 2020})]).tolist()
    [1990.0, 2020.0]
    """

    def __init__(self, function: Callable[[Any, Any], float]) -> None:
        if not callable(function):
            raise InputError(message(f"function={function!r}", "a callable of (query, record)", "pass a function"))
        self._function = function

    def score(self, query: Any, records: Sequence[Any]) -> npt.NDArray[np.float64]:
        """Return the function's value for every record.

        Parameters
        ----------
        query : str or ndarray of shape (dim,)
            Passed on.
        records : sequence of m records
            Passed on one by one.

        Returns
        -------
        ndarray of shape (m,), float64
            The values.

        Raises
        ------
        RerankError
            A value that is no number.
        """
        out = np.zeros(len(records))
        for i, record in enumerate(records):
            value = self._function(query, record)
            try:
                out[i] = value
            except (TypeError, ValueError) as error:
                key = getattr(record, "id", i)
                raise RerankError(
                    message(f"{value!r} for record {key!r}", "a number", "return a number for every record")
                ) from error
        return out


class CrossEncoderReranker:
    """Read query and record together with a cross-encoder: slower than vectors, and usually far more exact.

    Parameters
    ----------
    model : str, Path or object
        A folder of a sentence-transformers ``CrossEncoder`` with one output, or such an object. Nothing is downloaded.
    batch_size : int, default 32
        Pairs per run. Larger is quicker on a GPU until memory ends.
    max_length : int, optional
        Tokens of query and record together, for a folder; default the model's own. Fewer is quicker and reads less.

    Raises
    ------
    NotFoundError
        No such folder.
    MissingExtraError
        A folder without sentence-transformers installed.
    InputError
        An object without ``predict`` and ``rank``, or ``max_length`` for a loaded one.

    Notes
    -----
    Cost: one pass of the model over query and record per candidate; some milliseconds on a CPU for a small model.

    Examples
    --------
    >>> class Overlap:
    ...     def predict(self, pairs, batch_size=32, show_progress_bar=None):
    ...         return [len(set(query.split()) & set(text.split())) for query, text in pairs]
    ...     def rank(self): ...
    >>> CrossEncoderReranker(Overlap()).score("red kite", ["a red kite", "a blue boat"]).tolist()
    [2.0, 0.0]
    """

    def __init__(self, model: Any, *, batch_size: int = 32, max_length: int | None = None) -> None:
        self._batch_size = check_count(batch_size, name="batch_size")
        if isinstance(model, (str, Path)):
            model = _load(Path(model), None if max_length is None else check_count(max_length, name="max_length"))
        elif max_length is not None:
            raise InputError(message("max_length= with a loaded model", "a folder", "set model.max_length yourself"))
        if not _is_cross_encoder(model):
            given = f"a {type(model).__name__} as a cross-encoder"
            raise InputError(message(given, "an object with predict and rank", "pass a CrossEncoder or its folder"))
        self._model = model

    def score(self, query: str, records: Sequence[Any]) -> FloatArray:
        """Return the model's score of every pair.

        Parameters
        ----------
        query : str
            The question.
        records : sequence of m texts or records
            What may answer it.

        Returns
        -------
        ndarray of shape (m,), float32
            The model's output, larger is better.

        Raises
        ------
        InputError
            A query without text, or a model with several outputs.
        RerankError
            A record without text.
        """
        name = type(self).__name__
        asked = require_text(query, needed_by=name)
        if not len(records):
            return np.zeros(0, dtype=np.float32)
        pairs = [(asked, text_of(record, i, needed_by=name)) for i, record in enumerate(records)]
        scores = np.asarray(self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False))
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        if scores.ndim != 1:
            given = f"a cross-encoder with outputs of shape {scores.shape}"
            raise InputError(message(given, "one output per pair", "take a model trained for ranking"))
        return scores.astype(np.float32)


def _is_cross_encoder(model: Any) -> bool:
    return all(callable(getattr(model, name, None)) for name in ("predict", "rank"))


def _load(folder: Path, max_length: int | None) -> Any:
    if not folder.is_dir():
        raise NotFoundError(message(f"cross-encoder {folder}", "a folder on this machine", "download the model first"))
    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise MissingExtraError(
            message("a cross-encoder's folder", "sentence-transformers", "install orthant[learn]")
        ) from error
    return CrossEncoder(str(folder), local_files_only=True, max_length=max_length)
