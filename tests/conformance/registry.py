"""Where classes join the conformance suites, by one line each.

    register_index("flat", Flat)
    register_encoder("static", StaticEncoder.load)
    register_transform("reduction", lambda dim: Reduction(dim=max(1, dim // 2)))
    register_quantizer("sq8", lambda dim: SQ8())

A factory is called for every fresh instance. ``test_registered.py`` fails for a public class that speaks a protocol
and is not registered here; what cannot be is listed in ``EXEMPT`` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from conformance import reference
from encoders.api.stand_in import Server
from encoders.composed.test_pictures import weights as picture_weights
from encoders.tiny_models import FakeSentenceTransformer, write_tiny_bert
from orthant.encoders.api.encoder import ApiEncoder
from orthant.encoders.callable import CallableEncoder
from orthant.encoders.composed.pictures import PictureTextEncoder
from orthant.encoders.glyphs.encoder import FoldedEncoder
from orthant.encoders.projected.encoder import ProjectedEncoder
from orthant.encoders.records.encoder import RecordEncoder
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder
from orthant.encoders.static import StaticEncoder
from orthant.encoders.transformer import TransformerEncoder
from orthant.encoders.words.corpus import words_of
from orthant.encoders.words.topics import TopicEncoder
from orthant.encoders.words.vectors import WordVectors
from orthant.errors import InputError
from orthant.index import IVF, Flat, Graph, MultiVector, TwoTier
from orthant.kernels.warmup import wait
from orthant.quantization import (
    ITQ,
    LVQ,
    SQ8,
    ProductQuantizer,
    RaBitQ,
    RecurrentBinary,
    ResidualQuantizer,
    SignCodes,
)
from orthant.transforms import (
    DriftCompensator,
    GapAlignment,
    LeanVec,
    LowRankMap,
    MeanShift,
    Procrustes,
    Reduction,
    RelativeRepresentation,
    SubspaceProjection,
)
from orthant.transforms.network import Layer, Network
from orthant.types import Ragged
from orthant.validate import as_vectors

TEXTS = tuple(
    f"{who} {what} the {thing} number {i}"
    for i, (who, what, thing) in enumerate(
        (who, what, thing)
        for who in ("A keeper", "The old captain", "My sister", "Nobody")
        for what in ("wrote about", "sold", "painted", "forgot")
        for thing in ("lighthouse", "harbour", "engine", "garden", "violin")
    )
)


@dataclass(frozen=True)
class IndexCase:
    name: str
    make: Callable[..., Any]  # make(dim, metric)
    metrics: Sequence[str] = ("dot", "cosine", "l2")
    recall: float = 1.0  # 1 means ids equal to the oracle's, ties included


@dataclass(frozen=True)
class EncoderCase:
    name: str
    make: Callable[[], Any]
    items: Sequence[Any] = TEXTS
    texts: bool = True


@dataclass(frozen=True)
class VectorCase:
    """A transform or a quantizer: ``make(dim)`` gives an unfitted one for vectors of that dimension."""

    name: str
    make: Callable[[int], Any]
    dims: Sequence[int] = tuple(range(1, 131))
    rows: int = 200
    needs_targets: bool = False  # fit(X, y=targets)
    tolerance: float = 1e-4


def _walking_graph(dim: int, metric: str) -> Graph:
    """A graph that is walked from the first vector on; compiled before, since it scans while it is not."""
    wait("graph")
    return Graph(dim, metric, degree=16, beam=48, scan_below=0)


def _listed(dim: int, metric: str) -> IVF:
    """An inverted file with lists from the first vectors on; compiled before, since it scans while it is not."""
    wait("lists")
    return IVF(dim, metric, lists=9, quantizer=ResidualQuantizer(levels=4, bits=4, iterations=3), scan_below=16)


def _coded_two_tier(dim: int, metric: str) -> TwoTier:
    return TwoTier(dim, metric, quantizer=LVQ(bits=8), train_rows=1, access="uncached")


def _walked_two_tier(dim: int, metric: str) -> TwoTier:
    return TwoTier(dim, metric, search="graph", train_rows=1, access="uncached")


INDEXES: dict[str, IndexCase] = {}
ENCODERS: dict[str, EncoderCase] = {}
TRANSFORMS: dict[str, VectorCase] = {}
QUANTIZERS: dict[str, VectorCase] = {}
EXEMPT: dict[str, str] = {}


def register_index(name: str, make: Callable[..., Any], **settings: Any) -> None:
    INDEXES[name] = IndexCase(name, make, **settings)


def register_encoder(name: str, make: Callable[[], Any], **settings: Any) -> None:
    ENCODERS[name] = EncoderCase(name, make, **settings)


def register_transform(name: str, make: Callable[[int], Any], **settings: Any) -> None:
    TRANSFORMS[name] = VectorCase(name, make, **settings)


def register_quantizer(name: str, make: Callable[[int], Any], **settings: Any) -> None:
    QUANTIZERS[name] = VectorCase(name, make, **settings)


register_index("flat", Flat)
register_index("graph", Graph)
register_index("graph-without-scans", _walking_graph, recall=0.9)
register_index("ivf", IVF)
register_index("ivf-with-lists", _listed, recall=0.9)
register_index("two-tier", TwoTier)
# Codes from the first vectors on, and fewer candidates than there are vectors.
register_index("two-tier-coded", _coded_two_tier, recall=0.9)
register_index("two-tier-graph", _walked_two_tier, recall=0.9)
register_encoder("static", StaticEncoder.load)
register_encoder(
    "transformer",
    lambda: TransformerEncoder.load(write_tiny_bert(Path(mkdtemp()) / "tiny", window=64), backend="numpy"),
)
register_encoder("sentence-transformer", lambda: SentenceTransformerEncoder(FakeSentenceTransformer()))
register_encoder(
    "callable", lambda: CallableEncoder(lambda t: [[len(x), len(set(x)), 1] for x in t], dim=3, name="x"), texts=False
)
register_encoder("records", lambda: RecordEncoder(512))
register_encoder(
    "records-nested",
    lambda: RecordEncoder(300, structure="householder", arrays="sequence"),
    items=[{"n": i, "t": {"words": ["x"] * (i % 3), "x": f"text {i}"}} for i in range(40)],
    texts=False,
)


def _word_vectors(counts: bool) -> WordVectors:
    words = sorted({word for text in TEXTS for word in words_of(text)} | {*"abcdx", "word", "one", "two"})
    rows = np.random.default_rng(0).standard_normal((len(words), 12))
    return WordVectors(words, rows, counts=np.arange(len(words)) + 1 if counts else None)


register_encoder("picture-text", lambda: PictureTextEncoder(picture_weights(), side=8))
register_encoder("folded", lambda: FoldedEncoder("static"))
register_encoder("word-vectors", lambda: _word_vectors(False))
register_encoder("word-vectors-counted", lambda: _word_vectors(True))
register_encoder(
    "projected",
    lambda: ProjectedEncoder(
        "static",
        Network([Layer("linear", {"weight": np.random.default_rng(0).standard_normal((24, 512)).astype(np.float32)})]),
        name="aspect",
    ),
)
register_encoder("topics-lsa", lambda: TopicEncoder(8, min_count=1).fit(TEXTS))
register_encoder("topics-lda", lambda: TopicEncoder(5, method="lda", min_count=1).fit(TEXTS))
EXEMPT["SubwordVectors"] = "wraps a model of gensim, an optional package; tested in tests/encoders/words"
EXEMPT["Model2VecEncoder"] = "wraps an object of an optional package; tested in tests/encoders/test_registry.py"
register_encoder("reference-hashing", reference.HashingEncoder)
register_transform("reference-centering", lambda dim: reference.Centering())
register_transform("reduction", lambda dim: Reduction(dim=max(1, dim // 2)))
register_transform("reduction-chosen", lambda dim: Reduction(), dims=(*range(1, 131, 9), 31, 32, 33, 64, 65))
register_transform("reduction-origin", lambda dim: Reduction(dim=max(1, dim // 3), center=False), dims=(1, 2, 33, 128))
EXEMPT["Network"] = "comes trained: there is nothing to fit, so it has no unfitted state; tested in test_network.py"
for metric in ("dot", "cosine", "l2"):
    register_transform(
        f"leanvec-{metric}",
        lambda dim, metric=metric: LeanVec(dim=max(1, dim // 2), metric=metric, center=metric != "dot"),
    )
FEW_DIMS = (1, 2, 3, 8, 33, 64, 130)
# Of one dimension nothing would be left.
register_transform("subspace", lambda dim: SubspaceProjection(), dims=FEW_DIMS[1:])
register_transform("subspace-centred", lambda dim: SubspaceProjection(rank=3, center=True, strength=0.5), dims=FEW_DIMS)
for name, make_map in {
    "mean-shift": MeanShift,
    "drift": DriftCompensator,
    "gap-alignment": lambda: GapAlignment(strength=1.0),
    "procrustes": Procrustes,
    "procrustes-whitened": lambda: Procrustes(whiten=True, scale=True),
    "low-rank-map": LowRankMap,
    "low-rank-map-given": lambda: LowRankMap(rank=1, ridge=0.1),
    "relative": RelativeRepresentation,
    "relative-target": lambda: RelativeRepresentation(space="target", selection="spread"),
}.items():
    register_transform(name, lambda dim, make_map=make_map: make_map(), needs_targets=True, dims=FEW_DIMS)
EXEMPT["WordedMap"] = "learns from words beside vectors; tested in tests/transforms/alignment"
EXEMPT["ResidualAdapter"] = "learns from pairs of different items only; tested in tests/transforms/adaptation"
register_quantizer("sq8", lambda dim: SQ8())
register_quantizer("sq8-quantiles", lambda dim: SQ8(coverage=0.999), dims=(*range(1, 131, 9), 64, 65, 130))
for bits, residual_bits in ((8, 0), (4, 0), (4, 4), (4, 8), (8, 4), (8, 8)):
    register_quantizer(
        f"lvq{bits}" + (f"x{residual_bits}" if residual_bits else ""),
        lambda dim, bits=bits, residual_bits=residual_bits: LVQ(bits=bits, residual_bits=residual_bits),
    )
register_quantizer("lvq4-aligned", lambda dim: LVQ(bits=4, align=32), dims=(1, 7, 16, 33, 56, 57, 64, 120, 121))


def _parts(dim: int) -> int:
    """The largest number of parts up to four that the dimension has."""
    return next(m for m in (4, 3, 2, 1) if dim % m == 0)


SOME_DIMS = (1, 2, 3, 5, 7, 8, 9, 16, 33, 63, 64, 65, 130)
register_quantizer("product", lambda dim: ProductQuantizer(m=_parts(dim)), dims=SOME_DIMS)
register_quantizer("product4", lambda dim: ProductQuantizer(m=_parts(dim), bits=4, iterations=5), dims=SOME_DIMS)
register_quantizer(
    "product4-opq",
    lambda dim: ProductQuantizer(m=_parts(dim), bits=4, rotation="opq", iterations=3),
    dims=(1, 5, 7, 8, 16, 33, 64),
)
register_quantizer("residual", lambda dim: ResidualQuantizer(levels=2), dims=SOME_DIMS)
register_quantizer("residual4", lambda dim: ResidualQuantizer(levels=3, bits=4, iterations=5), dims=SOME_DIMS)
register_quantizer(
    "residual4-beam", lambda dim: ResidualQuantizer(levels=3, bits=4, beam=3, iterations=3), dims=(1, 5, 8, 16, 33, 64)
)
for bits in (1, 2, 4):
    register_quantizer(f"signs{bits}", lambda dim, bits=bits: SignCodes(bits=bits), dims=SOME_DIMS)
    register_quantizer(f"rabitq{bits}", lambda dim, bits=bits: RaBitQ(bits=bits), dims=SOME_DIMS)
register_quantizer("itq", lambda dim: ITQ(iterations=5), dims=SOME_DIMS)
register_quantizer("recurrent-binary", lambda dim: RecurrentBinary(), dims=SOME_DIMS)
register_quantizer("recurrent-binary4", lambda dim: RecurrentBinary(bits=4), dims=(1, 7, 64))
register_quantizer("reference-eight-bit", lambda dim: reference.EightBit())


@cache
def _api_server() -> Server:
    """One server on this machine for all cases; it ends with the process."""
    return Server()


register_encoder("api", lambda: ApiEncoder("openai", "stand-in", url=_api_server().url))
register_encoder("api-cached", lambda: ApiEncoder("cohere", "m", url=_api_server().url, cache=mkdtemp()))


class OneTokenEach(MultiVector):
    """Sets of one vector, whose MaxSim is a dot product: what the battery knows how to judge."""

    def __init__(self, dim: int, metric: str = "dot", **settings: Any) -> None:
        if metric != "dot":
            raise InputError(f"Got metric {metric!r}; expected 'dot'. Use it.")
        super().__init__(dim, **settings)

    def add(self, X: Any, ids: Any = None) -> Any:
        return super().add(_singles(X, self.dim), ids)

    def search(self, Q: Any, k: int = 10, **settings: Any) -> Any:
        return super().search(_singles(Q, self.dim, single=True), k, **settings)


def _singles(X: Any, dim: int, **how: Any) -> Ragged:
    values = as_vectors(X, dim=dim, **how)
    return Ragged(values, np.arange(len(values) + 1))


register_index("multivector", OneTokenEach, metrics=("dot",))
EXEMPT["MultiVector"] = "takes sets of vectors; joins the battery with sets of one, as OneTokenEach"
EXEMPT["FixedDimensionalEncoding"] = "takes sets of vectors; tested in tests/transforms/test_fixed_dimensional.py"
