"""Spaces of tokens on the command line: made by ``add``, and given their model again by the other verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orthant.errors import EncoderMismatchError, InputError, message

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = [
    "is_tokens",
    "ready_for_texts",
    "require_model",
    "token_options",
    "token_weights",
    "with_tokens",
    "without_model",
]


def with_tokens(
    opened: Collection,
    model: str,
    *,
    space: str | None = None,
    dtype: str | None = None,
    method: str | None = None,
    exact_below: int | None = None,
    make: bool = False,
) -> str:
    """Give a collection's space of tokens its model, or make the space.

    Parameters
    ----------
    opened : Collection
        The collection.
    model : str
        Folder of a late-interaction model, or ``"minilm"``.
    space : str, optional
        The space; default the only one of tokens, or ``"tokens"``.
    dtype : str, optional
        How a new space stores values, default ``"float32"``.
    method, exact_below : str and int, optional
        How a new space finds candidates; changed where the space exists.
    make : bool, default False
        Make the space where it does not exist.

    Returns
    -------
    str
        The space's name.

    Raises
    ------
    EncoderMismatchError
        Another model made the stored tokens.
    InputError
        A stored space of another dtype.
    NotFoundError
        No such space, and none is to be made.
    """
    from orthant.collection.tokens.queries import token_space

    held = {name: d for name, d in opened.spaces.items() if d.kind == "tokens"}
    if make and (not held if space is None else space not in held):
        name = space or "tokens"
        told: Any = {"dtype": dtype or "float32", "method": method, "exact_below": exact_below}
        opened.add_space(name, encoder=model, kind="tokens", **told)
        return name
    name = token_space(space, opened.spaces)
    if dtype is not None and dtype != held[name].dtype:
        given = f"--token-dtype {dtype} for space {name!r} of {held[name].dtype}"
        raise InputError(message(given, "what it was made with", "leave it out, or name a new --token-space"))
    _use(opened, name, model)
    if method is not None or exact_below is not None:
        opened.index_tokens(method, exact_below=exact_below, space=name)
    return name


def _use(opened: Collection, name: str, model: str) -> None:
    try:
        opened.use_encoder(name, model)
    except EncoderMismatchError as error:
        # The library's text shows calls of Python.
        raise EncoderMismatchError(
            str(error).split(" Three ways out")[0] + " Name that model with --tokens."
        ) from error


def without_model(opened: Collection) -> str | None:
    """Return the name of a space of tokens whose model must be named, or None.

    Parameters
    ----------
    opened : Collection
        The collection.

    Returns
    -------
    str or None
        The first space of tokens whose encoder is not at hand.
    """
    return next((name for name in opened.spaces if is_tokens(opened, name) and _lacks_model(opened, name)), None)


def require_model(opened: Collection, space: str) -> None:
    """Refuse to measure a space of tokens by texts where its model was not named.

    Parameters
    ----------
    opened : Collection
        The collection.
    space : str
        A space of tokens.

    Raises
    ------
    InputError
        Its model is not at hand.
    """
    if _lacks_model(opened, space):
        given = f"queries for the token vectors of space {space!r}, whose model is not at hand"
        raise InputError(message(given, "that model", "name its folder with --tokens"))


def _lacks_model(opened: Collection, space: str) -> bool:
    return bool(opened.spaces[space].fingerprint) and not opened._encoders.at_hand(space)


def is_tokens(opened: Collection, space: str) -> bool:
    """Return whether a space holds tokens.

    Parameters
    ----------
    opened : Collection
        The collection.
    space : str
        Its name; it need not exist.

    Returns
    -------
    bool
        False for a space of vectors, and for none.
    """
    definition = opened.spaces.get(space)
    return definition is not None and definition.kind == "tokens"


def token_options(
    model: str | None, space: str | None, dtype: str | None, method: str | None = None, exact_below: int | None = None
) -> dict[str, Any] | None:
    """Return what ``add`` was told of tokens.

    Parameters
    ----------
    model, space, dtype, method : str or None
        ``--tokens``, ``--token-space``, ``--token-dtype`` and ``--token-method``.
    exact_below : int or None
        ``--token-exact-below``.

    Returns
    -------
    dict or None
        For ``with_tokens``; None without a model.

    Raises
    ------
    InputError
        Any of the others without a model.
    """
    if model is not None:
        shortcut = {"method": method, "exact_below": exact_below}
        return {"model": model, "space": space, "dtype": dtype, "make": True, **shortcut}
    told = {"space": space, "dtype": dtype, "method": method, "exact-below": exact_below}
    for option, value in ((f"--token-{name}", value) for name, value in told.items()):
        if value is not None:
            raise InputError(message(f"{option} without --tokens", "both", f"add it, or leave {option} out"))
    return None


def ready_for_texts(opened: Collection, late: Mapping[str, Any] | None) -> None:
    """Make a collection's spaces of tokens ready for texts to be added, or say what is lacking.

    Parameters
    ----------
    opened : Collection
        The collection.
    late : mapping or None
        What ``token_options`` returned.

    Raises
    ------
    InputError
        A space of tokens whose model was not named.
    """
    if late is not None:
        with_tokens(opened, **late)
    lacking = without_model(opened)
    if lacking is not None:
        given = f"texts for the token vectors of space {lacking!r}, whose model is not at hand"
        raise InputError(message(given, "that model", "name its folder with --tokens"))


def token_weights(opened: Collection, told: Mapping[str, Any], weight: float) -> dict[str, float]:
    """Return the weights of a hybrid search with a token leg.

    Parameters
    ----------
    opened : Collection
        The dense leg takes part where the default space has an encoder.
    told : mapping of str to object
        What is asked so far; ``weights`` share what tokens leave.
    weight : float
        Share of the token leg, from 0 to 1.

    Returns
    -------
    dict of str to float
        By leg.

    Raises
    ------
    InputError
        Out of range.
    """
    from orthant.collection.fusion import DEFAULT_WEIGHTS
    from orthant.validate import check_fraction

    share = check_fraction(weight, name="--token-weight")
    default = opened.spaces.get("default")
    dense = default is not None and default.fingerprint is not None
    others = dict(told.get("weights") or (DEFAULT_WEIGHTS if dense else {"lexical": 1.0}))
    return {"tokens": share, **{leg: (1 - share) * value for leg, value in others.items()}}
