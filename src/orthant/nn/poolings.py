"""From one state per token to one vector per text: the poolings that need nothing but states and mask.

Every pooling takes states of shape (B, L, d), a mask of shape (B, L) that is true on real tokens, and optionally a mask
of prompt tokens that are attended to but not pooled. What stands on padding never counts, on whichever side it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, InputError, message
from orthant.validate import check_choice, check_count

__all__ = [
    "POOLINGS",
    "ContextualEosPooling",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "TokenPooling",
    "is_traced",
    "make_pooling",
    "pooled_positions",
]

POOLINGS = ("mean", "weighted_mean", "max", "cls", "last", "token", "contextual_eos", "latent_attention")


def pooled_positions(
    states: Tensor, mask: Tensor, prompt_mask: Tensor | None = None, *, minimum: int = 1
) -> tuple[Tensor, Tensor]:
    """Check shapes and return states and the positions to be pooled, refusing texts of which nothing remains.

    Parameters
    ----------
    states : Tensor of shape (B, L, d)
        Token states; half precision is widened to float32, so that sums are taken in it.
    mask : Tensor of shape (B, L), bool or 0 and 1
        True on real tokens.
    prompt_mask : Tensor of shape (B, L), bool, optional
        True on tokens of the prompt.
    minimum : int, default 1
        Positions that every text must keep.

    Returns
    -------
    states : Tensor of shape (B, L, d), float32 or wider
        The states.
    kept : Tensor of shape (B, L), bool
        Real tokens outside the prompt.

    Raises
    ------
    DimensionError
        Shapes that do not fit.
    InputError
        A text with fewer than ``minimum`` positions left, such as one that is all instruction.

    Notes
    -----
    Looking at the counts waits for the device; it is left out while the module is traced or compiled.
    """
    if states.ndim != 3 or mask.shape != states.shape[:2]:
        raise DimensionError(
            message(
                f"states of shape {tuple(states.shape)} with a mask of shape {tuple(mask.shape)}",
                "(B, L, d) and (B, L)",
                "pass the states and attention mask of one batch",
            )
        )
    kept = mask.bool()
    if prompt_mask is not None:
        if prompt_mask.shape != mask.shape:
            raise DimensionError(
                message(f"a prompt mask of shape {tuple(prompt_mask.shape)}", f"{tuple(mask.shape)}", "match the mask")
            )
        kept = kept & ~prompt_mask.bool()
    if not is_traced():
        short = torch.nonzero(kept.sum(dim=1) < minimum).flatten()
        if len(short):
            raise InputError(
                message(
                    f"a text (row {int(short[0])} of the batch) with {int(kept[short[0]].sum())} token(s) to pool",
                    f"at least {minimum} beside padding and prompt",
                    "drop empty texts, shorten the prompt, or widen the window",
                )
            )
    return (states.float() if states.dtype in (torch.float16, torch.bfloat16) else states), kept


def is_traced() -> bool:
    """Return whether a graph is being recorded, in which the values of a batch must not be looked at."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


class Pooling(nn.Module):
    """Root of the poolings: states and mask in, one vector per text out.

    Parameters
    ----------
    factor : int, default 1
        Width of the vectors over the width of the states.

    Attributes
    ----------
    dim : int or None
        Width of states that it requires; None takes any.
    """

    kind = ""
    dim: int | None = None

    def __init__(self, *, factor: int = 1) -> None:
        super().__init__()
        self._factor = factor

    def dim_out(self, dim: int) -> int:
        """Return the width of the vectors for states of a given width.

        Parameters
        ----------
        dim : int
            Width of the states.

        Returns
        -------
        int
            Width of the vectors.

        Raises
        ------
        DimensionError
            The pooling has weights for another width.
        """
        if self.dim is not None and dim != self.dim:
            raise DimensionError(
                message(f"states of width {dim} for a pooling of width {self.dim}", "equal widths", f"use dim={dim}")
            )
        return self._factor * dim

    def config(self) -> dict[str, Any]:
        """Return what `make_pooling` needs to make an equal one, weights aside.

        Returns
        -------
        dict
            JSON values; ``"kind"`` names the pooling.
        """
        return {"kind": self.kind}


