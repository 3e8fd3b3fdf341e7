"""Documents with sets of labels per aspect: what belongs together, and which space finds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.topk import top_k
from orthant.validate import as_vectors, check_count

__all__ = ["AspectFigure", "LabelSets", "judge_aspects", "label_sets"]

_BLOCK = 512


@dataclass(frozen=True)
class LabelSets:
    """Labels of documents in one aspect; a document without any is unknown, not unlike all others.

    Attributes
    ----------
    names : list of str
        The labels that count.
    matrix : scipy.sparse.csr_matrix of shape (n, labels), float32
        1 where a document has a label.
    """

    names: list[str]
    matrix: Any

    def __len__(self) -> int:
        """Return the number of documents."""
        return int(self.matrix.shape[0])

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Labels of each document, shape (n,)."""
        return np.diff(self.matrix.indptr).astype(np.int64)

    def share(self, rows: npt.NDArray[Any], others: npt.NDArray[Any] | None = None) -> npt.NDArray[np.bool_]:
        """Return which documents share a label.

        Parameters
        ----------
        rows : ndarray of shape (a,), int64
            Documents.
        others : ndarray of shape (b,), int64, optional
            Those they are compared with; left out, all.

        Returns
        -------
        ndarray of shape (a, b), bool
            A document with a label shares it with itself.
        """
        right = self.matrix if others is None else self.matrix[others]
        return np.asarray((self.matrix[rows] @ right.T).toarray() > 0)


def label_sets(labels: Any, *, aspect: str = "labels", frequent: int | None = None) -> LabelSets:
    """Check the labels of documents in one aspect.

    Parameters
    ----------
    labels : sequence of (collection of str, or None), length n
        One set per document, such as its genres; None or empty where nothing is known.
    aspect : str, default "labels"
        How the aspect is called in an error.
    frequent : int, optional
        Leave out labels of so many documents or more, which say little. Too small leaves nothing to learn from; it
        changes what is asked, so note it with your figures.

    Returns
    -------
    LabelSets
        Labels that at least two documents have.

    Raises
    ------
    InputError
        A text where a set should be, a label that is no text, or no two documents that share one.

    Examples
    --------
    >>> label_sets([{"drama"}, {"drama", "war"}, {"war"}, None]).share(np.array([0])).tolist()
    [[True, True, False, False]]
    """
    from scipy.sparse import csr_matrix

    if frequent is not None:
        check_count(frequent, name="frequent", minimum=3)
    rows = [_one(value, f"{aspect}[{i}]") for i, value in enumerate(labels)]
    counts = Counter(label for row in rows for label in row)
    names = sorted(name for name, count in counts.items() if count >= 2 and (frequent is None or count < frequent))
    if not names:
        limit = "" if frequent is None else f" and fewer than {frequent}"
        given = f"aspect {aspect!r} without a label of at least two documents{limit}"
        raise InputError(message(given, "documents that share labels", "bring more, or raise frequent"))
    number = {name: i for i, name in enumerate(names)}
    known = [sorted(number[label] for label in row if label in number) for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in known])])
    columns = np.array([column for row in known for column in row], dtype=np.int32)
    return LabelSets(names, csr_matrix((np.ones(len(columns), np.float32), columns, indptr), (len(known), len(names))))


def _one(value: Any, name: str) -> set[str]:
    if value is None:
        return set()
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        given = f"{name} of type {type(value).__name__}"
        raise InputError(message(given, "a set of labels", "write {'drama'} for one label"))
    found = set(value)
    odd = next((label for label in found if not isinstance(label, str)), None)
    if odd is not None:
        raise InputError(message(f"{name} with the label {odd!r}", "texts", "convert labels with str()"))
    return found


@dataclass(frozen=True)
class AspectFigure:
    """How well one space finds what belongs together in one aspect.

    Attributes
    ----------
    precision : float
        Share of the k nearest that share a label, over documents with a partner. Of a document with fewer than k
        partners it is the share of those that were found.
    chance : float
        What an order at random would have.
    judged : int
        Documents with a partner.
    """

    precision: float
    chance: float
    judged: int

    @property
    def lift(self) -> float:
        """How many times better than chance; equal lifts in all aspects mean that a space has no preference."""
        return self.precision / self.chance


def judge_aspects(
    spaces: Mapping[str, npt.ArrayLike], labels: Mapping[str, Sequence[Any] | LabelSets], *, k: int = 10
) -> dict[str, dict[str, AspectFigure]]:
    """Say which spaces find what belongs together in which aspects, by the k nearest of each document.

    Use documents that nothing was trained on. A generic space judged this way shows what it prefers without saying so,
    such as topic over method.

    Parameters
    ----------
    spaces : mapping of str to array-like of shape (n, d)
        Vectors of the same documents by name of the space; compared by cosine.
    labels : mapping of str to sequence of (collection of str, or None), or to LabelSets
        By aspect, labels of the documents.
    k : int, default 10
        Neighbours looked at.

    Returns
    -------
    dict of str to dict of str to AspectFigure
        By space, then by aspect.

    Raises
    ------
    InputError
        No two documents that share a label, or k below 1.
    DimensionError
        Different numbers of documents.

    Notes
    -----
    A document is not its own neighbour. Documents without a label or a partner are neighbours but not judged. Cost:
    O(n^2 d) per space.

    References
    ----------
    Ostendorff et al.: Specialized document embeddings for aspect-based similarity. arXiv 2203.14541, section 4.

    Examples
    --------
    >>> told = judge_aspects(
    ...     {"by sign": [[1.0], [2.0], [-1.0], [-3.0]]}, {"kind": [{"a"}, {"a"}, {"b"}, {"b"}]}, k=1
    ... )
    >>> told["by sign"]["kind"].precision
    1.0
    """
    check_count(k, name="k")
    sets = {name: one if isinstance(one, LabelSets) else label_sets(one, aspect=name) for name, one in labels.items()}
    out: dict[str, dict[str, AspectFigure]] = {}
    for space, given in spaces.items():
        X = as_vectors(given, name=f"vectors of {space}")
        wrong = next((name for name, one in sets.items() if len(one) != len(X)), None)
        if wrong is not None:
            counted = f"{len(X)} vectors of {space!r} and labels of {len(sets[wrong])} documents in {wrong!r}"
            raise DimensionError(message(counted, "one set per vector", "align them"))
        out[space] = _judged(X, sets, k)
    return out


def _judged(X: npt.NDArray[Any], sets: Mapping[str, LabelSets], k: int) -> dict[str, AspectFigure]:
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    unit = (X / np.where(norms > 0, norms, 1)).astype(np.float32)
    found: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in sets}
    for start in range(0, len(X), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(X)))
        scores = unit[rows] @ unit.T
        scores[rows - start, rows] = -np.inf
        near = top_k(scores, min(k, len(X) - 1))[0]
        for name, one in sets.items():
            related = one.share(rows)
            related[rows - start, rows] = False
            partners = related.sum(axis=1)
            hits = np.take_along_axis(related, near, axis=1).sum(axis=1)
            judged = partners > 0
            chance = partners[judged] * min(k, len(X) - 1) / (len(X) - 1)
            most = np.minimum(k, partners[judged])
            found[name].append(np.stack([hits[judged] / most, chance / most], axis=1))
    out = {}
    for name, parts in found.items():
        both = np.concatenate(parts)
        out[name] = AspectFigure(float(both[:, 0].mean()), float(both[:, 1].mean()), len(both))
    return out
