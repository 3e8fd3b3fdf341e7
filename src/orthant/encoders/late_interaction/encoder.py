"""Texts to one vector per token by a saved late-interaction model, without torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.encoders import bert_backends, bert_weights
from orthant.encoders.fingerprint import Fingerprint, prompt_label
from orthant.encoders.late_interaction.folder import read_token_folder
from orthant.encoders.late_interaction.pylate_saving import write_pylate_folder
from orthant.encoders.late_interaction.reducing import make_reducer
from orthant.encoders.late_interaction.rules import TokenFolder
from orthant.encoders.pipeline.modules import head_layers, head_tensors
from orthant.encoders.pipeline.tokenizer import expansion_token, read_tokenizer, special_token
from orthant.errors import InputError, message, warn
from orthant.threads import map_tasks
from orthant.transforms.network import Network
from orthant.types import FloatArray, Ragged, Role
from orthant.validate import as_texts, check_choice, check_count

__all__ = ["LateInteractionEncoder"]

Backend = Literal["auto", "onnx", "onnx-int8", "torch", "numpy"]
_ROLES: tuple[Role, ...] = ("query", "document")


@dataclass(frozen=True)
class _RoleSettings:
    """How texts of one role become token ids."""

    tokenizer: Any
    prompt: str
    window: int
    floor: int
    attend: bool
    filler: int
    prefix: int | None


class LateInteractionEncoder:
    """Encode texts as sets of token vectors, compared by MaxSim; no torch is needed.

    Use it where a single vector per text is too coarse: names, numbers and rare words keep vectors of their own. Not
    for millions of documents without a reducer: each takes dozens of vectors. ``load`` reads a folder that
    sentence-transformers' ``MultiVectorEncoder``, PyLate or the first ColBERT code saved, or that
    ``orthant.learn.export_encoder`` made of one.

    Parameters
    ----------
    folder : TokenFolder
        What ``read_token_folder`` returned.
    backend : {"auto", "onnx", "onnx-int8", "torch", "numpy"}, default "auto"
        What computes the token states; layers behind them are float32 in NumPy always. ``"onnx"``, ``"torch"`` and
        ``"numpy"`` agree to 1e-5 and share one fingerprint; ``"onnx-int8"`` has its own.
    threads : int, optional
        CPU threads; not for ``"numpy"``. Left out, all that the process may use.
    device : str, optional
        ``"torch"`` only.

    Attributes
    ----------
    dim : int
        Values of a token vector.
    max_tokens : int
        Window of documents, special tokens included.
    fingerprint : str
        Identity: weights, tokenizer, prompts, and the rules by which tokens count.
    backend : str
        The runtime chosen.
    normalized : bool
        Token vectors have unit length.

    Raises
    ------
    InputError
        A setting that the backend does not have, or a prefix or expansion token that the model does not know.
    MissingExtraError
        The backend's packages are not installed.

    Notes
    -----
    A text is put behind its role's prompt, cut to the role's window, and run through the transformer, with the role's
    prefix token behind the first token where the model has one; layers map each token state; tokens on the skip list
    are left out, and queries may be filled up with mask tokens that count. The score of a query q and a document d is
    ``sum_i max_j <q_i, d_j>``, see ``MaxSimReranker``.

    References
    ----------
    O. Khattab, M. Zaharia: ColBERT, arXiv:2004.12832, sections 3.2 and 3.3.

    Examples
    --------
    >>> from orthant.encoders import LateInteractionEncoder
    >>> LateInteractionEncoder.load("no/such/folder")
    Traceback (most recent call last):
    orthant.errors.NotFoundError: Got no folder no/such/folder; expected a saved late-interaction model. Check the path.
    """

    def __init__(
        self,
        folder: TokenFolder,
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        device: str | None = None,
    ) -> None:
        check_choice(backend, bert_backends.BACKENDS, name="backend")
        self._threads = threads if threads is None else check_count(threads, name="threads")
        self._folder = folder
        layers = (*folder.head, *folder.behind)
        own = bert_weights.hash_model(folder.backbone.weights, folder.backbone.onnx, head_tensors(layers))
        self.backend = bert_backends.choose_backend(backend, folder.backbone, own)
        self._model = bert_backends.load_token_model(
            self.backend, folder.backbone, own, threads=self._threads, device=device
        )
        self._head, self._behind = (Network(head_layers(part)) for part in (folder.head, folder.behind))
        self._reduce = {role: make_reducer(one) for role, one in folder.rules.reducers.items()}
        self._roles = {role: self._role_settings(role) for role in _ROLES}
        self._skipped = self._skipped_ids()
        self.dim = folder.dim
        self.normalized = folder.normalized
        self.max_tokens: int | None = self._roles["document"].window
        self.fingerprint = str(self._identity(own))

    def _role_settings(self, role: Role) -> _RoleSettings:
        backbone, rules = self._folder.backbone, self._folder.rules
        tokenizer = read_tokenizer(backbone.tokenizer)
        own = rules.query_length if role == "query" else rules.document_length
        positions = int(backbone.config.get("max_position_embeddings") or own or backbone.max_tokens)
        window = min(int(own), positions) if own else backbone.max_tokens
        expansion = rules.expansion if role == "query" else None
        floor, attend, filler = 0, False, 0
        if expansion is not None:
            floor, attend = expansion.length, expansion.attend
            window = floor if expansion.strategy == "fixed" else max(window, floor)
            filler = self._filler(tokenizer, expansion.token)
        prefix = self._prefix(tokenizer, rules.prefixes[role]) if role in rules.prefixes else None
        tokenizer.no_padding()
        tokenizer.enable_truncation(window if prefix is None else window - 1)
        return _RoleSettings(tokenizer, backbone.prompts[role], window, floor, attend, filler, prefix)

    def _filler(self, tokenizer: Any, token: str | None) -> int:
        wanted = token or expansion_token(self._folder.backbone.path)
        found = tokenizer.token_to_id(wanted)
        if found is None:
            given = f"query expansion with the token {wanted!r}"
            raise InputError(message(given, "a token of the tokenizer", "name one in query_expansion of the model"))
        return int(found)

    def _prefix(self, tokenizer: Any, token: str) -> int:
        found = tokenizer.token_to_id(token)
        rows = self._folder.backbone.config.get("vocab_size")
        if found is None or (rows is not None and found >= int(rows)):
            # PyLate would give it a random vector at every loading.
            given = f"the prefix token {token!r}, which the model has no vector for"
            raise InputError(message(given, "a token of the model", "load it with PyLate, train it and save it"))
        return int(found)

    def _skipped_ids(self) -> npt.NDArray[np.int64]:
        tokenizer, rules = self._roles["document"].tokenizer, self._folder.rules
        found = {tokenizer.token_to_id(word) for word in rules.skiplist}
        if None in found and rules.unknown_skipped:
            found.add(self._unknown_id(tokenizer))
        # A word that is no token of its own would otherwise stand for every unknown word.
        return np.array(sorted(one for one in found if one is not None), dtype=np.int64)

    def _unknown_id(self, tokenizer: Any) -> int | None:
        word = special_token(self._folder.backbone.path, "unk_token") or getattr(tokenizer.model, "unk_token", None)
        return None if word is None else tokenizer.token_to_id(word)

    def _identity(self, weight_hash: str) -> Fingerprint:
        folder, backbone = self._folder, self._folder.backbone
        if backbone.exported is not None:
            model = Fingerprint.parse(backbone.exported.fingerprint)
        else:
            model = Fingerprint(
                name=folder.architecture,
                weight_hash=weight_hash,
                tokenizer_hash=bert_weights.hash_tokenizer(backbone.tokenizer),
                pooling=f"tokens-{folder.rules.digest}",
                prompt=prompt_label(backbone.prompts["query"], backbone.prompts["document"]),
                normalization="l2" if self.normalized else "none",
                dim=self.dim,
                max_tokens=self.max_tokens,
                truncation="cut",
            )
        return replace(model, dtype="int8-dynamic" if self.backend == "onnx-int8" else "float32")

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        device: str | None = None,
    ) -> LateInteractionEncoder:
        """Load a saved late-interaction model; nothing is downloaded.

        Parameters
        ----------
        path : str or Path
            Folder that ``MultiVectorEncoder.save_pretrained``, PyLate or ``export_encoder`` wrote, or a checkpoint of
            the first ColBERT code.
        backend, threads, device
            As for the class.

        Returns
        -------
        LateInteractionEncoder
            Ready to encode.

        Raises
        ------
        NotFoundError
            The folder or a needed file is missing.
        InputError
            A model of another kind, or a module that is not computed here.
        StoreCorruptedError
            A damaged file.
        MissingExtraError
            No runtime is installed.
        """
        return cls(read_token_folder(path), backend=backend, threads=threads, device=device)

    def save_pylate(self, path: str | Path) -> Path:
        """Write the model as a folder that PyLate loads, to search or train it there.

        Parameters
        ----------
        path : str or Path
            New or empty. It is there whole or not at all.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            A rule that PyLate does not have, by name: a reducer, a layer other than Dense, vectors of other than unit
            length, kept ids, a skip list of queries, another expansion. An export, or a target that is not empty.

        Notes
        -----
        Token vectors stay what they are. PyLate puts a prompt of a role before a text only where it is told so
        (``encode(..., prompt_name="query")``), and removes white space around texts, which some tokenizers see.
        """
        skipped, tokenizer = self._folder.rules.skiplist, self._roles["document"].tokenizer
        if not self._folder.rules.unknown_skipped:
            # There such a word would take unknown ones out.
            skipped = tuple(word for word in skipped if tokenizer.token_to_id(word) is not None)
        windows = {role: settings.window for role, settings in self._roles.items()}
        return write_pylate_folder(self._folder, path, windows=windows, words=list(skipped))

    def encode_tokens(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> Ragged:
        """Return the token vectors of each text, warning once with figures when texts were cut.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            Chooses prompt, window, and the rules by which tokens count.
        batch_size : int, default 64
            Texts per run. The int8 graph runs one at a time, so that texts do not disturb each other.

        Returns
        -------
        Ragged
            ``values`` of shape (T, dim), float32, and ``offsets`` of shape (n + 1,); texts in the order given. A
            document of which every token is on the skip list has no vector.

        Raises
        ------
        InputError
            Not texts, or settings out of range.
        """
        check_choice(role, _ROLES, name="role")
        check_count(batch_size, name="batch_size")
        texts = as_texts(items, name="items")
        rows = self._token_ids(texts, self._roles[role])
        out: list[FloatArray] = [np.empty((0, self._folder.backbone.width), dtype=np.float32)] * len(rows)
        # Texts of like length share a batch, so little is spent on padding.
        order = np.argsort([len(ids) for ids, _ in rows], kind="stable")
        step = 1 if self.backend == "onnx-int8" else batch_size

        def run(batch: npt.NDArray[np.int64]) -> None:
            for i, states in zip(batch, self._states([rows[i] for i in batch], role), strict=True):
                out[i] = states

        batches = [order[i : i + step] for i in range(0, len(order), step)]
        # Only the int8 graph leaves its threads to us.
        map_tasks(run, batches, threads=self._threads if self.backend == "onnx-int8" else 1)
        return self._finished(out, role)

    def token_texts(self, items: Sequence[str], *, role: Role = "document") -> list[list[str]] | None:
        """Return the tokens behind the vectors of ``encode_tokens``, as words and pieces of words.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            As what they were encoded.

        Returns
        -------
        list of list of str, or None
            One token per vector, in their order. None where the model reduces the tokens of this role: its vectors
            stand for several.

        Raises
        ------
        InputError
            Not texts, or an unknown role.

        Notes
        -----
        Cost: the tokenizer alone.
        """
        check_choice(role, _ROLES, name="role")
        if role in self._reduce:
            return None
        settings = self._roles[role]
        with warnings.catch_warnings():
            # Encoding has told of texts that were cut.
            warnings.simplefilter("ignore", UserWarning)
            rows = self._token_ids(as_texts(items, name="items"), settings)
        return [
            [settings.tokenizer.id_to_token(int(i)) for i in ids[self._counting(ids, role)].tolist()] for ids, _ in rows
        ]

    def token_counts(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
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
        lower = self._folder.backbone.lowercase
        tokenizer = self._roles["document"].tokenizer
        found = tokenizer.encode_batch([text.lower() for text in given] if lower else given, add_special_tokens=False)
        # What overflows the window comes as further windows.
        return np.array([len(one) + sum(len(more) for more in one.overflowing) for one in found], dtype=np.int64)

    @property
    def document_tokens(self) -> int:
        """Most content tokens of a document that fit the window, its prompt, prefix and special tokens taken off."""
        settings = self._roles["document"]
        taken = settings.tokenizer.num_special_tokens_to_add(False) + (settings.prefix is not None)
        return max(1, settings.window - taken - int(self.token_counts([settings.prompt])[0]))

    def _token_ids(self, texts: list[str], settings: _RoleSettings) -> list[tuple[npt.NDArray[np.int64], int]]:
        """Ids of each text, expansion included, and how many of them are its own."""
        lower = self._folder.backbone.lowercase
        given = [settings.prompt + text for text in texts]
        if self._folder.rules.strip:
            given = [text.strip() for text in given]
        encoded = settings.tokenizer.encode_batch([text.lower() for text in given] if lower else given)
        cut = sum(bool(one.overflowing) for one in encoded)
        if cut:
            warn(
                f"{cut} of {len(texts)} texts were longer than {settings.window} tokens and were cut there. "
                "Split them to keep all of each text."
            )
        rows = []
        for one in encoded:
            found = one.ids if settings.prefix is None else [*one.ids[:1], settings.prefix, *one.ids[1:]]
            own = len(found)
            ids = np.full(max(own, settings.floor), settings.filler, dtype=np.int64)
            ids[:own] = found
            rows.append((ids, own))
        return rows

    def _states(self, rows: list[tuple[npt.NDArray[np.int64], int]], role: Role) -> list[FloatArray]:
        """States of the tokens that count, before any layer."""
        width = max(len(ids) for ids, _ in rows)
        padding = self._folder.backbone.config.get("pad_token_id") or 0
        ids = np.full((len(rows), width), padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, (row, own) in enumerate(rows):
            ids[i, : len(row)] = row
            # Added tokens see the text; the text sees them only where the model was trained so.
            mask[i, : len(row) if self._roles[role].attend else own] = 1
        states = self._model.states(ids, mask)
        return [found[: len(row)][self._counting(row, role)] for found, (row, _) in zip(states, rows, strict=True)]

    def _counting(self, ids: npt.NDArray[np.int64], role: Role) -> npt.NDArray[np.bool_]:
        rules = self._folder.rules
        counting = np.ones(len(ids), dtype=bool)
        if role in rules.skiplist_roles and len(self._skipped):
            counting &= ~np.isin(ids, self._skipped)
        if role == "document" and rules.keep_only:
            counting &= np.isin(ids, rules.keep_only)
        return counting

    def _finished(self, rows: list[FloatArray], role: Role) -> Ragged:
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        if offsets[-1] == 0:
            return Ragged(np.empty((0, self.dim), dtype=np.float32), offsets)
        tokens = Ragged(self._head.transform(np.concatenate(rows)), offsets)
        if role in self._reduce:
            tokens = self._reduce[role](tokens)
        return Ragged(self._behind.transform(tokens.values), tokens.offsets) if self._folder.behind else tokens

    def __repr__(self) -> str:
        """Return what distinguishes it in one line."""
        settings = f"dim={self.dim}, backend={self.backend!r}, max_tokens={self.max_tokens}"
        return f"LateInteractionEncoder({self._folder.architecture!r}, {settings})"
