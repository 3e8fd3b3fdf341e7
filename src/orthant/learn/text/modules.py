"""Poolings and token reducers as modules of a sentence-transformers model, with saving and loading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules.module import Module
from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling
from sentence_transformers.util.tensor import repad_flattened_features
from torch import Tensor

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.nn.poolings import Pooling, TokenPooling, is_traced, make_pooling
from orthant.nn.token_reducers import TokenReducer, make_reducer

__all__ = ["PoolingModule", "ReducerModule", "prompt_positions"]

_WEIGHTS = "model.safetensors"


def prompt_positions(mask: Tensor, length: int) -> Tensor:
    """Return which tokens are the prompt: the first real ones, on whichever side padding lies.

    Parameters
    ----------
    mask : Tensor of shape (B, L), bool or 0 and 1
        True on real tokens.
    length : int
        Tokens of the prompt, the starting special token included.

    Returns
    -------
    Tensor of shape (B, L), bool
        True on the prompt.

    Examples
    --------
    >>> prompt_positions(torch.tensor([[0, 1, 1, 1]]), 2).tolist()
    [[False, True, True, False]]
    """
    real = mask.bool()
    return real & (real.long().cumsum(dim=1) <= length)


class PoolingModule(Module):
    """Turn token states into one vector per text with any pooling of `orthant.nn`.

    Parameters
    ----------
    pooling : Pooling, str or mapping
        The pooling, or what `orthant.nn.make_pooling` takes.
    dim : int
        Width of the token states.
    include_prompt : bool, default True
        Pool the tokens of the prompt too. False leaves them to attention alone, as instruction-tuned models do; a text
        that is nothing but prompt is then refused.

    Raises
    ------
    DimensionError
        A pooling with weights for another width.

    Notes
    -----
    Reads ``token_embeddings``, ``attention_mask`` and ``prompt_length`` of the features and writes
    ``sentence_embedding``. A saved model that contains it loads with `orthant.learn.text.load_text_model`, or with
    ``SentenceTransformer(folder, trust_remote_code=True)`` where Orthant is installed.

    Examples
    --------
    >>> features = {"token_embeddings": torch.tensor([[[1.0], [5.0]]]), "attention_mask": torch.tensor([[1, 1]])}
    >>> PoolingModule("last", 1)(features)["sentence_embedding"].item()
    5.0
    """

    config_keys = ["pooling", "dim", "include_prompt"]

    def __init__(self, pooling: Pooling | str | Mapping[str, Any], dim: int, *, include_prompt: bool = True) -> None:
        super().__init__()
        self.inner = pooling if isinstance(pooling, Pooling) else make_pooling(pooling, dim=dim)
        self.embedding_dimension = self.inner.dim_out(dim)
        self.dim = dim
        self.include_prompt = include_prompt
        self._special: frozenset[int] = frozenset()

    def on_model_ready(self, model: Any) -> None:
        """Learn which tokens frame a text; the library calls this once a model is complete.

        Parameters
        ----------
        model : sentence_transformers.SentenceTransformer
            The model that this module is part of.
        """
        words = model.tokenizer
        self._special = frozenset(getattr(words, "all_special_ids", ())) - {getattr(words, "unk_token_id", None)}

    @property
    def pooling(self) -> dict[str, Any]:
        """Settings of the pooling, as JSON values."""
        return self.inner.config()

    @property
    def pooling_mode(self) -> str:
        """What distinguishes this pooling from others, in one word."""
        settings = {**self.pooling}
        kind = settings.pop("kind")
        return kind + (f"({','.join(f'{k}={v}' for k, v in settings.items())})" if settings else "")

    def get_embedding_dimension(self) -> int:
        """Return the width of the vectors."""
        return self.embedding_dimension

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """Pool a batch.

        Parameters
        ----------
        features : dict
            ``token_embeddings`` of shape (B, L, d), ``attention_mask`` of shape (B, L), and what else passes through.

        Returns
        -------
        dict
            The same, with ``sentence_embedding`` of shape (B, d') added.

        Raises
        ------
        InputError
            A text without a token to pool.
        """
        if "cu_seq_lens_q" in features:
            features = repad_flattened_features(features)
        states, mask = features["token_embeddings"], features["attention_mask"]
        length = features.get("prompt_length")
        prompt = None
        if not self.include_prompt and length is not None:
            prompt = prompt_positions(mask, int(length.flatten()[0]) if isinstance(length, Tensor) else int(length))
            if "input_ids" in features:
                self._check_content(features["input_ids"], mask.bool() & ~prompt)
        extra = {}
        if isinstance(self.inner, TokenPooling) and self.inner.token_id is not None:
            extra["token_ids"] = features.get("input_ids")
        features["sentence_embedding"] = self.inner(states, mask, prompt_mask=prompt, **extra)
        return features

    def _check_content(self, ids: Tensor, kept: Tensor) -> None:
        """Refuse texts of which only the closing special token is left, as when a prompt fills the window."""
        if not self._special or is_traced():
            return
        special = torch.tensor(sorted(self._special), device=ids.device)
        empty = torch.nonzero(~(kept & ~torch.isin(ids, special)).any(dim=1)).flatten()
        if len(empty):
            raise InputError(
                message(
                    f"a text (row {int(empty[0])} of the batch) with nothing to pool beside the prompt",
                    "texts that go on after it",
                    "drop empty texts, shorten the prompt, or widen the window",
                )
            )

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write settings and weights.

        Parameters
        ----------
        output_path : str
            Folder of the module.
        *args : any
            Ignored; part of the library's signature.
        safe_serialization : bool, default True
            Ignored: weights are always written as safetensors.
        **kwargs : any
            Ignored; part of the library's signature.
        """
        from safetensors.torch import save_file

        self.save_config(output_path)
        weights = {name: tensor.contiguous() for name, tensor in self.inner.state_dict().items()}
        # A module without weights that is saved over one with them must not be given them when it is loaded.
        (Path(output_path) / _WEIGHTS).unlink(missing_ok=True)
        if weights:
            save_file(weights, Path(output_path) / _WEIGHTS)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> PoolingModule:  # type: ignore[override]
        """Read what ``save`` wrote, from a local folder.

        Parameters
        ----------
        model_name_or_path : str
            Folder of the model.
        subfolder : str, default ""
            Folder of the module in it.
        **kwargs : any
            Ignored; part of the library's signature.

        Returns
        -------
        PoolingModule
            Equal to the saved one.

        Raises
        ------
        StoreCorruptedError
            Weights that do not fit the settings.
        """
        from safetensors.torch import load_file

        config = cls.load_config(model_name_or_path, subfolder=subfolder, local_files_only=True)
        found = cls(**config)
        path = Path(model_name_or_path) / subfolder / _WEIGHTS
        wanted = found.inner.state_dict()
        weights = load_file(path) if path.is_file() else {}
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in wanted.items()}:
            raise StoreCorruptedError(
                message(f"{path} with weights {sorted(weights)}", f"{sorted(wanted)}", "save the model again")
            )
        if weights:
            found.inner.to(next(iter(weights.values())).dtype).load_state_dict(weights)
        return found


