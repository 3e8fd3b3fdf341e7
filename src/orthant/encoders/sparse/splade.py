"""Texts to weighted terms by a saved SPLADE-style model, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from orthant.encoders import bert_backends, bert_weights
from orthant.encoders.fingerprint import Fingerprint, digest_tensors, prompt_label
from orthant.encoders.pipeline.tokenizer import read_tokenizer
from orthant.encoders.sparse.folder import MaskedModel, SparseFolder, WeightTable, read_sparse_folder
from orthant.encoders.sparse.rows import SparseRows, SparseVector
from orthant.errors import DimensionError, message, warn
from orthant.transforms.network import Network
from orthant.types import FloatArray, Role
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["SpladeEncoder"]

Backend = Literal["auto", "onnx", "onnx-int8", "torch", "numpy"]
_ROLES: tuple[Role, ...] = ("query", "document")


class SpladeEncoder:
    """Encode texts as weighted terms of a vocabulary, compared by dot product; no torch is needed.

    Use it for words that a dense vector blurs while synonyms still match: the model adds terms that a text does not
    have. Not where every microsecond of a query counts, unless the model's query side is a table of weights
    ("inference-free"), for which nothing runs. ``load`` reads a folder that sentence-transformers' ``SparseEncoder``
    saved.

    Parameters
    ----------
    folder : SparseFolder
        What ``read_sparse_folder`` returned.
    backend : {"auto", "onnx", "onnx-int8", "torch", "numpy"}, default "auto"
        What computes the token states; the head behind them is float32 in NumPy always. A table needs none.
    threads : int, optional
        CPU threads; not for ``"numpy"``. Left out, all that the process may use.
    device : str, optional
        ``"torch"`` only.

    Attributes
    ----------
    dim : int
        Terms of the vocabulary.
    vocabulary : sequence of str
        The terms by number.
    max_tokens : int or None
        Window of documents, special tokens included; what is beyond is cut, with a warning.
    fingerprint : str
        Identity: weights, tokenizer, prompts, pooling.

    Raises
    ------
    InputError
        A head that is not computed here, or a setting that the backend does not have.
    DimensionError
        Parts with different vocabularies.
    MissingExtraError
        The backend's packages are not installed.

    Notes
    -----
    For the logits h of token i and term t: ``w_t = max_i log(1 + relu(h_it))``, or the sum over i; special tokens
    count as tokens. A table gives every term that a text has its weight, once. Cost beyond the transformer:
    ``tokens x width x dim`` multiplications, and ``4 x tokens x dim`` bytes for one text at a time.

    References
    ----------
    T. Formal, B. Piwowarski, S. Clinchant: SPLADE, arXiv:2107.05720, section 3.
    T. Formal, C. Lassance, B. Piwowarski, S. Clinchant: SPLADE v2, arXiv:2109.10086, section 3.
    Z. Geng et al.: Towards Competitive Search Relevance For Inference-Free Learned Sparse Retrievers,
    arXiv:2411.04403, section 3.

    Examples
    --------
    >>> SpladeEncoder.load("no/such/folder")
    Traceback (most recent call last):
    orthant.errors.NotFoundError: Got no folder no/such/folder; expected a saved sparse model. Check the path.
    """

    def __init__(
        self,
        folder: SparseFolder,
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        check_choice(backend, bert_backends.BACKENDS, name="backend")
        self._folder = folder
        made: dict[int, _Table | _Masked] = {}
        for part in folder.parts.values():
            if id(part) not in made:
                made[id(part)] = (
                    _Table(part)
                    if isinstance(part, WeightTable)
                    else _Masked(part, backend=backend, threads=threads, device=device)
                )
        self._parts = {role: made[id(folder.parts[role])] for role in _ROLES}
        dims = {part.dim for part in self._parts.values()}
        if len(dims) > 1:
            raise DimensionError(message(f"vocabularies of {sorted(dims)} terms", "one for both roles", "check both"))
        self.dim = self._parts["document"].dim
        self.vocabulary: Sequence[str] | None = self._parts["document"].vocabulary()
        self.max_tokens = self._parts["document"].max_tokens
        self.fingerprint = self._identity()

    def _identity(self) -> str:
        document, query = self._parts["document"], self._parts["query"]
        prompt = prompt_label(self._folder.prompts["query"], self._folder.prompts["document"])
        own = replace(document.identity(), prompt=prompt)
        if query is document:
            return str(own)
        other = query.identity()
        # Both sides decide a score, so both stand in the name.
        return str(replace(own, revision=f"query {other.name} {other.weight_hash} {other.pooling}"))

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        device: str | None = None,
    ) -> SpladeEncoder:
        """Load a saved sparse model; nothing is downloaded.

        Parameters
        ----------
        path : str or Path
            Folder that ``SparseEncoder.save_pretrained`` wrote.
        backend, threads, device
            As for the class.

        Returns
        -------
        SpladeEncoder
            Ready to encode.

        Raises
        ------
        NotFoundError
            The folder or a needed file is missing.
        InputError
            A module or a head that is not computed here.
        StoreCorruptedError
            A damaged file.
        MissingExtraError
            No runtime is installed.
        """
        return cls(read_sparse_folder(path), backend=backend, threads=threads, device=device)

    def encode_sparse(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> Any:
        """Return the weighted terms of each text.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            Chooses prompt and part of the model.
        batch_size : int, default 64
            Texts per run of the transformer.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, dim), float32
            Weights above 0, terms ascending; texts in the order given.

        Raises
        ------
        InputError
            Not texts, or settings out of range.
        """
        check_choice(role, _ROLES, name="role")
        check_count(batch_size, name="batch_size")
        texts = as_texts(items, name="items")
        part, prompt = self._parts[role], self._folder.prompts[role]
        encoded = part.tokenizer.encode_batch([part.prepared(prompt + text) for text in texts]) if texts else []
        cut = sum(bool(one.overflowing) for one in encoded)
        if cut:
            warn(
                f"{cut} of {len(texts)} texts were longer than {part.max_tokens} tokens and were cut there. "
                "Split them to keep all of each text."
            )
        rows = part.weights([np.array(one.ids, dtype=np.int64) for one in encoded], batch_size)
        return SparseRows.of([_sparse(row) for row in rows], self.dim).to_csr()

    def __repr__(self) -> str:
        """Return what distinguishes it in one line."""
        return f"SpladeEncoder(dim={self.dim}, max_tokens={self.max_tokens})"


def _sparse(row: FloatArray) -> SparseVector:
    indices = np.flatnonzero(row > 0)
    return SparseVector(indices.astype(np.int32), row[indices])


def _names(tokenizer: Any, dim: int) -> list[str]:
    # A vocabulary may be padded beyond its words.
    return [tokenizer.id_to_token(i) or f"[{i}]" for i in range(dim)]


class _Table:
    """A weight for each term that occurs."""

    def __init__(self, table: WeightTable) -> None:
        self._table = table
        self._weights = np.maximum(table.weights, 0)
        self.dim, self.max_tokens = len(table.weights), table.max_tokens
        self.tokenizer = read_tokenizer(table.tokenizer)
        self.tokenizer.no_padding()
        # Special tokens are not asked for below, so the window is all for words.
        self.tokenizer.post_processor = _no_processing()
        if table.max_tokens is not None:
            self.tokenizer.enable_truncation(table.max_tokens)

    def prepared(self, text: str) -> str:
        return text

    def weights(self, rows: list[Any], batch_size: int) -> list[FloatArray]:
        out = []
        for ids in rows:
            row = np.zeros(self.dim, dtype=np.float32)
            row[ids] = self._weights[ids]
            out.append(row)
        return out

    def vocabulary(self) -> list[str]:
        return _names(self.tokenizer, self.dim)

    def identity(self) -> Fingerprint:
        return Fingerprint(
            name="table",
            weight_hash=digest_tensors({"weight": self._table.weights}),
            tokenizer_hash=bert_weights.hash_tokenizer(self._table.tokenizer),
            pooling="sparse-table",
            dim=self.dim,
            max_tokens=self.max_tokens,
            truncation="cut" if self.max_tokens else "",
        )


def _no_processing() -> Any:
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])


class _Masked:
    """Logits of a masked language model, pooled over the tokens of each text."""

    def __init__(self, model: MaskedModel, *, backend: str, threads: int | None, device: str | None) -> None:
        folder = self._backbone = model.backbone
        self._model = model
        layers, self._decoder, self._bias = model.head()
        self.dim, self.max_tokens = len(self._decoder), folder.max_tokens
        arrays = {f"head.{i}.{name}": a for i, layer in enumerate(layers) for name, a in layer.arrays.items()}
        arrays |= {"head.decoder": self._decoder, "head.bias": self._bias}
        self._hash = bert_weights.hash_model(folder.weights, folder.onnx, arrays)
        self.backend = bert_backends.choose_backend(backend, folder, self._hash)
        self._states = bert_backends.load_token_model(
            self.backend, folder, self._hash, threads=threads, device=device
        ).states
        self._head = Network(layers)
        self.tokenizer = read_tokenizer(folder.tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(folder.max_tokens)

    def prepared(self, text: str) -> str:
        return text.lower() if self._backbone.lowercase else text

    def weights(self, rows: list[Any], batch_size: int) -> list[FloatArray]:
        out: list[FloatArray] = [np.zeros(self.dim, dtype=np.float32)] * len(rows)
        # Texts of like length share a batch, so little is spent on padding.
        order = np.argsort([len(ids) for ids in rows], kind="stable")
        step = 1 if self.backend == "onnx-int8" else batch_size
        for begin in range(0, len(rows), step):
            batch = order[begin : begin + step]
            width = max(1, *(len(rows[i]) for i in batch))
            ids = np.full((len(batch), width), self._backbone.config.get("pad_token_id") or 0, dtype=np.int64)
            mask = np.zeros_like(ids)
            for place, i in enumerate(batch):
                ids[place, : len(rows[i])] = rows[i]
                mask[place, : len(rows[i])] = 1
            states = self._states(ids, mask)
            for i, found in zip(batch, states, strict=True):
                out[i] = self._pooled(found[: len(rows[i])])
        return out

    def _pooled(self, states: FloatArray) -> FloatArray:
        if not len(states):
            return np.zeros(self.dim, dtype=np.float32)
        logits = self._head.transform(states) @ self._decoder.T + self._bias
        if self._model.pooling == "max":
            # The logarithm keeps the order, so one per term is enough.
            return self._saturated(logits.max(axis=0))
        return self._saturated(logits).sum(axis=0)

    def _saturated(self, logits: FloatArray) -> FloatArray:
        out = np.log1p(np.maximum(logits, 0))
        return np.log1p(out) if self._model.twice else out

    def vocabulary(self) -> list[str]:
        return _names(self.tokenizer, self.dim)

    def identity(self) -> Fingerprint:
        return Fingerprint(
            name=self._backbone.architecture,
            weight_hash=self._hash,
            tokenizer_hash=bert_weights.hash_tokenizer(self._backbone.tokenizer),
            pooling=self._model.label,
            dim=self.dim,
            dtype="int8-dynamic" if self.backend == "onnx-int8" else "float32",
            max_tokens=self.max_tokens,
            truncation="cut",
        )
