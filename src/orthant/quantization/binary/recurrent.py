"""Recurrent binarisation: signs, and signs of what the signs before left over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, StoreCorruptedError, message
from orthant.estimator import check_is_fitted
from orthant.kernels.binary.planes import grid_values
from orthant.kernels.distances import norms
from orthant.quantization.binary.grid import GridQuantizer, principal_rows, projected, ratio
from orthant.quantization.binary.signs import ITQ, STEPS
from orthant.transforms.layers import Layer
from orthant.transforms.network import Network, describe_layers, rebuild_layers
from orthant.types import CodeArray, FloatArray
from orthant.validate import as_vectors, check_count

__all__ = ["RecurrentBinary"]

_KIND = "quantization.recurrent_binary"
_RIDGE = 1e-3


class RecurrentBinary(GridQuantizer):
    """Compress vectors to signs, and to signs of what the signs before left over: 1, 2 or 4 bits for each dimension.

    Use it when codes are trained: ``orthant.learn.train_recurrent_binary`` makes one of pairs that belong together, or
    one whose codes may be searched beside those of an older version. Untrained, as ``fit`` leaves it, it is close to
    `ITQ` with as many bits. What was trained has codes of directions, for cosines.

    Parameters
    ----------
    dim : int, optional
        Dimensions of a code, from 1 to d where it is fitted; d where left out. Codes take ``dim * bits / 8`` bytes.
    bits : {1, 2, 4}, default 2
        Signs for each dimension; the first is the coarse one. 1 is plain hashing.
    unit : bool, default False
        Keep directions only, for cosines: no mean, no constant, and codes that may be compared with each other.
    seed : int, default 0
        Of the first rotation.

    Attributes
    ----------
    encoders_ : tuple of Network
        W_0 to W_(bits - 1), from d to dim values.
    decoders_ : tuple of Network
        R_0 to R_(bits - 2), from dim to d values.
    readout_ : ndarray of shape (dim, d), float32
        From codes back to vectors; orthonormal.
    forward_ : ndarray of shape (dim, d), float32
        Least squares from vectors to codes, for queries that are not coded.
    compatible_with_ : tuple of str
        Fingerprints of older quantizers whose codes may be compared with these.
    code_dim_, n_features_in_ : int
        Dimensions of a code and of a vector.

    Notes
    -----
    For a row f, scaled to unit length, sign(0) being 1::

        b_0 = sign(W_0(f))
        b_i = b_(i-1) + 2^-i sign(W_i(f - R_(i-1)(b_(i-1)) / |R_(i-1)(b_(i-1))|))

    b lies on a grid of odd numbers over 2^(bits - 1). ``fit`` is the closed form: W_i all project on the principal
    directions after the rotation of `ITQ`, R_i goes back by the same, with a bias outside of it for the length.
    Cost: O(n d^2 + d^3) to fit, the networks' products to encode.

    References
    ----------
    Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((1000, 16)) @ rng.standard_normal((16, 64))).astype(np.float32)
    >>> quantizer = RecurrentBinary(dim=16, bits=2, unit=True).fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, bool(np.sum(quantizer.decode(codes) * X) > 0.9 * np.linalg.norm(X, axis=1).sum())
    ((1000, 4), True)
    """

    forward_: FloatArray
    encoders_: tuple[Network, ...]
    decoders_: tuple[Network, ...]
    compatible_with_: tuple[str, ...]

    def __init__(self, *, dim: int | None = None, bits: int = 2, unit: bool = False, seed: int = 0) -> None:
        self.dim = dim
        self.bits = bits
        self.unit = unit
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> RecurrentBinary:
        """Find the closed form: linear maps, without training.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors, some times more than d.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol.

        Returns
        -------
        RecurrentBinary
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or settings out of range.
        """
        matrix = _unit(self._begin(X))
        turned = ITQ(dim=self.dim, unit=True, seed=check_count(self.seed, name="seed", minimum=0)).fit(matrix)
        return self._close(matrix, turned.readout_)

    def fit_turned(self, X: npt.ArrayLike, other: RecurrentBinary) -> RecurrentBinary:
        """Find the closed form with the rotation that ``fit`` found for another one, which is most of its work.

        Where codes of other bits for as many dimensions are wanted of the same vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The vectors that the other one was fitted on.
        other : RecurrentBinary
            Fitted by ``fit``; of the same `unit` and `seed`, the outcome is that of ``fit`` to the last bit.

        Returns
        -------
        RecurrentBinary
            Self.

        Raises
        ------
        InputError, NotFittedError
            The other one is no RecurrentBinary, or not fitted.
        DimensionError
            Another dimension of vectors or of codes.
        """
        _check_other(other)
        matrix = _unit(self._begin(X))
        wanted = (matrix.shape[1] if self.dim is None else self.dim, matrix.shape[1])
        if other.forward_.shape != wanted:
            given = "a rotation of {} dimensions of {}".format(*other.forward_.shape)
            raise DimensionError(message(given, "{} of {}".format(*wanted), "use fit"))
        return self._close(matrix, other.forward_)

    def fit_through(self, X: npt.ArrayLike, projection: npt.ArrayLike) -> RecurrentBinary:
        """Find the closed form behind a linear map that was learned elsewhere, such as on pairs.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors.
        projection : array-like of shape (dim, d)
            The map, of as many rows as a code has dimensions.

        Returns
        -------
        RecurrentBinary
            Self, with ``unit=True``.

        Raises
        ------
        DimensionError
            A map from another dimension.
        """
        self.unit = True
        matrix = _unit(self._begin(X))
        rows = as_vectors(projection, dim=matrix.shape[1], name="projection")
        self.dim = len(rows)
        turned = ITQ(unit=True, seed=check_count(self.seed, name="seed", minimum=0)).fit(projected(matrix, rows))
        return self._close(matrix, projected(turned.readout_, np.ascontiguousarray(rows.T)))

    def _close(self, matrix: FloatArray, rows: FloatArray) -> RecurrentBinary:
        encoder = Network([Layer("linear", {"weight": rows})])
        self._take([encoder] * self.bits, self._closed_decoders(matrix, rows), _way_back(rows).T, ())
        self.forward_ = rows
        return self

    def _closed_decoders(self, matrix: FloatArray, rows: FloatArray) -> list[Network]:
        """Decoders whose outputs, at unit length, subtract from a projection what a grid of even steps would."""
        back, outside = _way_back(rows), _outside(matrix, rows)
        inside = float(norms(projected(matrix, rows)).mean()) * STEPS[self.bits] * (1 << self.bits) / 4
        wanted = np.sqrt(len(rows)) / max(inside, 1e-30)
        total, out, rest = np.zeros((len(matrix), len(rows)), dtype=np.float32), [], matrix
        for i in range(self.bits - 1):
            total += _signs(projected(rest, rows)) / np.float32(1 << i)
            # What is too long at unit length gets the rest of its length where the projection does not look.
            missing = wanted**2 - float((norms(projected(total, back)) ** 2).mean())
            beside = (np.sqrt(max(0.0, missing)) * outside).astype(np.float32)
            out.append(Network([Layer("linear", {"weight": back, "bias": beside})]))
            rest = matrix - _unit(out[i].transform(total))
        return out

    def fit_beside(self, X: npt.ArrayLike, older: RecurrentBinary, old: npt.ArrayLike) -> RecurrentBinary:
        """Find linear maps whose codes resemble those that an older quantizer gives to the same things.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors.
        older : RecurrentBinary
            Fitted, of codes of directions; its `dim` and `bits` are taken.
        old : array-like of shape (n, e)
            The same things as the older quantizer's vectors.

        Returns
        -------
        RecurrentBinary
            Self, with ``unit=True``, compatible with the older one.

        Raises
        ------
        DimensionError
            Another number of rows.
        InputError, NotFittedError
            The older one is no RecurrentBinary, or not fitted.

        Notes
        -----
        W_i is least squares from the vectors (or what is left of them) to the older signs of level i, R_i from the sum
        of these signs to the vectors. Where both are the same vectors, the older quantizer itself is better.
        """
        _check_other(older)
        self.unit, self.bits, self.dim = True, older.bits, older.code_dim_
        matrix = _unit(self._begin(X))
        levels = older.levels(old)
        if len(levels) != len(matrix):
            given = f"{len(levels)} old vectors for {len(matrix)} new ones"
            raise DimensionError(message(given, "as many of each, in one order", "align the rows"))
        encoders, decoders, rest = [], [], matrix
        total = np.zeros(levels.shape, dtype=np.float32)
        for i in range(self.bits):
            signs = grid_values((levels >> (self.bits - 1 - i) & 1).astype(np.uint8), 1).astype(np.float32)
            encoders.append(Network([Layer("linear", {"weight": _least_squares(rest, signs).T})]))
            total += signs / np.float32(1 << i)
            if i + 1 < self.bits:
                decoders.append(Network([Layer("linear", {"weight": _least_squares(total, matrix).T})]))
                rest = matrix - _unit(decoders[i].transform(total))
        self._take(encoders, decoders, _readout(total, matrix), (older.fingerprint, *older.compatible_with_))
        self.forward_ = _least_squares(matrix, total).T
        return self

    @classmethod
    def from_networks(
        cls,
        encoders: Sequence[Network],
        decoders: Sequence[Network],
        *,
        sample: npt.ArrayLike,
        compatible_with: Sequence[str] = (),
    ) -> RecurrentBinary:
        """Make a fitted quantizer of networks that were trained elsewhere.

        Parameters
        ----------
        encoders : sequence of 1, 2 or 4 Network
            W_0, W_1 ..., all from d to dim values.
        decoders : sequence of Network
            R_0, R_1 ..., one fewer, from dim to d values.
        sample : array-like of shape (n, d)
            Vectors for the readout.
        compatible_with : sequence of str
            Fingerprints of quantizers that they were trained to be comparable with.

        Returns
        -------
        RecurrentBinary
            A fitted one.

        Raises
        ------
        DimensionError
            Networks that do not belong together.
        """
        widths = {(network.dim_in, network.dim) for network in encoders} | {(n.dim, n.dim_in) for n in decoders}
        if len(widths) != 1 or len(decoders) != len(encoders) - 1:
            given = f"{len(encoders)} encoders and {len(decoders)} decoders of widths {sorted(widths, key=str)}"
            raise DimensionError(message(given, "one width of vectors and one of codes", "pass W_0 ... and R_0 ..."))
        out = cls(dim=encoders[0].dim, bits=len(encoders), unit=True)
        dim_in, dim = encoders[0].dim_in or 0, encoders[0].dim or 0
        matrix = _unit(out._begin(as_vectors(sample, dim=dim_in)))
        out._take(encoders, decoders, np.zeros((dim, dim_in), dtype=np.float32), compatible_with)
        values = grid_values(out.levels(matrix), out.bits).astype(np.float32)
        out.readout_, out.forward_ = _readout(values, matrix), _least_squares(matrix, values).T
        return out

    def _take(
        self, encoders: Sequence[Network], decoders: Sequence[Network], readout: FloatArray, older: Sequence[str]
    ) -> None:
        self.encoders_, self.decoders_ = tuple(encoders), tuple(decoders)
        self.readout_, self.compatible_with_ = np.ascontiguousarray(readout), tuple(older)
        self.code_dim_, self.n_features_in_ = readout.shape

    def _levels(self, X: FloatArray) -> CodeArray:
        unit = rest = _unit(X)
        total = np.zeros((len(X), self.code_dim_), dtype=np.float32)
        levels = np.zeros(total.shape, dtype=np.uint8)
        for i, encoder in enumerate(self.encoders_):
            signs = _signs(encoder.transform(rest))
            total += signs / np.float32(1 << i)
            levels = (levels << 1 | (signs > 0)).astype(np.uint8)
            if i < len(self.decoders_):
                rest = unit - _unit(self.decoders_[i].transform(total))
        return levels

    def project(self, Q: npt.ArrayLike) -> FloatArray:
        """Return queries in the space of the codes, by least squares from vectors to codes.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.

        Returns
        -------
        ndarray of shape (q, code_dim_), float32
            What their codes are about: trained codes may say other things than the vectors that they decode to.
        """
        check_is_fitted(self)
        return projected(as_vectors(Q, dim=self.n_features_in_, name="queries"), self.forward_)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {
            "mean": self.mean_,
            "readout": self.readout_,
            "forward": self.forward_,
        }
        for name, networks in (("encoder", self.encoders_), ("decoder", self.decoders_)):
            for i, network in enumerate(networks):
                describe_layers(network.layers, f"{name}{i}.", arrays)
        return arrays

    def save(self, path: str | Path) -> None:
        """Write the quantizer to a folder: safetensors and JSON.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        described: dict[str, Any] = {
            name: [describe_layers(network.layers, f"{name}{i}.", {}) for i, network in enumerate(networks)]
            for name, networks in (("encoder", self.encoders_), ("decoder", self.decoders_))
        }
        config = {**self.get_params(), "networks": described, "compatible_with": list(self.compatible_with_)}
        write_artifact(path, kind=_KIND, arrays=self._arrays(), config=config)

    @classmethod
    def load(cls, path: str | Path) -> RecurrentBinary:
        """Read a quantizer from a folder, whether it was fitted or trained; torch is not needed.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        RecurrentBinary
            A fitted one.

        Raises
        ------
        StoreCorruptedError
            Networks and arrays that do not belong together.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(**{name: config[name] for name in cls._parameter_names()})
        try:
            made = {
                name: [Network(rebuild_layers(one, f"{name}{i}.", arrays)) for i, one in enumerate(networks)]
                for name, networks in config["networks"].items()
            }
            out.mean_, out.forward_ = arrays["mean"], arrays["forward"]
            out._take(made["encoder"], made["decoder"], arrays["readout"], config["compatible_with"])
        except (KeyError, TypeError, AttributeError, InputError) as error:
            given = f"a quantizer at {path} whose networks and arrays do not belong together ({error})"
            raise StoreCorruptedError(message(given, "what save wrote", "restore the folder")) from error
        return out


def _signs(X: FloatArray) -> FloatArray:
    return np.where(X >= 0, np.float32(1), np.float32(-1))


def _unit(X: FloatArray) -> FloatArray:
    """Rows at unit length; what has no direction stays zero."""
    lengths = norms(X)
    return (X * ratio(np.ones(len(X)), lengths)[:, None]).astype(np.float32)


def _outside(X: FloatArray, rows: FloatArray) -> FloatArray:
    """The direction across the rows in which vectors are shortest; zeros where the rows span everything."""
    back = _way_back(rows)
    directions = principal_rows(X - projected(projected(X, rows), back), None)
    across = directions - projected(projected(directions, rows), back)
    lengths = norms(across)
    found = np.flatnonzero(lengths > 0.5)
    if len(rows) >= X.shape[1] or not len(found):
        return np.zeros(X.shape[1], dtype=np.float32)
    return (across[found[-1]] / lengths[found[-1]]).astype(np.float32)


def _way_back(rows: FloatArray) -> FloatArray:
    """The pseudo-inverse of shape (d, dim): the transpose, where rows are orthonormal."""
    return np.linalg.pinv(rows.astype(np.float64)).astype(np.float32)


def _readout(codes: FloatArray, X: FloatArray) -> FloatArray:
    """The matrix M with orthonormal rows (or columns, where there are more rows) with the smallest ``|codes M - a X|``.

    Least squares would shrink the directions that codes tell less of, and rank by what is left.
    """
    left, _, right = np.linalg.svd(codes.T.astype(np.float64) @ X.astype(np.float64), full_matrices=False)
    return (left @ right).astype(np.float32)


def _least_squares(X: FloatArray, Y: FloatArray) -> FloatArray:
    """The matrix M with the smallest ``|X M - Y|``, kept from running away in directions that X hardly has."""
    wide = X.astype(np.float64)
    gram = wide.T @ wide
    gram[np.diag_indices_from(gram)] += _RIDGE * max(float(np.trace(gram)), 1e-30) / len(gram)
    return np.linalg.solve(gram, wide.T @ Y.astype(np.float64)).astype(np.float32)


def _check_other(other: Any) -> None:
    if not isinstance(other, RecurrentBinary):
        given = f"a quantizer {type(other).__name__}"
        raise InputError(message(given, "a fitted RecurrentBinary", "pass the one whose codes these should resemble"))
    check_is_fitted(other)
