"""What a training recipe may say: one dataclass per section, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "DataRecipe",
    "EvaluationRecipe",
    "LoraRecipe",
    "LossRecipe",
    "MiningRecipe",
    "ModelRecipe",
    "OutputRecipe",
    "Recipe",
    "ReducerRecipe",
    "StageRecipe",
]


@dataclass(frozen=True)
class ReducerRecipe:
    """How a late-interaction model keeps fewer vectors per text.

    Attributes
    ----------
    kind : {"cluster", "head", "tail", "stride"}
        Means of clusters, the first or the last tokens, or every k-th token.
    k : int, optional
        Vectors kept; of ``stride``, the step.
    ratio : float, optional
        Share of the tokens kept instead, above 0 and at most 1; ``cluster`` only.
    """

    kind: Literal["cluster", "head", "tail", "stride"] = "cluster"
    k: int | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class ModelRecipe:
    """What is trained.

    Attributes
    ----------
    base : str, default "minilm"
        ``"minilm"`` or a folder with a transformer.
    kind : {"text", "tokens"}
        One vector per text, or one per token (late interaction).
    layers : int, optional
        Keep so many of the first layers; fewer are quicker and weaker. All by default.
    pooling : str, default "mean"
        Of ``kind: text``.
    dim : int, optional
        Width of a trained projection; the transformer's own by default, 96 for ``kind: tokens``.
    reducer : ReducerRecipe, optional
        Of documents, with ``kind: tokens``; without it every token is kept.
    query_reducer : ReducerRecipe, optional
        Of queries.
    max_tokens : int, default 128
        Texts are cut there; cost grows with it.
    query_tokens : int, optional
        Window of queries of ``kind: tokens``; left out, 32, or ``max_tokens`` where that is smaller.
    bidirectional : bool, default False
        Take the causal mask off a decoder.
    query_prompt, document_prompt : str, default ""
        Put before every query or document.
    """

    base: str = "minilm"
    kind: Literal["text", "tokens"] = "text"
    layers: int | None = None
    pooling: Literal["mean", "cls", "last", "max", "latent-attention", "contextual-eos"] = "mean"
    dim: int | None = None
    reducer: ReducerRecipe | None = None
    query_reducer: ReducerRecipe | None = None
    max_tokens: int = 128
    query_tokens: int | None = None
    bidirectional: bool = False
    query_prompt: str = ""
    document_prompt: str = ""


@dataclass(frozen=True)
class MiningRecipe:
    """Hard negatives, found with the base model before training.

    Attributes
    ----------
    negatives : int, default 1
        Per query; each costs as much as a positive in every step.
    first, last : int, default 1 and 50
        Ranks that are looked at, 1 the best; a higher first avoids unmarked answers, a lower last easy texts.
    relative_margin : float, default 0.05
        Leave out candidates that score above the positive's score less this share of it; 0 takes more false negatives.
    """

    negatives: int = 1
    first: int = 1
    last: int = 50
    relative_margin: float = 0.05


@dataclass(frozen=True)
class DataRecipe:
    """One data set of pairs.

    Attributes
    ----------
    source : str
        ``"medquad"``, ``"papers"``, ``"pydocs"`` (ready splits by document), or a file of records.
    query, positive : str, default "query" and "positive"
        Fields of a file.
    negative : str, optional
        Field with a negative text, or a list of them.
    group : str, optional
        Field whose values stay in one split, so that nothing leaks; by default each positive text is a group.
    limit : int, optional
        Use so many training pairs, drawn by the seed.
    weight : float, default 1.0
        Share in mixed batches relative to its size.
    mining : MiningRecipe, optional
        Adds hard negatives.
    """

    source: str
    query: str = "query"
    positive: str = "positive"
    negative: str | None = None
    group: str | None = None
    limit: int | None = None
    weight: float = 1.0
    mining: MiningRecipe | None = None


@dataclass(frozen=True)
class LossRecipe:
    """What is minimised.

    Attributes
    ----------
    kind : {"contrastive"}
        InfoNCE over cosines, or over MaxSim where the model is of ``kind: tokens``.
    temperature : float, optional
        Lower sharpens: too low overfits the hardest negative, too high learns little. Left out, 0.05 for cosines and 1
        for MaxSim, whose scores are sums over the tokens of a query.
    symmetric : bool, default False
        Also from documents to queries.
    in_batch : bool, default True
        Take the other documents of a batch as negatives.
    focal_gamma : float, default 0.0
        Above 0, rows that are solved already count less.
    matryoshka : list of int, optional
        Also train these leading widths, so that vectors may be cut.
    mini_batch_size : int, optional
        Compute a batch in parts of this size (GradCache): the memory of a part, about a third more time.
    """

    kind: Literal["contrastive"] = "contrastive"
    temperature: float | None = None
    symmetric: bool = False
    in_batch: bool = True
    focal_gamma: float = 0.0
    matryoshka: list[int] | None = None
    mini_batch_size: int | None = None


@dataclass(frozen=True)
class LoraRecipe:
    """Train low-rank differences of the weights instead of the weights.

    Attributes
    ----------
    rank : int, default 16
        Of each difference; larger can change more.
    alpha : float, default 32
        Scale; the difference counts ``alpha / rank``.
    dropout : float, default 0.0
        From 0 to below 1.
    targets : list of str
        Ends of the names of layers; all linear layers by default.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: list[str] = field(default_factory=lambda: ["all-linear"])


