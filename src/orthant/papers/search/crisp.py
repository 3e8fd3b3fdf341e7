"""The `crisp` row of the catalogue: arXiv 2505.11471."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orthant.papers.record import Claim, Figures, Paper, Trial
from orthant.types import Ragged, Role

_LAYERS = 3
_WINDOW = 48
_PAIRS = 4_000
_STEPS = 60
_BATCH = 32
_RATE = 1e-4
_TEMPERATURE = 0.05
_QUERIES = 200
_DOCUMENTS = 800
_KEPT = {"query": 4, "document": 8}
_METRIC = "ndcg@10"

_Reduce = Callable[[Ragged, int], Ragged]


def _clusters_in_training(seed: int) -> Trial:
    """NDCG@10 of models trained alike, with 4 vectors per query and 8 per document."""
    from orthant.learn.conversion.builders import papers_pairs
    from orthant.learn.recipes.judging import judged_pairs

    splits = papers_pairs(seed=seed)
    task = judged_pairs(splits, "test", queries=_QUERIES, documents=_DOCUMENTS, seed=seed)
    rows = [{"anchor": row["anchor"], "positive": row["positive"]} for row in splits["train"].rows]

    def trained(kind: str) -> Any:
        return _train(rows, None if kind == "none" else kind, seed)

    plain = _Tokens.of(trained("none"), task)
    afterwards = {name: _score(plain.reduced(reduce), task) for name, reduce in _AFTERWARDS.items()}
    return Trial(
        measured=_score(trained("cluster"), task),
        # The same clusters, with the switch off: the model was not trained through them.
        ablated=afterwards["clusters of unit length"],
        baseline={**afterwards.pop("hierarchical clusters"), "every token": _score(plain, task)[_METRIC]},
        alternatives={
            **{f"{name}, afterwards": figures for name, figures in afterwards.items()},
            "first tokens, in training": _score(trained("head"), task),
            "random groups of unit length, in training": _score(trained("random"), task),
            "one mean of unit length, in training": _score(trained("mean"), task),
        },
    )


def _train(rows: Sequence[dict[str, str]], kind: str | None, seed: int) -> Any:
    """Train one model; only the reducer in its forward pass differs between arms."""
    import numpy as np

    from orthant.learn.losses.settings import ContrastiveSettings
    from orthant.learn.losses.text import TextMaxSimLoss
    from orthant.learn.text.backbone import minilm_backbone
    from orthant.learn.text.multivector import build_token_encoder
    from orthant.learn.training.curriculum import Curriculum
    from orthant.learn.training.stage import Stage
    from orthant.nn.token_reducers import make_reducer

    arms: dict[str, dict[str, Any]] = {
        "cluster": {"kind": "cluster", "normalize": True},
        "random": {"kind": "random", "normalize": True},
        "head": {"kind": "head"},
        "mean": {"kind": "random", "normalize": True, "k": 1},
    }
    reducers = {role: None if kind is None else make_reducer({"k": k, **arms[kind]}) for role, k in _KEPT.items()}
    model = build_token_encoder(
        minilm_backbone(layers=_LAYERS, max_tokens=_WINDOW),
        # The backbone's own width: a new projection would learn little in so few steps.
        dim=None,
        reducer=reducers["document"],
        query_reducer=reducers["query"],
        query_tokens=32,
        document_tokens=_WINDOW,
        device="cpu",
        seed=seed,
    )
    settings = ContrastiveSettings(temperature=_TEMPERATURE, similarity="dot")
    chosen = np.random.default_rng(seed).choice(len(rows), min(_PAIRS, len(rows)), replace=False)
    stage = Stage(
        "pairs",
        [rows[i] for i in chosen],
        # Means over the vectors of a query, so that one temperature suits 2 of them and 30.
        lambda made: TextMaxSimLoss(made, settings, normalize=True),
        steps=_STEPS,
        batch_size=_BATCH,
        learning_rate=_RATE,
        sampler="no-duplicates",
        freeze=("*word_embeddings*",),
    )
    Curriculum([stage], seed=seed).run(model)
    return model.eval()


@dataclass(frozen=True)
class _Tokens:
    """The token vectors of a task, encoded once, in the form that the judge takes."""

    queries: Ragged
    documents: Ragged

    @classmethod
    def of(cls, model: Any, task: Any) -> _Tokens:
        from orthant.learn.recipes.judging import encode_task

        return cls(*encode_task(model, task, _BATCH))

    @property
    def per_document(self) -> float:
        """Mean number of vectors of a document."""
        return len(self.documents.values) / len(self.documents)

    def reduced(self, reduce: _Reduce) -> _Tokens:
        """Keep as many vectors as the trained arms do."""
        return _Tokens(reduce(self.queries, _KEPT["query"]), reduce(self.documents, _KEPT["document"]))

    def encode_tokens(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> Ragged:
        """Return what was encoded; the items are those of the task."""
        return self.queries if role == "query" else self.documents


def _score(model: Any, task: Any) -> Figures:
    from orthant.learn.recipes.judging import judge

    tokens = model if isinstance(model, _Tokens) else _Tokens.of(model, task)
    return {_METRIC: judge(tokens, task, _METRIC).mean, "vectors_per_document": tokens.per_document}


def _clusters(texts: Ragged, k: int) -> Ragged:
    from orthant.transforms import TokenClusterer

    return TokenClusterer(k=k).transform(texts)


def _unit_clusters(texts: Ragged, k: int) -> Ragged:
    from orthant.transforms import TokenClusterer

    return TokenClusterer(k=k, normalize=True).transform(texts)


def _hierarchical(texts: Ragged, k: int) -> Ragged:
    from orthant.encoders.late_interaction.reducing import hierarchical_pool

    return _each(texts, lambda tokens: hierarchical_pool(tokens, factor=len(tokens) / k, protected=0))


def _unit_hierarchical(texts: Ragged, k: int) -> Ragged:
    from orthant.transforms.alignment.spaces import unit_rows

    means = _hierarchical(texts, k)
    return Ragged(unit_rows(means.values), means.offsets)


def _first(texts: Ragged, k: int) -> Ragged:
    return _each(texts, lambda tokens: tokens[:k])


def _last(texts: Ragged, k: int) -> Ragged:
    return _each(texts, lambda tokens: tokens[-k:])


def _spaced(texts: Ragged, k: int) -> Ragged:
    return _each(texts, lambda tokens: tokens[[i * len(tokens) // k for i in range(k)] if len(tokens) > k else ...])


def _each(texts: Ragged, reduce: Callable[[Any], Any]) -> Ragged:
    import numpy as np

    parts = [reduce(texts[i]) for i in range(len(texts))]
    return Ragged(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))


_AFTERWARDS: dict[str, _Reduce] = {
    "clusters": _clusters,
    "clusters of unit length": _unit_clusters,
    "hierarchical clusters": _hierarchical,
    "hierarchical clusters of unit length": _unit_hierarchical,
    "first tokens": _first,
    "last tokens": _last,
    "spaced tokens": _spaced,
}


PAPER = Paper(
    key="crisp",
    title="CRISP: Clustering Multi-Vector Representations for Denoising and Pruning",
    arxiv="2505.11471",
    year=2025,
    wing="search",
    lives_in=(
        "orthant.learn.text.multivector",
        "orthant.nn.token_reducers",
        "orthant.transforms.token_clustering",
    ),
    summary=(
        "Runs k-means over each text's own token vectors inside the forward pass, so a late-interaction encoder "
        "learns tokens that survive being replaced by a few centroids. Choose it when you can fine-tune the encoder "
        "and token storage is what hurts; on a frozen encoder the same clustering after the fact is the cheaper, "
        "weaker option. Its place in Orthant: a reducer for multi-vector training, with a NumPy twin that thins any "
        "stored token set."
    ),
    keywords=("late interaction", "token pruning", "k-means", "multi-vector", "storage", "denoising"),
    status="works",
    claims=(
        Claim(
            name="clusters-in-training",
            sentence=(
                "Three MiniLM layers trained for 60 steps on titles and abstracts of papers, compared token by token, "
                "with 4 vectors per query and 8 per document of 48 tokens: with k-means to unit length in the forward "
                "pass; beside the same model trained on every token and reduced afterwards (k-means to unit length, "
                "its twin; Ward's clusters, which sentence-transformers has, as they are and to unit length; first, "
                "last, or spaced tokens), and models trained on their first tokens, on random groups, and on the mean "
                "of all tokens as one vector."
            ),
            data="real",
            run=_clusters_in_training,
            metric=_METRIC,
            needs=("papers",),
            # 101 to 103 were judged on before clusters were brought to unit length.
            development_seeds=(0, 101, 102, 103),
            fresh_seeds=(201, 202, 203),
        ),
    ),
)
