"""A codebook of free codewords, moved by gradients or by running means, with dead ones put back to work."""

from __future__ import annotations

import torch
from torch import nn

from orthant.errors import InputError, message
from orthant.nn.codebooks.codebook import Codebook, drawn_words
from orthant.nn.codebooks.usage import code_counts
from orthant.quantization.residual import ResidualQuantizer
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["VectorQuantizer"]

_LARGEST_COUNT = 1e9


class VectorQuantizer(Codebook):
    """Replace vectors by the nearest of K codewords, which learn along.

    Plain gradients let most of a large codebook die: only chosen codewords move. Take ``update="ema"`` with
    ``restart_below`` of about 1, or `SimVQ`, unless the collapse is what is to be shown.

    Parameters
    ----------
    dim : int
        Dimension of vectors and codewords.
    codebook_size : int
        K, from 2.
    update : {"gradient", "ema"}, default "gradient"
        "gradient" makes the codebook a parameter and adds a loss for it; "ema" moves codewords to running means of
        their vectors, without optimizer and without that loss.
    commitment : float, default 0.25
        Weight of the term that draws vectors to their codewords, from 0.
    decay : float, default 0.99
        Share of the past in the running means and counts, from 0 to 1. Too small follows single batches, too near to 1
        lags behind the encoder.
    epsilon : float, default 1e-5
        Added to running counts, so that none is 0, from 0 to 1.
    restart_below : float, default 0.0
        Codewords with a running count of vectors for each step below this are put onto vectors of the batch. 0 never
        does. A tenth of the vectors of a batch over K to all of it is usual; far more keeps the codebook from settling.
    seed : int, default 0
        Of the first codewords and of restarts.

    Attributes
    ----------
    weight : Parameter or buffer of shape (K, dim)
        Codewords.
    average_counts : buffer of shape (K,)
        Running counts N, from 1.
    average_sums : buffer of shape (K, dim)
        Running sums S, with "ema" only.
    steps : buffer, int64
        Training batches seen.

    Notes
    -----
    With n_k vectors z assigned to codeword k, and gamma = decay::

        N_k <- gamma N_k + (1 - gamma) n_k          S_k <- gamma S_k + (1 - gamma) sum z
        e_k <- S_k / N'_k,    N'_k = (N_k + epsilon) sum N / (sum N + K epsilon)

    A codeword that restarts takes a vector of the batch, N_k = 2 restart_below and S_k = N_k e_k. Vectors are drawn by
    a generator seeded with ``seed`` and the step, so a resumed run goes on as it would have. Under torch.distributed
    counts and sums are those of all processes. An optimizer's momentum for a codeword outlives its restart.
    Values are those of the codewords before the update.

    References
    ----------
    van den Oord, Vinyals, Kavukcuoglu: Neural discrete representation learning. NeurIPS 2017, section 3.2, A.1.
    Dhariwal et al.: Jukebox. arXiv 2005.00341, section 3.1 (restarts).

    Examples
    --------
    >>> quantizer = VectorQuantizer(4, 16, update="ema", restart_below=1.0)
    >>> out = quantizer(torch.randn(2, 32, 4, generator=torch.Generator().manual_seed(0)))
    >>> out.values.shape, out.indices.shape, out.usage.counts.sum().item()
    (torch.Size([2, 32, 4]), torch.Size([2, 32]), 64)
    """

    weight: torch.Tensor
    average_counts: torch.Tensor
    average_sums: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        update: str = "gradient",
        commitment: float = 0.25,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        restart_below: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, codebook_size, commitment=commitment)
        self.update = check_choice(update, ("gradient", "ema"), name="update")
        self.learns_by_loss = update == "gradient"
        self.decay = check_fraction(decay, name="decay")
        self.epsilon = check_fraction(epsilon, name="epsilon")
        self.restart_below = check_fraction(restart_below, name="restart_below", high=_LARGEST_COUNT)
        self.seed = check_count(seed, name="seed", minimum=0)
        first = drawn_words(codebook_size, dim, seed)
        if update == "gradient":
            self.weight = nn.Parameter(first)
        else:
            self.register_buffer("weight", first)
            self.register_buffer("average_sums", first.clone())
        self.register_buffer("average_counts", torch.ones(codebook_size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def codebook(self) -> torch.Tensor:
        """Return the codewords, shape (codebook_size, dim)."""
        return self.weight

    def words(self, indices: torch.Tensor) -> torch.Tensor:
        """Return codewords.

        Parameters
        ----------
        indices : Tensor of shape (n,), int64
            Codes, in range.

        Returns
        -------
        Tensor of shape (n, dim)
            Rows of ``weight``.
        """
        return self.weight[indices]

    @torch.no_grad()
    def observe(self, rows: torch.Tensor, indices: torch.Tensor) -> None:
        """Update running counts, with "ema" the codewords, and restart dead ones.

        Parameters
        ----------
        rows : Tensor of shape (n, dim)
            Vectors of a training batch.
        indices : Tensor of shape (n,), int64
            Their codes.
        """
        self.steps += 1
        counts = _over_processes(code_counts(indices[:, None], self.codebook_size)[0].to(self.average_counts.dtype))
        self.average_counts.lerp_(counts, 1 - self.decay)
        if self.update == "ema":
            sums = torch.zeros_like(self.weight).index_add_(0, indices, rows.to(self.weight.dtype))
            self.average_sums.lerp_(_over_processes(sums), 1 - self.decay)
            total = self.average_counts.sum()
            smoothed = (self.average_counts + self.epsilon) * total / (total + self.codebook_size * self.epsilon)
            self.weight.copy_(self.average_sums / smoothed[:, None])
        if self.restart_below:
            self._restart(rows)

    def _restart(self, rows: torch.Tensor) -> None:
        dead = (self.average_counts < self.restart_below).nonzero()[:, 0]
        if not len(dead):
            return
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.steps))
        drawn = torch.randperm(len(rows), generator=generator)
        drawn = drawn.repeat(-(-len(dead) // len(drawn)))[: len(dead)].to(rows.device)
        taken = rows[drawn].to(self.weight.dtype)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Each process has other vectors; the codebook is one.
            torch.distributed.broadcast(taken, 0)
        self.weight[dead] = taken
        self.average_counts[dead] = 2 * self.restart_below
        if self.update == "ema":
            self.average_sums[dead] = taken * (2 * self.restart_below)

    @torch.no_grad()
    def set_codebook(self, codebook: torch.Tensor) -> None:
        """Put given codewords in the place of those there are, and begin to count anew.

        Parameters
        ----------
        codebook : Tensor of shape (codebook_size, dim)
            Codewords.

        Raises
        ------
        InputError
            Another shape.
        """
        if codebook.shape != self.weight.shape:
            given, expected = f"a codebook of shape {tuple(codebook.shape)}", f"{tuple(self.weight.shape)}"
            raise InputError(message(given, expected, "make the module with this size"))
        self.weight.copy_(codebook)
        self.average_counts.fill_(1.0)
        if self.update == "ema":
            self.average_sums.copy_(codebook)

    @classmethod
    def from_quantizer(
        cls,
        quantizer: ResidualQuantizer,
        *,
        update: str = "gradient",
        commitment: float = 0.25,
        decay: float = 0.99,
        restart_below: float = 0.0,
    ) -> VectorQuantizer:
        """Make a module of a fitted quantizer with one level; it gives the same codes.

        Parameters
        ----------
        quantizer : ResidualQuantizer
            A fitted one with ``levels=1``, as k-means gives.
        update, commitment, decay, restart_below : optional
            As for the class.

        Returns
        -------
        VectorQuantizer
            In training mode.

        Raises
        ------
        InputError
            More than one level.
        """
        levels, size, dim = quantizer.codebooks_.shape
        if levels != 1:
            raise InputError(message(f"a quantizer of {levels} levels", "1", "use ResidualVQ.from_quantizer"))
        out = cls(dim, size, update=update, commitment=commitment, decay=decay, restart_below=restart_below)
        out.set_codebook(torch.from_numpy(quantizer.codebooks_[0]))
        return out


def _over_processes(values: torch.Tensor) -> torch.Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    return values
