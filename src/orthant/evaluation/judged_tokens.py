"""A judged set as sets of token vectors, kept on disk: what studies of late interaction need."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from orthant.datasets.kinds import RetrievalSet
from orthant.errors import MissingExtraError, message
from orthant.evaluation.context import hash_data
from orthant.kernels.compile_cache import cache_base
from orthant.types import Ragged, TokenEncoder

__all__ = ["JudgedTokens", "encode_tokens", "trained_tokens", "word_tokens"]

# Raise it whenever the same texts would give other vectors.
_RECIPE = 1
_WORDS_PER_TEXT = 96
_TRAINED = "token-minilm"


@dataclass(frozen=True, eq=False)
class JudgedTokens:
    """Documents and queries as token vectors.

    Attributes
    ----------
    name : str
        The data set.
    documents, queries : Ragged
        In the order of the corpus and of the queries.
    """

    name: str
    documents: Ragged
    queries: Ragged


def trained_tokens(judged: RetrievalSet) -> JudgedTokens:
    """Encode a set by the late-interaction model of ``examples/training/token-minilm.yaml``, trained here before.

    Parameters
    ----------
    judged : RetrievalSet
        Texts.

    Returns
    -------
    JudgedTokens
        96 dimensions, half as many vectors as tokens.

    Raises
    ------
    MissingExtraError
        The model has not been trained on this machine; the text says how.
    """
    from orthant.encoders import load_token_encoder

    folder = cache_base() / "trainings" / _TRAINED / "export"
    if not folder.is_dir():
        given = f"no trained model at {folder}"
        raise MissingExtraError(
            message(given, "the export of a finished training", f"run: python benchmarks/training.py {_TRAINED}")
        )
    return encode_tokens(judged, load_token_encoder(folder))


def encode_tokens(
    judged: RetrievalSet, encoder: TokenEncoder, *, cache: str | os.PathLike[str] | None = None
) -> JudgedTokens:
    """Encode a set by an encoder of tokens, or take the vectors from the cache.

    Parameters
    ----------
    judged : RetrievalSet
        Texts.
    encoder : TokenEncoder
        The model.
    cache : path, optional
        Folder; left out, ``studies`` under the cache of this user. A file may be deleted at any time.

    Returns
    -------
    JudgedTokens
        Documents without a single token keep one vector of zeros.
    """
    documents, queries = [document.content for document in judged.corpus], list(judged.queries.values())
    folder = Path(cache) if cache is not None else cache_base() / "studies"
    digest = hash_data(_RECIPE, encoder.fingerprint, documents, queries)[:16]
    path = folder / f"{judged.name.replace('/', '-')}-tokens-{digest}.npz"
    found = _read(path, judged.name)
    if found is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Texts are cut on purpose.
            made = (encoder.encode_tokens(documents), encoder.encode_tokens(queries, role="query"))
        found = JudgedTokens(judged.name, *(_nonempty(side) for side in made))
        _write(path, found)
    return found


def word_tokens(judged: RetrievalSet) -> JudgedTokens:
    """Encode a set by the word vectors that MiniLM starts from: no context, the mean of the vocabulary removed.

    Parameters
    ----------
    judged : RetrievalSet
        Texts.

    Returns
    -------
    JudgedTokens
        384 dimensions, unit length, at most 96 word pieces for each text.

    Raises
    ------
    MissingExtraError
        The packaged MiniLM or its tokenizer is not installed.
    """
    from orthant.encoders.bert_weights import read_weights
    from orthant.encoders.pipeline.tokenizer import read_tokenizer
    from orthant.encoders.transformer import minilm_folder

    folder = Path(minilm_folder())
    table = read_weights(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    table = table - table.mean(axis=0)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(_WORDS_PER_TEXT + 2)

    def side(texts: list[str]) -> Ragged:
        numbers = [np.array(found.ids[1:-1] or found.ids[:1]) for found in tokenizer.encode_batch(texts)]
        offsets = np.cumsum([0, *map(len, numbers)], dtype=np.int64)
        return Ragged(np.ascontiguousarray(table[np.concatenate(numbers)], dtype=np.float32), offsets)

    documents = side([document.content for document in judged.corpus])
    return JudgedTokens(judged.name, documents, side(list(judged.queries.values())))


def _nonempty(sets: Ragged) -> Ragged:
    empty = np.flatnonzero(np.diff(sets.offsets) == 0)
    if not len(empty):
        return sets
    values = np.insert(sets.values, sets.offsets[empty], 0.0, axis=0)
    return Ragged(values, sets.offsets + np.searchsorted(empty, np.arange(len(sets.offsets)), side="left"))


def _read(path: Path, name: str) -> JudgedTokens | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            sides = [Ragged(file[f"{side}_values"], file[f"{side}_offsets"]) for side in ("documents", "queries")]
            return JudgedTokens(name, *sides)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        # A cache that cannot be read is a cache that is empty.
        return None


def _write(path: Path, found: JudgedTokens) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    arrays: dict[str, Any] = {}
    for side, sets in (("documents", found.documents), ("queries", found.queries)):
        arrays |= {f"{side}_values": sets.values, f"{side}_offsets": sets.offsets}
    np.savez(aside, **arrays)
    os.replace(aside, path)