class ReducerModule(BaseTokenPooling):
    """Reduce the token vectors of documents, of queries, or of both with reducers of `orthant.nn`.

    Parameters
    ----------
    documents : TokenReducer or mapping, optional
        For everything that is not a query; None keeps all tokens.
    queries : TokenReducer or mapping, optional
        For queries; None keeps all tokens.

    Raises
    ------
    InputError
        Neither, since the module would have no effect.

    Notes
    -----
    Comes last in a ``MultiVectorEncoder``, after masking and normalisation. Reads and writes ``token_embeddings`` and
    ``attention_mask``; ``input_ids`` no longer match them afterwards.

    Examples
    --------
    >>> features = {"token_embeddings": torch.tensor([[[1.0], [5.0]]]), "attention_mask": torch.tensor([[1, 1]])}
    >>> ReducerModule(documents={"kind": "tail", "k": 1})(features)["token_embeddings"].tolist()
    [[[5.0]]]
    """

    config_keys = ["documents", "queries"]

    def __init__(
        self,
        documents: TokenReducer | Mapping[str, Any] | None = None,
        queries: TokenReducer | Mapping[str, Any] | None = None,
    ) -> None:
        given = {"document": documents, "query": queries}
        super().__init__(tasks=[task for task, reducer in given.items() if reducer is not None])
        if not self.tasks:
            raise InputError(message("no reducer", "one for documents, queries or both", "leave the module out"))
        self.reducers = torch.nn.ModuleDict(
            {
                task: reducer if isinstance(reducer, TokenReducer) else make_reducer(reducer)
                for task, reducer in given.items()
                if reducer is not None
            }
        )

    @property
    def documents(self) -> dict[str, Any] | None:
        """Settings of the reducer of documents, as JSON values."""
        return self._settings("document")

    @property
    def queries(self) -> dict[str, Any] | None:
        """Settings of the reducer of queries, as JSON values."""
        return self._settings("query")

    def _settings(self, task: str) -> dict[str, Any] | None:
        return self.reducers[task].config() if task in self.reducers else None  # type: ignore[operator]

    def _reducer(self, task: str | None) -> Any:
        return self.reducers["query" if task == "query" else "document"]

    def applies_to(self, task: str | None) -> bool:
        """Return whether inputs of a task are reduced.

        Parameters
        ----------
        task : str or None
            ``"query"``, or anything else for documents.

        Returns
        -------
        bool
            There is a reducer for it.
        """
        return ("query" if task == "query" else "document") in self.reducers

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Reduce a batch.

        Parameters
        ----------
        features : dict
            ``token_embeddings`` of shape (B, T, d), ``attention_mask`` of shape (B, T), and what else passes through.
        task : str, optional
            ``"query"``, or anything else for documents.

        Returns
        -------
        dict
            The same, with fewer token vectors and their mask.
        """
        if not self.applies_to(task):
            return features
        if "cu_seq_lens_q" in features:
            features = repad_flattened_features(features)
        tokens, mask = self._reducer(task)(features["token_embeddings"], features["attention_mask"])
        features["token_embeddings"], features["attention_mask"] = tokens, mask
        return features

    def pool(  # type: ignore[override]
        self,
        embeddings: list[Tensor] | Tensor,
        *,
        task: str | None = None,
        attention_mask: Tensor | None = None,
        padding_side: str = "right",
    ) -> list[Tensor] | Tensor:
        """Reduce token vectors that are there already.

        Parameters
        ----------
        embeddings : list of Tensor of shape (T, d), or Tensor of shape (B, T, d)
            One entry per text.
        task : str, optional
            ``"query"``, or anything else for documents.
        attention_mask : Tensor of shape (B, T), bool, optional
            True on real tokens, for the padded form.
        padding_side : {"right", "left"}, default "right"
            Of the padded form.

        Returns
        -------
        list of Tensor of shape (K, d), or Tensor of shape (B, K, d)
            In the form given.
        """
        if not self.applies_to(task):
            return embeddings
        one = ReducerModule(documents=self._reducer(task))
        return BaseTokenPooling.pool(one, embeddings, attention_mask=attention_mask, padding_side=padding_side)

    def pool_one(self, embedding: Tensor, **kwargs: Any) -> Tensor:
        """Reduce the token vectors of one document.

        Parameters
        ----------
        embedding : Tensor of shape (T, d)
            Token vectors.
        **kwargs : any
            Ignored; part of the library's signature.

        Returns
        -------
        Tensor of shape (K, d)
            What remains.
        """
        reducer = self._reducer("document" if self.applies_to("document") else "query")
        tokens, mask = reducer(
            embedding[None], torch.ones(1, len(embedding), dtype=torch.bool, device=embedding.device)
        )
        return tokens[0, mask[0]]

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> ReducerModule:  # type: ignore[override]
        """Read what ``save`` wrote, from a local folder.

        Parameters
        ----------
        model_name_or_path : str
            Folder of the model.
        subfolder : str, default ""
            Folder of the module in it.
        **kwargs : any
            Ignored; part of the library's signature.

        Returns
        -------
        ReducerModule
            Equal to the saved one.
        """
        return cls(**cls.load_config(model_name_or_path, subfolder=subfolder, local_files_only=True))
