"""Opening a collection with the folders that its spaces need: which of its spaces a folder is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["opened_with"]


@contextmanager
def opened_with(
    path: str, *, space: str = "default", encoder: str | None = None, sparse: str | None = None, read_only: bool = True
) -> Iterator[Collection]:
    """Open a collection and give spaces their encoders.

    Parameters
    ----------
    path : str
        The collection's folder.
    space : str, default "default"
        The space that is asked. ``encoder`` is that of it where it is a space of vectors, else of the default one.
    encoder : str, optional
        Name or folder.
    sparse : str, optional
        Folder of a sparse model or of an encoder of concepts, for the only sparse space, whatever its name; where there
        are several, for that called ``"sparse"``.
    read_only : bool, default True
        Whether nothing will be written.

    Yields
    ------
    Collection
        Closed at the end.

    Raises
    ------
    EncoderMismatchError
        A folder that made none of the space's vectors.
    NotFoundError
        No such folder, or no sparse space.
    """
    from orthant.collection.opening import open
    from orthant.encoders.registry import load_sparse_encoder

    model = None if sparse is None else load_sparse_encoder(sparse)
    with open(path, encoder=encoder if space == "default" else None, read_only=read_only) as opened:
        if encoder is not None and space != "default":
            held = opened.spaces.get(space)
            opened.use_encoder("default" if held is None or held.kind == "tokens" else space, encoder)
        if model is not None:
            names = list(opened.sparse_spaces)
            opened.use_encoder(names[0] if len(names) == 1 else "sparse", model)
        yield opened
