"""One sparse space within a generation: its definition, its canaries, its posting lists, what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from orthant.collection.spaces import CANARY_TEXTS, require_name
from orthant.collection.sparse.index import WeightedIndex
from orthant.encoders.sparse.rows import LARGEST_DIM, SparseRows, as_sparse_rows
from orthant.errors import StoreCorruptedError, message, quiet
from orthant.types import BitmapArray, IdArray, SparseEncoder
from orthant.validate import check_count

__all__ = [
    "SparseDefinition",
    "SparseState",
    "compacted",
    "embed_sparse_canaries",
    "empty",
    "follow",
    "sparse_canary_cosine",
]


@dataclass(frozen=True)
class SparseDefinition:
    """What a sparse space holds; it never changes after the space is made.

    Attributes
    ----------
    name : str
        1 to 64 letters, digits, ``_``, ``-`` or ``.``.
    dim : int
        Terms of the vocabulary.
    encoder : str or None
        Name under which the encoder can be loaded again; None for a folder or an object.
    fingerprint : str or None
        Fingerprint of the encoder; None for a space whose weights the user brings.
    kind : str
        ``"sparse"``.
    """

    name: str
    dim: int
    encoder: str | None = None
    fingerprint: str | None = None
    kind: str = "sparse"

    def validated(self) -> SparseDefinition:
        """Return self, or say what cannot be a space.

        Returns
        -------
        SparseDefinition
            With a plain int dimension.

        Raises
        ------
        InputError
            A name or a dimension that is not acceptable.
        """
        require_name(self.name)
        return replace(self, dim=check_count(self.dim, name="dim", maximum=LARGEST_DIM))

    def to_json(self) -> str:
        """Return the definition as JSON text.

        Returns
        -------
        str
            Keys sorted.
        """
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SparseDefinition:
        """Read a definition back.

        Parameters
        ----------
        text : str
            What ``to_json`` gave.

        Returns
        -------
        SparseDefinition
            The definition.

        Raises
        ------
        ValueError
            Not such a text.
        """
        record = json.loads(text)
        if not isinstance(record, dict) or record.get("kind") != "sparse":
            raise ValueError("not the definition of a sparse space")
        known: dict[str, Any] = {name: record.get(name) for name in cls.__dataclass_fields__}
        return cls(**known)


@dataclass(frozen=True)
class SparseState:
    """A sparse space as of one commit.

    Attributes
    ----------
    definition : SparseDefinition
        What the space holds.
    canaries : SparseRows
        Canary texts as the encoder gave them; no rows when the user brings weights.
    index : WeightedIndex
        Its posting lists.
    missing : int
        Committed vectors that are not in the index, since they could not be read.
    damaged : frozenset of int
        Rows of those that are there and not what was written.
    """

    definition: SparseDefinition
    canaries: SparseRows
    index: WeightedIndex
    missing: int = 0
    damaged: frozenset[int] = frozenset()

    @property
    def problem(self) -> str | None:
        """What is wrong with the stored vectors, None where all could be read."""
        if not self.missing and not self.damaged:
            return None
        return f"{len(self.index)} sound vectors where {len(self.index) + self.missing} were committed"

    def require_sound(self) -> None:
        """Refuse to search where vectors are missing.

        Raises
        ------
        StoreCorruptedError
            Stored vectors are damaged.
        """
        if self.problem is not None:
            raise StoreCorruptedError(
                message(
                    f"damaged sparse vectors in space {self.definition.name!r} ({self.problem})",
                    "what was written",
                    "run `orthant check --repair`, or search with another mode",
                )
            )


def empty(definition: SparseDefinition, canaries: SparseRows) -> SparseState:
    """Return a space without vectors.

    Parameters
    ----------
    definition : SparseDefinition
        What it will hold.
    canaries : SparseRows
        Canary texts, or no rows.

    Returns
    -------
    SparseState
        The space.
    """
    return SparseState(definition, canaries, WeightedIndex(definition.dim))


def follow(
    held: Mapping[str, SparseState],
    vectors: Mapping[str, tuple[IdArray, SparseRows]],
    rows: IdArray,
    gone: IdArray,
) -> dict[str, SparseState]:
    """Return the sparse spaces of the generation that follows a commit.

    Parameters
    ----------
    held : mapping of str to SparseState
        The current ones.
    vectors : mapping of str to (ndarray of shape (k,), SparseRows)
        Per space, positions within the batch, ascending, and a vector for each.
    rows : ndarray of shape (n,), int64
        Rows of the batch.
    gone : ndarray of shape (m,), int64
        Rows that are replaced or removed.

    Returns
    -------
    dict of str to SparseState
        New values.
    """
    out = dict(held)
    for name, state in held.items():
        index = state.index.without(gone) if len(gone) else state.index
        if name in vectors and len(vectors[name][0]):
            positions, X = vectors[name]
            index = index.with_batch(rows[positions], X)
        mended = state.damaged.intersection(gone.tolist())
        missing, damaged = state.missing - len(mended), state.damaged - mended
        out[name] = replace(state, index=index, missing=missing, damaged=damaged)
    return out


def compacted(held: Mapping[str, SparseState], live: BitmapArray) -> dict[str, SparseState]:
    """Return the sparse spaces without dead vectors.

    Parameters
    ----------
    held : mapping of str to SparseState
        The current ones.
    live : ndarray of uint64
        Live rows.

    Returns
    -------
    dict of str to SparseState
        The same answers, less memory.
    """
    return {name: replace(state, index=state.index.compacted(live)) for name, state in held.items()}


def embed_sparse_canaries(encoder: SparseEncoder) -> SparseRows:
    """Return the weighted terms of the canary texts.

    Parameters
    ----------
    encoder : SparseEncoder
        Any encoder of texts.

    Returns
    -------
    SparseRows
        One row per canary.
    """
    # These texts are not the user's: that some are cut is no news.
    with quiet():
        found = encoder.encode_sparse(list(CANARY_TEXTS), role="document")
    return as_sparse_rows(found, dim=encoder.dim, name="canary texts of the encoder")


def sparse_canary_cosine(encoder: SparseEncoder, stored: SparseRows) -> float:
    """Return the smallest cosine between stored canaries and the same texts encoded now.

    Parameters
    ----------
    encoder : SparseEncoder
        The encoder about to be used.
    stored : SparseRows
        What it gave when the space was made.

    Returns
    -------
    float
        1.0 when nothing changed.
    """
    now = embed_sparse_canaries(encoder)
    if len(now) != len(stored) or now.dim != stored.dim:
        return -1.0
    smallest = 1.0
    for i in range(len(now)):
        a, b = now[i], stored[i]
        _, left, right = np.intersect1d(a.indices, b.indices, assume_unique=True, return_indices=True)
        product = float(a.values[left].astype(np.float64) @ b.values[right])
        norm = float(np.linalg.norm(a.values.astype(np.float64)) * np.linalg.norm(b.values.astype(np.float64)))
        # Two texts without a term agree.
        smallest = min(smallest, product / norm if norm else float(len(a) == len(b)))
    return smallest
