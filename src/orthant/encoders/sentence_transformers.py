"""Any sentence-transformers model object as an encoder, recognised by its methods: the package is never imported."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.bert_weights import canonical_tensor_name, hash_tokenizer_text
from orthant.encoders.callable import as_item_list
from orthant.encoders.fingerprint import Fingerprint, digest_tensors, prompt_label
from orthant.encoders.pipeline.modules import HEAD_KINDS, head_label
from orthant.encoders.transformer_folder import architecture_name
from orthant.encoders.truncation import TruncationCount, warn_truncated
from orthant.errors import DimensionError, InputError, message
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_texts, as_vectors, check_choice, check_count

__all__ = [
    "SentenceTransformerEncoder",
    "StateTensors",
    "is_sentence_transformer",
    "tokenizer_hash",
]

_DIMENSION_METHODS = ("get_embedding_dimension", "get_sentence_embedding_dimension")
_COUNT_BLOCK = 1024


def is_sentence_transformer(model: Any) -> bool:
    """Return whether an object looks like a ``SentenceTransformer``; nothing is imported to find out.

    Parameters
    ----------
    model : object
        Anything.

    Returns
    -------
    bool
        It has ``encode`` and can tell its dimension.
    """
    tells = any(callable(getattr(model, name, None)) for name in _DIMENSION_METHODS)
    return not isinstance(model, type) and callable(getattr(model, "encode", None)) and tells


class StateTensors(Mapping[str, npt.NDArray[Any]]):
    """Tensors of a ``state_dict`` by canonical name, brought to the CPU one at a time.

    Parameters
    ----------
    state : mapping of str to tensor
        What the model's ``state_dict`` returned.
    whole : bool, default False
        Keep every tensor under its own name, the heads that no pooling reads included.
    """

    def __init__(self, state: Mapping[str, Any], *, whole: bool = False) -> None:
        shaped = ((name, tensor) for name, tensor in state.items() if hasattr(tensor, "shape"))
        pairs = ((name if whole else canonical_tensor_name(name), tensor) for name, tensor in shaped)
        self._tensors = {name: tensor for name, tensor in pairs if name is not None}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        tensor = self._tensors[name]
        if not hasattr(tensor, "detach"):
            return np.asarray(tensor)
        tensor = tensor.detach().cpu()
        return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class SentenceTransformerEncoder:
    """Encode with a ``SentenceTransformer`` that you loaded or trained, on the device it is on.

    Use it for architectures, routers, prompts or modalities that ``TransformerEncoder`` does not compute. For a plain
    BERT folder prefer ``load_encoder(path)``: it needs no torch and can chunk long texts.

    Parameters
    ----------
    model : sentence_transformers.SentenceTransformer
        The model; it is not changed. Do not train it further while it serves a collection: the fingerprint is taken
        once.
    revision : str, default ""
        Version for the fingerprint; required when the object has no ``state_dict`` to hash.
    truncation : {"cut", "error"}, default "cut"
        Beyond the window: cut and warn with figures, or refuse.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    max_tokens : int or None
        The model's ``max_seq_length``, special tokens included.
    fingerprint : str
        Equal to that of a ``TransformerEncoder`` on the same saved folder, where that class supports it.

    Raises
    ------
    InputError
        Not such a model, or one without weights to hash and no revision.

    Notes
    -----
    The fingerprint is computed on first use. Cost: one pass over all weights, about 0.1 s per 100 MB, more when they
    lie on a GPU. Counting truncated tokens costs one more tokenization of the texts.
    """

    def __init__(self, model: Any, *, revision: str = "", truncation: str = "cut") -> None:
        if not is_sentence_transformer(model):
            raise InputError(
                message(f"a {type(model).__name__}", "a SentenceTransformer object", "pass one, or a path or name")
            )
        if truncation == "chunk":
            raise InputError(
                message(
                    "truncation='chunk' for a SentenceTransformer object",
                    "'cut' or 'error'",
                    "save the model and load its folder with TransformerEncoder.load(path, truncation='chunk')",
                )
            )
        check_choice(truncation, ("cut", "error"), name="truncation")
        if not revision and not callable(getattr(model, "state_dict", None)):
            raise InputError(
                message(
                    f"a {type(model).__name__} without state_dict",
                    "weights to tell models apart, or a revision",
                    "pass SentenceTransformerEncoder(model, revision='...')",
                )
            )
        self._model = model
        self._revision = revision
        self._truncation = truncation
        self.dim = check_count(_dimension(model), name="dimension of the model")
        window = getattr(model, "max_seq_length", None)
        self.max_tokens: int | None = int(window) if window else None

    @cached_property
    def fingerprint(self) -> str:
        """Return the identity; one pass over all weights, on first use."""
        model, modules = self._model, _modules(self._model)
        state = getattr(model, "state_dict", None)
        query, document = (self._prompt(role) for role in ("query", "document"))
        return str(
            Fingerprint(
                name=_architecture(model, modules),
                revision=self._revision,
                weight_hash=digest_tensors(StateTensors(state())) if callable(state) else "",
                tokenizer_hash=tokenizer_hash(model),
                pooling=_pooling(modules),
                prompt=prompt_label(query, document),
                normalization="l2" if _is_normalized(model) else "none",
                dim=self.dim,
                dtype=_dtype(state() if callable(state) else {}),
                max_tokens=self.max_tokens,
                truncation="cut" if self.max_tokens else "",
            )
        )

    def encode(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per item, warning once with figures when texts were cut.

        Parameters
        ----------
        items : sequence
            Texts, or whatever else a multimodal model takes.
        role : {"query", "document"}, default "document"
            Goes to ``encode_query`` or ``encode_document`` where the model has them, else chooses the prompt.
        batch_size : int, default 64
            Items per run.
        progress : bool, default False
            Show the model's own bar.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            In the order given.

        Raises
        ------
        InputError
            Not texts, or a text beyond the window under ``truncation="error"``.
        DimensionError
            The model returned another shape.
        """
        vectors, count = self._encode(items, role=role, batch_size=batch_size, progress=progress)
        if self.max_tokens:
            warn_truncated(count, max_tokens=self.max_tokens)
        return vectors

    def encode_with_report(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and the figures; nothing is warned, since the report says it.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Truncation is counted where the model has a tokenizer and the items are texts.

        Raises
        ------
        InputError
            As for ``encode``.
        """
        started = time.perf_counter()
        vectors, count = self._encode(items, role=role, batch_size=batch_size, progress=progress)
        return vectors, count.report(seconds=time.perf_counter() - started)

    def _encode(
        self, items: Sequence[Any], *, role: Role, batch_size: int, progress: bool
    ) -> tuple[FloatArray, TruncationCount]:
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        # A model of texts alone answers other items with an error from deep inside; here it is told plainly.
        only_texts = list(getattr(self._model, "modalities", ["text"])) == ["text"]
        given = as_texts(items, name="items") if only_texts else as_item_list(items)
        count = self._count(given, self._prompt(role))
        if self._truncation == "error":
            count.refuse(self.max_tokens or 0)
        if not given:
            return np.zeros((0, self.dim), dtype=np.float32), count
        method = getattr(self._model, f"encode_{role}", None)
        if callable(method):
            found = method(given, batch_size=batch_size, show_progress_bar=progress, convert_to_numpy=True)
        else:
            prompt = self._prompt(role)
            ready = [prompt + one for one in given] if prompt else given
            found = self._model.encode(ready, batch_size=batch_size, show_progress_bar=progress, convert_to_numpy=True)
        vectors = as_vectors(found, dim=self.dim, name="vectors of the model")
        if len(vectors) != len(given):
            raise DimensionError(
                message(f"{len(vectors)} vectors for {len(given)} items", "one per item", "check the model")
            )
        return vectors, count

    def token_counts(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return how many content tokens each text has, without a limit; what a chunker sizes chunks by.

        Parameters
        ----------
        texts : sequence of str, length n
            Texts or single words.

        Returns
        -------
        ndarray of shape (n,), int64
            Tokens, special ones left out; words where the model has no tokenizer.
        """
        given = as_texts(texts, name="texts")
        tokenizer = getattr(self._model, "tokenizer", None)
        if not callable(tokenizer) or not given:
            return np.array([len(text.split()) for text in given], dtype=np.int64)
        special = _special_tokens(tokenizer)
        found = tokenizer(given, truncation=False, padding=False, verbose=False)["input_ids"]
        return np.array([max(0, len(ids) - special) for ids in found], dtype=np.int64)

    @property
    def document_tokens(self) -> int | None:
        """Most content tokens of a document that fit the window, its prompt and special tokens taken off."""
        if self.max_tokens is None:
            return None
        tokenizer = getattr(self._model, "tokenizer", None)
        special = _special_tokens(tokenizer) if callable(tokenizer) else 0
        prompt = self._prompt("document")
        return max(1, self.max_tokens - special - (int(self.token_counts([prompt])[0]) if prompt else 0))

    def _prompt(self, role: str) -> str:
        prompts = getattr(self._model, "prompts", None) or {}
        default = prompts.get(getattr(self._model, "default_prompt_name", None) or "", "")
        names = ("query",) if role == "query" else ("document", "passage", "corpus")
        return str(next((prompts[name] for name in names if name in prompts), default) or "")

    def _count(self, items: list[Any], prompt: str) -> TruncationCount:
        count = TruncationCount()
        tokenizer = getattr(self._model, "tokenizer", None)
        if not callable(tokenizer) or not all(isinstance(item, str) for item in items):
            count.items = len(items)
            return count
        special = _special_tokens(tokenizer)
        for start in range(0, len(items), _COUNT_BLOCK):
            block = [prompt + item for item in items[start : start + _COUNT_BLOCK]]
            found = tokenizer(block, truncation=False, padding=False, verbose=False)["input_ids"]
            for ids in found:
                tokens = max(0, len(ids) - special)
                window = tokens if self.max_tokens is None else max(0, self.max_tokens - special)
                count.add(tokens=tokens, kept=min(tokens, window), empty=tokens == 0)
        return count

    def __repr__(self) -> str:
        """Return what distinguishes it in one line."""
        return f"SentenceTransformerEncoder({type(self._model).__name__}, dim={self.dim}, max_tokens={self.max_tokens})"


def _dimension(model: Any) -> int:
    for name in _DIMENSION_METHODS:
        method = getattr(model, name, None)
        found = method() if callable(method) else None
        if found:
            return int(found)
    raise InputError(message("a model of unknown dimension", "one that can tell it", "set truncate_dim on the model"))


def _modules(model: Any) -> dict[str, Any]:
    children = getattr(model, "_modules", None)
    return {type(one).__name__: one for one in children.values()} if isinstance(children, dict) else {}


def _architecture(model: Any, modules: Mapping[str, Any]) -> str:
    inner = getattr(modules.get("Transformer"), "auto_model", None)
    config = getattr(inner, "config", None)
    children = list((getattr(model, "_modules", None) or {}).values())
    names = [type(one).__name__ for one in children]
    named = architecture_name(config.to_dict()) if config is not None else ""
    if not named or names[:2] != ["Transformer", "Pooling"] or not set(names[2:]) <= set(HEAD_KINDS):
        direction = "-bidirectional" if named.endswith("-bidirectional") else ""
        return ("+".join(names) or type(model).__name__) + direction
    head = children[2:-1] if names[-1] == "Normalize" else children[2:]
    parts = [
        (
            type(one).__name__,
            type(getattr(one, "activation_function", None)).__name__,
            bool(getattr(one, "use_residual", False)),
        )
        for one in head
    ]
    return named + head_label(parts)


def _is_normalized(model: Any) -> bool:
    children = list((getattr(model, "_modules", None) or {}).values())
    return bool(children) and type(children[-1]).__name__ == "Normalize"


def _pooling(modules: Mapping[str, Any]) -> str:
    # Poolings that are not the library's own tell their settings by the same attribute.
    telling = (one for one in modules.values() if getattr(one, "pooling_mode", None) is not None)
    pooling = modules.get("Pooling") or next(telling, None)
    found = getattr(pooling, "pooling_mode", None)
    # Releases before 6 tell it by a method.
    older = getattr(pooling, "get_pooling_mode_str", None)
    if found is None and callable(older):
        found = older()
    prompt = "" if getattr(pooling, "include_prompt", True) else "-without-prompt"
    return (found if isinstance(found, str) else "+".join(found or ())) + prompt


def _special_tokens(tokenizer: Any) -> int:
    counter = getattr(tokenizer, "num_special_tokens_to_add", None)
    return int(counter()) if callable(counter) else 0


def tokenizer_hash(model: Any) -> str:
    """Digest the tokenizer of a model, as that of its saved folder is digested.

    Parameters
    ----------
    model : object
        With or without a ``tokenizer``.

    Returns
    -------
    str
        16 hexadecimal digits; empty without a tokenizer of the tokenizers package.
    """
    backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
    return hash_tokenizer_text(backend.to_str()) if backend is not None else ""


def _dtype(state: Mapping[str, Any]) -> str:
    for tensor in state.values():
        if hasattr(tensor, "is_floating_point") and tensor.is_floating_point():
            return str(tensor.dtype).rpartition(".")[2]
    return "float32"
