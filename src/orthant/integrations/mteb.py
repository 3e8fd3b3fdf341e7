"""mteb: an encoder behind its encoder protocol, a whole collection behind its search protocol."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orthant.collection.opening import open as open_collection
from orthant.collection.searching import Mode
from orthant.encoders.registry import load_encoder
from orthant.errors import InputError, message
from orthant.integrations.common import find_hits, missing
from orthant.types import Encoder, FloatArray
from orthant.validate import as_vectors, check_choice

__all__ = ["OrthantModel", "OrthantSearch"]

_ID = "mteb_id"


def _described(encoder: Encoder, suffix: str, kind: str) -> Any:
    try:
        from mteb.models import ModelMeta
    except ImportError as error:
        raise missing("mteb", "mteb") from error
    settings = {
        "name": f"orthant/{encoder.fingerprint.replace('/', '-').replace(':', '-')}{suffix}",
        "revision": encoder.fingerprint,
        "embed_dim": encoder.dim,
        "max_tokens": encoder.max_tokens,
        "model_type": [kind],
    }
    return ModelMeta.create_empty(overwrites=settings)


class OrthantModel:
    """Any encoder of Orthant as a model that ``mteb.evaluate`` takes.

    Parameters
    ----------
    encoder : str, Path, Encoder, or any embedding model that ``orthant.load_encoder`` accepts; default "static"
        What encodes. Queries and documents keep their own prompts.

    Raises
    ------
    MissingExtraError
        mteb is not installed.
    """

    def __init__(self, encoder: str | Path | Encoder | Any = "static") -> None:
        self.encoder = load_encoder(encoder)
        self._meta = _described(self.encoder, "", "dense")

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb writes beside the scores: the fingerprint stands for name and revision."""
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any | None = None,
        batch_size: int = 64,
        **kwargs: Any,
    ) -> FloatArray:
        """Encode batches of texts.

        Parameters
        ----------
        inputs : iterable of mapping
            Batches with a list of texts under ``"text"``.
        task_metadata, hf_split, hf_subset
            mteb's; not looked at.
        prompt_type : PromptType, optional
            ``query`` encodes queries, anything else documents.
        batch_size : int, default 64
            Texts per batch.
        **kwargs : any
            Further settings of mteb, meant for torch models; without effect here.

        Returns
        -------
        ndarray of shape (n, dim), float32
            The vectors.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        role = "query" if getattr(prompt_type, "value", prompt_type) == "query" else "document"
        return self.encoder.encode(texts, role=role, batch_size=batch_size)  # type: ignore[arg-type]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of all pairs.

        Parameters
        ----------
        embeddings1 : array-like of shape (n, dim)
            Vectors.
        embeddings2 : array-like of shape (m, dim)
            Vectors.

        Returns
        -------
        torch.Tensor of shape (n, m), float32
            Cosines; 0 where a vector has no direction.
        """
        a, b = self._unit(embeddings1), self._unit(embeddings2)
        return a @ b.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines row by row.

        Parameters
        ----------
        embeddings1 : array-like of shape (n, dim)
            Vectors.
        embeddings2 : array-like of shape (n, dim)
            Vectors.

        Returns
        -------
        torch.Tensor of shape (n,), float32
            Cosines.
        """
        return (self._unit(embeddings1) * self._unit(embeddings2)).sum(dim=1)

    def _unit(self, embeddings: Any) -> Any:
        import torch

        rows = torch.from_numpy(as_vectors(embeddings, name="embeddings", single=True).copy())
        return torch.nn.functional.normalize(rows, dim=1)


class OrthantSearch:
    """A collection as a search model of mteb: dense, lexical or hybrid retrieval is judged as users get it.

    Parameters
    ----------
    encoder : str, Path or Encoder, default "static"
        What encodes.
    mode : {"hybrid", "dense", "lexical"}, default "hybrid"
        The legs.

    Notes
    -----
    Every task is indexed into a collection of its own in a temporary folder, which goes with the next task or
    ``close``. Rerank tasks are searched under a filter that admits the candidates only.
    """

    def __init__(self, encoder: str | Path | Encoder | Any = "static", *, mode: Mode = "hybrid") -> None:
        self.encoder = load_encoder(encoder)
        self.mode: Mode = check_choice(mode, ("hybrid", "dense", "lexical"), name="mode")  # type: ignore[assignment]
        self._meta = _described(self.encoder, f"-{mode}", "dense")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._collection: Any = None

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb writes beside the scores: fingerprint and mode."""
        return self._meta

    def close(self) -> None:
        """Remove the collection of the last task."""
        if self._collection is not None:
            self._collection.close()
            self._collection = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def index(
        self,
        corpus: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: Mapping[str, Any],
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Store a corpus.

        Parameters
        ----------
        corpus : iterable of mapping
            Rows with ``id``, ``text`` and maybe ``title``.
        task_metadata, hf_split, hf_subset, encode_kwargs, num_proc
            mteb's; not looked at.
        **kwargs : any
            Further settings of mteb; without effect here.
        """
        self.close()
        self._folder = tempfile.TemporaryDirectory(prefix="orthant-mteb-")
        self._collection = open_collection(Path(self._folder.name) / "task", encoder=self.encoder)
        rows = ({"id": row["id"], "text": _joined(row), _ID: row["id"]} for row in corpus)
        self._collection.add(rows, text_fields="text")

    def search(
        self,
        queries: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: Mapping[str, Any],
        top_ranked: Mapping[str, list[str]] | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, float]]:
        """Search the stored corpus.

        Parameters
        ----------
        queries : iterable of mapping
            Rows with ``id`` and ``text``.
        task_metadata, hf_split, hf_subset, encode_kwargs, num_proc
            mteb's; not looked at.
        top_k : int
            Documents per query.
        top_ranked : mapping of str to list of str, optional
            Candidates per query, in rerank tasks.
        **kwargs : any
            Further settings of mteb; without effect here.

        Returns
        -------
        dict of str to dict of str to float
            Scores by document by query; larger is better.

        Raises
        ------
        InputError
            ``index`` was not called.
        """
        if self._collection is None:
            raise InputError(message("a search before index", "a stored corpus", "call index first"))
        found = {}
        for query in queries:
            key, text = query["id"], query["text"]
            where = None if top_ranked is None else {_ID: {"in": list(top_ranked.get(key, ()))}}
            hits = find_hits(self._collection, text, k=top_k, mode=self.mode, where=where) if text.strip() else ()
            found[key] = {hit.id: hit.score for hit in hits}
        return found


def _joined(row: Mapping[str, Any]) -> str:
    return "\n".join(part for part in (row.get("title"), row.get("text")) if part)
