"""The encoders of a collection's spaces: given, loaded by name on demand, and checked before use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from orthant.collection.records.items import made_of_records
from orthant.collection.spaces import (
    AnyEncoder,
    SpaceDefinition,
    SpaceKind,
    canary_cosine,
    check_encoder,
    embed_canaries,
    require_canaries,
    require_name,
    token_canary_cosine,
)
from orthant.collection.sparse.state import (
    SparseDefinition,
    SparseState,
    embed_sparse_canaries,
    sparse_canary_cosine,
)
from orthant.collection.storage.generation import SpaceState
from orthant.collection.storage.store import Store
from orthant.encoders.api.specs import is_api_spec, require_trusted_host
from orthant.encoders.fingerprint import short_fingerprint
from orthant.encoders.sparse.rows import SparseRows
from orthant.errors import EncoderMismatchError, InputError, NotFoundError, message, warn
from orthant.types import Encoder, FloatArray, Metric, SparseEncoder, TokenEncoder

__all__ = ["SpaceEncoders", "define_space", "define_sparse", "is_sparse", "load", "named_encoders"]


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
    definition = SpaceDefinition(name, encoder.dim, metric, dtype, loadable, encoder.fingerprint, kind=kind)
    return definition.validated(), embed_canaries(encoder, kind)


def define_sparse(
    name: str, encoder: SparseEncoder | None, *, dim: int | None, loadable: str | None = None
) -> tuple[SparseDefinition, SparseRows]:
    """Return the checked definition of a sparse space and its canary texts.

    Parameters
    ----------
    name : str
        Name of the space.
    encoder : SparseEncoder or None
        What makes its weights; None when the user brings them.
    dim : int, optional
        Terms of the vocabulary, without an encoder.
    loadable : str, optional
        Name by which the encoder can be loaded again.

    Returns
    -------
    definition : SparseDefinition
        Ready to store.
    canaries : SparseRows
        No rows without an encoder.
    """
    if encoder is None:
        definition = SparseDefinition(name, dim if dim is not None else 0).validated()
        return definition, SparseRows.of([], definition.dim)
    definition = SparseDefinition(name, encoder.dim, loadable, encoder.fingerprint).validated()
    return definition, embed_sparse_canaries(encoder)


def named_encoders(
    spaces: Mapping[str, Any] | None, default: str, encoder: Any | None
) -> dict[str, tuple[Any, str | None]]:
    """Load the encoders given to ``open``.

    Parameters
    ----------
    spaces : mapping of str to encoder, or None
        By space.
    default : str
        Name of the default space.
    encoder : object or None
        That of the default space.

    Returns
    -------
    dict of str to (encoder, str or None)
        With the names by which they can be loaded again.

    Raises
    ------
    InputError
        No mapping, a name that no space can have, or two encoders for the default space.
    """
    if spaces is not None and not isinstance(spaces, Mapping):
        given = f"spaces of type {type(spaces).__name__}"
        raise InputError(message(given, "a mapping of names to encoders", "write spaces={'sparse': encoder}"))
    out = {} if encoder is None else {default: load(encoder)}
    for name, spec in (spaces or {}).items():
        require_name(name)
        if name in out:
            given = f"encoder= and spaces={{{name!r}: ...}}"
            raise InputError(message(given, "one encoder per space", "leave one of them out"))
        out[name] = load(spec, sparse=name != default)
    return out


class SpaceEncoders:
    """Encoders by space, dense and sparse.

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
        encoder : Encoder, TokenEncoder or SparseEncoder
            The encoder.
        loadable : str, optional
            Name by which it can be loaded again.

        Raises
        ------
        EncoderMismatchError
            Another encoder made the stored vectors.
        InputError
            A sparse encoder for a vector space, or the other way round.
        """
        space, sparse = self._space(name), is_sparse(encoder)
        if name in self._store.generation.adapters:
            from orthant.collection.adapting.items import wrapped

            base, encoder = encoder, wrapped(encoder, name, self._store)
            if encoder is not base and self._space(f"{name}.former") is not None:
                # Later records get their vector before the correction as well, so that it can be taken back.
                self.adopt(f"{name}.former", base, loadable=loadable)
        if space is not None:
            if isinstance(space.definition, SparseDefinition) != sparse:
                kinds = ("a vector space", "a space of weighted terms")
                given = f"an encoder for {kinds[sparse]} where {name!r} is {kinds[not sparse]}"
                raise InputError(message(given, "an encoder of its kind", "give it to another space"))
            check_encoder(space.definition, encoder)
            late = getattr(space.definition, "kind", "dense") == "tokens"
            if late and not is_tokens(encoder, named=True):
                given = f"an encoder of one vector per text for {name!r}, a space of tokens"
                raise InputError(message(given, "an encoder of tokens", "give it to another space"))
            cosine_of: Any = sparse_canary_cosine if sparse else token_canary_cosine if late else canary_cosine
            problem = require_canaries(space.definition, encoder, space.canaries, cosine_of=cosine_of)
            if problem and self._canaries == "raise":
                raise EncoderMismatchError(problem)
            if problem:
                warn(problem)
        self._known[name], self._loadable[name] = encoder, loadable

    def _space(self, name: str) -> SpaceState | SparseState | None:
        now = self._store.generation
        return now.spaces.get(name) or now.sparse.get(name)

    def without_space(self) -> list[str]:
        """Return the spaces that encoders were given for and that do not exist yet.

        Returns
        -------
        list of str
            Their names.
        """
        return [name for name in self._known if self._space(name) is None]

    def sparse_names(self) -> list[str]:
        """Return the spaces that sparse encoders were given for.

        Returns
        -------
        list of str
            Their names; they need not exist yet.
        """
        return [name for name, encoder in self._known.items() if is_sparse(encoder)]

    def define(self, name: str, *, metric: Metric) -> tuple[SpaceDefinition | SparseDefinition, Any]:
        """Return the definition of a space made with the encoder adopted for it.

        Parameters
        ----------
        name : str
            The space.
        metric : str
            Its score, unless it is sparse.

        Returns
        -------
        definition : SpaceDefinition or SparseDefinition
            Ready to store.
        canaries : ndarray of shape (c, dim), float32, or SparseRows
            Canary vectors.
        """
        if is_sparse(self._known[name]):
            return define_sparse(name, self._known[name], dim=None, loadable=self._loadable[name])
        if is_tokens(self._known[name]):
            return define_space(name, self._known[name], dim=None, metric="dot", kind="tokens")
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
        space = self._space(name)
        return self._fitting(name) is not None or (space is not None and space.definition.encoder is not None)

    def given(self, name: str) -> Any | None:
        """Return the encoder in use for a space, without loading one.

        Parameters
        ----------
        name : str
            The space.

        Returns
        -------
        Encoder, TokenEncoder, SparseEncoder or None
            None when none was given or loaded yet.
        """
        return self._fitting(name)

    def _fitting(self, name: str) -> Any | None:
        """Return the encoder in use that is still that of the space; an upgrade, maybe of another process, changes it.

        Between the commit of a cut-over and the renaming that follows it, that is the one of another name.
        """
        known, space = self._known, self._space(name)
        held = known.get(name)
        if held is None or space is None or space.definition.fingerprint == held.fingerprint:
            return held
        root = name.partition(".")[0]
        others = (encoder for other, encoder in known.items() if other.partition(".")[0] == root)
        return next((other for other in others if other.fingerprint == space.definition.fingerprint), None)

    def renamed(self, names: Mapping[str, str]) -> None:
        """Follow spaces that got other names.

        Parameters
        ----------
        names : mapping of str to str
            New names by the former ones; every other encoder stays where it is.
        """
        known, loadable = dict(self._known), dict(self._loadable)
        moved = {new: (known.pop(old), loadable.pop(old)) for old, new in names.items() if old in known}
        for name, pair in moved.items():
            known[name], loadable[name] = pair
        # Whoever encodes meanwhile sees the names before or after, each with its encoder.
        self._known, self._loadable = known, loadable

    def require(self, name: str) -> Any:
        """Return the encoder of a space, loading it by its stored name where needed.

        Parameters
        ----------
        name : str
            The space.

        Returns
        -------
        Encoder; TokenEncoder for a space of tokens; SparseEncoder for a sparse one
            Checked against fingerprint and canaries.

        Raises
        ------
        InputError
            There is none; the text shows how to pick one.
        NotFoundError
            No such space.
        """
        fitting = self._fitting(name)
        if fitting is not None:
            return fitting
        spaces, space = self._store.generation.spaces, self._space(name)
        if name in self._known and space is not None and space.definition.encoder is None:
            check_encoder(space.definition, self._known[name])
        if space is None and spaces:
            raise NotFoundError(message(f"space {name!r}", f"one of: {', '.join(spaces)}", "add it with add_space"))
        definition = None if space is None else space.definition
        if isinstance(definition, SparseDefinition) and definition.encoder is None:
            given = f"a text for sparse space {name!r}, which has no encoder at hand"
            maker = f", or the encoder {short_fingerprint(definition.fingerprint)}" if definition.fingerprint else ""
            way = f"open with spaces={{{name!r}: encoder}}, or pass sparse_vector=..."
            raise InputError(message(given, f"weighted terms{maker}", way))
        if definition is None or definition.encoder is None:
            raise InputError(_without_encoder(name, definition))
        require_trusted_host(definition.encoder)
        kind: SpaceKind = "tokens" if getattr(definition, "kind", "dense") == "tokens" else "dense"
        encoder, loadable = load(definition.encoder, sparse=True, kind=kind)
        self.adopt(name, encoder, loadable=loadable)
        return self._known[name]


def _without_encoder(name: str, definition: Any) -> str:
    made = definition.fingerprint if definition is not None else None
    asked = "a part of a record or a text" if made_of_records(made) else "a text"
    way = f"call use_encoder({name!r}, ...) first, or bring vectors"
    if name == "default":
        which = "that encoder, or the folder it was saved to (on the command line --encoder)"
        which = which if made else "encoder='static' (or another)"
        way = f"open with {which}, pass vector=..., or search with mode='lexical'"
    return message(
        f"{asked} for space {name!r}, which has no encoder at hand",
        "a vector, or " + (f"the encoder {short_fingerprint(made)}" if made else "an encoder"),
        way,
    )


def is_sparse(encoder: Any) -> bool:
    """Return whether an encoder gives weighted terms.

    Parameters
    ----------
    encoder : Encoder or SparseEncoder
        A loaded one.

    Returns
    -------
    bool
        True for a sparse one.
    """
    return isinstance(encoder, SparseEncoder) and not isinstance(encoder, Encoder)


def is_tokens(encoder: Any, *, named: bool = False) -> bool:
    """Return whether an encoder gives token vectors.

    Parameters
    ----------
    encoder : Encoder, TokenEncoder or SparseEncoder
        A loaded one.
    named : bool, default False
        Also where it gives one vector per text as well.

    Returns
    -------
    bool
        True for one of tokens.
    """
    return isinstance(encoder, TokenEncoder) and (named or not isinstance(encoder, Encoder))


def _is_token_spec(spec: Any) -> bool:
    """Return whether only tokens can be had of something: a saved late-interaction model, or such an encoder."""
    if isinstance(spec, (str, os.PathLike)):
        from orthant.encoders.late_interaction.folder import is_token_folder

        folder = Path(os.fspath(spec)).expanduser() if spec else Path()
        return bool(spec) and folder.is_dir() and is_token_folder(folder)
    return not isinstance(spec, type) and is_tokens(spec)


def load(spec: Any, *, sparse: bool = False, kind: SpaceKind = "dense") -> tuple[Any, str | None]:
    """Return an encoder from a name, a folder or an object.

    Parameters
    ----------
    spec : str, Encoder, SparseEncoder or sentence-transformers model
        As in :func:`orthant.open`.
    sparse : bool, default False
        Take a sparse encoder too, or one of tokens alone, where it is one.
    kind : {"dense", "tokens"}, default "dense"
        What the space holds otherwise.

    Returns
    -------
    encoder : Encoder, TokenEncoder or SparseEncoder
        Ready to use.
    loadable : str or None
        The name, or the line of an encoder behind an API, when it was given so; a folder may be elsewhere tomorrow, so
        its path is not kept.
    """
    from orthant.encoders.registry import (
        encoder_names,
        is_sparse_spec,
        load_encoder,
        load_sparse_encoder,
        load_token_encoder,
    )

    if kind == "tokens" or (sparse and _is_token_spec(spec)):
        return load_token_encoder(spec), spec if isinstance(spec, str) and spec in encoder_names() else None
    if sparse and not isinstance(spec, Encoder) and is_sparse_spec(spec):
        return load_sparse_encoder(spec), None
    named = spec if isinstance(spec, str) and (spec in encoder_names() or is_api_spec(spec)) else None
    return load_encoder(spec), named