class MeanPooling(Pooling):
    """Average the states, plainly or with weights that grow along the text.

    Parameters
    ----------
    weights : {"uniform", "position"}, default "uniform"
        ``"position"`` counts the j-th real token j times, which suits causal models, whose late states know more.

    Notes
    -----
    ``e = sum_t w_t m_t h_t / sum_t w_t m_t``; prompt tokens are left out of the sum but counted for the position.

    References
    ----------
    Muennighoff: SGPT: GPT Sentence Embeddings for Semantic Search. arXiv 2202.08904, section 4.1 (position weights).

    Examples
    --------
    >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> MeanPooling()(states, torch.tensor([[1, 1, 0]])).item()
    2.0
    >>> MeanPooling(weights="position")(states, torch.tensor([[1, 1, 0]])).item()  # (1 + 2 * 3) / 3
    2.3333332538604736
    """

    def __init__(self, *, weights: Literal["uniform", "position"] = "uniform") -> None:
        super().__init__()
        self.weights = check_choice(weights, ("uniform", "position"), name="weights")
        self.kind = "mean" if weights == "uniform" else "weighted_mean"

    def forward(self, states: Tensor, mask: Tensor, *, prompt_mask: Tensor | None = None) -> Tensor:
        """Pool a batch.

        Parameters
        ----------
        states : Tensor of shape (B, L, d)
            Token states.
        mask : Tensor of shape (B, L), bool
            True on real tokens.
        prompt_mask : Tensor of shape (B, L), bool, optional
            True on tokens that are not pooled.

        Returns
        -------
        Tensor of shape (B, d)
            In the precision of the states.

        Raises
        ------
        InputError
            A text without a token to pool.
        """
        wide, kept = pooled_positions(states, mask, prompt_mask)
        weights = kept.to(wide.dtype)
        if self.weights == "position":
            weights = weights * mask.to(wide.dtype).cumsum(dim=1)
        return _weighted_mean(wide, kept, weights).to(states.dtype)


def _weighted_mean(states: Tensor, kept: Tensor, weights: Tensor) -> Tensor:
    # Zero weights would not silence NaN or infinity on padding.
    clean = states.masked_fill(~kept[..., None], 0)
    total = weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    return (clean * weights[..., None]).sum(dim=1) / total


class MaxPooling(Pooling):
    """Take the largest value of each coordinate over the tokens.

    Examples
    --------
    >>> MaxPooling()(torch.tensor([[[1.0, 5.0], [3.0, 2.0], [9.0, 9.0]]]), torch.tensor([[1, 1, 0]])).tolist()
    [[3.0, 5.0]]
    """

    kind = "max"

    def forward(self, states: Tensor, mask: Tensor, *, prompt_mask: Tensor | None = None) -> Tensor:
        """Pool a batch.

        Parameters
        ----------
        states : Tensor of shape (B, L, d)
            Token states.
        mask : Tensor of shape (B, L), bool
            True on real tokens.
        prompt_mask : Tensor of shape (B, L), bool, optional
            True on tokens that are not pooled.

        Returns
        -------
        Tensor of shape (B, d)
            In the precision of the states.

        Raises
        ------
        InputError
            A text without a token to pool.
        """
        _, kept = pooled_positions(states, mask, prompt_mask)
        return states.masked_fill(~kept[..., None], float("-inf")).amax(dim=1)


class TokenPooling(Pooling):
    """Take the state of one token: the first (CLS), the last, any fixed place, or a special token by its id.

    Parameters
    ----------
    position : int, default 0
        Place among the pooled tokens, from the front or, negative, from the end: 0 is CLS, -1 the last token. With
        ``token_id``: which of its occurrences, again from the front or the end.
    token_id : int, optional
        Vocabulary number of a special token to look for; ``forward`` then needs the token ids.

    Examples
    --------
    >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> TokenPooling(position=-1)(states, torch.tensor([[1, 1, 0]])).item()
    3.0
    >>> TokenPooling(token_id=7)(states, torch.tensor([[1, 1, 1]]), token_ids=torch.tensor([[5, 7, 7]])).item()
    3.0
    """

    def __init__(self, *, position: int = 0, token_id: int | None = None) -> None:
        super().__init__()
        self.position = check_count(position, name="position", minimum=-(1 << 31))
        self.token_id = None if token_id is None else check_count(token_id, name="token_id", minimum=0)
        self.kind = {0: "cls", -1: "last"}.get(position, "token") if token_id is None else "token"

    def forward(
        self, states: Tensor, mask: Tensor, *, prompt_mask: Tensor | None = None, token_ids: Tensor | None = None
    ) -> Tensor:
        """Pool a batch.

        Parameters
        ----------
        states : Tensor of shape (B, L, d)
            Token states.
        mask : Tensor of shape (B, L), bool
            True on real tokens.
        prompt_mask : Tensor of shape (B, L), bool, optional
            True on tokens that are not pooled.
        token_ids : Tensor of shape (B, L), int64, optional
            Needed when the pooling looks for a ``token_id``.

        Returns
        -------
        Tensor of shape (B, d)
            In the precision of the states.

        Raises
        ------
        InputError
            A text that is too short, or that lacks the special token; no token ids where they are needed.
        """
        if self.token_id is not None:
            if token_ids is None:
                raise InputError(message("no token ids", f"those of token {self.token_id}", "pass token_ids"))
            mask = mask.bool() & (token_ids == self.token_id)
        needed = self.position + 1 if self.position >= 0 else -self.position
        _, kept = pooled_positions(states, mask, prompt_mask, minimum=needed)
        return _gather(states, _place(kept, self.position))

    def config(self) -> dict[str, Any]:
        """Return what `make_pooling` needs to make an equal one.

        Returns
        -------
        dict
            JSON values.
        """
        if self.kind != "token":
            return {"kind": self.kind}
        return {"kind": "token", "position": self.position, "token_id": self.token_id}


