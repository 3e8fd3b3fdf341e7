"""What a collection offers for snapshots: the methods delegate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orthant.collection.spaces import check_encoder

if TYPE_CHECKING:
    from orthant.collection.snapshots.manifest import SnapshotInfo
    from orthant.collection.snapshots.restoring import RestoreReport
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.store import Store

__all__ = ["SnapshotMethods", "SnapshotReading"]


class SnapshotMethods:
    """The part of a collection that keeps states and goes back to them; see :class:`Collection`."""

    _store: Store
    _encoders: SpaceEncoders

    def snapshot(self, name: str) -> SnapshotInfo:
        """Save the current state under a name, to open or restore it later; durable on return.

        Parameters
        ----------
        name : str
            1 to 64 letters, digits, ``_``, ``-`` or ``.``; not taken.

        Returns
        -------
        SnapshotInfo
            What it holds and costs.

        Raises
        ------
        InputError
            The name is malformed or taken.
        StoreError
            The disk is full or failing; nothing was made.

        Notes
        -----
        Vectors, graphs, columns and postings are shared with the collection until it changes them; the records are
        copied once per commit (one read and one write of ``store.sqlite``). Writers wait meanwhile, searches do not.
        Files are shared, so a snapshot is no protection from a failing disk: ``export`` is.
        """
        from orthant.collection.snapshots.making import create

        return create(self._store, name)

    def drop_snapshot(self, name: str) -> None:
        """Delete a snapshot, and free the disk space that only it used.

        Parameters
        ----------
        name : str
            A snapshot.

        Raises
        ------
        NotFoundError
            No such snapshot.
        """
        from orthant.collection.snapshots.making import drop

        drop(self._store, name)

    def restore(self, name: str) -> RestoreReport:
        """Go back to a snapshot: records, metadata, spaces and vectors as they were; durable on return.

        It is one commit. Readers see the state before or the one after; a crash leaves one of them. Snapshots stay,
        so the way back is a snapshot made before.

        Parameters
        ----------
        name : str
            A snapshot.

        Returns
        -------
        RestoreReport
            How many records went and came back.

        Raises
        ------
        NotFoundError
            No such snapshot.
        StoreCorruptedError
            The snapshot is damaged; nothing was changed.
        EncoderMismatchError
            It has a space of another encoder than the one in use; open the collection with the other.

        Notes
        -----
        Cost: one read of the whole snapshot, whose checksums are all verified first, and writing the records that
        differ, columns and postings.
        """
        from orthant.collection.snapshots.restoring import restore

        return restore(self._store, name, approve=self._approve_space)

    def _approve_space(self, definition: Any) -> None:
        encoder = self._encoders.given(definition.name)
        if encoder is not None:
            check_encoder(definition, encoder)


class SnapshotReading:
    """The part of a collection that lists its snapshots; see :class:`CollectionReader`."""

    _store: Store

    def snapshots(self) -> list[SnapshotInfo]:
        """Return every snapshot with what it holds and costs, oldest first."""
        from orthant.collection.snapshots.manifest import list_snapshots

        return list_snapshots(self._store.path)
