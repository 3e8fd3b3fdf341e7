"""The encoders of a collection's spaces: given, loaded by name on demand, and checked before use."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from orthant.collection.spaces import (
    AnyEncoder,
    SpaceDefinition,
    SpaceKind,
    check_encoder,
    embed_canaries,
    require_canaries,
)
from orthant.collection.storage.store import Store
from orthant.encoders.api.specs import is_api_spec, require_trusted_host
from orthant.errors import EncoderMismatchError, InputError, NotFoundError, message
from orthant.types import Encoder, FloatArray, Metric

__all__ = ["SpaceEncoders", "define_space"]


def define_space(
    name: str,
    encoder: AnyEncoder | None,
    *,
    dim: int | None,
    metric: Metric,
    loadable: str | None = None,
    kind: SpaceKind = "dense",
    dtype: str = "float32",
) -> tuple[SpaceDefinition, FloatArray]:
    """Return a checked definition and its canary vectors.

    Parameters
    ----------
    name : str
        Name of the space.
    encoder : Encoder, TokenEncoder or None
        What makes its vectors; None when the user brings them.
    dim : int, optional
        Values per vector, without an encoder.
    metric : str
        Score of the space.
    loadable : str, optional
        Name by which the encoder can be loaded again.
    kind : {"dense", "tokens"}, default "dense"
        One vector per record, or one per token.
    dtype : {"float32", "float16"}, default "float32"
        How a value is stored; the latter for tokens only.

    Returns
    -------
    definition : SpaceDefinition
        Ready to store.
    canaries : ndarray of shape (c, dim), float32
        No rows without an encoder.
    """
    if encoder is None:
        definition = SpaceDefinition(name, dim if dim is not None else 0, metric, dtype, kind=kind).validated()
        return definition, np.zeros((0, definition.dim), dtype=np.float32)
    definition = SpaceDefinition(name, encoder.dim, metric, dtype, loadable, encoder.fingerprint, kind)
    return definition.validated(), embed_canaries(encoder, kind)


class SpaceEncoders:
    """Encoders by space.

    Parameters
    ----------
    store : Store
        The opened collection, whose definitions the encoders must fit.
    canaries : {"raise", "warn"}
        What to do when an encoder places the stored canaries elsewhere.
    """

    def __init__(self, store: Store, canaries: Literal["raise", "warn"]) -> None:
        self._store = store
        self._canaries = canaries
        self._known: dict[str, Any] = {}
        self._loadable: dict[str, str | None] = {}

    def adopt(self, name: str, encoder: AnyEncoder, *, loadable: str | None = None) -> None:
        """Use an encoder for a space, after checking it against what is stored.

        Parameters
        ----------
        name : str
            The space; it need not exist yet.
        encoder : Encoder or TokenEncoder
            The encoder.
        loadable : str, optional
            Name by which it can be loaded again.

        Raises
        ------
        EncoderMismatchError
            Another encoder made the stored vectors.
        """
        space = self._store.generation.spaces.get(name)
        if space is not None:
            check_encoder(space.definition, encoder)
            problem = require_canaries(space.definition, encoder, space.canaries)
            if problem and self._canaries == "raise":
                raise EncoderMismatchError(problem)
            if problem:
                warnings.warn(problem, stacklevel=4)
        self._known[name], self._loadable[name] = encoder, loadable

    def define(self, name: str, *, metric: Metric) -> tuple[SpaceDefinition, FloatArray]:
        """Return the definition of a space made with the encoder adopted for it.

        Parameters
        ----------
        name : str
            The space.
        metric : str
            Its score.

        Returns
        -------
        definition : SpaceDefinition
            Ready to store.
        canaries : ndarray of shape (c, dim), float32
            Canary vectors.
        """
        return define_space(name, self._known[name], dim=None, metric=metric, loadable=self._loadable[name])

    def at_hand(self, name: str) -> bool:
        """Return whether texts can be encoded for a space.

        Parameters
        ----------
        name : str
            The space.

        Returns
        -------
        bool
            True when an encoder was given, or was named at the space's making.
        """
        space = self._store.generation.spaces.get(name)
        return name in self._known or (space is not None and space.definition.encoder is not None)

    def given(self, name: str) -> Any | None:
        """Return the encoder in use for a space, without loading one.

        Parameters
        ----------
        name : str
            The space.

        Returns
        -------
        Encoder, TokenEncoder or None
            None when none was given or loaded yet.
        """
        return self._known.get(name)

    def require(self, name: str) -> Any:
        """Return the encoder of a space, loading it by its stored name where needed.

        Parameters
        ----------
        name : str
            The space.

        Returns
        -------
        Encoder, or TokenEncoder for a space of tokens
            Checked against fingerprint and canaries.

        Raises
        ------
        InputError
            There is none; the text shows how to pick one.
        NotFoundError
            No such space.
        """
        if name in self._known:
            return self._known[name]
        spaces = self._store.generation.spaces
        if name not in spaces and spaces:
            raise NotFoundError(message(f"space {name!r}", f"one of: {', '.join(spaces)}", "add it with add_space"))
        definition = spaces[name].definition if name in spaces else None
        if definition is None or definition.encoder is None:
            stored = definition.fingerprint if definition else None
            raise InputError(
                message(
                    f"a text for space {name!r}, which has no encoder at hand",
                    "a vector" + (f", or the encoder {stored}" if stored else ", or an encoder"),
                    "pass vector=..., open with encoder='static' (or another), or search with mode='lexical'"
                    if name == "default"
                    else f"call use_encoder({name!r}, ...) first, or bring vectors",
                )
            )
        require_trusted_host(definition.encoder)
        encoder, loadable = load(definition.encoder, definition.kind)
        self.adopt(name, encoder, loadable=loadable)
        return self._known[name]


def load(spec: str | Encoder | Any, kind: SpaceKind = "dense") -> tuple[Any, str | None]:
    """Return an encoder from a name, a folder or an object.

    Parameters
    ----------
    spec : str, Encoder or sentence-transformers model
        As in :func:`orthant.open`.
    kind : {"dense", "tokens"}, default "dense"
        What the space holds.

    Returns
    -------
    encoder : Encoder or TokenEncoder
        Ready to use.
    loadable : str or None
        The name, or the line of an encoder behind an API, when it was given so; a folder may be elsewhere tomorrow, so
        its path is not kept.
    """
    from orthant.encoders.registry import encoder_names, load_encoder, load_token_encoder

    if kind == "tokens":
        return load_token_encoder(spec), spec if isinstance(spec, str) and spec in encoder_names() else None
    named = spec if isinstance(spec, str) and (spec in encoder_names() or is_api_spec(spec)) else None
    return load_encoder(spec), named
