"""Several books one after the other, each for what those before it left over."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from orthant.errors import InputError, message
from orthant.nn.codebooks.assignment import as_rows, check_indices
from orthant.nn.codebooks.codebook import Codebook, pass_through, wide
from orthant.nn.codebooks.usage import Quantized, Usage, code_counts
from orthant.nn.codebooks.vector import VectorQuantizer
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.usage import CodeUsage
from orthant.validate import check_count, check_fraction

__all__ = ["ResidualVQ"]


class ResidualVQ(nn.Module):
    """Replace vectors by sums of codewords, one from each level.

    Exponentially more values than one book of the same size, and coarse-to-fine codes. With ``dropout`` every prefix of
    the codes can be decoded.

    Parameters
    ----------
    make : callable of (level) returning VectorQuantizer or SimVQ
        Makes the book of a level, from 0; give each its own seed.
    levels : int
        Number of levels, from 1.
    shared : bool, default False
        One book for all levels, made by ``make(0)``: fewer parameters, a little less accurate.
    dropout : float, default 0.0
        Share of the samples, from 0 to 1, that in training get only their first levels, a number drawn evenly from 1 to
        ``levels``. A sample is what lies along the first axis.
    seed : int, default 0
        Of these draws.

    Attributes
    ----------
    books : ModuleList
        The books, one only where it is shared.
    levels, dim, codebook_size : int
        Levels, dimension, codewords of a level.
    steps : buffer, int64
        Training batches seen.

    Notes
    -----
    ``r_1 = z``, ``i_l = argmin_k |r_l - e_lk|``, ``r_(l+1) = r_l - sg(e_l,i_l)``, values ``z + sg(sum_l e_l,i_l - z)``.
    The loss is the sum over levels of the book's own loss for r_l, a mean over the samples that reach the level; its
    commitment reaches z at every level. A shared book learns from all levels at once, after the pass.

    References
    ----------
    Zeghidour et al.: SoundStream. arXiv 2107.03312, section III.C (levels, dropout). Lee et al.: Autoregressive image
    generation using residual quantization. CVPR 2022, section 3.1.

    Examples
    --------
    >>> quantizer = ResidualVQ(lambda level: VectorQuantizer(4, 16, seed=level), levels=3)
    >>> z = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    >>> out = quantizer(z)
    >>> out.indices.shape, bool(torch.equal(quantizer.decode(out.indices), out.values))
    (torch.Size([10, 3]), True)
    """

    steps: torch.Tensor

    def __init__(
        self,
        make: Callable[[int], Codebook],
        *,
        levels: int,
        shared: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.levels = check_count(levels, name="levels")
        self.shared = shared
        self.dropout = check_fraction(dropout, name="dropout")
        self.seed = check_count(seed, name="seed", minimum=0)
        made = [make(level) for level in range(1 if shared else levels)]
        if not all(isinstance(book, Codebook) for book in made):
            given = f"a book of type {next(type(b).__name__ for b in made if not isinstance(b, Codebook))}"
            raise InputError(message(given, "VectorQuantizer or SimVQ", "return one of these from make"))
        sizes = {(book.dim, book.codebook_size) for book in made}
        if len(sizes) > 1:
            given = f"books of (dim, codebook_size) {', '.join(map(str, sorted(sizes)))}"
            raise InputError(message(given, "the same for all levels", "make them alike"))
        if len({id(book) for book in made}) < len(made):
            raise InputError(message("one book for several levels", "one each, or shared=True", "make a new one"))
        ((self.dim, self.codebook_size),) = sizes
        self.books = nn.ModuleList(made)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def _book(self, level: int) -> Codebook:
        book = self.books[0 if self.shared else level]
        if not isinstance(book, Codebook):
            raise InputError(message(f"a book of type {type(book).__name__}", "a Codebook", "do not replace books"))
        return book

    def codebook(self) -> torch.Tensor:
        """Return the codewords of all levels, shape (levels, codebook_size, dim)."""
        return torch.stack([self._book(level).codebook() for level in range(self.levels)])

    def forward(self, z: torch.Tensor) -> Quantized:
        """Replace vectors by sums of codewords.

        Parameters
        ----------
        z : Tensor of shape (..., dim), floating
            Vectors, finite.

        Returns
        -------
        Quantized
            Indices have the shape of z with ``levels`` in place of ``dim``; -1 marks levels that dropout left out.

        Raises
        ------
        InputError
            Another last axis, integers, NaN or infinity.
        """
        rows = wide(as_rows(z, self.dim))
        depth = self._depths(z, len(rows)) if self.training and len(rows) else None
        left, total, loss = rows, torch.zeros_like(rows), rows.new_zeros(())
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        for level in range(self.levels):
            book = self._book(level)
            indices, step = book.chosen(left)
            losses = book.losses(left, book.words(indices))
            if depth is not None:
                active = depth > level
                losses, step = losses[active], step * active[:, None]
                indices = torch.where(active, indices, -1)
            loss = loss + (losses.mean() if len(losses) else losses.sum())
            seen.append((left.detach(), indices))
            total, left = total + step, left - step
        if self.training and len(rows):
            self._observe(seen)
        codes = torch.stack([indices for _, indices in seen], dim=1)
        values = pass_through(total, rows).to(z.dtype).reshape(z.shape)
        usage = Usage(code_counts(codes, self.codebook_size))
        return Quantized(values, codes.reshape(*z.shape[:-1], self.levels), loss, usage)

    def _depths(self, z: torch.Tensor, count: int) -> torch.Tensor | None:
        self.steps += 1
        if not self.dropout:
            return None
        samples = z.shape[0] if z.ndim > 1 else 1
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.steps))
        depths = torch.randint(1, self.levels + 1, (samples,), generator=generator)
        depths[torch.rand(samples, generator=generator) >= self.dropout] = self.levels
        return depths.repeat_interleave(count // samples).to(z.device)

    def _observe(self, seen: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        active = [(rows[indices >= 0], indices[indices >= 0]) for rows, indices in seen]
        if self.shared:
            active = [(torch.cat([rows for rows, _ in active]), torch.cat([indices for _, indices in active]))]
        for level, (rows, indices) in enumerate(active):
            if len(rows):
                self._book(level).observe(rows, indices)

    @torch.no_grad()
    def encode(self, z: torch.Tensor) -> torch.Tensor:
        """Return codes of all levels, and change nothing.

        Parameters
        ----------
        z : Tensor of shape (..., dim), floating
            Vectors.

        Returns
        -------
        Tensor of shape (..., levels), int64
            Codes.
        """
        left = wide(as_rows(z, self.dim))
        codes = []
        for level in range(self.levels):
            indices, words = self._book(level).chosen(left)
            codes.append(indices)
            left = left - words
        return torch.stack(codes, dim=1).reshape(*z.shape[:-1], self.levels)

    def decode(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the sums of codewords that codes stand for.

        Parameters
        ----------
        indices : Tensor of shape (..., l), integer
            Codes of the first l levels, from 1 to ``levels``; -1 adds nothing.

        Returns
        -------
        Tensor of shape (..., dim)
            Sums.

        Raises
        ------
        InputError
            More levels than there are, or a code that a book does not have.
        """
        if indices.ndim < 1 or not 1 <= indices.shape[-1] <= self.levels:
            given, expected = f"codes of shape {tuple(indices.shape)}", f"(..., l) with l from 1 to {self.levels}"
            raise InputError(message(given, expected, "put the levels last"))
        check_indices(indices, self.codebook_size, lowest=-1)
        flat = indices.reshape(-1, indices.shape[-1]).long()
        total: torch.Tensor | None = None
        for level in range(flat.shape[1]):
            words = self._book(level).codebook()[flat[:, level].clamp_min(0)] * (flat[:, level, None] >= 0)
            total = words if total is None else total + words
        return total.reshape(*indices.shape[:-1], self.dim) if total is not None else indices.new_zeros(0)

    @torch.no_grad()
    def to_quantizer(self, *, usage: CodeUsage | None = None, beam: int = 1) -> ResidualQuantizer:
        """Return the books as a quantizer that needs no torch.

        Parameters
        ----------
        usage : CodeUsage, optional
            What ``measure_usage`` found, to be kept with it.
        beam : int, default 1
            Partial encodings that it keeps. 1 gives the codes of this module; more give better ones for the same books.

        Returns
        -------
        ResidualQuantizer
            A fitted one.
        """
        table = self.codebook().cpu().float().numpy()
        return ResidualQuantizer.from_codebooks(table, beam=beam, usage=usage)

    @classmethod
    def from_quantizer(
        cls,
        quantizer: ResidualQuantizer,
        *,
        update: str = "gradient",
        commitment: float = 0.25,
        decay: float = 0.99,
        restart_below: float = 0.0,
        dropout: float = 0.0,
    ) -> ResidualVQ:
        """Make a module of a fitted quantizer; it gives the codes of that quantizer with ``beam=1``.

        Parameters
        ----------
        quantizer : ResidualQuantizer
            A fitted one.
        update, commitment, decay, restart_below : optional
            As for `VectorQuantizer`.
        dropout : float, default 0.0
            As for the class.

        Returns
        -------
        ResidualVQ
            In training mode.
        """
        levels, size, dim = quantizer.codebooks_.shape

        def make(level: int) -> Codebook:
            settings = {"commitment": commitment, "decay": decay, "restart_below": restart_below}
            book = VectorQuantizer(dim, size, update=update, seed=level, **settings)
            book.set_codebook(torch.from_numpy(quantizer.codebooks_[level]))
            return book

        return cls(make, levels=levels, dropout=dropout)
