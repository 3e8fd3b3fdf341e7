"""What an export was and how far the copy is from its origin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["CHECK_TEXTS", "Agreement", "ExportReport", "check_texts_for", "compare_vectors"]

CHECK_TEXTS: tuple[str, ...] = (
    "",
    "a",
    "lighthouse",
    "The keeper wrote about the harbour.",
    "Does aspirin lower the risk of a second stroke in older patients?",
    "def mean(values):\n    return sum(values) / len(values)",
    "  spaces,\ttabs\nand new lines  ",
    "ÀÉÎÕÜ naïve façade – “quotes” …",
    "日本語の文章です。",
    "это короткая строка",
    "مرحبا بالعالم",
    "🙂🚀 emoji and text",
    "3.14159 2,718 1e-9 +42 %",
    "http://example.org/a?b=c&d=e#f",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
)
"""Texts on which a copy is compared with its origin; one longer than the window is added."""

_WORD = "word "


@dataclass(frozen=True)
class Agreement:
    """How far two sets of vectors are from each other.

    Attributes
    ----------
    vectors : int
        Pairs compared.
    max_difference : float
        Largest absolute difference of a value, relative to the longest vector where that is above 1.
    cosine_min, cosine_mean : float
        Over all pairs.
    """

    vectors: int
    max_difference: float
    cosine_min: float
    cosine_mean: float


@dataclass(frozen=True)
class ExportReport:
    """What ``export_encoder`` did.

    Attributes
    ----------
    path : str
        The folder.
    kind : {"text", "tokens"}
        One vector per text, or one per token.
    precision : {"float32", "int8"}
        Arithmetic of the graph.
    route : {"built", "traced"}
        The graph was built of the weights, or recorded while torch ran the model.
    dim : int
        Values of a vector.
    fingerprint : str
        Identity of the exported encoder.
    source_fingerprint : str
        Identity of what was exported; equal to the other in float32.
    reference : {"torch", "numpy"}
        What computed the vectors for the comparison.
    texts : int
        Texts compared, in each role.
    agreement : Agreement
        The comparison.
    graph_bytes : int
        Size of the graph.
    seconds : float
        Wall-clock time of the export with its check.
    """

    path: str
    kind: str
    precision: str
    route: str
    dim: int
    fingerprint: str
    source_fingerprint: str
    reference: str
    texts: int
    agreement: Agreement
    graph_bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values.

        Returns
        -------
        dict
            All attributes, the agreement nested.
        """
        return asdict(self)


def check_texts_for(window: int) -> list[str]:
    """Return the texts of the check for a model of a given window.

    Parameters
    ----------
    window : int
        Tokens that the model reads.

    Returns
    -------
    list of str
        ``CHECK_TEXTS`` and one text that is too long.
    """
    return [*CHECK_TEXTS, _WORD * (window + 8)]


def compare_vectors(found: FloatArray, wanted: FloatArray) -> Agreement:
    """Compare vectors of a copy with those of its origin, row by row.

    Parameters
    ----------
    found, wanted : ndarray of shape (n, d), float32
        The copy's and the origin's.

    Returns
    -------
    Agreement
        Rows that are zero in both count as equal.

    Raises
    ------
    InputError
        Different shapes.
    """
    if found.shape != wanted.shape:
        given = f"vectors of shape {found.shape} from the copy, {wanted.shape} from the model"
        raise InputError(message(given, "the same", "report this model: its export would be wrong"))
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    cosines = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), (a == b).all(axis=1))
    scale = max(1.0, float(np.linalg.norm(b, axis=1).max(initial=0.0)))
    worst = float(np.abs(a - b).max(initial=0.0)) / scale
    return Agreement(len(a), worst, float(cosines.min(initial=1.0)), float(cosines.mean()) if len(a) else 1.0)
