"""One judged set, encoded by several encoders and kept on disk: what studies of rankings under approximation need.

The encoders differ in kind and quality on purpose: two views of MiniLM, the static table whole and cut short, latent
semantic analysis of two sizes, and random word vectors. Nothing is downloaded.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from orthant.datasets.kinds import RetrievalSet
from orthant.errors import InputError, message
from orthant.evaluation.context import hash_data
from orthant.types import Encoder, FloatArray
from orthant.validate import check_choice, check_count

__all__ = ["STUDY_ENCODERS", "JudgedVectors", "encode_judged", "shrink"]

Pair = tuple[FloatArray, FloatArray]
# Raise it whenever the same texts would give other vectors.
_RECIPE = 1
_CONTEXTUAL_WINDOW = 64
_FIRST_TOKEN_WINDOW = 32
_SEED = 0


@dataclass(frozen=True, eq=False)
class JudgedVectors:
    """A judged set as vectors.

    Attributes
    ----------
    name : str
        The data set.
    document_ids, query_ids : tuple of str
        Names of the rows.
    qrels : mapping of str to mapping of str to int
        Grades by document by query.
    vectors : mapping of str to tuple of ndarray
        Document vectors (n, d) and query vectors (q, d) by encoder; a row of zeros has no known word.
    """

    name: str
    document_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    qrels: Mapping[str, Mapping[str, int]]
    vectors: Mapping[str, Pair]


def shrink(judged: RetrievalSet, *, documents: int, queries: int, seed: int = 0) -> RetrievalSet:
    """Draw a smaller set that keeps every relevant document of the queries drawn; for studies with many encoders.

    Parameters
    ----------
    judged : RetrievalSet
        The whole set.
    documents : int
        Documents to keep, unless more are relevant. Fewer make search easier: compare only sets of one size.
    queries : int
        Judged queries to keep.
    seed : int, default 0
        Of the draw.

    Returns
    -------
    RetrievalSet
        In the order of the original.

    Raises
    ------
    InputError
        A count below 1, or no judged query.

    Examples
    --------
    >>> from orthant.datasets.kinds import Document
    >>> corpus = [Document(str(i), "", f"text {i}") for i in range(9)]
    >>> small = shrink(RetrievalSet("x", corpus, {"q": "?"}, {"q": {"4": 1}}), documents=3, queries=1)
    >>> len(small.corpus), "4" in [document.id for document in small.corpus]
    (3, True)
    """
    documents, queries = check_count(documents, name="documents"), check_count(queries, name="queries")
    rng = np.random.default_rng(check_count(seed, name="seed", minimum=0))
    usable = judged.judged
    if not usable:
        raise InputError(message(f"{judged.name!r} without a judged query", "at least one", "choose another set"))
    chosen = {usable[i] for i in rng.permutation(len(usable))[:queries]}
    kept = {q: text for q, text in judged.queries.items() if q in chosen}
    relevant = {d for q in kept for d, grade in judged.qrels[q].items() if grade > 0}
    others = [i for i, document in enumerate(judged.corpus) if document.id not in relevant]
    fill = rng.permutation(len(others))[: max(0, documents - len(relevant))]
    rows = {others[i] for i in fill}
    corpus = [d for i, d in enumerate(judged.corpus) if d.id in relevant or i in rows]
    names = {d.id for d in corpus}
    qrels = {q: {d: g for d, g in judged.qrels[q].items() if d in names} for q in kept}
    return replace(judged, corpus=corpus, queries=kept, qrels=qrels)


def encode_judged(
    judged: RetrievalSet,
    encoders: Sequence[str] | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> JudgedVectors:
    """Encode a judged set by the study's encoders, or take the vectors from the cache.

    Parameters
    ----------
    judged : RetrievalSet
        Corpus, queries and judgements.
    encoders : sequence of str, optional
        Some of ``STUDY_ENCODERS``; left out, all.
    cache : path, optional
        Folder for the vectors; left out, ``studies`` under ``ORTHANT_CACHE``, or under ``.orthant-cache`` here. A file
        is used only for the same texts and recipe, and may be deleted at any time.
    progress : callable of str, optional
        Called with one line before each encoder that has to run.

    Returns
    -------
    JudgedVectors
        Vectors of every encoder.

    Raises
    ------
    InputError
        An unknown encoder.
    MissingExtraError
        MiniLM or a runtime for it is not installed.

    Notes
    -----
    MiniLM takes minutes for ten thousand documents on one core, everything else seconds.
    """
    names = tuple(STUDY_ENCODERS) if encoders is None else tuple(encoders)
    for name in names:
        check_choice(name, tuple(STUDY_ENCODERS), name="encoder")
    folder = Path(cache) if cache is not None else Path(os.environ.get("ORTHANT_CACHE") or ".orthant-cache") / "studies"
    documents = [document.content for document in judged.corpus]
    queries = list(judged.queries.values())
    digest = hash_data(_RECIPE, documents, queries)[:16]
    vectors = {}
    for name in names:
        identity, make = STUDY_ENCODERS[name]
        path = folder / f"{judged.name.replace('/', '-')}-{name}-{hash_data(digest, identity())[:16]}.npz"
        found = _read(path)
        if found is None:
            if progress is not None:
                progress(f"{judged.name}: encoding {len(documents)} documents by {name}")
            found = make(documents, queries)
            _write(path, found)
        vectors[name] = found
    return JudgedVectors(
        name=judged.name,
        document_ids=tuple(document.id for document in judged.corpus),
        query_ids=tuple(judged.queries),
        qrels=judged.qrels,
        vectors=vectors,
    )


def _read(path: Path) -> Pair | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["documents"], file["queries"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        # A cache that cannot be read is a cache that is empty.
        return None


def _write(path: Path, pair: Pair) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez(aside, documents=pair[0], queries=pair[1])
    os.replace(aside, path)


def _by(encoder: Encoder, documents: list[str], queries: list[str], dim: int | None = None) -> Pair:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Texts are cut on purpose.
        found = encoder.encode(documents), encoder.encode(queries, role="query")
    return found if dim is None else (found[0][:, :dim].copy(), found[1][:, :dim].copy())


def _minilm(documents: list[str], queries: list[str]) -> Pair:
    from orthant.encoders.transformer import TransformerEncoder

    encoder = TransformerEncoder.minilm(backend="onnx-int8", max_tokens=_CONTEXTUAL_WINDOW, threads=1)
    return _by(encoder, documents, queries)


def _minilm_first_token(documents: list[str], queries: list[str]) -> Pair:
    from orthant.encoders.transformer import TransformerEncoder, minilm_folder
    from orthant.encoders.transformer_folder import read_transformer_folder

    folder = replace(read_transformer_folder(minilm_folder()), pooling="cls")
    encoder = TransformerEncoder(folder, backend="onnx-int8", max_tokens=_FIRST_TOKEN_WINDOW, threads=1)
    return _by(encoder, documents, queries)


def _static(dim: int | None) -> Callable[[list[str], list[str]], Pair]:
    def make(documents: list[str], queries: list[str]) -> Pair:
        from orthant.encoders.registry import load_encoder

        return _by(load_encoder("static"), documents, queries, dim)

    return make


def _weights(documents: list[str], queries: list[str]) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    model = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    return model.fit_transform(documents), model.transform(queries)


def _latent(dim: int) -> Callable[[list[str], list[str]], Pair]:
    def make(documents: list[str], queries: list[str]) -> Pair:
        from sklearn.decomposition import TruncatedSVD

        found = _weights(documents, queries)
        svd = TruncatedSVD(min(dim, min(found[0].shape) - 1), random_state=_SEED).fit(found[0])
        return svd.transform(found[0]).astype(np.float32), svd.transform(found[1]).astype(np.float32)

    return make


def _random_words(documents: list[str], queries: list[str]) -> Pair:
    found = _weights(documents, queries)
    words = np.random.default_rng(_SEED).standard_normal((found[0].shape[1], 256)) / 16
    return (found[0] @ words).astype(np.float32), (found[1] @ words).astype(np.float32)


def _minilm_identity() -> str:
    from orthant.encoders.transformer import MINILM_SHA256

    return f"{MINILM_SHA256} {_CONTEXTUAL_WINDOW} {_FIRST_TOKEN_WINDOW}"


def _static_identity() -> str:
    from orthant.encoders.registry import load_encoder

    return load_encoder("static").fingerprint


def _fixed() -> str:
    return "from the texts alone"


STUDY_ENCODERS: dict[str, tuple[Callable[[], str], Callable[[list[str], list[str]], Pair]]] = {
    "minilm": (_minilm_identity, _minilm),
    "minilm-first-token": (_minilm_identity, _minilm_first_token),
    "static": (_static_identity, _static(None)),
    "static-128": (_static_identity, _static(128)),
    "lsa-256": (_fixed, _latent(256)),
    "lsa-100": (_fixed, _latent(100)),
    "random-words": (_fixed, _random_words),
}
