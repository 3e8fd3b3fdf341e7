"""A record encoder on disk: settings, what was fitted, and the name of its text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.projected.base import load_base, saved_base
from orthant.encoders.records.rules import Fields
from orthant.errors import InputError, StoreCorruptedError, message
from orthant.types import Encoder

__all__ = ["KIND", "load_text_encoder", "read", "write"]

KIND = "encoder.records"


def load_text_encoder(spec: Any, dim: int) -> tuple[Encoder | None, str | None]:
    """Return the encoder of texts, and the name by which it can be loaded again.

    Parameters
    ----------
    spec : str, Encoder or None
        As ``load_encoder`` takes.
    dim : int
        Values per record vector.

    Returns
    -------
    encoder : Encoder or None
        Ready to use.
    name : str or None
        When it was given by one.

    Raises
    ------
    InputError
        No encoder of texts, or vectors longer than those of records.
    """
    if spec is None:
        return None, None
    encoder, name = load_base(spec)
    if getattr(encoder, "reads_records", False):
        raise InputError(message("a record encoder as text_encoder", "an encoder of texts", "pass 'static'"))
    if encoder.dim > dim:
        given = f"dim={dim} with a text encoder of dimension {encoder.dim}"
        raise InputError(message(given, "at least its dimension", f"choose dim={1 << (encoder.dim - 1).bit_length()}"))
    return encoder, name


def write(
    path: str | Path,
    *,
    settings: Mapping[str, Any],
    knots: Mapping[Fields, npt.NDArray[np.float64]],
    kinds: Mapping[Fields, str],
    text_encoder: Mapping[str, Any] | None,
) -> None:
    """Write the artefact.

    Parameters
    ----------
    path : str or Path
        Folder.
    settings : mapping
        Arguments of the constructor, as JSON.
    knots : mapping of tuple of str to ndarray of shape (m,)
        Borders of numeric fields.
    kinds : mapping of tuple of str to str
        Kinds of fields with strings.
    text_encoder : mapping or None
        Its name and fingerprint.
    """
    names = sorted(knots)
    write_artifact(
        path,
        kind=KIND,
        arrays={
            "knots": np.concatenate([knots[name] for name in names] or [np.zeros(0)]),
            "counts": np.array([len(knots[name]) for name in names], np.int64),
        },
        config={
            "settings": dict(settings),
            "numbers": [list(name) for name in names],
            "kinds": [[list(name), kinds[name]] for name in sorted(kinds)],
            "text_encoder": None if text_encoder is None else dict(text_encoder),
        },
    )


def read(
    path: str | Path, text_encoder: Any
) -> tuple[dict[str, Any], dict[Fields, npt.NDArray[np.float64]], dict[Fields, str], Any]:
    """Read the artefact.

    Parameters
    ----------
    path : str or Path
        Folder.
    text_encoder : str, Encoder or None
        Given by the user.

    Returns
    -------
    settings : dict
        Arguments of the constructor.
    knots : dict of tuple of str to ndarray of shape (m,)
        Borders of numeric fields.
    kinds : dict of tuple of str to str
        Kinds of fields with strings.
    text_encoder : str, Encoder or None
        To be used.

    Raises
    ------
    StoreCorruptedError
        Parts are missing.
    EncoderMismatchError
        Another text encoder than the saved one.
    InputError
        One must be given, or none was saved.
    """
    arrays, config = read_artifact(path, kind=KIND)
    try:
        parts = np.split(arrays["knots"], np.cumsum(arrays["counts"])[:-1]) if len(arrays["counts"]) else []
        knots = {tuple(name): part for name, part in zip(config["numbers"], parts, strict=True)}
        kinds = {tuple(name): kind for name, kind in config["kinds"]}
        settings = {**config["settings"], "schema": {tuple(name): rule for name, rule in config["settings"]["schema"]}}
        saved = config["text_encoder"]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreCorruptedError(
            message(f"a record encoder at {path} with parts missing", "all", "save it again")
        ) from error
    return settings, knots, kinds, _text_encoder(saved, text_encoder)


def _text_encoder(saved: Mapping[str, Any] | None, given: Any) -> Any:
    if saved is None:
        if given is not None:
            what = "a text encoder for a record encoder that was saved without one"
            raise InputError(message(what, "none", "leave text_encoder out"))
        return None
    return saved_base(saved, given, what="text encoder", argument="text_encoder")
