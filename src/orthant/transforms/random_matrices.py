"""Random matrices by name: one seed, a stream of its own for each use, and the same numbers on every platform."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from orthant.kernels.rotations import haar
from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = ["RandomMatrices"]


class RandomMatrices:
    """Random matrices that depend on a seed and a name, and on nothing that was drawn before.

    Both sides of an asymmetric method, and a process that loads what another one saved, get the same matrix by asking
    for the same name. Use one name for one purpose; two matrices of one name are equal, not independent.

    Parameters
    ----------
    seed : int, default 0
        At least 0.

    Raises
    ------
    InputError
        A seed that is negative or no integer.

    Notes
    -----
    A stream is NumPy's Philox generator under a key of 128 bits, the BLAKE2b digest of seed and name. Philox is a
    counter through a fixed function, so streams of different keys do not overlap and do not depend on the machine.

    References
    ----------
    J. Salmon et al.: Parallel random numbers: as easy as 1, 2, 3. SC 2011, section 3.

    Examples
    --------
    >>> source = RandomMatrices(7)
    >>> first = source.gaussian("planes", (3, 2))
    >>> bool((first == RandomMatrices(7).gaussian("planes", (3, 2))).all())
    True
    >>> bool((first == source.gaussian("other planes", (3, 2))).all())
    False
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_count(seed, name="seed", minimum=0)

    def stream(self, name: str) -> np.random.Generator:
        """Return the generator of a name, at its beginning.

        Parameters
        ----------
        name : str
            What the numbers are for.

        Returns
        -------
        numpy.random.Generator
            A fresh one at each call.
        """
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))

    def gaussian(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Return independent standard normal values.

        Parameters
        ----------
        name : str
            The stream.
        shape : tuple of int
            Its shape.

        Returns
        -------
        ndarray of the given shape, float32
            The values.
        """
        return self.stream(name).standard_normal(shape).astype(np.float32)

    def signs(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Return independent signs, 1 and -1 with equal chances.

        Parameters
        ----------
        name : str
            The stream.
        shape : tuple of int
            Its shape.

        Returns
        -------
        ndarray of the given shape, float32
            The signs.
        """
        return (2 * self.stream(name).integers(0, 2, shape) - 1).astype(np.float32)

    def count_sketch(self, name: str, inputs: int, outputs: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Return where each input coordinate goes, and with which sign.

        Parameters
        ----------
        name : str
            The stream.
        inputs, outputs : int
            Coordinates before and after.

        Returns
        -------
        targets : ndarray of shape (inputs,), int64
            Uniform from 0 to outputs - 1.
        signs : ndarray of shape (inputs,), float32
            1 or -1.

        Notes
        -----
        ``y[targets[i]] += signs[i] x[i]`` keeps dot products in the mean, without a scale.
        """
        rng = self.stream(name)
        targets = rng.integers(0, outputs, inputs)
        return targets.astype(np.int64), (2 * rng.integers(0, 2, inputs) - 1).astype(np.float32)

    def orthogonal(self, name: str, size: int) -> FloatArray:
        """Return an orthogonal matrix drawn uniformly.

        Parameters
        ----------
        name : str
            The stream.
        size : int
            Rows and columns.

        Returns
        -------
        ndarray of shape (size, size), float32
            The matrix. Its last bits may differ between linear-algebra libraries.
        """
        return haar(size, self.stream(name)).astype(np.float32)
