"""A weight as codes times a small map, in the two forms that it is trained in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.errors import InputError, message
from orthant.kernels.clustering.nearest import nearest
from orthant.learn.compression.policy import LowRankVQ
from orthant.nn.codebooks.codebook import pass_through
from orthant.quantization import codebooks as books
from orthant.quantization import lowrank_fitting as fitting
from orthant.quantization.lowrank import LowRankVQMatrix

__all__ = ["LowRankWeight"]


class LowRankWeight(nn.Module):
    """The weight of a layer as ``L W~``, and after clustering as ``L C[codes]``.

    `compress` registers it on layers; on its own it is registered by ``torch.nn.utils.parametrize``, whose original
    tensor is W~.

    Parameters
    ----------
    weight : Tensor of shape (out, ...)
        What the layer has. All axes but the first are one row.
    setting : LowRankVQ
        Block, rank, codewords.

    Attributes
    ----------
    lift : Parameter of shape (m, d)
        L; trained where d is below m.
    codebook : Parameter of shape (k, d), or None
        C, once there are codes.
    codes : buffer of shape (blocks,), or None
        One for each block.

    Raises
    ------
    InputError
        A block that does not divide the rows, or more codewords than blocks.

    Notes
    -----
    L begins with the leading directions of the blocks, orthonormal, and is made orthonormal again before clustering
    (``L = Q R``, ``W~ <- R W~``): distances of codes are then distances of weights, which k-means is about.
    The gradient of a codeword is the sum of those of its blocks.

    References
    ----------
    Zhu, Wang, Cheng, Gao: Learning low-rank representations for model compression. arXiv 2211.11397, section 3.

    Examples
    --------
    >>> from torch.nn.utils import parametrize
    >>> layer = nn.Linear(8, 16)
    >>> setting = LowRankVQ(k=8, block=4, rank=2)
    >>> _ = parametrize.register_parametrization(layer, "weight", LowRankWeight(layer.weight, setting))
    >>> layer.weight.shape, layer.parametrizations.weight.original.shape
    (torch.Size([16, 8]), torch.Size([32, 2]))
    """

    codes: Tensor | None
    scales: Tensor | None

    def __init__(self, weight: Tensor, setting: LowRankVQ) -> None:
        super().__init__()
        self.setting = setting
        self.shape = tuple(weight.shape)
        rows = weight.detach().cpu().float().reshape(self.shape[0], -1).numpy()
        blocks = fitting.blocks_of(rows, setting.block)
        if len(blocks) < setting.k:
            given = f"{setting.k} codewords for the {len(blocks)} blocks of a weight of shape {self.shape}"
            raise InputError(message(given, "more blocks than codewords", "leave the layer out, or lower k or block"))
        scales = None
        if setting.scaled:
            rows, found = fitting.level_rows(rows)
            scales, blocks = torch.from_numpy(found), fitting.blocks_of(rows, setting.block)
        lift = torch.from_numpy(fitting.block_directions(blocks, setting.width))
        # With as many directions as weights the map adds nothing that the codewords do not have.
        self.lift = nn.Parameter(lift.to(weight.device), requires_grad=setting.width < setting.block)
        self.codebook: nn.Parameter | None = None
        self.register_buffer("scales", None if scales is None else scales.to(weight.device))
        self.register_buffer("codes", None)

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return W~ of a weight.

        Parameters
        ----------
        weight : Tensor of shape (out, ...)
            The layer's.

        Returns
        -------
        Tensor of shape (blocks, d)
            Codes before they are rounded.
        """
        rows = weight.reshape(self.shape[0], -1)
        rows = rows if self.scales is None else rows / self.scales[:, None]
        return rows.reshape(-1, self.setting.block) @ self.lift

    def forward(self, narrow: Tensor) -> Tensor:
        """Return the weight.

        Parameters
        ----------
        narrow : Tensor of shape (blocks, d)
            W~; only its gradient counts where there are codes, and none where it is frozen.

        Returns
        -------
        Tensor of shape (out, ...)
            As the layer uses it.
        """
        if self.codebook is None or self.codes is None:
            blocks = narrow @ self.lift.T
        elif narrow.requires_grad:
            words = nn.functional.embedding(self.codes, self.codebook)
            blocks = (words + pass_through(torch.zeros_like(narrow), narrow)) @ self.lift.T
        else:
            blocks = nn.functional.embedding(self.codes, self.codebook @ self.lift.T)
        rows = blocks.reshape(self.shape[0], -1)
        return (rows if self.scales is None else rows * self.scales[:, None]).reshape(self.shape)

    @torch.no_grad()
    def cluster(
        self, narrow: Tensor, *, moments: npt.NDArray[np.float64] | None = None, iterations: int = 15, seed: int = 0
    ) -> None:
        """Find codewords and codes; from now on the weight is made of them.

        Parameters
        ----------
        narrow : Tensor of shape (blocks, d)
            W~, changed in place where L was not orthonormal.
        moments : ndarray of shape (columns, columns), float64, optional
            ``X^T X`` of the layer's inputs: codes are chosen for its outputs.
        iterations : int, default 15
            Passes of k-means.
        seed : int, default 0
            Of k-means.
        """
        directions, turn = torch.linalg.qr(self.lift)
        narrow.copy_(narrow @ turn.T)
        self.lift.copy_(directions)
        rows = np.ascontiguousarray(narrow.cpu().numpy())
        words = fitting.codewords(rows, self.setting.k, iterations=iterations, seed=seed)
        if moments is None:
            labels = nearest(rows, words)
        else:
            lift = self.lift.cpu().numpy()
            whole = np.ascontiguousarray((rows @ lift.T).reshape(self.shape[0], -1))
            labels = fitting.chosen_by_error(whole, words, lift, moments).reshape(-1)
        self.codebook = nn.Parameter(torch.from_numpy(words).to(narrow.device))
        self.codes = torch.from_numpy(labels).to(narrow.device)

    @torch.no_grad()
    def assign_again(self, narrow: Tensor) -> float:
        """Give each block the codeword that is nearest to its W~ now.

        Parameters
        ----------
        narrow : Tensor of shape (blocks, d)
            W~, trained with the gradient of the weight.

        Returns
        -------
        float
            Share of the codes that changed.

        Raises
        ------
        InputError
            There are no codes yet.
        """
        if self.codebook is None or self.codes is None:
            raise InputError(message("codes to choose again before clustering", "codes", "call cluster first"))
        found = torch.from_numpy(nearest(np.ascontiguousarray(narrow.cpu().numpy()), self.codebook.cpu().numpy()))
        moved = float((found.to(self.codes.device) != self.codes).float().mean())
        self.codes.copy_(found)
        return moved

    def matrix(self) -> LowRankVQMatrix:
        """Return codes, codebook and map as they are stored.

        Returns
        -------
        LowRankVQMatrix
            Of shape (out, everything else).

        Raises
        ------
        InputError
            There are no codes yet.
        """
        if self.codebook is None or self.codes is None:
            raise InputError(message("a weight without codes", "one that was clustered", "call cluster first"))
        labels = self.codes.cpu().numpy().reshape(self.shape[0], -1)
        parts: tuple[Any, Any] = (self.codebook.detach().cpu().numpy(), self.lift.detach().cpu().numpy())
        scales = None if self.scales is None else self.scales.cpu().numpy()
        columns = labels.shape[1] * self.setting.block
        return LowRankVQMatrix(
            books.codes_of(labels, books.bits_for(self.setting.k)), *parts, columns=columns, scales=scales
        )

    def extra_repr(self) -> str:
        """Return the settings for torch's printout."""
        kind = "codes" if self.codes is not None else "factors"
        return f"{self.shape}, {kind}, block={self.setting.block}, rank={self.setting.width}, k={self.setting.k}"
