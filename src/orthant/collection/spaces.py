"""Named spaces of vectors or of tokens: an immutable definition and the canaries that notice a changed encoder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from orthant.encoders.fingerprint import difference, short_fingerprint
from orthant.errors import EncoderMismatchError, InputError, message, quiet
from orthant.types import Encoder, FloatArray, Metric, SparseEncoder, TokenEncoder
from orthant.validate import check_choice, check_count, check_metric

__all__ = [
    "CANARY_TEXTS",
    "AnyEncoder",
    "SpaceDefinition",
    "SpaceKind",
    "canary_cosine",
    "check_encoder",
    "embed_canaries",
    "require_dense",
    "require_name",
    "token_canary_cosine",
]

SpaceKind = Literal["dense", "tokens"]
AnyEncoder = Encoder | TokenEncoder | SparseEncoder

CANARY_TEXTS = (
    "The lighthouse keeper wrote down the height of every wave.",
    "def mean(values): return sum(values) / len(values)",
    "Invoice 2041 was paid twice in March; please refund 318.50 EUR.",
    "Symptoms include fever, a dry cough and shortness of breath.",
    "Grüße aus Köln, 東京の天気, добрый день",
    "x",
)
"""Texts embedded when a space is made and again when it is opened."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MINIMUM_CANARY_COSINE = 0.999