@dataclass(frozen=True)
class StageRecipe:
    """One phase of training.

    Attributes
    ----------
    name : str
        Shown in plan and history.
    data : list of str, optional
        Names of data sets; all by default.
    loss : LossRecipe
        What is minimised.
    steps, epochs : int and float, optional
        Length; exactly one of them.
    batch_size : int, default 32
        Pairs per step; in-batch negatives grow with it.
    learning_rate : float, default 2e-5
        2e-5 for a whole transformer, 1e-4 and more for few layers or LoRA.
    warmup : float, default 0.1
        Share of the steps in which the rate rises.
    schedule : {"linear", "cosine", "constant"}
        How it falls afterwards.
    weight_decay : float, default 0.0
        Of all weights but biases and norms.
    sampler : {"no-duplicates", "shuffled"}
        What a batch is drawn by.
    mixture : {"proportional", "round-robin"}
        How several data sets take turns.
    freeze : list of str
        Patterns of parameter names that stay, such as ``"*embeddings*"``.
    lora : LoraRecipe, optional
        Low-rank training, merged into the weights at the end of the stage.
    average_last : int, default 0
        Average the weights of so many last checkpoints.
    """

    name: str
    data: list[str] | None = None
    loss: LossRecipe = field(default_factory=LossRecipe)
    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup: float = 0.1
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = 0.0
    sampler: Literal["no-duplicates", "shuffled"] = "no-duplicates"
    mixture: Literal["proportional", "round-robin"] = "proportional"
    freeze: list[str] = field(default_factory=list)
    lora: LoraRecipe | None = None
    average_last: int = 0


@dataclass(frozen=True)
class EvaluationRecipe:
    """How the trained model is judged, beside its base.

    Attributes
    ----------
    metric : str, default "ndcg@10"
        Of the judgement; see ``orthant.measures.check_metric_name``.
    every : int, optional
        Steps between judgements on the development split; without it only at the end.
    keep_best : bool, default True
        Keep the weights that judged best, where ``every`` is set.
    queries : int, default 500
        At most so many, drawn by the seed.
    documents : int, optional
        At most so many further documents beside the relevant ones; all by default.
    """

    metric: str = "ndcg@10"
    every: int | None = None
    keep_best: bool = True
    queries: int = 500
    documents: int | None = None


@dataclass(frozen=True)
class OutputRecipe:
    """What is left behind.

    Attributes
    ----------
    export : {"none", "float32", "int8"}
        Also write a folder that is served without torch.
    most_lost : float, default 0.01
        Refuse an export that judges lower than the trained model by more.
    checkpoint_every : int, default 50
        Steps between checkpoints; a killed run loses at most so many.
    """

    export: Literal["none", "float32", "int8"] = "int8"
    most_lost: float = 0.01
    checkpoint_every: int = 50


@dataclass(frozen=True)
class Recipe:
    """A whole training, as a file says it.

    Attributes
    ----------
    name : str
        Of the model.
    data : dict of str to DataRecipe
        Data sets by name.
    stages : list of StageRecipe
        One after the other.
    model : ModelRecipe
        What is trained.
    evaluation : EvaluationRecipe
        How it is judged.
    output : OutputRecipe
        What is left behind.
    seed : int, default 0
        Of everything that is drawn.
    threads : int, optional
        CPU threads; all by default.
    """

    name: str
    data: dict[str, DataRecipe]
    stages: list[StageRecipe]
    model: ModelRecipe = field(default_factory=ModelRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    output: OutputRecipe = field(default_factory=OutputRecipe)
    seed: int = 0
    threads: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, defaults filled in; for JSON and to start from when another recipe is written."""
        from dataclasses import asdict

        return asdict(self)
