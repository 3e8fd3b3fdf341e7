"""Training of recurrent binary codes on vectors: by pairs, by the vectors' own similarities, beside an old version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.binary.planes import grid_values
from orthant.learn.export.networks import export_network
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.distillation import kl_divergence
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.learn.training.ema import EMATeacher
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.nn.binary import RecurrentBinarizer
from orthant.quantization.binary.recurrent import RecurrentBinary
from orthant.validate import as_vectors, check_count, check_fraction

__all__ = ["train_recurrent_binary"]

_LEAST_BATCH = 8


def train_recurrent_binary(
    queries: npt.ArrayLike,
    documents: npt.ArrayLike | None = None,
    *,
    dim: int,
    bits: int = 2,
    hidden: int = 512,
    ids: npt.ArrayLike | None = None,
    pair_weight: float | None = None,
    similarity_weight: float = 1.0,
    compatible_with: RecurrentBinary | None = None,
    old_documents: npt.ArrayLike | None = None,
    old_weight: float = 1.0,
    temperature: float = 0.05,
    hardest: int | None = None,
    queue_size: int = 0,
    momentum: float = 0.99,
    epochs: float = 10,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-3,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> RecurrentBinary:
    """Train codes of a few bits on vectors, so that codes of things that belong together are close.

    The model that made the vectors is not needed. Compare the result with `SignCodes` and `ITQ` of as many bytes on your
    own queries before you keep it: without pairs there is little to gain.

    Parameters
    ----------
    queries : array-like of shape (n, d)
        Vectors; none may be zero. A few thousand or more.
    documents : array-like of shape (n, d), optional
        Row i belongs to row i of the queries: another view, a clicked document, a caption.
    dim : int
        Dimensions of a code, from 1 to d. Codes take ``dim * bits / 8`` bytes.
    bits : {1, 2, 4}, default 2
        Bits for each.
    hidden : int, default 512
        See `RecurrentBinarizer`.
    ids : array-like of shape (n,), int, optional
        Rows of equal id belong together: they are not taken for negatives.
    pair_weight : float, optional
        Of the loss that draws pairs together; 1 with documents and 0 without, where left out.
    similarity_weight : float, default 1.0
        Of the loss that keeps the vectors' own similarities: what finds the neighbours that the vectors would find.
    compatible_with : RecurrentBinary, optional
        An older quantizer with as many dimensions and bits, whose codes shall be searched with codes of the new one.
    old_documents : array-like of shape (n, e), optional
        The documents (or, without documents, the queries) as vectors of the older quantizer's kind, where that is
        another; n rows in the same order. Left out, it reads the same vectors.
    old_weight : float, default 1.0
        Of the loss that draws new codes to old ones.
    temperature : float, default 0.05
        Divisor of cosines in all losses.
    hardest : int, optional
        Keep so many negatives for each row, those most similar; all where left out.
    queue_size : int, default 0
        Documents of earlier batches kept as negatives, coded by a slowly following copy.
    momentum : float, default 0.99
        Of that copy.
    epochs : float, default 10
        Passes over the rows.
    batch_size : int, default 256
        At least 8: rows are each other's negatives.
    learning_rate, weight_decay : float, default 1e-3
        Of AdamW.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    RecurrentBinary
        With ``unit=True``; ``save`` writes what ``load_artifact`` reads, without torch.

    Raises
    ------
    InputError
        Settings out of range or without effect, zero vectors.
    DimensionError
        Arrays that do not belong together, or an older quantizer of another size.

    Notes
    -----
    With phi the code, c the cosine and tau the temperature, the sum of up to three terms, each a mean over a batch::

        -log softmax(c(phi(q), phi(.)) / tau)[k]            both ways; negatives are other rows and the queue
        KL(softmax(c(q, .) / tau) || softmax(c(phi(q), phi(.)) / tau))
        -log softmax(c(phi(q), old(.)) / tau)[k]            old is frozen

    Training begins at the closed form. Signs lend the slope of the identity within -1 to 1.

    References
    ----------
    Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714, sections 3.2 and 3.3. The second term is
    not in the paper.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((256, 8)) @ rng.standard_normal((8, 32))).astype(np.float32)
    >>> quantizer = train_recurrent_binary(X, X + 0.1, dim=16, hidden=0, epochs=1, batch_size=64)
    >>> quantizer.encode(X).shape
    (256, 4)
    """
    settings = ContrastiveSettings(temperature=temperature, symmetric=True, hardest=hardest, queue_size=queue_size)
    weights = _weights(pair_weight, similarity_weight, old_weight, documents, compatible_with, queue_size)
    check_count(batch_size, name="batch_size", minimum=_LEAST_BATCH)
    data = _columns(queries, documents, ids, old_documents, compatible_with, bits=bits, dim=dim)
    if len(data["queries"]) < batch_size:
        given = f"{len(data['queries'])} rows for batches of {batch_size}"
        raise InputError(message(given, "a batch at least", "pass more rows or lower batch_size"))
    start = RecurrentBinary(dim=dim, bits=bits, unit=True, seed=seed).fit(data["queries"])
    torch.manual_seed(seed)
    module = RecurrentBinarizer(start, data["queries"], hidden=hidden)
    stage = Stage(
        "binary",
        data,
        lambda model: _Objective(model, settings, weights, momentum),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        max_grad_norm=5.0,
    )
    TorchLoop(module, stage, seed=seed, threads=threads).run(progress=progress)
    module.eval()
    encoders, decoders = ([export_network(part) for part in parts] for parts in (module.encoders, module.decoders))
    older = () if compatible_with is None else (compatible_with.fingerprint, *compatible_with.compatible_with_)
    return RecurrentBinary.from_networks(encoders, decoders, sample=data["queries"], compatible_with=older)


def _weights(
    pair: float | None,
    similarity: float,
    old: float,
    documents: Any,
    older: RecurrentBinary | None,
    queue_size: int,
) -> dict[str, float]:
    wanted = (0.0 if documents is None else 1.0) if pair is None else check_fraction(pair, name="pair_weight", high=1e6)
    found = {
        "pairs": wanted,
        "similarities": check_fraction(similarity, name="similarity_weight", high=1e6),
        "old": 0.0 if older is None else check_fraction(old, name="old_weight", high=1e6),
    }
    if wanted and documents is None:
        raise InputError(message(f"pair_weight={pair} without documents", "documents", "pass pairs"))
    if queue_size and not wanted:
        raise InputError(message(f"queue_size={queue_size} without pairs", "documents", "pass pairs, or no queue"))
    if not any(found.values()):
        raise InputError(message("weights that are all 0", "something to train for", "set one of them"))
    return found


def _columns(
    queries: npt.ArrayLike,
    documents: npt.ArrayLike | None,
    ids: npt.ArrayLike | None,
    old_documents: npt.ArrayLike | None,
    older: RecurrentBinary | None,
    *,
    bits: int,
    dim: int,
) -> dict[str, npt.NDArray[Any]]:
    """Check the arrays, and return the columns of the training table."""
    left = as_vectors(queries, name="queries", nonzero=True)
    out: dict[str, npt.NDArray[Any]] = {"queries": left}
    if documents is not None:
        out["documents"] = as_vectors(documents, dim=left.shape[1], name="documents", nonzero=True)
    if ids is not None:
        out["ids"] = np.asarray(ids, dtype=np.int64)
    if older is None:
        if old_documents is not None:
            raise InputError(message("old_documents without compatible_with", "both", "pass the old quantizer"))
    else:
        if (older.code_dim_, older.bits, older.unit) != (dim, bits, True):
            given = f"an older quantizer of {older.code_dim_} dimensions of {older.bits} bits, unit={older.unit}"
            expected = f"{dim} dimensions of {bits} bits, unit=True"
            raise DimensionError(message(given, expected, "take the size of the older one"))
        seen = out.get("documents", left) if old_documents is None else old_documents
        vectors = as_vectors(seen, dim=older.n_features_in_, name="old_documents", nonzero=True)
        out["old"] = grid_values(older.levels(vectors), bits).astype(np.float32)
    lengths = {name: len(column) for name, column in out.items()}
    if len(set(lengths.values())) > 1:
        raise DimensionError(message(f"arrays of {lengths} rows", "as many of each", "align the rows"))
    return out


class _Objective(nn.Module):
    """The three terms over one batch."""

    def __init__(
        self, model: RecurrentBinarizer, settings: ContrastiveSettings, weights: Mapping[str, float], momentum: float
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.temperature = settings.temperature
        self.pairs = ContrastiveLoss(settings)
        self.old = ContrastiveLoss(
            ContrastiveSettings(temperature=settings.temperature, hardest=settings.hardest)
        )
        self.follower = EMATeacher(model, momentum=momentum) if settings.queue_size else None

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        left, right = batch["queries"], batch.get("documents")
        both = left if right is None else torch.cat([left, right])
        codes = self.model(both)
        mine, other = codes[: len(left)], codes[len(left) :]
        numbers = {"query_ids": batch["ids"], "positive_ids": batch["ids"]} if "ids" in batch else {}
        terms: dict[str, Tensor] = {}
        if self.weights["pairs"]:
            fields: dict[str, Tensor | None] = {"queries": mine, "positives": other, **numbers}
            if self.follower is not None:
                fields["queue_entries"] = self.follower(batch["documents"])
            terms["pairs"] = self.pairs(fields).loss
        if self.weights["similarities"]:
            terms["similarities"] = self._similarities(both, codes)
        if self.weights["old"]:
            terms["old"] = self.old({"queries": mine, "positives": batch["old"], **numbers}).loss
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return LossOutput(total, {name: float(term.detach()) for name, term in terms.items()})

    def _similarities(self, vectors: Tensor, codes: Tensor) -> Tensor:
        wanted, found = (nn.functional.normalize(rows, dim=-1) for rows in (vectors, codes))
        # A row is most like itself, whatever the code: that would hide what the term is about.
        others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
        scores = [(rows @ rows.T)[others].view(len(rows), -1) for rows in (found, wanted)]
        tau = {"student_temperature": self.temperature, "teacher_temperature": self.temperature}
        return kl_divergence(*scores, **tau)
