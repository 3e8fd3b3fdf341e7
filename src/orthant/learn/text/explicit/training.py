"""Training of named concepts on what belongs together and on tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.encoders.concepts.encoder import ConceptEncoder
from orthant.encoders.concepts.rows import check_concepts
from orthant.encoders.projected.base import load_base
from orthant.errors import DimensionError, InputError, message
from orthant.learn.export.networks import export_network
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.types import FloatArray
from orthant.validate import as_texts, check_choice, check_count, check_fraction

__all__ = ["train_concepts"]

_RIDGE = 0.3
_SLOPE = 10.0


def train_concepts(
    base: Any,
    queries: Sequence[str],
    documents: Sequence[str],
    tags: Sequence[Any],
    *,
    concepts: Sequence[str] | None = None,
    query_tags: Sequence[Any] | None = None,
    tag_weight: float = 0.03,
    pair_weight: float = 1.0,
    hidden: int = 0,
    activation: Literal["sigmoid", "relu"] = "sigmoid",
    keep: int = 32,
    temperature: float = 0.05,
    epochs: float = 10,
    batch_size: int = 256,
    learning_rate: float = 3e-2,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> ConceptEncoder:
    """Learn to represent texts by named concepts from pairs of related texts and tags.

    For rankings that must be told in words: jobs and candidates, questions and answers. Pairs teach what shall rank
    high, tags what each dimension means; without tags (``tag_weight=0``) the names would be empty words. Expect less
    accuracy than from a trained space without names.

    Parameters
    ----------
    base : str, Path, Encoder or model object
        Whose vectors the concepts are read from; it stays as it is.
    queries, documents : sequence of str, length n
        Row i of one belongs to row i of the other.
    tags : sequence of (collection of str, or None), length n
        Concepts of each document; None where they are not known. One that is missing counts as absent.
    concepts : sequence of str, optional
        The concepts; left out, all tags of at least two documents.
    query_tags : sequence of (collection of str, or None), length n, optional
        Concepts of each query, where they are known.
    tag_weight : float, default 0.03
        Of the loss on tags. Less ranks better and explains worse; 0 explains nothing.
    pair_weight : float, default 1.0
        Of the loss on pairs. 0 trains a tagger.
    hidden : int, default 0
        Width of a layer between; 0 for none, which suits up to some ten thousand pairs.
    activation : {"sigmoid", "relu"}, default "sigmoid"
        What makes weights non-negative.
    keep : int, default 32
        Concepts of a text when it is served.
    temperature : float, default 0.05
        Of the loss on pairs.
    epochs : float, default 10
        Passes over the pairs.
    batch_size : int, default 256
        At least 8: documents of a batch are each other's negatives.
    learning_rate : float, default 3e-2
        Of AdamW.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    ConceptEncoder
        Serves without torch; ``save`` and ``load`` it, and give it to a space of a collection.

    Raises
    ------
    InputError
        Tags outside ``concepts``, fewer than two concepts, a text where tags should be, settings out of range, or fewer
        pairs than a batch.
    DimensionError
        Lists of different lengths.

    Notes
    -----
    With e(x) the activations, c the cosine and t the tags, the mean over a batch of ::

        pair_weight * -log softmax(c(e(q), e(.)) / temperature)[d]  +  tag_weight * sum_c BCE(e(x)_c, t_c) / mean tags

    the first both ways, and the second over texts whose tags are known, per tag that a text has on average. With a
    ReLU, the second takes the sigmoid of what enters it. With tags and without a layer between, training begins at the
    ridge regression from documents to tags.
    Cost: O(epochs n (d m + batch_size m)) for m concepts.

    References
    ----------
    Bogdanova, Yazdani: SESA: Supervised explicit semantic analysis. arXiv 1708.03246. The paper reads texts by a
    recurrent network; here an encoder does.

    Examples
    --------
    >>> kinds = ["a cat", "a dog"] * 20
    >>> made = train_concepts(
    ...     "static", [f"who is {text}?" for text in kinds], kinds, [{text[2:]} for text in kinds], batch_size=8
    ... )
    >>> row = made.encode_sparse(["the dog"])
    >>> made.vocabulary[row.indices[row.data.argmax()]]
    'dog'
    """
    encoder, name = load_base(base)
    weights = (
        check_fraction(pair_weight, name="pair_weight", high=1e6),
        check_fraction(tag_weight, name="tag_weight", high=1e6),
    )
    if not any(weights):
        raise InputError(message("two weights of 0", "something to train for", "set tag_weight or pair_weight"))
    check_choice(activation, ("sigmoid", "relu"), name="activation")
    check_count(batch_size, name="batch_size", minimum=8)
    names, data = _columns(queries, documents, tags, query_tags, concepts)
    if len(data["query_ids"]) < batch_size:
        given = f"{len(data['query_ids'])} pairs for batches of {batch_size}"
        raise InputError(message(given, "a batch at least", "bring more pairs, or lower batch_size"))
    for role, texts in (("query", queries), ("document", documents)):
        data[role] = encoder.encode(list(texts), role=role)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        between = check_count(hidden, name="hidden", minimum=0)
        model = _module(data, between, tagged=bool(tag_weight), activation=activation)
    settings = ContrastiveSettings(temperature=temperature, symmetric=True)
    stage = Stage(
        "concepts",
        data,
        lambda module: _Objective(module, settings, weights, activation),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    TorchLoop(model, stage, seed=seed, threads=threads).run(progress=progress)
    made = nn.Sequential(*model, nn.Sigmoid() if activation == "sigmoid" else nn.ReLU()).eval()
    return ConceptEncoder(encoder if name is None else name, export_network(made), names, keep=keep)


def _columns(
    queries: Sequence[str], documents: Sequence[str], tags: Any, query_tags: Any, concepts: Any
) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """Check what was given; return the concepts and the columns of the training table, but for the vectors."""
    asked, told = as_texts(queries, name="queries"), as_texts(documents, name="documents")
    lengths = {"queries": len(asked), "documents": len(told), "tags": len(tags)}
    if query_tags is not None:
        lengths["query_tags"] = len(query_tags)
    if len(set(lengths.values())) > 1:
        raise DimensionError(message(f"lists of {lengths}", "equal lengths", "align them; None for unknown tags"))
    rows = [_tags(value, f"tags[{i}]") for i, value in enumerate(tags)]
    if concepts is None:
        counts = Counter(tag for row in rows for tag in row or ())
        names = check_concepts(sorted(tag for tag, count in counts.items() if count >= 2))
    else:
        names = check_concepts(concepts)
    given = None if query_tags is None else [_tags(value, f"query_tags[{i}]") for i, value in enumerate(query_tags)]
    strict = concepts is not None
    out: dict[str, npt.NDArray[Any]] = {
        "query_ids": _numbers(asked),
        "document_ids": _numbers(told),
        "document_tags": _indicators(rows, names, strict=strict),
        "query_tags": _indicators([None] * len(asked) if given is None else given, names, strict=strict),
    }
    return names, out


def _tags(value: Any, name: str) -> set[str] | None:
    if value is None:
        return None
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise InputError(message(f"{name} of type {type(value).__name__}", "a set of tags", "write {'tag'} for one"))
    return set(value)


def _indicators(rows: Sequence[set[str] | None], names: list[str], *, strict: bool) -> FloatArray:
    """1 where a text has a concept; -1 in all of a row where nothing is known."""
    number = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(rows), len(names)), dtype=np.float32)
    for place, row in enumerate(rows):
        if row is None:
            out[place] = -1
            continue
        outside = sorted(str(tag) for tag in row if tag not in number)
        if outside and strict:
            raise InputError(message(f"the tag {outside[0]!r}", "one of the concepts", "add it to concepts"))
        out[place, [number[tag] for tag in row if tag in number]] = 1
    return out


def _numbers(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number different texts from 0."""
    return np.unique(np.array(texts, dtype=object), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _module(data: Mapping[str, npt.NDArray[Any]], hidden: int, *, tagged: bool, activation: str) -> nn.Sequential:
    """Make the map; without a layer between it begins at the regression from the documents to their tags."""
    tags = data["document_tags"]
    width, known = data["document"].shape[1], (tags >= 0).all(axis=1)
    last = nn.Linear(hidden or width, tags.shape[1])
    if hidden:
        return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1), last)
    if tagged and known.any():
        rows, wanted = data["document"][known].astype(np.float64), tags[known]
        start = np.linalg.solve(rows.T @ rows + _RIDGE * np.eye(width), rows.T @ wanted)
        # What is likely becomes 1 behind either activation, and what is not, nearly 0.
        slope, offset = (_SLOPE, -_SLOPE / 2) if activation == "sigmoid" else (1.0, 0.0)
        with torch.no_grad():
            last.weight.copy_(torch.from_numpy((slope * start.T).astype(np.float32)))
            last.bias.fill_(offset)
    return nn.Sequential(last)


