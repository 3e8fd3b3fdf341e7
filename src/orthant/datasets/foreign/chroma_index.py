"""The index files of one Chroma collection: labels, vectors, and the lengths that they had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.foreign.hnsw_layout import HnswElements, read_elements
from orthant.datasets.foreign.inert import read_inert
from orthant.errors import InputError, message

__all__ = ["ChromaIndex"]

# Chroma puts the version of its format in front of hnswlib's header.
_VERSION_BYTES = 4
_UNIT = 1e-3


class ChromaIndex:
    """Vectors by id, from the folder of a vector segment.

    Parameters
    ----------
    folder : Path
        The segment's folder; nothing synced yet where it has no table of labels.
    normalised : bool
        Whether the index is one of cosine, which keeps directions and lengths apart.

    Attributes
    ----------
    max_seq : int
        The last entry of the log that the index has, where the table of labels says so; else 0.
    notes : dict of str to int
        What could not be restored.
    """

    def __init__(self, folder: Path, *, normalised: bool) -> None:
        self.max_seq, self.notes = 0, dict[str, int]()
        self._rows: dict[str, int] = {}
        labels_file = folder / "index_metadata.pickle"
        if not labels_file.is_file():
            return
        state = read_inert(labels_file.read_bytes(), name=str(labels_file))
        try:
            labels: dict[str, int] = state["id_to_label"]
            last: Any = state.get("max_seq_id") or 0
            self.max_seq = int.from_bytes(last, "big") if isinstance(last, bytes) else int(last)
            header = (folder / "header.bin").read_bytes()[_VERSION_BYTES:]
            self._elements = read_elements(folder / "data_level0.bin", header=header)
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            if isinstance(error, InputError):
                raise
            given = f"{folder}: {type(error).__name__} {error}"
            raise InputError(message(given, "a vector segment of Chroma", "open it with Chroma once")) from error
        at = {label: row for row, label in enumerate(self._elements.labels.tolist())}
        self._rows = {key: at[label] for key, label in labels.items() if label in at}
        self._lengths = self._read_lengths(folder / "length.bin", self._elements) if normalised else None

    def _read_lengths(self, path: Path, elements: HnswElements) -> npt.NDArray[np.float32] | None:
        count = len(elements.labels)
        norms = np.linalg.norm(elements.X, axis=1)
        if path.is_file() and path.stat().st_size >= 4 * count:
            lengths = np.fromfile(path, dtype="<f4", count=count)
            if bool((np.isfinite(lengths) & (lengths > 0)).all() and (np.abs(norms - 1) < _UNIT).all()):
                return lengths
        self.notes = {"vectors that Chroma stored normalised": count}
        return None

    def __contains__(self, key: str) -> bool:
        """Return whether the index has a vector for an id."""
        return key in self._rows

    def vector(self, key: str) -> npt.NDArray[np.float32] | None:
        """Return the vector of an id as it was given to Chroma.

        Parameters
        ----------
        key : str
            The record's id.

        Returns
        -------
        ndarray of shape (dim,), or None
            None where the index has none.
        """
        row = self._rows.get(key)
        if row is None:
            return None
        x = self._elements.X[row]
        return x if self._lengths is None else x * self._lengths[row]
