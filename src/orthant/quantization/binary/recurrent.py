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

_KIND = "quantization.recurrent-binary"


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
    directions after the rotation of `ITQ`, R_i goes back by the same, with a bias outside of it that makes up the length. Cost: O(n d^2 + d^3) to fit, the
    networks' products to encode.

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
        encoder = Network([Layer("linear", {"weight": turned.readout_})])
        self._take([encoder] * self.bits, self._closed_decoders(matrix, turned.readout_), turned.readout_, ())
        return self

    def _closed_decoders(self, matrix: FloatArray, rows: FloatArray) -> list[Network]:
        """Decoders whose outputs, at unit length, subtract from a projection what a grid of even steps would."""
        inside = float(norms(projected(matrix, rows)).mean()) * STEPS[self.bits] * (1 << self.bits) / 4
        total, out = np.zeros((len(matrix), len(rows)), dtype=np.float32), []
        rest = matrix
        for i in range(self.bits - 1):
            total += _signs(projected(rest, rows)) / np.float32(1 << i)
            length = float(norms(total).mean())
            share = inside * length / np.sqrt(len(rows))
            # What is too long at unit length gets the rest of its length where the projection does not look.
            beside = length * np.sqrt(max(0.0, share**-2 - 1)) * _outside(matrix, rows)
            out.append(Network([Layer("linear", {"weight": rows.T, "bias": beside})]))
            rest = matrix - _unit(out[i].transform(total))
        return out

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
        out.readout_ = _readout(values, matrix)
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
            levels = levels << 1 | (signs > 0)
            if i < len(self.decoders_):
                rest = unit - _unit(self.decoders_[i].transform(total))
        return levels

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {"mean": self.mean_, "readout": self.readout_}
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
            out.mean_ = arrays["mean"]
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
    directions = principal_rows(X - projected(X, rows) @ rows, None)
    across = directions - projected(directions, rows) @ rows
    lengths = norms(across)
    found = np.flatnonzero(lengths > 0.5)
    if len(rows) >= X.shape[1] or not len(found):
        return np.zeros(X.shape[1], dtype=np.float32)
    return (across[found[-1]] / lengths[found[-1]]).astype(np.float32)


def _readout(codes: FloatArray, X: FloatArray) -> FloatArray:
    """The matrix M with orthonormal rows (or columns, where there are more rows) with the smallest ``|codes M - a X|``.

    Least squares would shrink the directions that codes tell less of, and rank by what is left.
    """
    left, _, right = np.linalg.svd(codes.T.astype(np.float64) @ X.astype(np.float64), full_matrices=False)
    return (left @ right).astype(np.float32)
