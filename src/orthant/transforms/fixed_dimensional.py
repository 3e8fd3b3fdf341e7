"""One vector in place of a set of vectors, so that an index of vectors finds sets: fixed dimensional encodings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.distances import norms
from orthant.kernels.multivector.fde import Folding, fold_sets
from orthant.transforms.random_matrices import RandomMatrices
from orthant.types import FloatArray, Ragged
from orthant.validate import as_ragged, check_choice, check_count, check_fraction

__all__ = ["FixedDimensionalEncoding", "carve_balls"]

_KIND = "transform.fixed_dimensional"
_MOST_BITS = 16
_MOST_COLUMNS = 1 << 22
_FILL_SHARE = 2
"""Cells are filled where sets have so many vectors for each cell: below, one vector would stand in too many cells."""


class FixedDimensionalEncoding(Estimator):
    """Encode sets of vectors so that one dot product stands in for their MaxSim score.

    Use it to find candidates among many documents of a late-interaction model with any index of single vectors under
    ``metric="dot"``, and score the candidates exactly. Not as the final score: it is an estimate whose errors are
    larger than the differences between neighbours. `orthant.index.MultiVector` does all of this.

    Parameters
    ----------
    repetitions : int, default 20
        Independent partitions, at least 1. The error falls with their square root; the size grows with them.
    bits : int, default 4
        Hyperplanes of a partition, 0 to 16: 2^bits cells. Few mix tokens that have nothing in common, many leave most
        cells without a document token. 3 to 5 suit documents of 20 to 100 tokens.
    inner_dim : int, default 16
        Columns of a cell, at least 1; random signs project to them. At the dimension of the tokens or above nothing is
        projected.
    final_dim : int, optional
        Columns of the result, by one more random projection. Left out, ``repetitions * 2^bits * inner_dim``.
    final : {"count-sketch", "signs"}, default "count-sketch"
        How: every column is added to one of the final ones, with a sign, or each final one is a sum over all.
    fill_empty : {"auto"} or bool, default "auto"
        Give document cells without a token the token nearest by bits. "auto" does so where the sets seen by ``fit``
        have two tokens for each cell in the mean. Never done for queries.
    normalize : bool, default False
        Bring documents to unit length. Not part of the method, whose estimate needs none; it makes up for documents of
        many topics, whose averages are short though their best tokens are not, and found more of the true neighbours
        on both kinds of tokens that the claims of `muvera` are about.
    budget_bytes : int, default 4294967296
        Largest result of one call; a larger one is refused with its size, since it is easily asked for by mistake.
    seed : int, default 0
        Of all random parts. Both sides need the same.

    Attributes
    ----------
    n_features_in_ : int
        Dimension d of the tokens.
    dim_ : int
        Columns of the result.
    fill_empty_ : bool
        Whether document cells are filled.
    fingerprint_ : str
        Identity: two encodings can be compared where it is equal.

    Notes
    -----
    In repetition r, token x falls into the cell of the signs of ``G_r x`` and counts ``psi_r(x) = S_r x / sqrt(p)``.
    A query adds up each cell, a document averages it:
    ``<F(Q), F(P)> = sum_r sum_q <psi_r(q), mean of psi_r(p) over p in the cell of q>``, about ``repetitions`` times
    ``sum_q max_p <q, p>``, since tokens of one cell are likely to be near. Compare by dot product: lengths of queries
    and, without ``normalize``, of documents mean something. Cost: ``fold_sets`` of `orthant.kernels.multivector.fde`.

    References
    ----------
    L. Dhulipala, M. Hadian, R. Jayaram, J. Lee, V. Mirrokni: MUVERA: Multi-vector retrieval via fixed dimensional
    encodings. arXiv 2405.19504, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> documents = [rng.standard_normal((8, 32)) for _ in range(50)]
    >>> encoding = FixedDimensionalEncoding().fit(documents)
    >>> scores = encoding.transform_queries([documents[7][:3]]) @ encoding.transform(documents).T
    >>> encoding.dim_, int(scores.argmax())
    (5120, 7)
    """

    n_features_in_: int
    dim_: int
    fill_empty_: bool
    fingerprint_: str

    def __init__(
        self,
        *,
        repetitions: int = 20,
        bits: int = 4,
        inner_dim: int = 16,
        final_dim: int | None = None,
        final: Literal["count-sketch", "signs"] = "count-sketch",
        fill_empty: bool | Literal["auto"] = "auto",
        normalize: bool = False,
        budget_bytes: int = 4 << 30,
        seed: int = 0,
    ) -> None:
        self.repetitions = repetitions
        self.bits = bits
        self.inner_dim = inner_dim
        self.final_dim = final_dim
        self.final = final
        self.fill_empty = fill_empty
        self.normalize = normalize
        self.budget_bytes = budget_bytes
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> FixedDimensionalEncoding:
        """Take over the dimension of the tokens and, where that is left to it, decide whether cells are filled.

        Parameters
        ----------
        X : Ragged, or sequence of array-like of shape (length, d)
            Sets like those of the documents; a few hundred are enough.
        y : ignored
            Present for pipelines.

        Returns
        -------
        FixedDimensionalEncoding
            Self.

        Raises
        ------
        InputError
            Settings out of range, no set or an empty one, NaN or infinity, or more columns than 2^22.
        """
        tokens = as_ragged(X, name="sets", nonempty=True)
        if not len(tokens):
            raise InputError(message("no sets", "at least one", "pass some of the documents"))
        repetitions, inner = check_count(self.repetitions, name="repetitions"), self._inner(tokens.values.shape[1])
        bits = check_count(self.bits, name="bits", minimum=0, maximum=_MOST_BITS)
        if self.final_dim is not None:
            check_count(self.final_dim, name="final_dim")
        check_choice(self.final, ("count-sketch", "signs"), name="final")
        check_count(self.budget_bytes, name="budget_bytes")
        if not isinstance(self.normalize, (bool, np.bool_)):
            raise InputError(message(f"normalize={self.normalize!r}", "True or False", "choose one of these"))
        columns = repetitions * inner << bits
        if columns > _MOST_COLUMNS:
            given = f"{columns} columns ({repetitions} repetitions, {1 << bits} cells, {inner} columns each)"
            raise InputError(message(given, f"at most {_MOST_COLUMNS}", "lower bits or repetitions"))
        if self.fill_empty == "auto":
            self.fill_empty_ = bool(len(tokens.values) >= _FILL_SHARE * len(tokens) << bits)
        elif isinstance(self.fill_empty, (bool, np.bool_)):
            self.fill_empty_ = bool(self.fill_empty)
        else:
            raise InputError(message(f"fill_empty={self.fill_empty!r}", "'auto', True or False", "choose one of these"))
        self.n_features_in_ = tokens.values.shape[1]
        self._draw()
        return self

    def _inner(self, dim: int) -> int:
        return min(check_count(self.inner_dim, name="inner_dim"), dim)

    def _draw(self) -> None:
        dim, source = self.n_features_in_, RandomMatrices(self.seed)
        inner, bits = self._inner(dim), int(self.bits)
        width = self.repetitions * inner << bits
        projection = None
        if inner < dim:
            projection = source.signs("fde/inner", (dim, self.repetitions * inner)) / np.float32(np.sqrt(inner))
        targets, signs = None, None
        if self.final_dim is not None and self.final == "count-sketch":
            targets, signs = source.count_sketch("fde/final", width, self.final_dim)
        elif self.final_dim is not None:
            signs = source.signs("fde/final", (width, self.final_dim)) / np.float32(np.sqrt(self.final_dim))
        self.dim_ = width if self.final_dim is None else self.final_dim
        planes = source.gaussian("fde/planes", (dim, self.repetitions * bits))
        self._folding = Folding(self.repetitions, bits, inner, planes, projection, targets, signs, self.dim_)
        settings = (self.repetitions, bits, inner, self.final_dim, self.final, self.fill_empty_, bool(self.normalize))
        about = (dim, *settings, int(self.seed))
        self.fingerprint_ = hashlib.sha256(repr(about).encode()).hexdigest()[:16]

    def transform(self, X: Any, *, threads: int | None = None) -> FloatArray:
        """Encode documents.

        Parameters
        ----------
        X : Ragged, or sequence of array-like of shape (length, d)
            Sets of vectors, none empty.
        threads : int, optional
            Threads at most; the result is the same for any.

        Returns
        -------
        ndarray of shape (n, dim_), float32
            The encodings.

        Raises
        ------
        InputError
            Empty sets, other columns than those of ``fit``, NaN or infinity, or a result above ``budget_bytes``.
        """
        return self._encode(X, "documents", threads, mean=True)

    def transform_queries(self, Q: Any, *, threads: int | None = None) -> FloatArray:
        """Encode queries, whose cells are added up and stay empty where there is nothing to add.

        Parameters
        ----------
        Q : Ragged, or sequence of array-like of shape (length, d)
            Sets of vectors, none empty; without padding.
        threads : int, optional
            As for ``transform``.

        Returns
        -------
        ndarray of shape (q, dim_), float32
            The encodings, to be compared with those of documents by dot product.

        Raises
        ------
        InputError
            As for ``transform``.
        """
        return self._encode(Q, "queries", threads, mean=False)

    def _encode(self, X: Any, name: str, threads: int | None, *, mean: bool) -> FloatArray:
        check_is_fitted(self)
        tokens = as_ragged(X, dim=self.n_features_in_, name=name, nonempty=True)
        size = 4 * self.dim_ * len(tokens)
        if size > self.budget_bytes:
            given = f"{len(tokens)} {name} of {self.dim_} columns, {size} bytes"
            remedy = "encode in parts, lower final_dim or raise budget_bytes"
            raise InputError(message(given, f"at most {self.budget_bytes} bytes in one call", remedy))
        fill = mean and self.fill_empty_
        out = fold_sets(tokens.values, tokens.offsets, self._folding, mean=mean, fill=fill, threads=threads)
        if mean and self.normalize:
            lengths = norms(out)
            out /= np.where(lengths > 0, lengths, 1.0).astype(np.float32)[:, None]
        return out

    def save(self, path: str | Path) -> None:
        """Write the settings to a folder; the random parts follow from the seed.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        learned = {"features": self.n_features_in_, "filled": self.fill_empty_, "fingerprint": self.fingerprint_}
        arrays: dict[str, npt.NDArray[Any]] = {"probe": self._folding.planes.ravel()[:16].copy()}
        write_artifact(path, kind=_KIND, arrays=arrays, config={**self.get_params(), **learned})

    @classmethod
    def load(cls, path: str | Path) -> FixedDimensionalEncoding:
        """Read an encoding from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        FixedDimensionalEncoding
            A fitted one.

        Raises
        ------
        InputError
            This NumPy draws other random numbers than the one that saved.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(**{name: config[name] for name in cls._parameter_names()})
        out.n_features_in_, out.fill_empty_ = int(config["features"]), bool(config["filled"])
        out._draw()
        probe = out._folding.planes.ravel()[:16]
        if out.fingerprint_ != config["fingerprint"] or not np.allclose(probe, arrays["probe"], rtol=0, atol=1e-6):
            given = f"an encoding whose random numbers this NumPy ({np.__version__}) draws otherwise"
            raise InputError(message(given, "the same numbers", "encode again, or use the NumPy that saved it"))
        return out


def carve_balls(Q: Any, threshold: float = 0.7) -> Ragged:
    """Join query tokens that say nearly the same, so that exact scoring has fewer of them to compare.

    Parameters
    ----------
    Q : Ragged, or sequence of array-like of shape (length, d)
        Queries, tokens of unit length.
    threshold : float, default 0.7
        Dot product from which a token is joined to an earlier one, 0 to 1. At 1 only equal tokens are joined, which
        changes no score; below 0.5 most of a query is.

    Returns
    -------
    Ragged
        In place of each group, the sum of its tokens; groups in the order of their first tokens.

    Raises
    ------
    InputError
        Tokens that do not fit, or a threshold out of range.

    Notes
    -----
    The first token that is in no group yet takes all others without one that are within the threshold. The MaxSim score
    of the result is at most that of all tokens: ``max_p <a + b, p> <= max_p <a, p> + max_p <b, p>``. Cost: O(m^2 d)
    for a query of m tokens.

    References
    ----------
    arXiv 2405.19504, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> carve_balls([np.array([[1, 0], [0, 1], [0.8, 0.6]])]).values.round(1).tolist()
    [[1.7999999523162842, 0.6000000238418579], [0.0, 1.0]]
    """
    tokens = as_ragged(Q, name="queries")
    least = check_fraction(threshold, name="threshold")
    parts, counts = [], [0]
    for i in range(len(tokens)):
        one = tokens[i]
        near = one @ one.T >= least - 1e-6
        free = np.ones(len(one), dtype=bool)
        groups = []
        for j in range(len(one)):
            if free[j]:
                members = near[j] & free
                members[j] = True
                groups.append(one[members].sum(axis=0))
                free &= ~members
        parts += groups
        counts.append(len(groups))
    values = np.stack(parts) if parts else tokens.values[:0]
    return Ragged(np.ascontiguousarray(values, dtype=np.float32), np.cumsum(counts, dtype=np.int64))
