"""The encoder that another one stands on: given by name or as an object, saved by name and fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from orthant.artifact import read_artifact
from orthant.encoders.fingerprint import difference
from orthant.errors import EncoderMismatchError, InputError, StoreCorruptedError, message
from orthant.transforms.network import Network, rebuild_layers
from orthant.types import Encoder

__all__ = ["describe_base", "load_base", "read_head", "saved_base"]

T = TypeVar("T")


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


def read_head(
    path: str | Path, *, kind: str, parts: Callable[[Mapping[str, Any], Mapping[str, Any]], T]
) -> tuple[Network, Mapping[str, Any], T]:
    """Read an encoder that stands on another one.

    Parameters
    ----------
    path : str or Path
        The folder of an artefact whose settings hold ``layers`` and ``base``.
    kind : str
        Of the artefact.
    parts : callable of (arrays, config)
        Takes out what else there is; a part that it misses makes the folder a damaged one.

    Returns
    -------
    network : Network
        The head.
    base : mapping
        For ``saved_base``.
    parts : object
        What ``parts`` returned.

    Raises
    ------
    NotFoundError
        No such folder.
    StoreCorruptedError
        Damaged files.
    """
    arrays, config = read_artifact(path, kind=kind)
    try:
        return Network(rebuild_layers(config["layers"], "", arrays)), config["base"], parts(arrays, config)
    except (KeyError, TypeError, AttributeError, InputError) as error:
        given = f"an encoder at {path} with parts missing ({error})"
        raise StoreCorruptedError(message(given, "what save wrote", "restore the folder")) from error


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
