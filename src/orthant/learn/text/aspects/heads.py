"""A head per aspect on frozen vectors: learned from pairs, or in closed form from the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, InputError, message
from orthant.learn.export.networks import export_network
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.learn.text.aspects.pairs import draw_pairs, known_answers, padded_labels
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.measures.aspects import LabelSets, label_sets
from orthant.transforms.layers import Layer
from orthant.transforms.network import Network
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["train_aspect_heads"]


def train_aspect_heads(
    vectors: npt.ArrayLike,
    labels: Mapping[str, Sequence[Any]],
    *,
    method: Literal["regression", "contrastive"] = "regression",
    dim: int | None = None,
    frequent: int | None = None,
    ridge: float = 1.0,
    temperature: float = 0.1,
    partners: int = 4,
    epochs: float = 2,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> dict[str, Network]:
    """Train one head per aspect, so that documents which share a label in it become neighbours.

    The encoder stays as it is, and heads are small matrices that NumPy serves: a space per aspect for the price of one
    encoding. ``ProjectedEncoder(base, head, name=...)`` makes encoders of them. Judge them by ``judge_aspects`` on
    other documents.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
        Of the documents, by any encoder; none may be zero. A thousand or more.
    labels : mapping of str to sequence of (collection of str, or None), length n
        By aspect, the labels of each document; None or empty where nothing is known.
    method : {"regression", "contrastive"}, default "regression"
        ``"regression"`` predicts the labels and keeps the directions that tell them apart: seconds, and hard to beat
        where every label has dozens of documents. ``"contrastive"`` draws pairs together against the rest of a batch.
    dim : int, optional
        Width of an aspect's vectors, at most d; default 128 or d. Regression has no more directions than labels, and
        one for two labels that exclude each other: it parts documents, and ranks none within a part.
    frequent : int, optional
        Leave out labels of so many documents or more.
    ridge : float, default 1.0
        Of the regression, on vectors of unit length. More is steadier with few documents.
    temperature : float, default 0.1
        Of the contrast. Smaller looks at the nearest wrong documents only.
    partners : int, default 4
        Pairs drawn for each document.
    epochs : float, default 2
        Passes over the pairs.
    batch_size : int, default 256
        At least 8: documents of a batch are each other's negatives, unless they share a label.
    learning_rate : float, default 3e-3
        Of AdamW.
    seed : int, default 0
        Of everything random; the regression has nothing random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    dict of str to Network
        By aspect, in the order given.

    Raises
    ------
    InputError
        No aspect, one without two documents that share a label or whose labels all documents share, texts where sets
        should be, vectors of zeros, settings out of range, or fewer pairs than a batch.
    DimensionError
        Labels for another number of documents.

    Notes
    -----
    With unit rows X and label indicators Y less their means, regression takes ``W = (X'X + ridge I)^-1 X'Y`` and the
    leading ``dim`` left singular vectors of W times their values, which keep the dot products of predicted labels.
    The contrast is InfoNCE over pairs that share a drawn label, both ways; other documents of the batch that share any
    label are left out. Cost: O(n d^2) or O(pairs d dim + pairs batch_size dim).

    References
    ----------
    Ostendorff et al.: Specialized document embeddings for aspect-based similarity. arXiv 2203.14541, section 3. The
    regression is not in the paper.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 16)).astype(np.float32)
    >>> heads = train_aspect_heads(X, {"side": [{"left" if x[0] < 0 else "right"} for x in X]}, dim=4)
    >>> heads["side"].transform(X).shape
    (200, 1)
    """
    X = as_vectors(vectors, name="vectors", nonzero=True)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    check_choice(method, ("regression", "contrastive"), name="method")
    width = min(128, X.shape[1]) if dim is None else check_count(dim, name="dim", maximum=X.shape[1])
    check_fraction(ridge, name="ridge", low=1e-9, high=1e9)
    check_count(batch_size, name="batch_size", minimum=8)
    sets = _checked(labels, len(X), frequent)
    if method == "regression":
        return {name: _regression(X, one, width, ridge) for name, one in sets.items()}
    settings = ContrastiveSettings(temperature=temperature, symmetric=True)
    out = {}
    for name, one in sets.items():
        left, right, _ = draw_pairs(one, partners=partners, seed=seed)
        if len(left) < batch_size:
            given = f"{len(left)} pairs of aspect {name!r} for batches of {batch_size}"
            raise InputError(message(given, "a batch at least", "bring more documents, or lower batch_size"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Linear(X.shape[1], width, bias=False)
            nn.init.orthogonal_(model.weight)
        stage = Stage(
            name,
            {"left": left, "right": right},
            lambda module, one=one: _Objective(module, X, one, settings),  # type: ignore[misc]
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=1e-2,
        )
        TorchLoop(model, stage, seed=seed, threads=threads).run(progress=progress)
        out[name] = export_network(model.eval())
    return out


def _checked(labels: Any, count: int, frequent: int | None) -> dict[str, LabelSets]:
    if not isinstance(labels, Mapping) or not labels:
        given = "no aspect" if isinstance(labels, Mapping) else f"labels of type {type(labels).__name__}"
        raise InputError(message(given, "a mapping of aspects to labels", "write {'genre': [{'drama'}, ...]}"))
    wrong = next((name for name, one in labels.items() if len(one) != count), None)
    if wrong is not None:
        given = f"labels of {len(labels[wrong])} documents in aspect {wrong!r} and {count} vectors"
        raise DimensionError(message(given, "one set per vector", "align them; None where nothing is known"))
    sets = {name: label_sets(one, aspect=name, frequent=frequent) for name, one in labels.items()}
    for name, found in sets.items():
        # What every document has tells none apart; the rounding of zero would be taken for a direction.
        if found.matrix.sum(axis=0).min() == np.count_nonzero(found.sizes):
            given = f"aspect {name!r}, whose labels every document has"
            raise InputError(message(given, "labels that some have and others have not", "bring other documents"))
    return sets


def _regression(X: FloatArray, labels: LabelSets, dim: int, ridge: float) -> Network:
    known = np.flatnonzero(labels.sizes)
    rows = X[known].astype(np.float64)
    indicators = labels.matrix[known]
    # X'(Y - mean) without a dense Y: labels may be many.
    products = np.asarray((indicators.T @ rows).T) - np.outer(
        rows.sum(axis=0), np.asarray(indicators.mean(axis=0)).ravel()
    )
    weights = np.linalg.solve(rows.T @ rows + ridge * np.eye(X.shape[1]), products)
    vectors, values, _ = np.linalg.svd(weights, full_matrices=False)
    # Two labels that exclude each other need one direction; what rounding leaves over is none.
    kept = min(dim, int(np.count_nonzero(values > 1e-6 * values[0])))
    if kept == 0:
        raise InputError(
            message("labels that the vectors say nothing about", "labels that differ", "check that rows are aligned")
        )
    head = (vectors[:, :kept] * values[:kept] / values[0]).T
    return Network([Layer("linear", {"weight": head.astype(np.float32)})])


class _Objective(nn.Module):
    """The contrast over rows of two documents."""

    vectors: Tensor
    labels: Tensor

    def __init__(self, model: nn.Module, X: FloatArray, labels: LabelSets, settings: ContrastiveSettings) -> None:
        super().__init__()
        self.model = model
        self.contrast = ContrastiveLoss(settings)
        self.register_buffer("vectors", torch.from_numpy(X), persistent=False)
        self.register_buffer("labels", torch.from_numpy(padded_labels(labels)), persistent=False)

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        left, right = batch["left"], batch["right"]
        return self.contrast(
            {
                "queries": self.model(self.vectors[left]),
                "positives": self.model(self.vectors[right]),
                "query_ids": left,
                "positive_ids": right,
                "known_ids": known_answers(self.labels[left], self.labels[right], right),
            }
        )