class _Objective(nn.Module):
    """Both terms over one batch."""

    def __init__(
        self, model: nn.Module, settings: ContrastiveSettings, weights: tuple[float, float], activation: str
    ) -> None:
        super().__init__()
        self.model = model
        self.contrast = ContrastiveLoss(settings)
        self.weights = weights
        self.activation = torch.sigmoid if activation == "sigmoid" else torch.relu

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        sides = {role: self.model(batch[role]) for role in ("query", "document")}
        terms: dict[str, Tensor] = {}
        if self.weights[0]:
            asked, told = (self.activation(sides[role]) for role in ("query", "document"))
            numbers = {"query_ids": batch["query_ids"], "positive_ids": batch["document_ids"]}
            terms["pairs"] = self.weights[0] * self.contrast({"queries": asked, "positives": told, **numbers}).loss
        if self.weights[1]:
            terms["tags"] = self.weights[1] * self._tagging(sides, batch)
        total = torch.stack(list(terms.values())).sum()
        return LossOutput(total, {name: float(term.detach()) for name, term in terms.items()})

    def _tagging(self, sides: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        logits = torch.cat([sides["query"], sides["document"]])
        tags = torch.cat([batch["query_tags"], batch["document_tags"]])
        known = tags[:, 0] >= 0
        tags = tags[known]
        each = nn.functional.binary_cross_entropy_with_logits(logits[known], tags, reduction="sum")
        return each / tags.sum().clamp(min=1)
