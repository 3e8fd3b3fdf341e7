"""From what a user writes - a name, a folder, a model object - to an encoder."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from orthant.artifact import load_artifact
from orthant.encoders.api.specs import api_encoder, is_api_spec
from orthant.encoders.model2vec import Model2VecEncoder, is_model2vec
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder, is_sentence_transformer
from orthant.encoders.sparse.folder import is_sparse_folder
from orthant.encoders.sparse.sentence_transformers import SentenceTransformerSparseEncoder, is_sparse_model
from orthant.encoders.transformer import TransformerEncoder
from orthant.errors import InputError, NotFoundError, message
from orthant.types import Encoder, SparseEncoder, TokenEncoder

__all__ = [
    "encoder_names",
    "is_sparse_spec",
    "load_encoder",
    "load_sparse_encoder",
    "load_token_encoder",
    "register_encoder_name",
]

Loader = Callable[[], Encoder]


def _load_static() -> Encoder:
    from orthant.encoders.static import StaticEncoder

    return cast("Encoder", StaticEncoder.load())


def _load_minilm() -> Encoder:
    return TransformerEncoder.minilm()


def _load_minilm_int8() -> Encoder:
    return TransformerEncoder.minilm(backend="onnx-int8")


_BUILT_IN: dict[str, Loader] = {
    "static": _load_static,
    "minilm": _load_minilm,
    "minilm-int8": _load_minilm_int8,
}
_registered: dict[str, Loader] = {}
_KINDS = ("encoder.static", "encoder.records", "encoder.projected", "encoder.pictures", "encoder.folded",
          "encoder.topics", "encoder.words")  # fmt: skip
"""Artefacts that are encoders of a vector each."""


def encoder_names() -> list[str]:
    """Return the names that ``load_encoder`` knows, those registered in this process included.

    Returns
    -------
    list of str
        Sorted.

    Examples
    --------
    >>> "static" in encoder_names()
    True
    """
    return sorted({*_BUILT_IN, *_registered})


def register_encoder_name(name: str, loader: Callable[[], Encoder]) -> None:
    """Register a name for an encoder of your own, so that collections made with it can be reopened by name.

    The name lives in this process: register it at import time of your program, before a collection is opened.

    Parameters
    ----------
    name : str
        Letters, digits, ``-``, ``_`` and ``.``; not a built-in name. Registering it again replaces the loader.
    loader : callable
        Called without arguments on each load; returns an encoder.

    Raises
    ------
    InputError
        A name that is taken by Orthant or could be read as a path, or a loader that is not callable.

    Examples
    --------
    >>> from orthant.encoders.callable import CallableEncoder
    >>> lengths = CallableEncoder(lambda texts: [[len(t)] for t in texts], dim=1, name="lengths")
    >>> register_encoder_name("lengths", lambda: lengths)
    >>> load_encoder("lengths") is lengths
    True
    """
    if not isinstance(name, str) or not name or not all(c.isalnum() or c in "-_." for c in name) or name[0] == ".":
        raise InputError(
            message(f"the encoder name {name!r}", "letters, digits, '-', '_' and '.'", "choose another name")
        )
    if name in _BUILT_IN:
        raise InputError(
            message(f"the encoder name {name!r}", "a name that Orthant does not use", "choose another name")
        )
    if not callable(loader):
        raise InputError(message(f"a loader of type {type(loader).__name__}", "a function", "pass lambda: encoder"))
    _registered[name] = loader


def load_encoder(spec: Any) -> Encoder:
    """Turn a name, a folder or a model object into an encoder; nothing is ever downloaded or guessed.

    Parameters
    ----------
    spec : str, Path, Encoder or model object
        - a name: ``"static"`` (shipped), ``"minilm"``, ``"minilm-int8"``, or one you registered. A name wins over a
          folder of the same name: write ``"./static"`` for the folder;
        - an encoder behind an API: ``"openai:MODEL"``, ``"cohere:MODEL"``, ``"ollama:MODEL"``, ``"tei:http://HOST:PORT"``
          (see :func:`orthant.encoders.api.specs.api_encoder`);
        - a folder: saved word vectors or topics, a saved encoder of records or pictures, head of an aspect or folded
          encoder, a static or model2vec model, or a transformer (sentence-transformers, plain, or ``model.onnx``);
        - an encoder, which comes back as it is;
        - a ``SentenceTransformer`` or model2vec ``StaticModel`` object, which is wrapped.

    Returns
    -------
    Encoder
        A collection remembers a name or an API's line and loads it again; it stores no path, no object and no key, so
        pass those again when you open it.

    Raises
    ------
    NotFoundError
        An unknown name or a missing folder; the text lists the names and the nearest one.
    InputError
        A bare function, a class, or an object that is no encoder.
    MissingExtraError
        The encoder needs a package that is not installed.

    Examples
    --------
    >>> from orthant.encoders.callable import CallableEncoder
    >>> mine = CallableEncoder(lambda texts: [[len(t)] for t in texts], dim=1, name="lengths")
    >>> load_encoder(mine) is mine
    True
    """
    if isinstance(spec, str) and (spec in _BUILT_IN or spec in _registered):
        return _load_named(spec)
    if is_api_spec(spec):
        return cast("Encoder", api_encoder(spec))
    if isinstance(spec, (str, os.PathLike)):
        return _load_path(spec)
    if spec is None or isinstance(spec, type):
        given = "no encoder" if spec is None else f"the class {spec.__name__}"
        raise InputError(message(given, "a name, a folder or an encoder object", "pass encoder='static' to begin"))
    if isinstance(spec, Encoder):
        return spec
    if is_sparse_spec(spec):
        raise _sparse_refused(f"a {type(spec).__name__}")
    if is_sentence_transformer(spec):
        return cast("Encoder", SentenceTransformerEncoder(spec))
    if is_model2vec(spec):
        return cast("Encoder", Model2VecEncoder(spec))
    if callable(spec):
        raise InputError(
            message(
                "a bare function as an encoder",
                "its dimension and a name, which a function cannot tell",
                "wrap it: orthant.encoders.callable.CallableEncoder(function, dim=..., name='my-model')",
            )
        )
    raise InputError(
        message(
            f"a {type(spec).__name__} as an encoder",
            "a name, a folder, a model object, or dim, fingerprint, max_tokens, encode and encode_with_report",
            f"pass one of {encoder_names()} to begin",
        )
    )


def is_sparse_spec(spec: Any) -> bool:
    """Return whether ``load_sparse_encoder`` is meant for something; nothing is loaded to find out.

    Parameters
    ----------
    spec : object
        Whatever was given as an encoder.

    Returns
    -------
    bool
        True for a sparse encoder, a ``SparseEncoder`` object, or the folder of a saved one.

    Examples
    --------
    >>> is_sparse_spec("static")
    False
    """
    if isinstance(spec, (str, os.PathLike)):
        if spec in encoder_names() or is_api_spec(spec) or not os.fspath(spec):
            return False
        folder = Path(os.fspath(spec)).expanduser()
        return folder.is_dir() and (is_sparse_folder(folder) or _concept_kind(folder) is not None)
    if isinstance(spec, type):
        return False
    return is_sparse_model(spec) or callable(getattr(spec, "encode_sparse", None))


def load_sparse_encoder(spec: Any) -> SparseEncoder:
    """Turn a folder or a model object into an encoder of weighted terms; nothing is ever downloaded or guessed.

    Parameters
    ----------
    spec : str, Path, SparseEncoder or model object
        - a folder that sentence-transformers' ``SparseEncoder`` saved, run without torch, or one of a saved encoder of
          concepts;
        - a ``SparseEncoder`` object of that library, which is wrapped;
        - an encoder with ``dim``, ``fingerprint``, ``vocabulary`` and ``encode_sparse``, which comes back as it is.

    Returns
    -------
    SparseEncoder
        Ready to encode.

    Raises
    ------
    NotFoundError
        The folder does not exist.
    InputError
        Something that gives no weighted terms.

    Examples
    --------
    >>> load_sparse_encoder("no/such/folder")
    Traceback (most recent call last):
    orthant.errors.NotFoundError: Got no folder no/such/folder; expected a saved sparse model. Check the path.
    """
    if isinstance(spec, (str, os.PathLike)):
        from orthant.encoders.sparse.splade import SpladeEncoder

        path = Path(os.fspath(spec)).expanduser()
        if _concept_kind(path) is not None:
            return cast("SparseEncoder", load_artifact(path))
        return SpladeEncoder.load(path)
    if isinstance(spec, SparseEncoder) and not isinstance(spec, type):
        return spec
    if is_sparse_model(spec):
        return cast("SparseEncoder", SentenceTransformerSparseEncoder(spec))
    raise InputError(
        message(
            f"a {type(spec).__name__} as an encoder of weighted terms",
            "a folder of a sparse model, or an object with dim, fingerprint, vocabulary and encode_sparse",
            "wrap a function: orthant.encoders.CallableSparseEncoder(function, dim=..., name='my-model')",
        )
    )


def _sparse_refused(given: str) -> InputError:
    return InputError(
        message(
            f"{given} with a sparse model, which gives no vectors",
            "an encoder of vectors",
            "give it to a space of its own: open(..., spaces={'sparse': ...}) or add_space('sparse', encoder=...), "
            "or load it with load_sparse_encoder",
        )
    )


def load_token_encoder(spec: Any) -> TokenEncoder:
    """Turn a folder into an encoder that gives one vector per token; nothing is ever downloaded or guessed.

    Parameters
    ----------
    spec : str, Path or TokenEncoder
        - a folder of a late-interaction model, saved by sentence-transformers or PyLate, or exported;
        - a folder of another transformer, or ``"minilm"`` and ``"minilm-int8"``: their last states are not trained for
          a comparison token by token, so they are a baseline;
        - an encoder of tokens, which comes back as it is.

    Returns
    -------
    TokenEncoder
        With ``dim``, ``fingerprint`` and ``encode_tokens``.

    Raises
    ------
    NotFoundError
        The folder does not exist.
    InputError
        Something that gives no vectors for tokens.

    Examples
    --------
    >>> load_token_encoder("no/such/folder")
    Traceback (most recent call last):
    orthant.errors.NotFoundError: Got no folder no/such/folder; expected a saved late-interaction model. Check the path.
    """
    if isinstance(spec, str) and spec in _BUILT_IN:
        spec = _load_named(spec)
    if isinstance(spec, (str, os.PathLike)):
        folder = Path(os.fspath(spec)).expanduser()
        if not folder.is_dir():
            raise NotFoundError(message(f"no folder {folder}", "a saved late-interaction model", "check the path"))
        from orthant.encoders.late_interaction.encoder import LateInteractionEncoder
        from orthant.encoders.late_interaction.folder import is_token_folder

        return LateInteractionEncoder.load(folder) if is_token_folder(folder) else TransformerEncoder.load(folder)
    if isinstance(spec, TokenEncoder) and not isinstance(spec, type):
        return spec
    raise InputError(
        message(
            f"a {type(spec).__name__} as an encoder of tokens",
            "a folder of a late-interaction model, or an object with dim, fingerprint and encode_tokens",
            "save a MultiVectorEncoder with save_pretrained and pass the folder",
        )
    )


def _load_named(name: str) -> Encoder:
    encoder = _BUILT_IN[name]() if name in _BUILT_IN else _registered[name]()
    if not isinstance(encoder, Encoder):
        raise InputError(
            message(f"a {type(encoder).__name__} from the loader of {name!r}", "an encoder", "return load_encoder(...)")
        )
    return encoder


def _load_path(spec: str | os.PathLike[str]) -> Encoder:
    text = os.fspath(spec)
    folder = Path(text).expanduser() if text else Path()
    if not text or not folder.exists():
        raise _unknown(text, is_name=isinstance(spec, str) and not any(mark in text for mark in ("/", "\\", "~")))
    if not folder.is_dir():
        raise InputError(message(f"the file {text}", "the folder of a model", "pass the folder it lies in"))
    if is_sparse_folder(folder) or _concept_kind(folder) is not None:
        raise _sparse_refused(f"the folder {text}")
    kind = _folder_kind(folder)
    if kind == "transformer":
        return TransformerEncoder.load(folder)
    if kind != "static":
        return cast("Encoder", load_artifact(folder))
    from orthant.encoders.static import StaticEncoder

    return cast("Encoder", StaticEncoder.load(folder))


def _unknown(text: str, *, is_name: bool) -> NotFoundError:
    names = encoder_names()
    near = difflib.get_close_matches(text.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near and is_name else ""
    kind = "encoder" if is_name else "encoder folder"
    return NotFoundError(
        message(
            f"the {kind} {text!r}, which does not exist",
            f"one of {', '.join(repr(name) for name in names)}, or the path of a model folder",
            f"{hint}Names of your own must be registered first: register_encoder_name(name, loader)",
        )
    )


def _folder_kind(folder: Path) -> str:
    if (folder / "arrays.safetensors").is_file():
        kind = _artifact_kind(folder)
        if kind not in _KINDS:
            known = f"'encoder.' and one of {', '.join(one.removeprefix('encoder.') for one in _KINDS)}"
            raise InputError(message(f"an artefact of kind {kind!r}", known, "load it with its own class"))
        return kind.removeprefix("encoder.")
    if "embeddings" in _tensor_names(folder / "model.safetensors"):
        return "static"
    if (folder / "0_StaticEmbedding").is_dir():
        raise InputError(
            message(
                f"a sentence-transformers static model at {folder}",
                "model.safetensors at the top of the folder",
                "save it with model2vec, or load it with SentenceTransformer and pass the object",
            )
        )
    if (folder / "config.json").is_file() or (folder / "modules.json").is_file():
        return "transformer"
    raise InputError(
        message(
            f"the folder {folder} without a model",
            "arrays.safetensors (Orthant), model.safetensors and tokenizer.json (model2vec), "
            "or config.json, tokenizer.json and model.safetensors or model.onnx (transformer)",
            "check the path",
        )
    )


def _concept_kind(folder: Path) -> str | None:
    """Kind of a saved encoder of concepts, None for any other folder."""
    kind = _artifact_kind(folder) if (folder / "arrays.safetensors").is_file() else ""
    return kind if kind in ("encoder.concepts", "encoder.explicit") else None


def _artifact_kind(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("kind", ""))
    except (OSError, ValueError, AttributeError):
        # Damaged settings are told better by the reader of the artefact, which checks them all.
        return "encoder.static"


def _tensor_names(path: Path) -> set[str]:
    """Names in a safetensors header; empty when there is no readable one, which the loader of the folder will tell."""
    try:
        with open(path, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            return set(json.loads(handle.read(min(length, 1 << 24))))
    except (OSError, ValueError):
        return set()
