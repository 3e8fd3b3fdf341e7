"""Opening a collection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from orthant.collection.collection import Collection
from orthant.types import Encoder, Metric, SparseEncoder
from orthant.validate import check_path

__all__ = ["open"]


def open(
    path: str | Path,
    *,
    encoder: str | Encoder | Any | None = None,
    metric: Metric | None = None,
    read_only: bool = False,
    canaries: Literal["raise", "warn"] = "raise",
    snapshot: str | None = None,
    spaces: Mapping[str, str | Encoder | SparseEncoder | Any] | None = None,
) -> Collection:
    """Open a collection's folder, or make one; use it as a context manager.

    Use it for up to a few million records on one machine, without a server. Any number of processes may read; one
    writes.

    Parameters
    ----------
    path : str or Path
        A folder. A missing or empty one becomes a new collection, unless ``read_only``.
    encoder : str, Encoder or sentence-transformers model, optional
        Makes the vectors of the default space: ``"static"`` (shipped), ``"minilm"`` (extra ``onnx`` or ``learn``), a
        folder with a saved encoder, or any object with ``encode``. On reopening it may be left out when it was named
        by a str. Without one, bring vectors or search by words only; none is ever picked silently.
    metric : {"cosine", "dot", "l2"}, optional
        Score of the default space when it is made; default ``"cosine"``. Larger is closer in all of them: ``"l2"`` is
        minus the squared distance. It cannot change later.
    read_only : bool, default False
        Refuse writes and never lock.
    canaries : {"raise", "warn"}, default "raise"
        What to do when the encoder places the stored canary texts elsewhere than at the space's making.
    snapshot : str, optional
        Open the state that ``Collection.snapshot`` kept under this name instead; always read-only. Any number of
        processes may, while a writer goes on.
    spaces : mapping of str to encoder, optional
        Encoders of further spaces by name, such as ``{"sparse": "path/of/a/splade/model"}``: of vectors, or sparse ones
        of weighted terms. A space that does not exist is made by the first write. On reopening, an encoder that was
        given by a folder or as an object must be given again, as that of the default space.

    Returns
    -------
    Collection
        The opened collection.

    Raises
    ------
    EncoderMismatchError
        The stored vectors were made by another encoder.
    StoreCorruptedError, StoreVersionError, StoreReadOnlyError
        The folder cannot be used.
    NotFoundError
        Nothing there and ``read_only`` was asked, or no such snapshot.
    InputError
        The folder holds other files, or ``metric`` differs from the stored one.

    Examples
    --------
    >>> import tempfile, orthant
    >>> with orthant.open(tempfile.mkdtemp()) as notes:
    ...     report = notes.upsert(["a", "b"], texts=["a red kite", "a blue boat"], metadata=[{"n": 1}, {"n": 2}])
    ...     notes.search("kite", mode="lexical").ids
    ['a']
    """
    path = check_path(path, name="path")
    if snapshot is not None:
        from orthant.collection.snapshots.manifest import folder_of

        return Collection(
            folder_of(path, snapshot),
            encoder=encoder,
            metric=metric,
            read_only=True,
            canaries=canaries,
            spaces=spaces,
        )
    return Collection(path, encoder=encoder, metric=metric, read_only=read_only, canaries=canaries, spaces=spaces)
