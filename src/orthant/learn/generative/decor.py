"""Keeping unwanted things out of generated pictures by projecting the prompt's token vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from orthant.errors import InputError, message
from orthant.transforms.subspace import SubspaceProjection
from orthant.types import FloatArray
from orthant.validate import as_texts, check_fraction

__all__ = ["DecorHook", "apply_decor"]

_SMALLEST = 1e-3
_ENERGY_LOST = 0.9


class DecorHook:
    """The projection that stands between a pipeline's text encoder and what draws; made by `apply_decor`.

    Use it as a context manager, or call ``remove``.

    Attributes
    ----------
    projections : list of SubspaceProjection
        One for each text encoder, in the order in which their token vectors are joined.
    pooled : SubspaceProjection or None
        For the vector of the whole prompt, where the pipeline has one.
    """

    def __init__(
        self,
        pipeline: Any,
        original: Callable[..., Any],
        projections: list[SubspaceProjection],
        pooled: SubspaceProjection | None,
    ) -> None:
        self.projections = projections
        self.pooled = pooled
        self._pipeline = pipeline
        self._original = original
        pipeline.encode_prompt = self._encode

    def _encode(self, *args: Any, **kwargs: Any) -> Any:
        out = self._original(*args, **kwargs)
        # The unconditional branch of guidance comes second and stays as it is.
        parts = list(out) if isinstance(out, tuple) else [out]
        parts[0] = self._projected(parts[0])
        if self.pooled is not None:
            parts[2] = self.pooled.project_tokens(parts[2])
        return tuple(parts) if isinstance(out, tuple) else parts[0]

    def _projected(self, E: torch.Tensor) -> torch.Tensor:
        widths = [one.n_features_in_ for one in self.projections]
        pieces = torch.split(E, widths, dim=-1)
        mask = np.ones(tuple(E.shape[:-1]), dtype=bool)
        mask[..., 0] = False
        kept = torch.cat(
            [one.project_tokens(piece, mask=mask) for one, piece in zip(self.projections, pieces, strict=True)], dim=-1
        )
        before, after = (float((x[..., 1:, :].double() ** 2).sum()) for x in (E, kept))
        if after < (1.0 - _ENERGY_LOST) * before:
            given = f"undesired prompts that hold {100 * (1 - after / before):.0f} % of the prompt"
            raise InputError(message(given, f"at most {100 * _ENERGY_LOST:.0f} %", "name less, or lower strength"))
        return kept

    def remove(self) -> None:
        """Give the pipeline its own encoding back; once is enough."""
        if self._pipeline.__dict__.get("encode_prompt") == self._encode:
            del self._pipeline.encode_prompt

    def __enter__(self) -> DecorHook:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def apply_decor(
    pipeline: Any,
    undesired: str | Sequence[str],
    *,
    strength: float = 1.0,
    preserve_norm: bool = False,
) -> DecorHook:
    """Project every prompt's token vectors off those of undesired prompts, from now on.

    Use it where a customised generator copies things of its few examples into every picture: name these things. It
    takes what is related to them along, so compare a few strengths. Nothing is trained, and diffusers is not imported.

    Parameters
    ----------
    pipeline : object
        With ``tokenizer``, ``text_encoder`` (and ``text_encoder_2``) and
        ``encode_prompt(prompt, device, num_images_per_prompt, do_classifier_free_guidance)``, as the Stable Diffusion
        pipelines of diffusers have them; the tensor that guides comes first in what it returns.
    undesired : str or sequence of str
        What is not to be seen. The vectors of their own tokens are used, without start, end and padding.
    strength : float, default 1.0
        Share that is taken out, from 0 to 1.
    preserve_norm : bool, default False
        Bring token vectors back to their lengths.

    Returns
    -------
    DecorHook
        ``remove()`` undoes it; so does leaving its ``with`` block.

    Raises
    ------
    InputError
        Not such a pipeline, or undesired prompts without a token. While it is used: a prompt that consists of what is
        undesired.

    Notes
    -----
    ``E' = E - strength E V V^T`` for all rows but the first, V being the right singular vectors of the undesired token
    vectors with singular values above a thousandth of the largest, for each text encoder on its own. The vector of the
    whole prompt (SDXL) is projected off those of the undesired prompts. Cost: one encoding per undesired prompt, then
    O(n d r) per prompt.

    References
    ----------
    Jang, Kim, Park, Kim, Lee, Jeong: DECOR: Decomposition and projection of text embeddings for text-to-image
    customization. arXiv:2412.09169, section 4.
    """
    texts = as_texts([undesired] if isinstance(undesired, str) else undesired, name="undesired")
    check_fraction(strength, name="strength")
    lacking = [name for name in ("tokenizer", "text_encoder", "encode_prompt") if not hasattr(pipeline, name)]
    if lacking:
        given = f"a {type(pipeline).__name__} without {', '.join(lacking)}"
        raise InputError(message(given, "a text-to-image pipeline of the diffusers kind", "pass such a pipeline"))
    original = pipeline.encode_prompt
    device = next(pipeline.text_encoder.parameters()).device
    rows, whole = [], []
    for text in texts:
        with torch.no_grad():
            out = original(prompt=text, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False)
        out = out if isinstance(out, tuple) else (out,)
        rows.append(_array(out[0][0])[_content(pipeline.tokenizer, text)])
        if len(out) > 2 and out[2] is not None:
            whole.append(_array(out[2]))
    content = np.concatenate(rows) if rows else np.zeros((0, 1), dtype=np.float32)
    if not content.any():
        raise InputError(message(f"undesired={texts!r}, of no token", "texts with words", "name what is not wanted"))
    pieces = np.split(content, np.cumsum(_widths(pipeline, content.shape[1]))[:-1], axis=1)
    projections = [_projection(piece, strength, preserve_norm) for piece in pieces]
    pooled = _projection(np.concatenate(whole), strength, preserve_norm) if whole else None
    return DecorHook(pipeline, original, projections, pooled)


def _array(tensor: torch.Tensor) -> FloatArray:
    return tensor.detach().to("cpu", torch.float32).numpy()


def _content(tokenizer: Any, text: str) -> list[int]:
    """Return the places of a text's own tokens: not the start, the end and what fills up behind it."""
    ids = tokenizer(text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True)["input_ids"]
    around = {getattr(tokenizer, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return [place for place, token in enumerate(ids) if token not in around]


def _widths(pipeline: Any, dim: int) -> list[int]:
    """Return the widths of the text encoders whose token vectors are joined."""
    encoders = (getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2"))
    widths = [int(one.config.hidden_size) for one in encoders if one is not None and hasattr(one, "config")]
    return widths if sum(widths) == dim else [dim]


def _projection(rows: FloatArray, strength: float, preserve_norm: bool) -> SubspaceProjection:
    values = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    rank = max(1, int((values > _SMALLEST * values[0]).sum()))
    return SubspaceProjection(rank=rank, strength=strength, preserve_norm=preserve_norm).fit(rows)
