"""The encoder that another one stands on: given by name or as an object, saved by name and fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orthant.encoders.fingerprint import difference
from orthant.errors import EncoderMismatchError, InputError, message
from orthant.types import Encoder

__all__ = ["describe_base", "load_base", "saved_base"]


def load_base(spec: Any) -> tuple[Encoder, str | None]:
    """Return an encoder, and the name by which it can be loaded again.

    Parameters
    ----------
    spec : str, Path, Encoder or model object
        As ``load_encoder`` takes.

    Returns
    -------
    encoder : Encoder
        Ready to use.
    name : str or None
        When it was given by one.

    Raises
    ------
    NotFoundError, InputError
        What ``load_encoder`` refuses.
    """
    from orthant.encoders.registry import encoder_names, load_encoder

    return load_encoder(spec), spec if isinstance(spec, str) and spec in encoder_names() else None


def describe_base(encoder: Encoder, name: str | None) -> dict[str, Any]:
    """Return what is saved of an encoder in place of itself.

    Parameters
    ----------
    encoder : Encoder
        The encoder.
    name : str or None
        By which it can be loaded again.

    Returns
    -------
    dict
        Keys ``name`` and ``fingerprint``.
    """
    return {"name": name, "fingerprint": encoder.fingerprint}


def saved_base(saved: Mapping[str, Any], given: Any, *, what: str, argument: str) -> Any:
    """Return the encoder that was saved, or refuse another one.

    Parameters
    ----------
    saved : mapping
        What ``describe_base`` returned.
    given : str, Encoder or None
        By the user; None loads it by its name.
    what : str
        How the encoder is called in an error, such as ``"text encoder"``.
    argument : str
        The argument by which it is given.

    Returns
    -------
    str or Encoder
        Its name where it has one, so that saving again keeps it.

    Raises
    ------
    InputError
        One must be given.
    EncoderMismatchError
        Another one than the saved.
    """
    spec = given if given is not None else saved["name"]
    if spec is None:
        told = f"no {what} for an encoder that was saved with {saved['fingerprint']}"
        raise InputError(message(told, "that encoder", f"pass {argument}=..."))
    encoder, name = load_base(spec)
    if encoder.fingerprint != saved["fingerprint"]:
        apart = difference(saved["fingerprint"], encoder.fingerprint)
        told = f"the {what} {encoder.fingerprint} ({apart})"
        raise EncoderMismatchError(message(told, f"{saved['fingerprint']}, with which it was saved", "pass that one"))
    return encoder if name is None else name
