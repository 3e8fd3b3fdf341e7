"""Centroids and codebooks of an inverted file that learn to keep rankings, from vectors alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.distances import row_chunks
from orthant.kernels.topk import top_k
from orthant.learn.losses.distillation import kl_divergence, list_net, margin_mse, rank_net, score_mse
from orthant.learn.losses.protocol import LossOutput, check_positive
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.nn.codebooks.product import DifferentiablePQ
from orthant.quantization.inverted import IVFCodec
from orthant.quantization.product import ProductQuantizer
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["LOSSES", "distill_vq"]

LOSSES = ("list-net", "kl", "margin-mse", "mse", "rank-net", "reconstruction")
"""What may be asked of the codes: rankings by the first five, small errors by the last."""

_FEWEST = 2


def distill_vq(
    documents: npt.ArrayLike,
    queries: npt.ArrayLike,
    *,
    codec: IVFCodec,
    teacher: npt.ArrayLike | None = None,
    loss: str = "list-net",
    temperature: float = 0.1,
    top_k: int = 200,
    drawn: int = 32,
    sampled: int = 512,
    lists_weight: float = 1.0,
    soft: bool = False,
    epochs: float = 5,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    centroid_rate: float = 1.0,
    weight_decay: float = 0.01,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> IVFCodec:
    """Move centroids and codewords so that queries rank coded documents as they rank the full vectors.

    Needs queries like those that will come, a few thousand, and no judgements: the full vectors are the teacher. Where
    queries are not at hand, or candidates are re-ranked by full vectors anyway, the codec as it was trained on the
    documents alone is the safer choice.

    Parameters
    ----------
    documents : array-like of shape (n, d)
        Full vectors of the index, or a fair sample of them.
    queries : array-like of shape (q, d)
        Queries; at least a batch.
    codec : IVFCodec
        Where the training begins: with product codes. It is not changed.
    teacher : array-like of shape (q, d), optional
        Vectors whose scores with the documents are to be kept, where these are not the queries themselves, such as
        those of a better model of the same space.
    loss : {"list-net", "kl", "margin-mse", "mse", "rank-net", "reconstruction"}, default "list-net"
        How scores are compared. "list-net" and "kl" have the same gradient. "reconstruction" minimises the squared
        error of the candidates and ignores queries but for the choice of candidates.
    temperature : float, default 0.1
        Of both softmaxes, above 0, in units of the score. Too large makes them flat, so that nothing is learned; too
        small sees the first neighbour only. About the spread of the scores of a query's neighbours.
    top_k : int, default 200
        Nearest documents of a query among which candidates are drawn, at most n.
    drawn : int, default 32
        Of them drawn for each query and step, at most ``top_k``. Candidates of a batch are shared by all its queries.
    sampled : int, default 512
        Further documents of a step, drawn from all. With none, what is far away may come near unnoticed.
    lists_weight : float, default 1.0
        Weight of the loss of the centroids alone, from 0. 0 leaves probing to chance.
    soft : bool, default False
        Let the choice of a code have a slope as well, by a softmax over its codewords; takes memory and time for
        batch x m x 2^bits values.
    epochs : float, default 5
        Passes over the queries. With few queries, more passes learn them by heart.
    batch_size : int, default 128
        Queries of a step, at least 2.
    learning_rate : float, default 1e-3
        Peak rate of AdamW for codewords. Entries of unit vectors of some hundred dimensions are about 0.05: rates
        above 2e-3 tear the books apart, below 1e-4 little moves in a few hundred steps.
    centroid_rate : float, default 1.0
        The centroids' rate, over that of the codewords.
    weight_decay : float, default 0.01
        Of AdamW, towards where the training began.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    IVFCodec
        Moved centroids, with the old ones as keys, so that documents stay in their lists; moved codebooks. Encode the
        documents anew: hand it to ``IVF(codec=...)``.

    Raises
    ------
    InputError
        A codec without product codes, fewer queries than a batch, candidates beyond the documents, or a setting out of
        range or without effect.
    DimensionError
        Vectors of another dimension than the codec.

    Notes
    -----
    With list l of document d fixed, rest ``u = d - o_l`` and code ``c = encode(u)`` taken anew at every step::

        T = <q, d> / t,  S_lists = <q, o_l> / t,  S_codes = <q, o_l + C_c> / t
        loss = lists_weight f(T, S_lists) + f(T, S_codes),  list-net: f = -sum softmax(T) log softmax(S)

    over the documents of the batch. Under l2, scores are minus squared distances. A rotation stays as it is.
    The slope of the hard form (``soft=False``) reaches the chosen codewords only.
    Cost: q n d for the teacher's neighbours; each step encodes ``batch_size * drawn + sampled`` documents.

    References
    ----------
    Xiao et al.: Distill-VQ: learning retrieval oriented vector quantization by distilling knowledge from dense
    embeddings. SIGIR 2022, arXiv 2204.00185, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 16)).astype(np.float32)
    >>> codec = IVFCodec.train(X, lists=4)
    >>> trained = distill_vq(X, X[:64] + 0.1, codec=codec, epochs=1, batch_size=32, top_k=20, drawn=4, sampled=50)
    >>> bool((trained.assign(X) == codec.assign(X)).all()), bool((trained.centroids_ != codec.centroids_).any())
    (True, True)
    """
    _check_codec(codec)
    check_choice(loss, LOSSES, name="loss")
    temperature = check_positive(temperature, name="temperature")
    check_count(batch_size, name="batch_size", minimum=_FEWEST)
    check_count(drawn, name="drawn", maximum=check_count(top_k, name="top_k"))
    check_count(sampled, name="sampled", minimum=0)
    check_fraction(lists_weight, name="lists_weight", high=1e6)
    rate = check_positive(centroid_rate, name="centroid_rate")
    nonzero = codec.metric == "cosine"
    X = codec.prepare(as_vectors(documents, dim=codec.dim, name="documents", nonzero=nonzero))
    Q = codec.prepare(as_vectors(queries, dim=codec.dim, name="queries", nonzero=nonzero))
    T = Q
    if teacher is not None:
        T = codec.prepare(as_vectors(teacher, dim=codec.dim, name="teacher", nonzero=nonzero))
    if len(T) != len(Q):
        raise DimensionError(message(f"{len(T)} teacher vectors for {len(Q)} queries", "as many", "pass one for each"))
    if len(Q) < batch_size:
        raise InputError(message(f"{len(Q)} queries", f"a batch of {batch_size} at least", "pass more"))
    if top_k > len(X):
        raise InputError(message(f"top_k={top_k} of {len(X)} documents", "at most all of them", "lower top_k"))
    torch.manual_seed(check_count(seed, name="seed", minimum=0))
    module = _Coded(codec, X, rate=rate, soft=soft)
    objective: dict[str, Any] = {
        "loss": loss,
        "temperature": temperature,
        "drawn": drawn,
        "sampled": sampled,
        "lists": lists_weight,
    }
    near = torch.from_numpy(_neighbours(T, X, top_k, codec.metric))
    sides = [torch.from_numpy(module.turned(rows)) for rows in (Q, T)]
    stage = Stage(
        "distill-vq",
        {"row": np.arange(len(Q))},
        lambda model: _Objective(model, sides[0], sides[1], near, metric=codec.metric, **objective),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        max_grad_norm=0.0,
    )
    TorchLoop(module, stage, seed=seed, threads=threads).run(progress=progress)
    return module.codec()


def _check_codec(codec: Any) -> None:
    if not isinstance(codec, IVFCodec):
        raise InputError(message(f"codec={type(codec).__name__}", "an IVFCodec", "make one with IVFCodec.train"))
    quantizer = codec.quantizer_
    if not isinstance(quantizer, ProductQuantizer) or quantizer.keys_ is not None:
        expected = "product codes without keys of their own"
        raise InputError(message(f"a codec with {quantizer!r}", expected, "train one with a ProductQuantizer"))


def _neighbours(queries: FloatArray, X: FloatArray, k: int, metric: str) -> IdArray:
    """Return the rows with the k best scores of each query; each at least once among few queries at a time."""
    lengths = np.einsum("nd,nd->n", X, X) if metric == "l2" else None
    out = np.empty((len(queries), k), dtype=np.int64)
    for start, stop in row_chunks(len(queries), 4 * len(X), 1 << 26):
        scores = queries[start:stop] @ X.T
        if lengths is not None:
            scores = 2 * scores - lengths
        out[start:stop] = top_k(scores, k)[0]
    return out


class _Coded(nn.Module):
    """Documents as an inverted file stores them, in the space after the rotation."""

    documents: Tensor
    labels: Tensor
    first: Tensor
    shared: Tensor

    def __init__(self, codec: IVFCodec, X: FloatArray, *, rate: float, soft: bool) -> None:
        super().__init__()
        self._start, self._rate, self._soft = codec, rate, soft
        quantizer = codec.quantizer_
        if not isinstance(quantizer, ProductQuantizer):
            raise RuntimeError("a codec without product codes was let through")
        self._rotation = None if quantizer.rotation_ is None else quantizer.rotation_.astype(np.float64)
        self.books = DifferentiablePQ.from_quantizer(ProductQuantizer.from_codebooks(quantizer.codebooks_))
        if soft:
            # The softmax sees squared distances as they are on average.
            self.books.temperature = float(max(quantizer.codebooks_.var(axis=1).sum(axis=1).mean(), 1e-12))
        # What all codes share is the quantizer's mean.
        shared = quantizer.mean_ if self._rotation is not None else np.zeros(codec.dim, dtype=np.float32)
        self._mean = self.turned(shared[None])[0]
        self.register_buffer("documents", torch.from_numpy(self.turned(X)))
        self.register_buffer("labels", torch.from_numpy(codec.assign(X)))
        self.register_buffer("first", torch.from_numpy(self.turned(codec.centroids_)))
        self.register_buffer("shared", torch.from_numpy(self._mean))
        self.shift = nn.Parameter(torch.zeros_like(self.first))

    def turned(self, rows: FloatArray) -> FloatArray:
        """Return vectors in the space of the codebooks."""
        return rows if self._rotation is None else (rows.astype(np.float64) @ self._rotation).astype(np.float32)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return full vectors, centroids and coded vectors of some documents."""
        full = self.documents[rows]
        lists = self.labels[rows]
        centroids = self.first[lists] + self._rate * self.shift[lists]
        rest = full - centroids - self.shared
        words = self.books(rest).values if self._soft else self.books.decode(self.books.encode(rest))
        return full, centroids, centroids + self.shared + words

    @torch.no_grad()
    def codec(self) -> IVFCodec:
        """Return what was trained."""
        quantizer = self._start.quantizer_
        moved = (self.first + self._rate * self.shift).cpu().numpy()
        if self._rotation is not None:
            moved = (moved.astype(np.float64) @ self._rotation.T).astype(np.float32)
        made = ProductQuantizer.from_codebooks(
            self.books.codebook().cpu().numpy(),
            rotation=getattr(quantizer, "rotation_", None),
            mean=None if self._rotation is None else getattr(quantizer, "mean_", None),
        )
        made.bits = quantizer.bits
        return IVFCodec(moved, made, keys=self._start.keys_, metric=self._start.metric)