def _place(kept: Tensor, position: int) -> Tensor:
    """Return the index of the position-th true entry of each row, shape (B,)."""
    number = kept.long().cumsum(dim=1)
    wanted = position if position >= 0 else number[:, -1:] + position
    return (kept & (number == wanted + 1)).to(torch.uint8).argmax(dim=1)


def _gather(states: Tensor, places: Tensor) -> Tensor:
    return states.gather(1, places[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


class ContextualEosPooling(Pooling):
    """Join the states of the first and the last token, for causal models that read a contextual token first.

    A bidirectional encoder's summary of the text is put before the tokens of a causal model; its own state and that of
    the end token complement each other, since the last state alone leans towards the end of the text.

    Notes
    -----
    ``e = [h_c ; h_EOS]``, of width 2 d. The first real token is taken for c and the last for EOS, so with padding on
    the left c stands right after it. A prompt mask must not cover c.

    References
    ----------
    Lin et al.: Causal2Vec: Improving Decoder-only LLMs as Versatile Embedding Models. arXiv 2507.23386, section 3.

    Examples
    --------
    >>> states = torch.tensor([[[7.0], [1.0], [3.0], [9.0]]])
    >>> ContextualEosPooling()(states, torch.tensor([[0, 1, 1, 1]])).tolist()
    [[1.0, 9.0]]
    """

    kind = "contextual_eos"

    def __init__(self) -> None:
        super().__init__(factor=2)

    def forward(self, states: Tensor, mask: Tensor, *, prompt_mask: Tensor | None = None) -> Tensor:
        """Pool a batch.

        Parameters
        ----------
        states : Tensor of shape (B, L, d)
            Last states of the causal model, the contextual token's among them.
        mask : Tensor of shape (B, L), bool
            True on the contextual token and the real tokens.
        prompt_mask : Tensor of shape (B, L), bool, optional
            True on tokens that are not pooled.

        Returns
        -------
        Tensor of shape (B, 2 d)
            In the precision of the states.

        Raises
        ------
        InputError
            A text with fewer than two tokens.
        """
        _, kept = pooled_positions(states, mask, prompt_mask, minimum=2)
        return torch.cat([_gather(states, _place(kept, 0)), _gather(states, _place(kept, -1))], dim=-1)


def make_pooling(config: str | Mapping[str, Any], *, dim: int | None = None) -> Pooling:
    """Make a pooling from its name or from what its ``config()`` returned.

    Parameters
    ----------
    config : str or mapping
        One of ``"mean"``, ``"weighted_mean"``, ``"max"``, ``"cls"``, ``"last"``, ``"contextual_eos"``,
        ``"latent_attention"``, or settings with such a ``"kind"`` (also ``"token"``).
    dim : int, optional
        Width of the states, for poolings with weights where the settings do not tell it.

    Returns
    -------
    Pooling
        With fresh weights, where it has any.

    Raises
    ------
    InputError
        An unknown name or setting.

    Examples
    --------
    >>> make_pooling("last").config()
    {'kind': 'last'}
    """
    settings: dict[str, Any] = {"kind": config} if isinstance(config, str) else dict(config)
    kind = check_choice(settings.pop("kind", None), POOLINGS, name="pooling")
    makers: dict[str, Any] = {
        "mean": MeanPooling,
        "weighted_mean": lambda: MeanPooling(weights="position"),
        "max": MaxPooling,
        "cls": TokenPooling,
        "last": lambda: TokenPooling(position=-1),
        "token": TokenPooling,
        "contextual_eos": ContextualEosPooling,
    }
    if kind == "latent_attention":
        from orthant.nn.latent_attention import LatentAttentionPooling

        makers[kind] = LatentAttentionPooling
        settings.setdefault("dim", dim)
    try:
        return makers[kind](**settings)
    except TypeError as error:
        raise InputError(
            message(f"settings {sorted(settings)} for pooling {kind!r}", "those of its class", "see its documentation")
        ) from error
