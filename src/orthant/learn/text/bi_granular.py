"""Two representations of documents for two tiers: codes that find candidates, vectors that order them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.distances import row_chunks
from orthant.kernels.topk import top_k
from orthant.learn.export.networks import export_network
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.learn.samplers.locality import LocalityCentric
from orthant.learn.samplers.protocol import Columns
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.nn.codebooks.product import DifferentiablePQ
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.network import Network
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_choice, check_count

__all__ = ["BiGranular", "BiGranularTrainer"]

_NEGATIVES = ("snowball", "random-walk", "shuffled", "in-batch")


@dataclass(frozen=True)
class BiGranular:
    """The trained maps and quantizer; needs no torch.

    Attributes
    ----------
    query_map : Network
        Queries to vectors that serve both tiers.
    light_map : Network
        Documents to what codes are made of.
    quantizer : ProductQuantizer
        Fitted: codes of ``light_map``'s vectors.
    full_map : Network
        Documents to the vectors that lie on disk.
    """

    query_map: Network
    light_map: Network
    quantizer: ProductQuantizer
    full_map: Network


class BiGranularTrainer:
    """Train codes to find candidates among all documents, and vectors to order what the codes let through.

    For pairs of queries and documents as vectors of a frozen encoder, on which linear maps are trained; serve the
    result by `TwoTier`. Each stage is a call of its own: ``warm``, ``fit_codes``, ``fit_full``, ``unify``;
    ``export`` returns what there is. Compare with one map for both tiers before you keep it.

    Parameters
    ----------
    queries : array-like of shape (q, d)
        Vectors of training queries.
    documents : array-like of shape (n, d)
        Vectors of all documents.
    positives : array-like of shape (q,), int
        Row of each query's document.
    m : int, default 8
        Bytes of a code; divides d.
    candidates : int, default 100
        Documents that the codes return for each training query, among which stage 2 learns; from 1 to n - 1. The paper
        has 200 of millions.
    batch_size : int, default 128
        At least 2.
    learning_rate : float, default 1e-3
        Of the maps and codebooks.
    temperature : float, default 0.05
        Divisor of cosines.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.

    Raises
    ------
    InputError, DimensionError
        Arrays that do not belong together, an m that does not divide d, queries without a positive.

    Notes
    -----
    Stage 1: ``-log softmax(cos(g(q), Q(f_s(d))) / t)`` plus the same on ``f_s(d)``, over the documents of the batch; Q
    begins at OPQ of the warm map, its rotation kept. Stage 2: ``-log softmax(cos(g'(q), f_d(d)) / t)`` over the
    positives of the batch and one candidate of each row, with batches from `LocalityCentric` over the candidates of the
    training queries. Stage 3: g'' from g', with both document sides frozen, on the sum of both losses. Documents that
    are known positives of a row are masked. Maps are linear and begin at the identity.

    References
    ----------
    Xiao et al.: Progressively Optimized Bi-Granular Document Representation for Scalable Embedding Based Retrieval.
    arXiv 2201.05409, WWW 2022, sections 3.2 to 3.4. The paper trains whole encoders.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> docs = rng.standard_normal((300, 16)).astype(np.float32)
    >>> trainer = BiGranularTrainer(docs + 0.5, docs, np.arange(300), m=4, candidates=20, batch_size=32)
    >>> trainer.warm(epochs=1); trainer.fit_codes(epochs=1); trainer.fit_full(epochs=1); trainer.unify(epochs=1)
    >>> made = trainer.export()
    >>> made.quantizer.encode(made.light_map.transform(docs)).shape
    (300, 4)
    """

    def __init__(
        self,
        queries: npt.ArrayLike,
        documents: npt.ArrayLike,
        positives: npt.ArrayLike,
        *,
        m: int = 8,
        candidates: int = 100,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        temperature: float = 0.05,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.queries = as_vectors(queries, name="queries", nonzero=True)
        self.documents = as_vectors(documents, dim=self.queries.shape[1], name="documents", nonzero=True)
        self.positives = _checked_positives(positives, len(self.queries), len(self.documents))
        self.m = check_count(m, name="m")
        if self.queries.shape[1] % self.m:
            given = f"m={m} for dimension {self.queries.shape[1]}"
            raise InputError(message(given, "a divisor of the dimension", "choose another m"))
        self.candidates = check_count(candidates, name="candidates", maximum=max(1, len(self.documents) - 1))
        self.batch_size = check_count(batch_size, name="batch_size", minimum=2, maximum=len(self.queries))
        self.learning_rate, self.seed, self.threads = learning_rate, seed, threads
        self.settings = ContrastiveSettings(temperature=temperature)
        torch.manual_seed(seed)
        self._light = _Towers(self.queries.shape[1])
        self._full: _Towers | None = None
        self._unified: nn.Linear | None = None
        self._books: DifferentiablePQ | None = None

    def warm(self, *, epochs: int = 5) -> None:
        """Train one map for queries and one for documents, from which all stages begin.

        Parameters
        ----------
        epochs : int, default 5
            Passes over the queries.
        """
        self._train(self._light, _Terms(self, full=self._light), self._shuffled(epochs))

    def fit_codes(self, *, epochs: int = 5, books: bool = True) -> None:
        """Stage 1: train codebooks with the maps, against all documents.

        Parameters
        ----------
        epochs : int, default 5
            Passes over the queries.
        books : bool, default True
            False keeps OPQ of the warm map: what training is compared with.
        """
        fitted = ProductQuantizer(m=self.m, rotation="opq", iterations=10, seed=self.seed)
        fitted.fit(_mapped(self._light.documents, self.documents))
        # Squared distances between unit vectors cut into parts are far below 1.
        self._books = DifferentiablePQ.from_quantizer(fitted, temperature=0.05)
        if books:
            module = nn.ModuleList([self._light, self._books])
            terms = _Terms(self, light=self._light, books=self._books, full=self._light)
            self._train(module, terms, self._shuffled(epochs))

    def found(self) -> IdArray:
        """Return the documents that the codes let through for each training query, its positive left out.

        Returns
        -------
        ndarray of shape (q, candidates), int64
            Rows of documents, best first.
        """
        if self._books is None:
            raise InputError(message("candidates before there are codes", "fit_codes first", "call fit_codes"))
        quantizer = self._books.to_quantizer()
        codes = quantizer.encode(_mapped(self._light.documents, self.documents))
        asked = _mapped(self._light.queries, self.queries)
        out = np.empty((len(asked), self.candidates), dtype=np.int64)
        for start, stop in row_chunks(len(asked), 8 * len(codes)):
            scores = quantizer.score(asked[start:stop], codes, metric="cosine")
            scores[np.arange(stop - start), self.positives[start:stop]] = -np.inf
            out[start:stop] = top_k(scores, self.candidates)[0]
        return out

    def fit_full(self, *, epochs: int = 5, negatives: str = "snowball") -> None:
        """Stage 2: train the maps that order candidates, beginning at the warm ones.

        Parameters
        ----------
        epochs : int, default 5
            Passes over the queries.
        negatives : {"snowball", "random-walk", "shuffled", "in-batch"}, default "snowball"
            Batches along the candidates, breadth or depth first; random batches with a candidate for each row; or
            random batches alone.
        """
        check_choice(negatives, _NEGATIVES, name="negatives")
        near = self.found()
        self._full = copy.deepcopy(self._light)
        strategy = negatives if negatives == "random-walk" else "snowball"
        share = 1.0 if negatives in ("snowball", "random-walk") else 0.0
        sampler = LocalityCentric(near, strategy=strategy, share=share)
        table = self._drawn(sampler, epochs)
        if negatives == "in-batch":
            del table["negative"]
        self._train(self._full, _Terms(self, full=self._full), table)

    def unify(self, *, epochs: int = 3) -> None:
        """Stage 3: one map of queries for both tiers; documents stay as they are.

        Parameters
        ----------
        epochs : int, default 3
            Passes over the queries.
        """
        if self._full is None or self._books is None:
            raise InputError(message("unify before both tiers", "fit_codes and fit_full first", "call them"))
        self._unified = copy.deepcopy(self._full.queries)
        light, full = (
            _Towers(self.queries.shape[1], self._unified, side.documents) for side in (self._light, self._full)
        )
        table = self._drawn(LocalityCentric(self.found()), epochs)
        terms = _Terms(self, light=light, books=self._books, full=full, frozen=True)
        self._train(self._unified, terms, table)

    def export(self) -> BiGranular:
        """Return maps and codes as they are now.

        Returns
        -------
        BiGranular
            The map of queries is the latest trained.

        Raises
        ------
        InputError
            There are no codes yet.
        """
        if self._books is None:
            raise InputError(message("no codes to export", "fit_codes first", "call fit_codes"))
        full = self._light if self._full is None else self._full
        queries = full.queries if self._unified is None else self._unified
        maps = [export_network(part) for part in (queries, self._light.documents, full.documents)]
        return BiGranular(maps[0], maps[1], self._books.to_quantizer(), maps[2])

    def _shuffled(self, epochs: int) -> dict[str, IdArray]:
        rng = np.random.default_rng([self.seed, epochs])
        rows = np.concatenate([rng.permutation(len(self.queries)) for _ in range(check_count(epochs, name="epochs"))])
        return {"query": rows}

    def _drawn(self, sampler: LocalityCentric, epochs: int) -> dict[str, IdArray]:
        """Return queries in the order of their batches, with the candidate drawn for each."""
        pairs = [
            pair
            for epoch in range(check_count(epochs, name="epochs"))
            for batch in sampler.batches_with_negatives(
                len(self.queries), batch_size=self.batch_size, seed=self.seed, epoch=epoch
            )
            if len(batch) == self.batch_size
            for pair in batch
        ]
        table = np.array(pairs, dtype=np.int64)
        return {"query": table[:, 0], "negative": table[:, 1]}

    def _train(self, module: nn.Module, terms: _Terms, table: dict[str, IdArray]) -> None:
        module.train()
        stage = Stage(
            "bi-granular",
            table,
            lambda _: terms,
            epochs=1,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            sampler=_InOrder(),
        )
        TorchLoop(module, stage, seed=self.seed, threads=self.threads).run()
        module.eval()


class _Towers(nn.Module):
    """A map for each side, at first the identity."""

    def __init__(self, dim: int, queries: nn.Linear | None = None, documents: nn.Linear | None = None) -> None:
        super().__init__()
        self.queries = _identity(dim) if queries is None else queries
        self.documents = _identity(dim) if documents is None else documents


class _Terms(nn.Module):
    """The losses over one batch of row numbers."""

    def __init__(
        self,
        trainer: BiGranularTrainer,
        *,
        full: _Towers,
        light: _Towers | None = None,
        books: DifferentiablePQ | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.tables = tuple(map(torch.from_numpy, (trainer.queries, trainer.documents, trainer.positives)))
        # In a list, so that what this stage does not train is no part of it.
        self.parts: tuple[list[_Towers], list[tuple[_Towers, DifferentiablePQ]]] = (
            [full],
            [] if light is None or books is None else [(light, books)],
        )
        self.frozen = frozen
        self.loss = ContrastiveLoss(trainer.settings)

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        queries, documents, positives = self.tables
        (full,), coarse = self.parts
        rows = batch["query"].long()
        ids = positives[rows]
        fields: dict[str, Tensor] = {"query_ids": ids, "positive_ids": ids}
        wanted = [documents[ids]]
        if "negative" in batch:
            wanted.append(documents[batch["negative"].long()])
            fields["negative_ids"] = batch["negative"].long()[:, None]
        terms = {}
        with torch.set_grad_enabled(not self.frozen):
            ordered = [full.documents(part) for part in wanted]
        terms["full"] = self._of(full.queries(queries[rows]), ordered, fields)
        for light, books in coarse:
            with torch.set_grad_enabled(not self.frozen):
                coded = [books(light.documents(part)).values for part in wanted]
            terms["light"] = self._of(light.queries(queries[rows]), coded, fields)
        total = torch.stack(list(terms.values())).sum()
        return LossOutput(total, {name: float(term.detach()) for name, term in terms.items()})

    def _of(self, asked: Tensor, sides: list[Tensor], fields: Mapping[str, Tensor]) -> Tensor:
        given: dict[str, Any] = {**fields, "queries": asked, "positives": sides[0]}
        if len(sides) > 1:
            given["negatives"] = sides[1][:, None]
        return self.loss(given).loss


class _InOrder:
    """Batches as the table has them."""

    def length(self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None) -> int:
        return n // batch_size

    def batches(
        self, n: int, *, batch_size: int, seed: int = 0, epoch: int = 0, columns: Columns | None = None
    ) -> Iterator[list[int]]:
        return (list(range(a, a + batch_size)) for a in range(0, n - batch_size + 1, batch_size))


def _identity(dim: int) -> nn.Linear:
    layer = nn.Linear(dim, dim, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(dim))
    return layer


def _mapped(layer: nn.Linear, rows: FloatArray) -> FloatArray:
    return np.ascontiguousarray(rows @ layer.weight.detach().numpy().T)


def _checked_positives(positives: npt.ArrayLike, queries: int, documents: int) -> IdArray:
    rows = np.asarray(positives)
    if rows.shape != (queries,) or rows.dtype.kind not in "iu":
        given = f"positives of shape {rows.shape} and dtype {rows.dtype}"
        raise DimensionError(message(given, f"{queries} integers, one for each query", "pass a row of documents each"))
    if queries and (int(rows.min()) < 0 or int(rows.max()) >= documents):
        given = f"positives from {int(rows.min())} to {int(rows.max())}"
        raise InputError(message(given, f"rows of {documents} documents", "leave out queries without a positive"))
    return np.ascontiguousarray(rows, dtype=np.int64)
