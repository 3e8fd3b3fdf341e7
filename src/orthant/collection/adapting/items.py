"""The item side of a correction: a generation of a space's vectors, made from those stored, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.space_encoders import define_space
from orthant.collection.upgrade import cutover
from orthant.collection.upgrade.plan import UpgradePlan
from orthant.collection.upgrade.running import remaining
from orthant.collection.upgrade.state import ADAPTED, UpgradeState
from orthant.errors import InputError, message
from orthant.types import EncodeReport, FloatArray, Role

if TYPE_CHECKING:
    from orthant.collection.storage.store import Store
    from orthant.transforms.adaptation.adapter import ResidualAdapter

__all__ = ["AdaptedEncoder", "derived_fingerprint", "make_generation", "take_back", "wrapped"]

_ROWS = 8_192


def derived_fingerprint(base: str, adapter: ResidualAdapter) -> str:
    """Return the name of the space that an encoder's items are moved to.

    Parameters
    ----------
    base : str
        Fingerprint of the encoder.
    adapter : ResidualAdapter
        A fitted one.

    Returns
    -------
    str
        Equal for equal corrections of one encoder.
    """
    from orthant.encoders.fingerprint import Fingerprint, digest_tensors

    arrays = {name: getattr(adapter, f"{name}_") for name in ("down", "up", "down_items", "up_items")}
    made = Fingerprint(
        name="adapted",
        revision=f"{adapter.kind} of {base}",
        weight_hash=digest_tensors(arrays),
        normalization="l2",
        dim=adapter.n_features_in_,
    )
    return str(made)


class AdaptedEncoder:
    """An encoder whose documents are moved by the item side of a correction; its queries are left to the search.

    Parameters
    ----------
    base : Encoder
        What makes the vectors.
    adapter : ResidualAdapter
        A fitted one.
    """

    def __init__(self, base: Any, adapter: ResidualAdapter) -> None:
        self.base, self.adapter = base, adapter
        self.dim, self.max_tokens = base.dim, base.max_tokens
        self.fingerprint = derived_fingerprint(base.fingerprint, adapter)

    def encode(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per item.

        Parameters
        ----------
        items : sequence
            Whatever the base takes.
        role : {"query", "document"}, default "document"
            Queries are not moved here: the search moves those that come as vectors as well.
        batch_size : int, default 64
            Items at a time.
        progress : bool, default False
            Show the base's bar.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Documents of length 1; rows of zeros stay.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and the base's report.

        Parameters
        ----------
        items : sequence
            Whatever the base takes.
        role : {"query", "document"}, default "document"
            As for :meth:`encode`.
        batch_size : int, default 64
            Items at a time.
        progress : bool, default False
            Show the base's bar.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32
            As :meth:`encode` gives them.
        report : EncodeReport
            That of the base.
        """
        X, report = self.base.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)
        return (self.adapter.transform_target(X) if role == "document" and len(X) else X), report


def wrapped(encoder: Any, name: str, store: Store) -> Any:
    """Return a space's encoder with the item side of its correction, where the space holds what that gives.

    Parameters
    ----------
    encoder : Encoder
        What was given or loaded for the space.
    name : str
        The space.
    store : Store
        The opened collection.

    Returns
    -------
    Encoder
        The same one where nothing is to be moved.
    """
    now = store.generation
    stored, space = now.adapters.get(name), now.spaces.get(name)
    if stored is None or space is None or stored.base != getattr(encoder, "fingerprint", None):
        return encoder
    return AdaptedEncoder(encoder, stored.adapter) if space.definition.fingerprint == stored.fingerprint else encoder


def make_generation(collection: Any, space: str, encoder: AdaptedEncoder) -> UpgradePlan:
    """Fill a further generation of a space with corrected vectors; nothing that is searched changes before its commit.

    Parameters
    ----------
    collection : Collection
        The opened collection.
    space : str
        The space.
    encoder : AdaptedEncoder
        That of the space, with its correction.

    Returns
    -------
    UpgradePlan
        To be committed.

    Raises
    ------
    InputError
        An upgrade is open.
    """
    store = collection._store
    now = store.refreshed()
    if now.upgrade and now.upgrade.using == ADAPTED and not now.upgrade.committed:
        # A process died while it made one.
        cutover.restore(store, now.upgrade)
        now = store.refreshed()
    if now.upgrade:
        given = f"sides='both' while the encoder of space {now.upgrade.space!r} is being replaced"
        raise InputError(message(given, "one change of a space at a time", "finish it with release() or rollback()"))
    old = now.spaces[space].definition
    definition, canaries = define_space(f"{space}.next", encoder, dim=None, metric=old.metric, loadable=old.encoder)
    state = UpgradeState(space, ADAPTED, old.encoder, encoder.fingerprint, filling=(definition.name,))
    cutover.begin(store, state, [(definition, canaries)])
    collection._encoders.adopt(state.fresh, encoder, loadable=old.encoder)
    tried = np.zeros(0, dtype=np.int64)
    while True:
        now = store.refreshed()
        rows = np.setdiff1d(remaining(now, now.upgrade), tried)[:_ROWS]
        if not len(rows):
            break
        present, X = now.spaces[space].vectors_of(rows)
        cutover.fill(store, state.fresh, rows[present], encoder.adapter.transform_target(X))
        # Records without a vector have none afterwards either.
        tried = np.union1d(tried, rows[~present])
    return _plan(collection, space, encoder)


def take_back(collection: Any, space: str, fingerprint: str) -> None:
    """Let a space have the vectors again that it had before its items were corrected, to the byte.

    Parameters
    ----------
    collection : Collection
        The opened collection.
    space : str
        The space.
    fingerprint : str
        Of the corrected space.
    """
    encoders = collection._encoders
    held = encoders.given(space)
    _plan(collection, space, SimpleNamespace(fingerprint=fingerprint)).rollback()
    if isinstance(held, AdaptedEncoder):
        encoders.adopt(space, held.base, loadable=collection.spaces[space].encoder)


def _plan(collection: Any, space: str, encoder: Any) -> UpgradePlan:
    return UpgradePlan(collection, encoder, None, using=ADAPTED, space=space, pairs=1, seed=0)
