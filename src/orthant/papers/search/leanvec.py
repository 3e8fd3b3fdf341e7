"""The `leanvec` row of the catalogue: arXiv 2312.16335."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import MissingExtraError, message
from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]
Fitted = Callable[[Array], Array]

_TURNS = ("wordnet", "movies", "medquad", "papers")
_ROWS = 4_000
_QUERIES = 1_000
_BITS = 4
_EXTRA_BYTES = 4
_COVERAGES = (0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
_LLOYD_ROUNDS = 12
_DIM = 160
_GRAPH_ROWS = 25_000
_TUNE = 500
_EFFORTS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224)
_CONSTRUCTION = 200
_CONSTANT_BYTES = 4
_FAISS_DEGREE = 16
_FAISS_CODES: tuple[tuple[int | None, int], ...] = ((160, 8), (192, 4), (256, 4))
_GRAPH_DIM = 192
_FAISS_FACTORS = (2, 3, 4)
_OUTSIDE = ("banking77", "stackoverflow")
_OUTSIDE_ROWS = 10_000
_OUTSIDE_HELD = 400
_OUTSIDE_DIM = 96
_OUTSIDE_DEPTH = 50
_OUTSIDE_SHARES = (0.25, 0.5, 0.75)


def _codes_outlive(seed: int) -> Trial:
    """Recall@10 from the codes alone, at equal bytes, when they are fitted on one kind of text and used on another."""
    arms: dict[str, Callable[[Array], Fitted]] = {
        "measured": _lvq,
        "one uniform range per dimension": _uniform,
        "uniform ranges clipped as suits the first texts": _clipped,
        "optimal levels per dimension": _lloyd,
        "product quantizer, two dimensions per byte": _product,
        "ablated": _one_range,
    }
    recalls: dict[str, list[float]] = {name: [] for name in arms}
    kinds = _by_kind(seed)
    for first, second in zip(_TURNS, (*_TURNS[1:], _TURNS[0]), strict=True):
        rows, queries = kinds[second][_QUERIES:], kinds[second][:_QUERIES]
        for name, fit in arms.items():
            recalls[name].append(_recall(rows, fit(kinds[first][_QUERIES:])(rows), queries, 10, 10))
    found: dict[str, Figures] = {name: {"recall@10": float(np.mean(values))} for name, values in recalls.items()}
    return Trial(
        measured=found.pop("measured"),
        ablated=found.pop("ablated"),
        baseline=found.pop("one uniform range per dimension"),
        alternatives=found,
    )


def _lvq(fitted: Array) -> Fitted:
    from orthant.quantization import LVQ

    codes = LVQ(bits=_BITS).fit(fitted)
    return lambda rows: codes.decode(codes.encode(rows))


def _one_range(fitted: Array) -> Fitted:
    """LVQ with its mechanism off: the same codes about the same mean, with one range for all vectors."""
    mean = fitted.mean(axis=0)
    low, high = float((fitted - mean).min()), float((fitted - mean).max())
    return lambda rows: _rounded(rows - mean, low, high, np.full(rows.shape[1], 2**_BITS - 1)) + mean


def _uniform(fitted: Array, coverage: float = 1.0) -> Fitted:
    tail = (1 - coverage) / 2
    low, high = np.quantile(fitted, tail, axis=0), np.quantile(fitted, 1 - tail, axis=0)
    steps = 2 ** _bits_per_dimension(fitted) - 1
    return lambda rows: _rounded(rows, low, high, steps)


def _clipped(fitted: Array) -> Fitted:
    """The coverage that serves held-out rows of the first texts best."""
    train, queries = fitted[_QUERIES:], fitted[:_QUERIES]
    recalls = [_recall(train, _uniform(train, c)(train), queries, 10, 10) for c in _COVERAGES]
    return _uniform(fitted, _COVERAGES[int(np.argmax(recalls))])


def _lloyd(fitted: Array) -> Fitted:
    columns = zip(fitted.T, _bits_per_dimension(fitted), strict=True)
    levels = [_lloyd_levels(np.sort(column), 2 ** int(bits)) for column, bits in columns]

    def through(rows: Array) -> Array:
        return np.column_stack(
            [at[np.searchsorted((at[1:] + at[:-1]) / 2, column)] for at, column in zip(levels, rows.T, strict=True)]
        )

    return through


def _lloyd_levels(values: Array, count: int) -> Array:
    levels = np.quantile(values, (np.arange(count) + 0.5) / count)
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    for _ in range(_LLOYD_ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(values, (levels[1:] + levels[:-1]) / 2), [len(values)]])
        sizes = np.diff(edges)
        levels = np.where(sizes > 0, np.diff(sums[edges]) / np.maximum(sizes, 1), levels)
    return levels


def _product(fitted: Array) -> Fitted:
    faiss = _faiss()
    codes = faiss.ProductQuantizer(fitted.shape[1], fitted.shape[1] // 2, 8)
    codes.cp.niter, codes.cp.min_points_per_centroid, codes.cp.max_points_per_centroid = 12, 1, 16
    codes.train(np.ascontiguousarray(fitted))
    return lambda rows: codes.decode(codes.compute_codes(np.ascontiguousarray(rows)))


def _bits_per_dimension(fitted: Array) -> Array:
    """Spend the bytes that LVQ needs for its constants: twice the bits for the dimensions that vary most."""
    bits = np.full(fitted.shape[1], _BITS)
    bits[np.argsort(-fitted.var(axis=0))[: 8 * _EXTRA_BYTES // _BITS]] *= 2
    return bits


def _rounded(rows: Array, low: Any, high: Any, steps: Array) -> Array:
    step = np.maximum((high - low) / steps, 1e-12)
    return np.clip(np.rint((rows - low) / step), 0, steps) * step + low


def _by_kind(seed: int) -> dict[str, Array]:
    from orthant.datasets import load

    found = load("minilm_short_texts")
    kinds = np.array([record["source"] for record in found.base_records])
    rng = np.random.default_rng(seed)
    return {
        kind: found.base[rng.choice(np.flatnonzero(kinds == kind), _ROWS + _QUERIES, replace=False)] for kind in _TURNS
    }


def _recall(rows: Array, seen: Array, queries: Array, k: int, depth: int, asked: Array | None = None) -> float:
    """Share of the k exact neighbours among the `depth` best by what is seen of the rows."""
    truth = _nearest(rows, queries, k)
    found = _nearest(seen, queries if asked is None else asked, depth)
    return float((truth[:, :, None] == found[:, None, :]).any(axis=2).mean())


def _nearest(rows: Array, queries: Array, k: int) -> Array:
    from orthant.index import Flat

    index = Flat(rows.shape[1], "dot")
    index.add(rows)
    return index.search(queries, k).ids


def _reduction(seed: int) -> Trial:
    """Share of the 10 true neighbours among the best 50 by the reduced vectors."""
    from orthant.datasets import load
    from orthant.transforms import LeanVec, Reduction

    found = load("minilm_short_texts", texts="drop")
    rng = np.random.default_rng(seed)
    rows = found.base[rng.choice(len(found.base), 10_000, replace=False)]
    queries = found.queries["in"][rng.choice(len(found.queries["in"]), 500, replace=False)]
    lean = LeanVec(dim=_DIM).fit(rows)
    centred = Reduction(dim=_DIM).fit(rows)
    random = np.linalg.qr(rng.standard_normal((rows.shape[1], _DIM)))[0].astype(np.float32)
    varying = np.argsort(-rows.var(axis=0))[:_DIM]

    def ceiling(seen: Array, asked: Array) -> Figures:
        return {"recall@10 of 50": _recall(rows, seen, queries, 10, 50, asked)}

    return Trial(
        measured=ceiling(lean.transform(rows), lean.transform_queries(queries)),
        baseline=ceiling(rows[:, :_DIM], queries[:, :_DIM]),
        alternatives={
            "principal components about the mean": ceiling(centred.transform(rows), queries @ centred.components_.T),
            "random projection": ceiling(rows @ random, queries @ random),
            "dimensions that vary most": ceiling(rows[:, varying], queries[:, varying]),
        },
    )


def _queries_from_elsewhere(seed: int) -> Trial:
    """Share of the 10 true neighbours of other queries of the same kind among the best 50 by the reduced vectors."""
    found: dict[str, list[float]] = {}
    for rows, learned, held in _outside_sets(seed):
        truth = _nearest(rows, held, 10)
        for name, (database, queries) in _outside_arms(rows, learned, seed).items():
            seen = _nearest(rows @ database.T, held @ queries.T, _OUTSIDE_DEPTH)
            share = float((truth[:, :, None] == seen[:, None, :]).any(axis=2).mean())
            found.setdefault(name, []).append(share)
    figures: dict[str, Figures] = {name: {"recall@10 of 50": float(np.mean(each))} for name, each in found.items()}
    return Trial(
        measured=figures.pop("measured"),
        ablated=figures.pop("ablated"),
        baseline=figures.pop("LeanVec without queries"),
        alternatives=figures,
    )


def _outside_arms(rows: Array, learned: Array, seed: int) -> dict[str, tuple[Array, Array]]:
    """Return projections of database and queries by name; every arm that learns gets the same queries."""
    from orthant.transforms import LeanVec

    def lean(mode: str, queries: Array) -> tuple[Array, Array]:
        made = LeanVec(dim=_OUTSIDE_DIM, mode=mode).fit(rows, queries=queries)
        return made.components_x_, made.components_q_

    instead = rows[np.random.default_rng(seed).choice(len(rows), len(learned), replace=False)]
    centred = _leading(np.cov(rows.T))
    alone = _leading(learned.T.astype(float) @ learned)
    mixed = _best_mixture(rows, learned)
    return {
        "measured": lean("es+fw", learned),
        "ablated": lean("es+fw", instead),
        "LeanVec without queries": lean("id", learned),
        "eigen-search alone": lean("es", learned),
        "principal components about the mean": (centred, centred),
        "principal components of the queries": (alone, alone),
        "principal components of both, at the best of three weights": (mixed, mixed),
    }


def _best_mixture(rows: Array, learned: Array) -> Array:
    """Choose the weight of the queries by recall on a quarter of those that are learned from."""
    database = rows.T.astype(float) @ rows / len(rows)
    tune, rest = learned[::4], np.delete(learned, np.s_[::4], axis=0)
    truth = _nearest(rows, tune, 10)

    def mixture(share: float, queries: Array) -> Array:
        return _leading((1 - share) * database + share * (queries.T.astype(float) @ queries / len(queries)))

    def recall(share: float) -> float:
        kept = mixture(share, rest)
        seen = _nearest(rows @ kept.T, tune @ kept.T, _OUTSIDE_DEPTH)
        return float((truth[:, :, None] == seen[:, None, :]).any(axis=2).mean())

    return mixture(max(_OUTSIDE_SHARES, key=recall), learned)


def _leading(matrix: Array) -> Array:
    return np.ascontiguousarray(np.linalg.eigh(matrix)[1][:, ::-1][:, :_OUTSIDE_DIM].T.astype(np.float32))


def _outside_sets(seed: int) -> list[tuple[Array, Array, Array]]:
    from orthant.datasets import load

    found = load("minilm_short_texts")
    rng = np.random.default_rng(seed)
    rows = _unit(found.base[rng.choice(len(found.base), _OUTSIDE_ROWS, replace=False)])
    kinds = np.array([record["source"] for record in found.query_records["out"]])
    out = []
    for kind in _OUTSIDE:
        asked = _unit(found.queries["out"][rng.permutation(np.flatnonzero(kinds == kind))])
        out.append((rows, asked[_OUTSIDE_HELD:], asked[:_OUTSIDE_HELD]))
    return out


def _graph_reads_less(seed: int) -> Trial:
    """Bytes of codes, and of vectors for re-ranking, that a query reads to reach recall@10 of 0.95."""
    from orthant.datasets import load

    found = load("minilm_short_texts", texts="drop")
    rng = np.random.default_rng(seed)
    rows = _unit(found.base[rng.choice(len(found.base), _GRAPH_ROWS, replace=False)])
    asked = _unit(found.queries["in"][rng.permutation(len(found.queries["in"]))])
    tune, judge = (_Judged(rows, part) for part in (asked[:_TUNE], asked[_TUNE:]))
    return Trial(
        measured=_best([_graph_arm(rows, dim=_GRAPH_DIM, sketch=False)], tune, judge),
        ablated=_best([_graph_arm(rows, dim=rows.shape[1], sketch=False)], tune, judge),
        baseline=_best(_faiss_arms(rows, ((None, 8),)), tune, judge),
        alternatives={
            "FAISS PCA, HNSW over 8- or 4-bit codes, re-ranked": _best(_faiss_arms(rows, _FAISS_CODES), tune, judge),
            "Graph as it is by default, without reduction": _best(
                [_graph_arm(rows, dim=rows.shape[1], sketch=True)], tune, judge
            ),
        },
    )


class _Judged:
    """Queries with their exact neighbours."""

    def __init__(self, rows: Array, queries: Array) -> None:
        self.queries = queries
        self.truth = _nearest(rows, queries, 10)

    def curve(self, arm: Arm) -> list[tuple[float, float, float]]:
        """Return recall, bytes read and distances computed per query, effort by effort."""
        from orthant.measures import recall_at_k

        out = []
        for effort in arm.efforts:
            ids, read, distances = arm.search(self.queries, effort)
            out.append((recall_at_k(ids, self.truth), read / len(ids), distances / len(ids)))
        return out


@dataclass(frozen=True)
class Arm:
    """One index with one setting of everything but effort."""

    search: Callable[[Array, int], tuple[Array, float, float]]
    efforts: tuple[int, ...]
    code_bytes: float


def _best(arms: list[Arm], tune: _Judged, judge: _Judged) -> Figures:
    """Choose the setting that reads least for the recall on some queries; its figures on others."""
    chosen = min(arms, key=lambda arm: _at_recall(tune.curve(arm), 1))
    curve = judge.curve(chosen)
    return {
        "kilobytes_read": _at_recall(curve, 1) / 1000,
        "distances": _at_recall(curve, 2),
        "code_bytes_per_vector": chosen.code_bytes,
        "highest_recall": max(point[0] for point in curve),
    }


def _at_recall(curve: list[tuple[float, float, float]], column: int, recall: float = 0.95) -> float:
    """Interpolate a cost between the efforts around a recall; infinite where it is never reached."""
    ordered = sorted(curve)
    recalls = np.maximum.accumulate([point[0] for point in ordered])
    if recalls[-1] < recall:
        return float("inf")
    return float(np.exp(np.interp(recall, recalls, np.log([point[column] for point in ordered]))))


def _graph_arm(rows: Array, *, dim: int, sketch: bool) -> Arm:
    from orthant.index.graph import Graph
    from orthant.kernels.warmup import wait

    graph = Graph(rows.shape[1], "cosine", reduced_dim=dim, sketch=sketch)
    graph.add(rows, threads=1)
    # Until its kernels are compiled a graph answers by comparing everything.
    wait("graph")

    def search(queries: Array, effort: int) -> tuple[Array, float, float]:
        hits = graph.search(queries, 10, effort=effort, threads=1)
        return hits.ids, float(hits.cost.bytes_read), float(hits.cost.distances)

    stats = graph.stats().details
    return Arm(search, _EFFORTS, stats["dims"] * stats["bits"] / 8 + _CONSTANT_BYTES)


def _faiss_arms(rows: Array, codes: tuple[tuple[int | None, int], ...]) -> list[Arm]:
    faiss = _faiss()
    kinds = {8: faiss.ScalarQuantizer.QT_8bit, 4: faiss.ScalarQuantizer.QT_4bit}
    full = faiss.IndexFlatIP(rows.shape[1])
    full.add(rows)
    arms = []
    for dim, bits in codes:
        size = rows.shape[1] if dim is None else dim
        graph = faiss.IndexHNSWSQ(size, kinds[bits], _FAISS_DEGREE, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _CONSTRUCTION
        inner = graph if dim is None else faiss.IndexPreTransform(faiss.PCAMatrix(rows.shape[1], dim), graph)
        inner.train(rows)
        inner.add(rows)
        for factor in _FAISS_FACTORS:
            efforts = tuple(effort for effort in _EFFORTS if effort >= 10 * factor)
            # FAISS holds plain pointers: the closure keeps all its parts alive.
            arms.append(Arm(_faiss_search(graph, inner, full, factor, size * bits / 8), efforts, size * bits / 8))
    return arms


def _faiss_search(graph: Any, inner: Any, full: Any, factor: int, code_bytes: float) -> Any:
    faiss = _faiss()
    index = faiss.IndexRefine(inner, full)
    index.k_factor = factor

    def search(queries: Array, effort: int) -> tuple[Array, float, float]:
        graph.hnsw.efSearch = effort
        faiss.cvar.hnsw_stats.reset()
        _, ids = index.search(queries, 10)
        distances = float(faiss.cvar.hnsw_stats.ndis)
        again = len(queries) * 10 * factor * 4 * full.d
        return ids, distances * code_bytes + again, distances

    return search


def _unit(rows: Array) -> Array:
    wide = rows.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(
            message("the claims of 'leanvec' without FAISS", "the package faiss-cpu", "run: pip install faiss-cpu")
        ) from error
    return faiss


PAPER = Paper(
    key="leanvec",
    title="LeanVec: Search your vectors faster by making them fit",
    arxiv="2312.16335",
    year=2023,
    wing="search",
    lives_in=(
        "orthant.transforms.leanvec",
        "orthant.quantization.lvq",
        "orthant.index.graph",
        "orthant.index.graph_tuning",
    ),
    summary=(
        "Projects vectors to fewer dimensions for the walk through a graph and keeps a fuller code for the final "
        "ordering; when sample queries are given, it learns separate projections for the two sides so that inner "
        "products between them suffer least. Use it for embeddings of several hundred dimensions, above all when "
        "queries come from another distribution than the documents, such as text against images. Its place in "
        "Orthant: the default reduction under the graph index, next to 8-bit locally adaptive codes."
    ),
    keywords=(
        "dimensionality reduction",
        "out-of-distribution queries",
        "graph search",
        "locally adaptive quantization",
        "re-ranking",
    ),
    status="works",
    claims=(
        Claim(
            name="codes-outlive-their-data",
            sentence=(
                "Fitted on sentence vectors of one kind of text and used on another (four kinds in a ring, 4,000 "
                "vectors of 384 dimensions each), 4-bit LVQ codes keep more of the 10 nearest neighbours, without "
                "re-ranking, than scalar codes per dimension (uniform, clipped, or with optimal levels) and a product "
                "quantizer of 196 bytes or as near as they come."
            ),
            data="real",
            run=_codes_outlive,
            metric="recall@10",
            margin=0.002,
            ablation="the range of each vector: one range for all",
            needs=("minilm_short_texts",),
            fresh_seeds=(101, 102, 103),
        ),
        Claim(
            name="queries-from-elsewhere",
            sentence=(
                "At 96 of 384 dimensions, how many of the 10 nearest of 10,000 sentence vectors are among the best 50 "
                "by the reduced ones, for titles of programming questions and for requests to a bank: eigen-search and "
                "Frank-Wolfe steps, learned from other queries of the kind, keep more than principal components of the "
                "data, of those queries, or of both at the best of three weights."
            ),
            data="real",
            run=_queries_from_elsewhere,
            metric="recall@10 of 50",
            margin=0.004,
            ablation="the queries: as many rows of the data in their place",
            needs=("minilm_short_texts",),
            fresh_seeds=(101, 102, 103),
        ),
        Claim(
            name="bytes-read-by-a-graph",
            sentence=(
                "Kilobytes of codes, and of vectors for re-ranking, that a query reads to reach recall@10 of 0.95 "
                "over 25,000 sentence vectors: Graph without sketches over LVQ codes of 192 of 384 dimensions, "
                "the same over all dimensions (ablated), FAISS HNSW over 8-bit codes, FAISS with reduction, 4 or 8 "
                "bits and re-ranking, and Graph as it is by default. Settings are tuned on other queries."
            ),
            data="real",
            run=_graph_reads_less,
            metric="kilobytes_read",
            direction="lower",
            needs=("minilm_short_texts",),
            trained=False,
        ),
        Claim(
            name="reduction-in-distribution",
            sentence=(
                "At 160 of 384 dimensions, how many of the 10 nearest of 10,000 sentence vectors are among the best 50 "
                "by the reduced ones, for queries like the data: LeanVec without queries beside principal components "
                "about the mean, which are as good, and plainer reductions, which are not."
            ),
            data="real",
            run=_reduction,
            metric="recall@10 of 50",
            needs=("minilm_short_texts",),
            trained=False,
        ),
    ),
)
