"""The `lr2vq` row of the catalogue: arXiv 2211.11397."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_BLOCK, _WORDS, _RANK = 16, 16, 6
_HIDDEN = 256
_EPOCHS = 10
_TRAIN = 1_200
_RATE = 3e-3
_CURVE_RANKS = (2, 4, 6, 8, 12, 16)


def _digits(seed: int) -> Trial:
    """Accuracy of a network of three layers whose first two are codes of 4 / 16 bits for each weight."""
    found = {rank: _accuracy(seed, rank) for rank in (2, _RANK, _BLOCK)}
    return Trial(
        measured={"accuracy": found[_RANK]},
        ablated={"accuracy": found[_BLOCK]},
        baseline={"accuracy": found[_BLOCK]},
        alternatives={
            "rank 2": {"accuracy": found[2]},
            "blocks of 16 chosen for the outputs, then the same training": {
                "accuracy": _accuracy(seed, _BLOCK, observe=True)
            },
        },
    )


def _accuracy(seed: int, rank: int, *, observe: bool = False) -> float:
    """Train whole, compress, train with as many epochs in all for every rank, and judge on held-out digits."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    from orthant.learn.compression import LowRankVQ, compress

    torch.manual_seed(seed)
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(pixels))
    X, y = torch.from_numpy((pixels / 16).astype(np.float32)[order]), torch.from_numpy(labels[order])
    model = nn.Sequential(
        nn.Linear(64, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 10)
    )

    def trained(epochs: int) -> Any:
        def train(network: Any) -> None:
            weights = [one for one in network.parameters() if one.requires_grad]
            optimiser = torch.optim.Adam(weights, lr=_RATE)
            for _ in range(epochs):
                for rows in torch.randperm(_TRAIN).split(64):
                    loss = nn.functional.cross_entropy(network(X[rows]), y[rows])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()

        return train

    trained(_EPOCHS)(model)
    setting = LowRankVQ(k=_WORDS, block=_BLOCK, rank=rank)
    # Plain codes have no factors to train: they get those epochs with their codes instead.
    before, after = (0, 2 * _EPOCHS) if rank == _BLOCK else (_EPOCHS, _EPOCHS)
    compress(
        model,
        {"0": setting, "2": setting},
        train=trained(before),
        tune=trained(after),
        observe=(lambda network: network(X[:_TRAIN])) if observe else None,
        seed=seed,
    )
    with torch.no_grad():
        return float((model(X[_TRAIN:]).argmax(1) == y[_TRAIN:]).float().mean())


def _curves(seed: int) -> Trial:
    """Share of the squares of a feed-forward weight of MiniLM that blocks of 16 in 256 codewords lose, untrained."""
    from orthant.encoders.bert_weights import read_weights
    from orthant.encoders.transformer import minilm_folder
    from orthant.learn.compression import error_curves

    weights = read_weights(minilm_folder() / "model.safetensors")
    weight = weights["encoder.layer.3.intermediate.dense.weight"]
    curves = error_curves(weight, block=16, codebook_size=256, ranks=_CURVE_RANKS, seed=seed)
    figures: dict[int, Figures] = {
        rank: {"lost": low + clustered, "lost by the map": low, "lost by codes": clustered}
        for rank, low, clustered in zip(curves.ranks, curves.low_rank, curves.clustering, strict=True)
    }
    return Trial(
        measured=figures[8],
        baseline=figures[16],
        alternatives={f"rank {rank}": figures[rank] for rank in _CURVE_RANKS if rank not in (8, 16)},
    )


PAPER = Paper(
    key="lr2vq",
    title="Learning Low-Rank Representations for Model Compression",
    arxiv="2211.11397",
    year=2022,
    wing="search",
    lives_in=("orthant.quantization.lowrank", "orthant.learn.compression.course"),
    summary=(
        "Separates the block size that sets the compression ratio from the width in which clustering happens: weight "
        "blocks become low-rank codes times one small shared matrix, and only the codes are clustered. Worth a try "
        "when weights or embedding tables must shrink by an order of magnitude and some fine-tuning is possible. Its "
        "place in Orthant: `compress` for any torch network, a matrix with row lookup that needs no torch, and "
        "sentence encoders below 8 MB."
    ),
    keywords=("model compression", "vector quantization", "low rank", "embedding table", "clustering"),
    status="works",
    claims=(
        Claim(
            name="rank-below-block-on-digits",
            sentence=(
                "On digits, a network of three layers with blocks of 16 weights in 16 codewords is compared at rank 6 "
                "with rank 16, which is plain vector quantization, at equal bytes of codes and equal epochs."
            ),
            data="real",
            run=_digits,
            metric="accuracy",
            fresh_seeds=(101, 102, 103, 104, 105),
        ),
        Claim(
            name="untrained-errors-of-minilm",
            sentence=(
                "Untrained, a feed-forward weight of MiniLM loses least at a rank of the whole block: what low rank "
                "gains in clustering it loses in the map."
            ),
            data="real",
            run=_curves,
            metric="lost",
            direction="lower",
            fresh_seeds=(101,),
            trained=False,
        ),
    ),
)
