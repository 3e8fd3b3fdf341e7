"""Weighted terms on their way in: brought by the user, or encoded; checked before anything is written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from orthant.collection.ingest import Prepared
from orthant.collection.space_encoders import define_space, define_sparse, is_sparse
from orthant.collection.spaces import SpaceDefinition, check_encoder, embed_canaries
from orthant.collection.sparse.state import SparseDefinition, embed_sparse_canaries
from orthant.encoders.fingerprint import short_fingerprint
from orthant.encoders.sparse.rows import SparseRows, as_sparse_rows
from orthant.errors import DimensionError, InputError, message
from orthant.types import Metric, SparseEncoder
from orthant.validate import check_choice, check_metric

__all__ = ["canaries_of", "define_any", "weigh_batch"]


def define_any(
    name: str, encoder: Any | None, *, dim: int | None, metric: Metric | None, kind: str | None, loadable: str | None
) -> tuple[SpaceDefinition | SparseDefinition, Any]:
    """Return the checked definition of a space of either kind, and its canaries.

    Parameters
    ----------
    name, encoder, dim, metric, kind
        As in ``Collection.add_space``, the encoder loaded.
    loadable : str or None
        Name by which the encoder can be loaded again.

    Returns
    -------
    definition : SpaceDefinition or SparseDefinition
        Ready to store.
    canaries : ndarray of shape (c, dim), float32, or SparseRows
        Canary texts.

    Raises
    ------
    InputError
        A kind that the encoder does not have, or a metric of a sparse space.
    """
    found = "dense" if encoder is None or not is_sparse(encoder) else "sparse"
    # Tokens have gone another way; who misspells them must still be told of them.
    wanted = found if kind is None else check_choice(kind, ("dense", "tokens", "sparse"), name="kind")
    if encoder is not None and wanted != found:
        raise InputError(message(f"kind={kind!r} with a {found} encoder", f"kind={found!r}", "leave kind out"))
    if wanted == "dense":
        return define_space(name, encoder, dim=dim, metric=check_metric(metric or "cosine"), loadable=loadable)
    if metric not in (None, "dot"):
        raise InputError(message(f"metric={metric!r} of a sparse space", "the dot product", "leave metric out"))
    return define_sparse(name, encoder, dim=dim, loadable=loadable)


def canaries_of(definition: SpaceDefinition | SparseDefinition, encoder: Any | None) -> Any:
    """Return the canaries of a space that another collection defined.

    Parameters
    ----------
    definition : SpaceDefinition or SparseDefinition
        The definition.
    encoder : Encoder, SparseEncoder or None
        The encoder at hand for it.

    Returns
    -------
    ndarray of shape (c, dim), float32, or SparseRows
        No rows without an encoder.

    Raises
    ------
    EncoderMismatchError
        Another encoder.
    """
    if encoder is not None:
        check_encoder(definition, encoder)
    if isinstance(definition, SparseDefinition):
        return SparseRows.of([], definition.dim) if encoder is None else embed_sparse_canaries(encoder)
    return np.zeros((0, definition.dim), dtype=np.float32) if encoder is None else embed_canaries(encoder)


def weigh_batch(
    prepared: Prepared,
    given: Mapping[str, Any],
    *,
    spaces: Mapping[str, SparseDefinition],
    encoders: Mapping[str, SparseEncoder],
    encode: bool,
) -> None:
    """Add weighted terms to a prepared batch.

    Parameters
    ----------
    prepared : Prepared
        Changed.
    given : mapping of str to sparse vectors
        What the user brought, by space.
    spaces : mapping of str to SparseDefinition
        The collection's sparse spaces.
    encoders : mapping of str to SparseEncoder
        Those at hand.
    encode : bool
        Texts were given.

    Raises
    ------
    InputError
        Malformed vectors, or texts for a space whose encoder is not at hand.
    """
    count, texts = len(prepared.batch.ids), prepared.batch.texts
    for name, definition in spaces.items():
        if name in given:
            rows = as_sparse_rows(given[name], dim=definition.dim, name=f"vectors[{name!r}]")
            if len(rows) != count:
                given_text = f"{len(rows)} sparse vectors for {count} ids"
                raise DimensionError(message(given_text, "equal lengths", "pass one vector per id"))
            _keep(prepared, name, np.arange(count, dtype=np.int64), rows)
        elif encode and name in encoders:
            _encode(prepared, definition, encoders[name])
        elif encode and definition.fingerprint is not None and any(texts):
            maker = short_fingerprint(definition.fingerprint)
            raise InputError(
                message(
                    f"texts for sparse space {name!r}, whose encoder {maker} is not at hand",
                    "that encoder, or weighted terms",
                    f"open with spaces={{{name!r}: encoder}}, or pass vectors={{{name!r}: [None, ...]}} to store none "
                    "on purpose",
                )
            )


def _encode(prepared: Prepared, definition: SparseDefinition, encoder: SparseEncoder) -> None:
    started = time.perf_counter()
    texts = prepared.batch.texts
    positions = np.array([i for i, text in enumerate(texts) if text], dtype=np.int64)
    if len(positions):
        found = encoder.encode_sparse([texts[i] for i in positions.tolist()], role="document")
        rows = as_sparse_rows(found, dim=definition.dim, name=f"weights of the encoder of {definition.name!r}")
        if len(rows) != len(positions):
            given = f"{len(rows)} rows for {len(positions)} texts"
            raise DimensionError(message(given, "one per text", "mend the encoder"))
        _keep(prepared, definition.name, positions, rows)
    prepared.seconds["encode"] = prepared.seconds.get("encode", 0.0) + time.perf_counter() - started


def _keep(prepared: Prepared, name: str, positions: np.ndarray, rows: SparseRows) -> None:
    # A record without a term has no vector: no query could find it.
    kept = np.flatnonzero(rows.sizes)
    prepared.batch.sparse[name] = (positions[kept], rows.take(kept))