class _Objective(nn.Module):
    """The loss of a batch of queries, over candidates that they share."""

    def __init__(
        self,
        model: _Coded,
        queries: Tensor,
        teacher: Tensor,
        near: Tensor,
        *,
        metric: str,
        loss: str,
        temperature: float,
        drawn: int,
        sampled: int,
        lists: float,
    ) -> None:
        super().__init__()
        self.model = model
        self._queries, self._teacher, self._near = queries, teacher, near
        self._metric, self._loss, self._temperature = metric, loss, temperature
        self._drawn, self._sampled, self._lists = drawn, sampled, lists

    def _scores(self, queries: Tensor, rows: Tensor) -> Tensor:
        products = queries @ rows.T
        if self._metric != "l2":
            return products
        return 2 * products - rows.square().sum(1) - queries.square().sum(1, keepdim=True)

    def _compared(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self._loss in ("list-net", "kl"):
            compare = list_net if self._loss == "list-net" else kl_divergence
            t = self._temperature
            return compare(student, teacher, student_temperature=t, teacher_temperature=t)
        scaled = student / self._temperature, teacher / self._temperature
        if self._loss == "rank-net":
            return rank_net(*scaled) / student.shape[1] ** 2
        if self._loss == "margin-mse":
            # The best of each query is what the others are measured from.
            best = teacher.argmax(1, keepdim=True)
            student, teacher = (torch.cat([s.gather(1, best), s], dim=1) for s in scaled)
            return margin_mse(student, teacher)
        return score_mse(*scaled)

    def forward(self, batch: dict[str, Tensor]) -> LossOutput:
        """Return the loss of some queries."""
        rows = batch["row"].reshape(-1).long()
        near = self._near[rows]
        columns = torch.rand(near.shape).argsort(dim=1)[:, : self._drawn]
        candidates = near.gather(1, columns).reshape(-1)
        if self._sampled:
            candidates = torch.cat([candidates, torch.randint(len(self.model.documents), (self._sampled,))])
        full, centroids, coded = self.model(candidates.unique())
        if self._loss == "reconstruction":
            codes = (full - coded).square().sum(1).mean()
            lists = (full - centroids).square().sum(1).mean()
        else:
            with torch.no_grad():
                teacher = self._scores(self._teacher[rows], full)
            queries = self._queries[rows]
            codes = self._compared(self._scores(queries, coded), teacher)
            lists = self._compared(self._scores(queries, centroids), teacher)
        return LossOutput(codes + self._lists * lists, {"codes": codes.detach(), "lists": lists.detach()})