@dataclass(frozen=True)
class SpaceDefinition:
    """What a space holds; it never changes after the space is made.

    Attributes
    ----------
    name : str
        1 to 64 letters, digits, ``_``, ``-`` or ``.``.
    dim : int
        Values per vector.
    metric : str
        ``"cosine"``, ``"dot"`` or ``"l2"``; ``"dot"`` for tokens, whose sum of best products is MaxSim.
    dtype : str
        Storage type of a value: ``"float32"``, or ``"float16"`` for tokens.
    encoder : str or None
        Name under which the encoder can be loaded again, such as ``"static"``.
    fingerprint : str or None
        Fingerprint of the encoder; None for a space whose vectors the user brings.
    kind : str
        ``"dense"``, one vector per record, or ``"tokens"``, any number of them.
    folder : str or None
        Folder of its files where that is not the name: an upgrade gives a space another name and moves no file.
    """

    name: str
    dim: int
    metric: Metric = "cosine"
    dtype: str = "float32"
    encoder: str | None = None
    fingerprint: str | None = None
    kind: SpaceKind = "dense"
    folder: str | None = None

    @property
    def place(self) -> str:
        """Name of the folder, and of the rows in the tables, that hold its vectors."""
        return self.folder or self.name

    def validated(self) -> SpaceDefinition:
        """Return self, or say what cannot be a space.

        Returns
        -------
        SpaceDefinition
            With a plain int dimension.

        Raises
        ------
        InputError
            A name, dimension, metric, kind or dtype that is not acceptable.
        """
        require_name(self.name)
        check_metric(self.metric)
        check_choice(self.kind, get_args(SpaceKind), name="kind")
        check_choice(self.dtype, ("float32", "float16") if self.kind == "tokens" else ("float32",), name="dtype")
        if self.kind == "tokens" and self.metric != "dot":
            given = f"metric={self.metric!r} for a space of tokens"
            raise InputError(message(given, "dot products, of which MaxSim is a sum", "leave metric out"))
        return replace(self, dim=check_count(self.dim, name="dim", maximum=65_536))

    def to_json(self) -> str:
        """Return the definition as JSON text.

        Returns
        -------
        str
            Keys sorted.
        """
        record = asdict(self)
        if self.folder is None:
            # As releases without this field wrote it.
            del record["folder"]
        return json.dumps(record, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SpaceDefinition:
        """Read a definition back.

        Parameters
        ----------
        text : str
            What ``to_json`` gave.

        Returns
        -------
        SpaceDefinition
            The definition.

        Raises
        ------
        ValueError
            Not such a text.
        """
        record = json.loads(text)
        if not isinstance(record, dict) or record.get("metric") not in get_args(Metric):
            raise ValueError("not a space definition")
        known: dict[str, Any] = {name: record.get(name) for name in cls.__dataclass_fields__ if name != "kind"}
        # Definitions that were stored before there were kinds name none.
        return cls(**known, kind=record.get("kind", "dense"))


def require_dense(definition: SpaceDefinition, *, remedy: str = "search tokens with mode='tokens'") -> None:
    """Refuse a space of tokens where one vector per record is needed.

    Parameters
    ----------
    definition : SpaceDefinition
        The space.
    remedy : str, default "search tokens with mode='tokens'"
        What to do instead.

    Raises
    ------
    InputError
        It holds tokens.
    """
    if definition.kind == "tokens":
        given = f"space {definition.name!r}, which holds one vector per token"
        raise InputError(message(given, "a space with one vector per record", remedy))


def require_name(name: Any) -> None:
    """Refuse what cannot name a space.

    Parameters
    ----------
    name : object
        What was given.

    Raises
    ------
    InputError
        Not 1 to 64 letters, digits, ``_``, ``-`` or ``.``, or beginning with one of the latter two.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            message(
                f"space name {name!r}",
                "1 to 64 letters, digits, '_', '-' or '.', not beginning with '-' or '.'",
                "choose such a name",
            )
        )


def check_encoder(definition: Any, encoder: Any) -> None:
    """Refuse an encoder other than the one the space was made with.

    Parameters
    ----------
    definition : SpaceDefinition or SparseDefinition
        The stored space.
    encoder : Encoder, TokenEncoder or SparseEncoder
        The one given now.

    Raises
    ------
    EncoderMismatchError
        Another fingerprint or dimension; the text shows both and three ways out.
    """
    if definition.fingerprint == encoder.fingerprint and definition.dim == encoder.dim:
        return
    stored, given = definition.fingerprint or "none (vectors brought by the user)", encoder.fingerprint
    apart = difference(definition.fingerprint or "", given)
    told = "" if not apart or apart.startswith("fingerprint:") else f" They differ in {apart}."
    if told:
        stored, given = short_fingerprint(stored), short_fingerprint(given)
    named = f" (encoder={definition.encoder!r})" if definition.encoder else ""
    third = "export, and import into a new collection with the new encoder, which encodes the stored texts again"
    if isinstance(definition, SpaceDefinition) and definition.kind == "dense":
        third = "open with the stored one and call upgrade(encoder), which replaces it while searches go on"
    raise EncoderMismatchError(
        f"Got encoder {given} (dimension {encoder.dim}) for space {definition.name!r}; expected "
        f"{stored} (dimension {definition.dim}), which made the stored vectors.{told} "
        f"Three ways out: open with the stored encoder{named}; add a second space for the new one with "
        f"add_space(name, encoder=...); or {third}."
    )


def embed_canaries(encoder: AnyEncoder, kind: SpaceKind = "dense") -> FloatArray:
    """Return the vectors of the canary texts.

    Parameters
    ----------
    encoder : Encoder or TokenEncoder
        Any text encoder.
    kind : {"dense", "tokens"}, default "dense"
        What the space holds.

    Returns
    -------
    ndarray of shape (6, dim), float32
        One row per canary; for tokens the mean of its token vectors, zero without one.
    """
    # These texts are not the user's: that some are cut is no news.
    with quiet():
        if kind == "tokens":
            tokens = encoder.encode_tokens(list(CANARY_TEXTS), role="document")  # type: ignore[union-attr]
            rows = (tokens[i] for i in range(len(tokens)))
            means = [row.mean(axis=0) if len(row) else np.zeros(encoder.dim) for row in rows]
            return np.ascontiguousarray(means, dtype=np.float32)
        # An encoder with a cache would answer with what it gave before, and no change would ever be seen.
        encode = getattr(encoder, "encode_fresh", None) or encoder.encode  # type: ignore[union-attr]
        return np.ascontiguousarray(encode(list(CANARY_TEXTS), role="document"), dtype=np.float32)


def canary_cosine(encoder: AnyEncoder, stored: FloatArray, kind: SpaceKind = "dense") -> float:
    """Return the smallest cosine between stored canaries and the same texts encoded now.

    Parameters
    ----------
    encoder : Encoder or TokenEncoder
        The encoder about to be used.
    stored : ndarray of shape (6, dim), float32
        What it gave when the space was made.
    kind : {"dense", "tokens"}, default "dense"
        What the space holds.

    Returns
    -------
    float
        1.0 when nothing changed; below 0.999 the encoder is another one in all but name.
    """
    now = embed_canaries(encoder, kind)
    if now.shape != stored.shape:
        return -1.0
    norms = np.linalg.norm(now, axis=1) * np.linalg.norm(stored, axis=1)
    products = np.einsum("ij,ij->i", now, stored)
    # Two zero vectors (a text without known tokens) agree.
    both_zero = ~now.any(axis=1) & ~stored.any(axis=1)
    cosines = np.where(both_zero, 1.0, products / np.where(norms == 0, 1, norms))
    return float(cosines.min())


def token_canary_cosine(encoder: TokenEncoder, stored: FloatArray) -> float:
    """Return the smallest cosine between stored canaries of a space of tokens and the same texts encoded now.

    Parameters
    ----------
    encoder : TokenEncoder
        The encoder about to be used.
    stored : ndarray of shape (6, dim), float32
        Means of what it gave when the space was made.

    Returns
    -------
    float
        As ``canary_cosine``.
    """
    return canary_cosine(encoder, stored, "tokens")


def require_canaries(
    definition: Any, encoder: Any, stored: Any, *, cosine_of: Callable[[Any, Any], float] = canary_cosine
) -> str | None:
    """Compare the encoder with the stored canaries.

    Parameters
    ----------
    definition : SpaceDefinition or SparseDefinition
        The stored space.
    encoder : Encoder, TokenEncoder or SparseEncoder
        The encoder about to be used.
    stored : ndarray of shape (6, dim), float32, or SparseRows
        Canary vectors from the space's making; empty skips the comparison.
    cosine_of : callable, default canary_cosine
        Compares the encoder with them, by the kind of the space.

    Returns
    -------
    str or None
        What is wrong, or None.
    """
    if not len(stored):
        return None
    cosine = cosine_of(encoder, stored)
    if cosine >= _MINIMUM_CANARY_COSINE:
        return None
    return (
        f"Got canary texts that encoder {short_fingerprint(encoder.fingerprint)} places elsewhere than when space "
        f"{definition.name!r} was made (smallest cosine {cosine:.4f}); expected at least {_MINIMUM_CANARY_COSINE}. The "
        "weights behind the name changed: restore the former ones, or encode into a new space."
    )
