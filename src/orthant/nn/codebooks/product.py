"""Product quantization that can be trained: a soft choice lends its slope to the hard one."""

from __future__ import annotations

import torch
from torch import nn

from orthant.errors import DimensionError, InputError, message
from orthant.nn.codebooks.assignment import as_rows, check_indices, nearest_codes
from orthant.nn.codebooks.codebook import drawn_words, pass_through, wide
from orthant.nn.codebooks.usage import Quantized, Usage, code_counts
from orthant.nn.functional import check_temperature, straight_through_one_hot
from orthant.quantization.product import ProductQuantizer
from orthant.quantization.usage import CodeUsage
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["DifferentiablePQ"]

_LARGEST_WEIGHT = 1e6


class DifferentiablePQ(nn.Module):
    """Replace each of m parts of a vector by one of K codewords, trained by whatever loss follows.

    Where codes should serve a task (ranking, classification) rather than the squared error that `ProductQuantizer`
    minimises. Begin from a fitted one with ``from_quantizer`` and return with ``to_quantizer``: codes are the same on
    both sides.

    Parameters
    ----------
    dim : int
        Dimension d.
    m : int
        Parts; divides d.
    codebook_size : int, default 256
        K, from 2.
    form : {"vq", "sx"}, default "vq"
        "vq" has one set of codewords, which parts are compared with and replaced by. "sx" has keys to compare with and
        values to return, trained apart.
    gradient : {"soft", "copy"}, default "soft"
        "soft" takes the slope of a softmax over negative squared distances, so that the codewords near by learn too and
        the vector learns which to choose. "copy" passes the gradient to the vector unchanged; codewords then learn by
        ``loss`` alone, and only with "vq".
    temperature : float, default 1.0
        Of the softmax, above 0; may be set anew while training. On unit vectors cut into many parts squared distances
        are far below 1: with 1.0 the softmax is nearly flat, and 0.01 to 0.1 is more like it.
    commitment : float, default 0.25
        Weight of the term that draws vectors to their codewords, from 0.
    seed : int, default 0
        Of the first codewords.

    Attributes
    ----------
    keys : Parameter of shape (m, K, d / m)
        What parts are compared with.
    values : Parameter of shape (m, K, d / m), or None
        What they are replaced by; with "vq" the keys.
    rotation : buffer of shape (d, d), or None
        R, not trained.
    mean : buffer of shape (d,)
        Subtracted before R.

    Notes
    -----
    With y = (z - mean) R and parts y_j: ``c_j = argmin_k |y_j - K_jk|^2``, ``s_j = softmax_k(-|y_j - K_jk|^2 / t)``,
    weights ``onehot(c_j) + s_j - sg(s_j)`` and ``values_j = weights_j V_j``, turned back. With "vq",
    ``loss = mean (sg(y) - V)^2 + commitment mean (y - sg(V))^2``; Distill-VQ and BiDR leave it out and train on the
    task's loss alone. With "sx" it is 0: keys and values live in spaces of their own.
    Squared distances are taken as ``|K|^2 - 2 <y, K>``: no array of n m K d / m values exists. Memory: n m K floats.

    References
    ----------
    Chen, Li, Sun: Differentiable product quantization for end-to-end embedding compression. ICML 2020, section 2.
    Xiao et al.: Distill-VQ. SIGIR 2022, arXiv 2204.00185, section 3.2.

    Examples
    --------
    >>> quantizer = DifferentiablePQ(8, m=4, codebook_size=16, temperature=0.1)
    >>> z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    >>> out = quantizer(z)
    >>> out.values.square().sum().backward()
    >>> out.indices.shape, bool((quantizer.keys.grad != 0).any())
    (torch.Size([5, 4]), True)
    """

    rotation: torch.Tensor | None
    mean: torch.Tensor

    def __init__(
        self,
        dim: int,
        *,
        m: int,
        codebook_size: int = 256,
        form: str = "vq",
        gradient: str = "soft",
        temperature: float = 1.0,
        commitment: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dim, self.m = check_count(dim, name="dim"), check_count(m, name="m")
        if dim % m:
            raise InputError(message(f"m={m} for dimension {dim}", "a divisor of the dimension", "choose another m"))
        self.codebook_size = check_count(codebook_size, name="codebook_size", minimum=2)
        self.form = check_choice(form, ("vq", "sx"), name="form")
        self.gradient = check_choice(gradient, ("soft", "copy"), name="gradient")
        if form == "sx" and gradient == "copy":
            given = "form='sx' with gradient='copy'"
            raise InputError(message(given, "gradient='soft'", "values of their own learn by a soft choice only"))
        self.commitment = check_fraction(commitment, name="commitment", high=_LARGEST_WEIGHT)
        self.temperature = check_temperature(temperature)
        count = 2 if form == "sx" else 1
        first = drawn_words(count * m * codebook_size, dim // m, seed).view(count, m, codebook_size, dim // m)
        self.keys = nn.Parameter(first[0].clone())
        self.values = nn.Parameter(first[1].clone()) if form == "sx" else None
        self.register_buffer("rotation", None)
        self.register_buffer("mean", torch.zeros(dim))

    def codebook(self) -> torch.Tensor:
        """Return what codes stand for, before the rotation back, shape (m, codebook_size, d / m)."""
        return self.keys if self.values is None else self.values

    def _turned(self, z: torch.Tensor) -> torch.Tensor:
        """Return the parts of vectors, shape (n, m, d / m)."""
        rows = wide(as_rows(z, self.dim))
        if self.rotation is not None:
            # In float64 and rounded once, as in NumPy: the same floats give the same codes.
            rows = ((rows.double() - self.mean.double()) @ self.rotation.double()).to(rows.dtype)
        return rows.reshape(-1, self.m, self.dim // self.m)

    def _back(self, parts: torch.Tensor) -> torch.Tensor:
        rows = parts.reshape(-1, self.dim)
        if self.rotation is None:
            return rows
        return (rows.double() @ self.rotation.T.double() + self.mean.double()).to(rows.dtype)

    def _codes(self, parts: torch.Tensor) -> torch.Tensor:
        return torch.stack([nearest_codes(parts[:, j], self.keys[j]) for j in range(self.m)], dim=1)

    def _gathered(self, indices: torch.Tensor) -> torch.Tensor:
        return self.codebook()[torch.arange(self.m, device=indices.device), indices]

    def forward(self, z: torch.Tensor) -> Quantized:
        """Replace the parts of vectors by codewords.

        Parameters
        ----------
        z : Tensor of shape (..., dim), floating
            Vectors, finite.

        Returns
        -------
        Quantized
            Indices have the shape of z with m in place of ``dim``.

        Raises
        ------
        InputError
            Another last axis, integers, NaN or infinity.
        """
        parts = self._turned(z)
        indices = self._codes(parts)
        words = self._gathered(indices)
        if self.gradient == "copy" or not torch.is_grad_enabled():
            values = pass_through(words, parts)
        else:
            logits = 2 * torch.einsum("nmd,mkd->nmk", parts, self.keys) - self.keys.square().sum(dim=2)
            weights = straight_through_one_hot(logits, temperature=self.temperature, indices=indices)
            values = torch.einsum("nmk,mkd->nmd", weights, self.codebook())
        loss = parts.new_zeros(())
        if self.form == "vq" and len(parts):
            loss = (parts.detach() - words).square().mean()
            loss = loss + self.commitment * (parts - words.detach()).square().mean()
        usage = Usage(code_counts(indices, self.codebook_size))
        values = self._back(values).to(z.dtype).reshape(z.shape)
        return Quantized(values, indices.reshape(*z.shape[:-1], self.m), loss, usage)

    @torch.no_grad()
    def encode(self, z: torch.Tensor) -> torch.Tensor:
        """Return the codes of vectors.

        Parameters
        ----------
        z : Tensor of shape (..., dim), floating
            Vectors.

        Returns
        -------
        Tensor of shape (..., m), int64
            Codes.
        """
        return self._codes(self._turned(z)).reshape(*z.shape[:-1], self.m)

    def decode(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        indices : Tensor of shape (..., m), integer
            Codes.

        Returns
        -------
        Tensor of shape (..., dim)
            Codewords side by side, turned back.

        Raises
        ------
        InputError
            Another number of parts, or a code that no book has.
        """
        if indices.ndim < 1 or indices.shape[-1] != self.m:
            given, expected = f"codes of shape {tuple(indices.shape)}", f"(..., {self.m})"
            raise DimensionError(message(given, expected, "pass what encode of this module returned"))
        check_indices(indices, self.codebook_size)
        parts = self._gathered(indices.reshape(-1, self.m).long())
        return self._back(parts).reshape(*indices.shape[:-1], self.dim)

    @torch.no_grad()
    def to_quantizer(self, *, usage: CodeUsage | None = None) -> ProductQuantizer:
        """Return the books as a quantizer that needs no torch and gives the same codes.

        Parameters
        ----------
        usage : CodeUsage, optional
            What ``measure_usage`` found, to be kept with it.

        Returns
        -------
        ProductQuantizer
            A fitted one, with keys of its own where the form is "sx".
        """
        return ProductQuantizer.from_codebooks(
            self.codebook().cpu().float().numpy(),
            rotation=None if self.rotation is None else self.rotation.cpu().float().numpy(),
            mean=None if self.rotation is None else self.mean.cpu().float().numpy(),
            keys=None if self.values is None else self.keys.cpu().float().numpy(),
            usage=usage,
        )

    @classmethod
    def from_quantizer(
        cls,
        quantizer: ProductQuantizer,
        *,
        form: str = "vq",
        gradient: str = "soft",
        temperature: float = 1.0,
        commitment: float = 0.25,
    ) -> DifferentiablePQ:
        """Make a module of a fitted quantizer, rotation included; it gives the same codes.

        Parameters
        ----------
        quantizer : ProductQuantizer
            A fitted one.
        form, gradient, temperature, commitment : optional
            As for the class; "sx" begins with values equal to the keys. A quantizer with keys of its own needs "sx".

        Returns
        -------
        DifferentiablePQ
            In training mode.

        Raises
        ------
        InputError
            A form that cannot hold what the quantizer has.
        """
        m, size, _ = quantizer.codebooks_.shape
        if quantizer.keys_ is not None and form == "vq":
            raise InputError(message("a quantizer with keys of its own", "form='sx'", "pass form='sx'"))
        settings = {"form": form, "gradient": gradient, "temperature": temperature, "commitment": commitment}
        out = cls(quantizer.n_features_in_, m=m, codebook_size=size, **settings)  # type: ignore[arg-type]
        keys = quantizer.codebooks_ if quantizer.keys_ is None else quantizer.keys_
        with torch.no_grad():
            out.keys.copy_(torch.from_numpy(keys))
            if out.values is not None:
                out.values.copy_(torch.from_numpy(quantizer.codebooks_))
        if quantizer.rotation_ is not None:
            out.rotation = torch.from_numpy(quantizer.rotation_.copy())
            out.mean.copy_(torch.from_numpy(quantizer.mean_))
        return out

    def extra_repr(self) -> str:
        """Return the settings for torch's printout."""
        return f"{self.dim}, m={self.m}, codebook_size={self.codebook_size}, form={self.form}, gradient={self.gradient}"
