"""A model2vec ``StaticModel`` object as an encoder; folders of such models are read by ``StaticEncoder.load``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from orthant.encoders.bert_weights import hash_tokenizer_text
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.errors import InputError, message
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_texts, as_vectors, check_choice, check_count

__all__ = ["Model2VecEncoder", "is_model2vec"]


def is_model2vec(model: Any) -> bool:
    """Return whether an object looks like a model2vec ``StaticModel``; nothing is imported to find out.

    Parameters
    ----------
    model : object
        Anything.

    Returns
    -------
    bool
        It has a table, a tokenizer and ``encode``.
    """
    table = getattr(model, "embedding", None)
    return (
        isinstance(table, np.ndarray) and table.ndim == 2 and hasattr(model, "tokenizer") and hasattr(model, "encode")
    )


class Model2VecEncoder:
    """Encode texts with a model2vec model that is already in memory.

    Use it for a model made or fine-tuned in the same program. For a folder on disk prefer ``load_encoder(path)``.
    Texts of any length are used whole: the model's own cut at 512 tokens is switched off for each call.

    Parameters
    ----------
    model : model2vec.StaticModel
        The model; it is not changed.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    fingerprint : str
        From the digests of table, token weights, mapping and tokenizer; computed once, on first use.
    max_tokens : None
        There is no window.

    Raises
    ------
    InputError
        Not such a model.
    """

    max_tokens: int | None = None

    def __init__(self, model: Any) -> None:
        if not is_model2vec(model):
            raise InputError(
                message(f"a {type(model).__name__}", "a model2vec StaticModel", "pass one, or load_encoder(path)")
            )
        self._model = model
        self._lock = Lock()
        self.dim = int(model.embedding.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Return the identity; one pass over the table, on first use."""
        model = self._model
        parts = {"embedding": model.embedding, "weights": model.__dict__.get("weights")}
        parts["mapping"] = model.__dict__.get("token_mapping")
        return str(
            Fingerprint(
                name="model2vec",
                weight_hash=digest_tensors({key: value for key, value in parts.items() if value is not None}),
                tokenizer_hash=hash_tokenizer_text(model.tokenizer.to_str()),
                pooling="mean",
                normalization="l2" if getattr(model, "normalize", False) else "none",
                dim=self.dim,
            )
        )

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per text.

        Parameters
        ----------
        items : sequence of str
            Texts; one without a known token gets zeros.
        role : {"query", "document"}, default "document"
            Both give the same vector.
        batch_size : int, default 64
            Texts per run.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            In the order given.

        Raises
        ------
        InputError
            Not texts.
        """
        check_choice(role, ("query", "document"), name="role")
        texts = as_texts(items, name="items")
        check_count(batch_size, name="batch_size")
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        # The model sets its tokenizer's window for each call, so calls from several threads would cut each other.
        with self._lock:
            found = self._model.encode(texts, max_length=None, batch_size=batch_size, show_progress_bar=progress)
        return as_vectors(found, dim=self.dim, name="vectors of the model")

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and a report; texts without a known token are counted as empty.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Texts, empty texts and seconds.

        Raises
        ------
        InputError
            As for ``encode``.
        """
        started = time.perf_counter()
        vectors = self.encode(items, role=role, batch_size=batch_size, progress=progress)
        empty = int(np.count_nonzero(~vectors.any(axis=1)))
        seconds = time.perf_counter() - started
        return vectors, EncodeReport(items=len(vectors), empty_items=empty, seconds=seconds)
