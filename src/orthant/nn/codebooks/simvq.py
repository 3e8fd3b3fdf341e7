"""A frozen random codebook behind one linear layer: no codeword can be left behind."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from orthant.errors import InputError, message, warn
from orthant.nn.codebooks.codebook import Codebook, drawn_words
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.usage import CodeUsage
from orthant.types import FloatArray
from orthant.validate import check_fraction

__all__ = ["SimVQ"]


class SimVQ(Codebook):
    """Replace vectors by the nearest of K codewords that are one linear map of fixed random vectors.

    Where the codebook is large and should be used in full. A step moves the map, and with it all codewords, also those
    that no vector chose; in a plain codebook these stay behind and die.

    Parameters
    ----------
    dim : int
        Dimension of vectors and codewords.
    codebook_size : int
        K, from 2.
    train_codebook : bool, default False
        Train the random vectors too, which works as well. They become a parameter: keep weight decay off them.
    commitment : float, default 0.25
        Weight of the term that draws vectors to their codewords, from 0.
    bias : bool, default True
        Whether the map has an offset; without one, codewords stay centred on the origin.
    rate : float, default 1.0
        How many times the common learning rate the map gets under Adam and its kin, from 0.001 to 1000. 1 is the
        published setting; 10 helps much in runs of a few thousand steps, since the map begins small. Under plain SGD
        the factor counts twice.
    seed : int, default 0
        Of the random vectors and of the map.

    Attributes
    ----------
    base : buffer or Parameter of shape (K, dim)
        C, from N(0, 1 / dim).
    map : Linear
        W and b divided by ``rate``: a step of the optimizer on them is a step of ``rate`` times the size on W.

    Notes
    -----
    Codewords are ``Q = C W^T + b``; the rest is as for every codebook. Codes are decoded by Q, never by C. After
    training, ``bake`` gives Q as a plain matrix, and nothing is left of the map.

    References
    ----------
    Zhu et al.: Addressing representation collapse in vector quantized models with one linear layer. arXiv 2411.02038,
    section 4.

    Examples
    --------
    >>> quantizer = SimVQ(4, 64)
    >>> before = quantizer.codebook().detach().clone()
    >>> optimizer = torch.optim.Adam(quantizer.parameters(), 0.01)
    >>> quantizer(torch.ones(1, 4)).loss.backward()
    >>> optimizer.step()
    >>> bool((quantizer.codebook() != before).any(dim=1).all())
    True
    """

    base: torch.Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        train_codebook: bool = False,
        commitment: float = 0.25,
        bias: bool = True,
        rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, codebook_size, commitment=commitment)
        self.rate = check_fraction(rate, name="rate", low=1e-3, high=1e3)
        first = drawn_words(codebook_size, dim, seed)
        if train_codebook:
            self.base = nn.Parameter(first)
        else:
            # A buffer: no optimizer sees it, and no weight decay shrinks it.
            self.register_buffer("base", first)
        # On its own generator, so that what is made after it does not depend on this module.
        self.map = nn.utils.skip_init(nn.Linear, dim, dim, bias=bias)
        generator, bound = torch.Generator().manual_seed(seed + 1), dim**-0.5
        with torch.no_grad():
            for parameter in self.map.parameters():
                parameter.uniform_(-bound, bound, generator=generator).div_(rate)
        self._untouched = self._fingerprint()

    def _fingerprint(self) -> float:
        return float(self.map.weight.detach().double().sum())

    def words(self, indices: torch.Tensor) -> torch.Tensor:
        """Return codewords, mapped.

        Parameters
        ----------
        indices : Tensor of shape (n,), int64
            Codes, in range.

        Returns
        -------
        Tensor of shape (n, dim)
            Rows of ``C W^T + b``; only those asked for are computed.
        """
        offset = None if self.map.bias is None else self.map.bias * self.rate
        return nn.functional.linear(self.base[indices], self.map.weight * self.rate, offset)

    @torch.no_grad()
    def bake(self) -> FloatArray:
        """Return the codewords as a plain matrix, for use without the map.

        Returns
        -------
        ndarray of shape (codebook_size, dim), float32
            Q, as it is now. A warning says so where the map has not been trained yet.
        """
        if self._fingerprint() == self._untouched:
            warn("SimVQ: the map has not been trained, so these are random codewords. Train it first.")
        return np.ascontiguousarray(self.codebook().cpu().float().numpy())

    def to_quantizer(self, *, usage: CodeUsage | None = None) -> ResidualQuantizer:
        """Return the baked book as a quantizer of one level that needs no torch and gives the same codes.

        Parameters
        ----------
        usage : CodeUsage, optional
            What ``measure_usage`` found, to be kept with it.

        Returns
        -------
        ResidualQuantizer
            A fitted one.
        """
        return ResidualQuantizer.from_codebooks(self.bake()[None], usage=usage)

    @classmethod
    def from_quantizer(cls, quantizer: ResidualQuantizer, *, commitment: float = 0.25, rate: float = 1.0) -> SimVQ:
        """Make a module of a fitted quantizer with one level: its codewords, behind the identity.

        Parameters
        ----------
        quantizer : ResidualQuantizer
            A fitted one with ``levels=1``.
        commitment, rate : float, optional
            As for the class.

        Returns
        -------
        SimVQ
            In training mode; it gives the same codes.

        Raises
        ------
        InputError
            More than one level.
        """
        levels, size, dim = quantizer.codebooks_.shape
        if levels != 1:
            raise InputError(message(f"a quantizer of {levels} levels", "1", "make a ResidualVQ of one for each level"))
        out = cls(dim, size, commitment=commitment, rate=rate)
        with torch.no_grad():
            out.base.copy_(torch.from_numpy(quantizer.codebooks_[0]))
            out.map.weight.copy_(torch.eye(dim) / rate)
            out.map.bias.zero_()
        return out
