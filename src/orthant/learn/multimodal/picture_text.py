"""Training a small encoder of pictures and texts from pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from orthant.encoders.composed.pictures import PictureTextEncoder, picture_values
from orthant.encoders.registry import load_encoder
from orthant.errors import InputError, message
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.nn.pictures import PictureTower
from orthant.types import Encoder
from orthant.validate import as_texts, check_count

__all__ = ["train_picture_text"]

_SHIFT = 2


def train_picture_text(
    pictures: npt.ArrayLike,
    texts: Sequence[str | Sequence[str]],
    *,
    text_encoder: str | Encoder = "static",
    dim: int = 128,
    channels: Sequence[int] = (16, 32, 64),
    epochs: float = 30,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    temperature: float = 0.07,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> PictureTextEncoder:
    """Learn a space in which a picture lies close to its texts.

    Use it for icons, emoji, logos and thumbnails of which you have a thousand or more with names or tags. The text
    encoder stays as it is; a linear map of its vectors and a small convolutional tower for pictures are learned.

    Parameters
    ----------
    pictures : array-like of uint8, shape (n, side, side, 3 or 4)
        RGB or RGBA; the side is a multiple of 2 to the power of the number of channels.
    texts : sequence of length n, of str or sequence of str
        What each picture may be called; one is drawn at every step.
    text_encoder : str or Encoder, default "static"
        Frozen.
    dim : int, default 128
        Dimension of the space.
    channels : sequence of int, default (16, 32, 64)
        Of the convolutions. More see finer things and cost time.
    epochs : float, default 30
        Passes over the pictures. Too few: texts find pictures of the right colour only; too many: names of the training
        pictures are learned by heart.
    batch_size : int, default 128
        Pictures of a step, each a negative for the others.
    learning_rate : float, default 2e-3
        Peak rate.
    temperature : float, default 0.07
        Of the contrastive loss.
    seed : int, default 0
        Of weights, order, texts and shifts.
    threads : int, optional
        Threads of torch.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    PictureTextEncoder
        Served by NumPy.

    Raises
    ------
    InputError
        Other numbers of pictures and texts, a picture without a text, or fewer than two pictures.

    Notes
    -----
    The loss is the mean of both directions' softmax over the batch; pictures are shifted by up to 2 pixels. Cost: some
    2 million multiplications per picture and epoch with the defaults, so 3,000 pictures take about a second per epoch.
    """
    encoder = load_encoder(text_encoder)
    values = picture_values(pictures)
    vectors, counts = _text_vectors(texts, encoder, len(values))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = _Towers(PictureTower(dim=dim, side=values.shape[2], channels=channels), encoder.dim, dim)
    stage = Stage(
        "picture-text",
        {"pictures": values, "texts": vectors, "counts": counts},
        lambda model: _PairLoss(model, temperature, seed),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule="cosine",
        weight_decay=0.05,
    )
    TorchLoop(towers, stage, seed=seed, threads=threads, checkpoint_every=10**6).run(progress=progress)
    return PictureTextEncoder(towers.arrays(), side=values.shape[2], text_encoder=text_encoder)


def _text_vectors(
    texts: Sequence[str | Sequence[str]], encoder: Encoder, n: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the vectors of every picture's texts, filled up with zeros, and how many each has."""
    lists = [as_texts([one] if isinstance(one, str) else one, name="texts") for one in texts]
    if len(lists) != n or n < 2:
        raise InputError(message(f"{n} pictures and {len(lists)} texts", "one for each, two at least", "pair them"))
    empty = next((i for i, one in enumerate(lists) if not one), None)
    if empty is not None:
        raise InputError(message(f"picture {empty} without a text", "one at least", "name it, or leave it out"))
    if len({tuple(one) for one in lists}) == 1:
        raise InputError(
            message("one and the same text for all pictures", "texts that differ", "describe each picture")
        )
    counts = np.array([len(one) for one in lists], dtype=np.int64)
    found = encoder.encode([text for one in lists for text in one])
    out = np.zeros((n, check_count(int(counts.max()), name="texts"), encoder.dim), dtype=np.float32)
    out[np.repeat(np.arange(n), counts), np.concatenate([np.arange(c) for c in counts])] = found
    return out, counts


class _Towers(nn.Module):
    def __init__(self, pictures: PictureTower, text_dim: int, dim: int) -> None:
        super().__init__()
        self.pictures = pictures
        self.text = nn.Linear(text_dim, dim, bias=False)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights under the names of `PictureTextEncoder`."""
        layers = [layer for layer in self.pictures.convolutions if isinstance(layer, nn.Conv2d)]
        named: dict[str, Any] = {"text": self.text.weight, "projection": self.pictures.projection.weight}
        named["projection_bias"] = self.pictures.projection.bias
        for i, layer in enumerate(layers):
            named |= {f"convolution_{i}": layer.weight, f"bias_{i}": layer.bias}
        return {name: tensor.detach().numpy().copy() for name, tensor in named.items()}


class _PairLoss(nn.Module):
    def __init__(self, towers: _Towers, temperature: float, seed: int) -> None:
        super().__init__()
        self.towers = towers
        self.loss = ContrastiveLoss(ContrastiveSettings(temperature=temperature, symmetric=True))
        self._random = torch.Generator().manual_seed(seed)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> LossOutput:
        counts = batch["counts"]
        drawn = (torch.rand(len(counts), generator=self._random) * counts).long().clamp(max=int(counts.max()) - 1)
        texts = batch["texts"][torch.arange(len(counts)), drawn]
        down, right = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=self._random).tolist()
        shifted = torch.roll(batch["pictures"], (down, right), dims=(2, 3))
        out: LossOutput = self.loss({"queries": self.towers.text(texts), "positives": self.towers.pictures(shifted)})
        return out
