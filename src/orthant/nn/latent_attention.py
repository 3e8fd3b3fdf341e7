"""Pooling in which every token looks up a learned dictionary before the average is taken."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from orthant.errors import InputError, message
from orthant.nn.poolings import Pooling, pooled_positions
from orthant.validate import check_count

__all__ = ["LatentAttentionPooling"]


class LatentAttentionPooling(Pooling):
    """Let each token state attend to learned latents, pass it through an MLP, then average.

    It replaces mean or last-token pooling on top of a large decoder that is trained further; on a frozen or small model
    start with the mean. Tokens are the queries and the latents keys and values, so length is kept until the average.

    Parameters
    ----------
    dim : int
        Width of the states.
    num_latents : int, default 512
        Size r of the dictionary. 16 to 64 suit small models; more costs memory and needs data.
    num_heads : int, default 8
        Attention heads; must divide ``dim`` unless ``head_dim`` is given.
    head_dim : int, optional
        Width of a head, ``dim / num_heads`` when left out. The released NV-Embed models use ``dim``.
    mlp_ratio : int, default 4
        Hidden width of the MLP over ``dim``.
    residual : bool, default True
        Add the input of each block to its output.
    prenorm : bool, default True
        Normalise (LayerNorm) what enters each block, the latents included.

    Raises
    ------
    InputError
        Heads that do not divide the width, or a size below 1.

    Notes
    -----
    For states H (L, d) and latents Z (r, d), both after LayerNorm: ``O = softmax(Q K^T / sqrt(d_h)) V`` per head with
    ``Q = H W_q, K = Z W_k, V = Z W_v``, heads joined by W_o; then ``O = O + MLP(LN(O))`` with
    ``MLP(x) = W_2 (a * gelu(b)), [a ; b] = W_1 x``; the vector is the mean of O over the pooled tokens, summed in
    float32. The order of the latents does not matter. Parameters: about ``4 d h d_h + r d + 3 mlp_ratio d^2``.

    References
    ----------
    Lee et al.: NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models. arXiv 2405.17428,
    section 3.1.

    Examples
    --------
    >>> pooling = LatentAttentionPooling(16, num_latents=4, num_heads=2)
    >>> pooling(torch.randn(3, 5, 16), torch.ones(3, 5, dtype=torch.bool)).shape
    torch.Size([3, 16])
    """

    kind = "latent_attention"

    def __init__(
        self,
        dim: int,
        *,
        num_latents: int = 512,
        num_heads: int = 8,
        head_dim: int | None = None,
        mlp_ratio: int = 4,
        residual: bool = True,
        prenorm: bool = True,
    ) -> None:
        super().__init__()
        self.dim = check_count(dim, name="dim")
        self.num_latents = check_count(num_latents, name="num_latents")
        self.num_heads = check_count(num_heads, name="num_heads")
        self.mlp_ratio = check_count(mlp_ratio, name="mlp_ratio")
        if head_dim is None and dim % num_heads:
            raise InputError(
                message(
                    f"num_heads={num_heads} for dim={dim}",
                    "heads that divide the width",
                    "choose a divisor, or give head_dim",
                )
            )
        self.head_dim = dim // num_heads if head_dim is None else check_count(head_dim, name="head_dim")
        self.residual, self.prenorm = residual, prenorm
        inner = self.num_heads * self.head_dim
        self.latents = nn.Parameter(torch.randn(num_latents, dim))
        self.to_queries = nn.Linear(dim, inner, bias=False)
        self.to_keys = nn.Linear(dim, inner, bias=False)
        self.to_values = nn.Linear(dim, inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)
        self.widen = nn.Linear(dim, 2 * mlp_ratio * dim)
        self.narrow = nn.Linear(mlp_ratio * dim, dim)
        self.norm_states, self.norm_latents, self.norm_mlp = (
            (nn.LayerNorm(dim) if prenorm else nn.Identity()) for _ in range(3)
        )

    def forward(self, states: Tensor, mask: Tensor, *, prompt_mask: Tensor | None = None) -> Tensor:
        """Pool a batch.

        Parameters
        ----------
        states : Tensor of shape (B, L, dim)
            Token states.
        mask : Tensor of shape (B, L), bool
            True on real tokens.
        prompt_mask : Tensor of shape (B, L), bool, optional
            True on tokens of the instruction, which are left out of the average.

        Returns
        -------
        Tensor of shape (B, dim)
            In the precision of the states.

        Raises
        ------
        DimensionError
            States of another width.
        InputError
            A text that is all instruction.
        """
        self.dim_out(states.shape[-1])
        _, kept = pooled_positions(states, mask, prompt_mask)
        # Whatever stands on padding, NaN included, must not reach a sum.
        clean = states.masked_fill(~kept[..., None], 0)
        out = self._read(clean)
        first, second = self.widen(self.norm_mlp(out)).chunk(2, dim=-1)
        changed = self.narrow(first * functional.gelu(second))
        out = out + changed if self.residual else changed
        wide = out.float() if out.dtype in (torch.float16, torch.bfloat16) else out
        weights = kept.to(wide.dtype)[..., None]
        return ((wide * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)).to(states.dtype)

    def _read(self, states: Tensor) -> Tensor:
        """Return what each token reads from the latents, shape (B, L, dim)."""
        latents = self.norm_latents(self.latents).to(states.dtype)
        queries = self._heads(self.to_queries(self.norm_states(states)))
        keys, values = self._heads(self.to_keys(latents)[None]), self._heads(self.to_values(latents)[None])
        batch = (states.shape[0], -1, -1, -1)
        found = functional.scaled_dot_product_attention(queries, keys.expand(batch), values.expand(batch))
        read = self.to_out(found.transpose(1, 2).flatten(2))
        return states + read if self.residual else read

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def config(self) -> dict[str, Any]:
        """Return what `make_pooling` needs to make an equal one, weights aside.

        Returns
        -------
        dict
            JSON values.
        """
        names = ("dim", "num_latents", "num_heads", "head_dim", "mlp_ratio", "residual", "prenorm")
        return {"kind": self.kind, **{name: getattr(self, name) for name in names}}
