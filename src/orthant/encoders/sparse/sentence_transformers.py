"""Any sentence-transformers ``SparseEncoder`` object, recognised by its methods: the package is never imported."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from orthant.encoders.fingerprint import Fingerprint, digest_tensors, prompt_label
from orthant.encoders.sentence_transformers import StateTensors, tokenizer_hash
from orthant.encoders.sparse.rows import SparseRows, as_sparse_rows
from orthant.errors import DimensionError, InputError, message
from orthant.types import Role
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["SentenceTransformerSparseEncoder", "is_sparse_model"]


def is_sparse_model(model: Any) -> bool:
    """Return whether an object looks like a ``SparseEncoder``; nothing is imported to find out.

    Parameters
    ----------
    model : object
        Anything.

    Returns
    -------
    bool
        It encodes queries and documents, and tells how sparse its vectors are.
    """
    methods = ("encode_query", "encode_document", "sparsity")
    return not isinstance(model, type) and all(callable(getattr(model, name, None)) for name in methods)


class SentenceTransformerSparseEncoder:
    """Encode with a ``SparseEncoder`` that you loaded or trained, on the device it is on.

    Use it for architectures that ``SpladeEncoder`` does not compute. For a saved BERT or DistilBERT model prefer
    ``load_sparse_encoder(path)``, which needs no torch.

    Parameters
    ----------
    model : sentence_transformers.SparseEncoder
        The model; it is not changed. Do not train it further while it serves a collection: the fingerprint is taken
        once.
    revision : str, default ""
        Version for the fingerprint.

    Attributes
    ----------
    dim : int
        Terms of the vocabulary.
    vocabulary : list of str or None
        The terms by number, where the model's tokenizer has as many.
    max_tokens : int or None
        The model's ``max_seq_length``.
    fingerprint : str
        From weights, tokenizer and prompts. It is not that of ``SpladeEncoder`` on the same saved folder: open a
        collection with what made it.

    Raises
    ------
    InputError
        Not such a model.

    Notes
    -----
    Weights below 0, which a model may give without a rectifier, are refused. The fingerprint costs one pass over all
    weights, on first use.
    """

    def __init__(self, model: Any, *, revision: str = "") -> None:
        if not is_sparse_model(model):
            given = f"a {type(model).__name__}"
            raise InputError(message(given, "a SparseEncoder object", "pass one, or the path of its folder"))
        self._model = model
        self._revision = revision
        # What the model says of itself may be the width of its states, so it is asked for a text.
        self.dim = int(model.encode_document(["a"], show_progress_bar=False).shape[-1])
        window = getattr(model, "max_seq_length", None)
        self.max_tokens: int | None = int(window) if window else None

    @cached_property
    def fingerprint(self) -> str:
        """Return the identity; one pass over all weights, on first use."""
        names = [type(one).__name__ for one in (getattr(self._model, "_modules", None) or {}).values()]
        prompts = getattr(self._model, "prompts", None) or {}
        return str(
            Fingerprint(
                name="+".join(names) or type(self._model).__name__,
                revision=self._revision,
                weight_hash=digest_tensors(StateTensors(self._model.state_dict(), whole=True)),
                tokenizer_hash=tokenizer_hash(self._model),
                pooling="sparse",
                prompt=prompt_label(prompts.get("query") or "", prompts.get("document") or ""),
                dim=self.dim,
                max_tokens=self.max_tokens,
            )
        )

    @cached_property
    def vocabulary(self) -> list[str] | None:
        """Return the terms by number, None where the tokenizer has another number of them."""
        tokenizer: Any = getattr(self._model, "tokenizer", None)
        if not callable(getattr(tokenizer, "convert_ids_to_tokens", None)) or len(tokenizer) != self.dim:
            return None
        return [str(term) for term in tokenizer.convert_ids_to_tokens(list(range(self.dim)))]

    def encode_sparse(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> Any:
        """Return the weighted terms of each text.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            Goes to ``encode_query`` or ``encode_document``.
        batch_size : int, default 64
            Texts per run.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, dim), float32
            In the order given.

        Raises
        ------
        InputError
            Not texts, or weights below 0.
        DimensionError
            The model returned another shape.
        """
        from scipy.sparse import coo_matrix

        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        texts = as_texts(items, name="items")
        if not texts:
            return SparseRows.of([], self.dim).to_csr()
        method = getattr(self._model, f"encode_{role}")
        found = method(texts, batch_size=batch_size, show_progress_bar=False, convert_to_sparse_tensor=True)
        found = found.coalesce().cpu()
        if tuple(found.shape) != (len(texts), self.dim):
            given = f"weights of shape {tuple(found.shape)}"
            raise DimensionError(message(given, f"{(len(texts), self.dim)}", "check the model"))
        places, values = found.indices().numpy(), found.values().float().numpy()
        matrix = coo_matrix((values.astype(np.float32), (places[0], places[1])), shape=found.shape)
        return as_sparse_rows(matrix, dim=self.dim, name="weights of the model").to_csr()

    def __repr__(self) -> str:
        """Return what distinguishes it in one line."""
        return f"SentenceTransformerSparseEncoder({type(self._model).__name__}, dim={self.dim})"
