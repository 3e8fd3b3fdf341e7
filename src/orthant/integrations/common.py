"""What the adapters share: which encoder is in charge, plain searches, and the message for an absent framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orthant.collection.collection import Collection
from orthant.collection.reading import DEFAULT_SPACE
from orthant.collection.results import Hit, SearchResult
from orthant.collection.searching import Mode
from orthant.errors import InputError, MissingExtraError, message
from orthant.types import Encoder, FloatArray

__all__ = ["absent", "encoder_of", "find_hits", "missing", "require_collection", "require_one_encoder", "vectors_of"]


def missing(package: str, extra: str) -> MissingExtraError:
    """Return the error for a framework that is not installed.

    Parameters
    ----------
    package : str
        What could not be imported.
    extra : str
        The extra that brings it.

    Returns
    -------
    MissingExtraError
        To be raised.
    """
    return MissingExtraError(
        message(f"no package {package!r}", f"the extra {extra!r}", f"pip install 'orthant[{extra}]'")
    )


def absent(package: str, extra: str) -> Any:
    """Return a stand-in for the base classes of a framework that is not installed.

    So a module loads, and its documentation can be read, without the framework; making an object says what is missing.

    Parameters
    ----------
    package : str
        What could not be imported.
    extra : str
        The extra that brings it.

    Returns
    -------
    type
        A class of which nobody can make an instance.
    """

    class Absent:
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            raise missing(package, extra)

    return Absent


def require_collection(collection: Any) -> Collection:
    """Return an opened collection, or say what came instead.

    Parameters
    ----------
    collection : Collection
        What the user passed.

    Returns
    -------
    Collection
        The same.

    Raises
    ------
    InputError
        Not a collection.
    """
    if not isinstance(collection, Collection):
        given = f"a collection of type {type(collection).__name__}"
        raise InputError(message(given, "what orthant.open returned", "pass orthant.open(path)"))
    return collection


def encoder_of(collection: Collection) -> Encoder | None:
    """Return the encoder with which a collection encodes texts itself.

    Parameters
    ----------
    collection : Collection
        An opened collection.

    Returns
    -------
    Encoder or None
        None where vectors are brought from outside.
    """
    encoders = collection._encoders
    return encoders.require(DEFAULT_SPACE) if encoders.at_hand(DEFAULT_SPACE) else None


def require_one_encoder(collection: Collection, *, foreign: bool, name: str) -> None:
    """Refuse vectors of the framework for a space that an encoder of Orthant fills.

    Two encoders in one space give wrong neighbours without any error, even at equal dimensions.

    Parameters
    ----------
    collection : Collection
        Where the vectors are to go.
    foreign : bool
        Whether the framework brings vectors.
    name : str
        Where they come from, for the error.

    Raises
    ------
    InputError
        Both the collection and the framework encode.
    """
    held = collection.spaces.get(DEFAULT_SPACE)
    if foreign and (encoder_of(collection) is not None or (held is not None and held.fingerprint is not None)):
        raise InputError(
            message(
                f"vectors from {name} for a collection that encodes its own texts",
                "one encoder per space",
                f"leave {name} out, or use a collection opened without encoder=",
            )
        )


def find_hits(
    collection: Collection,
    query: str | None,
    *,
    k: int,
    mode: Mode,
    vector: Sequence[float] | FloatArray | None = None,
    where: Mapping[str, Any] | None = None,
    weights: Mapping[str, float] | None = None,
) -> SearchResult | tuple[Hit, ...]:
    """Search as a framework does: its queries are plain prose, and a collection without vectors has no hits.

    Parameters
    ----------
    collection : Collection
        Where.
    query : str or None
        A text; None when only the vector counts.
    k : int
        Hits wanted.
    mode : {"dense", "lexical", "hybrid"}
        The legs.
    vector : array-like of shape (dim,), optional
        The query's vector; left out, the collection's encoder makes it.
    where : mapping, optional
        A where-expression.
    weights : mapping, optional
        Weights of the legs of a hybrid search.

    Returns
    -------
    sequence of Hit
        Best first.
    """
    # Candidates per leg must cover what is asked for; the default depth serves up to 400 hits.
    depth = max(200, k) if mode == "hybrid" else None
    return collection.search(
        query,
        k=k,
        mode=mode,
        vector=None if mode == "lexical" else vector,
        where=where,
        weights=weights,
        depth=depth,
        syntax=None if mode == "dense" else "plain",
    )


def vectors_of(collection: Collection, ids: Sequence[str]) -> list[FloatArray | None]:
    """Return the vectors of records in the default space.

    Parameters
    ----------
    collection : Collection
        Where.
    ids : sequence of str
        Record ids.

    Returns
    -------
    list of (ndarray of shape (dim,), float32, or None)
        None for a record without one, or no record.
    """
    found = collection.get(list(ids), vectors=True)
    return [None if record is None else record.vectors.get(DEFAULT_SPACE) for record in found]
