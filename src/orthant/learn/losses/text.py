"""The contrastive and distillation losses in the form that sentence-transformers' trainers call.

Duplicate texts are recognised by their tokens. With `mini_batch_size`, batches are encoded through `GradCache`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from orthant.errors import InputError, message
from orthant.learn.gradcache import GradCache, join_rows
from orthant.learn.losses.contrastive import ContrastiveLoss
from orthant.learn.losses.distillation import DistillationLoss
from orthant.learn.losses.late_interaction import MaxSimContrastiveLoss, maxsim_distillation
from orthant.learn.losses.protocol import LossOutput
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.validate import check_choice, check_count

__all__ = ["TextContrastiveLoss", "TextDistillationLoss", "TextMaxSimLoss", "text_ids"]

_LABELS = ("ignored", "classes", "teacher_scores", "targets", "weights")
# Odd constants of the splitmix64 generator, as int64.
_STEP, _FIRST, _SECOND = -7046029254386353131, -4658895280553007687, -7723592293110705685


def _scramble(values: Tensor) -> Tensor:
    """Mix the bits of int64 values (splitmix64); integer overflow wraps, as intended."""
    values = (values ^ ((values >> 30) & 0x3FFFFFFFF)) * _FIRST
    values = (values ^ ((values >> 27) & 0x1FFFFFFFFF)) * _SECOND
    return values ^ ((values >> 31) & 0x1FFFFFFFF)


def text_ids(features: Mapping[str, Any]) -> Tensor | None:
    """Number texts by their tokens: equal token sequences have equal ids, whatever the padding.

    Parameters
    ----------
    features : mapping
        ``input_ids`` of shape (n, t) with ``attention_mask`` of shape (n, t), or ``input_ids`` of shape (total,) with
        ``offsets`` of shape (n,), as static embeddings take them.

    Returns
    -------
    Tensor of shape (n,), int64, or None
        Hashes of 63 bits, 0 or more; None where there are no token ids, as for images.

    Examples
    --------
    >>> import torch
    >>> ids = torch.tensor([[7, 8, 0], [0, 7, 8], [8, 7, 0]])
    >>> a, b, c = text_ids({"input_ids": ids, "attention_mask": (ids > 0).long()}).tolist()
    >>> a == b, a == c
    (True, False)
    """
    ids = features.get("input_ids")
    if not isinstance(ids, Tensor):
        return None
    ids = ids.long()
    offsets = features.get("offsets")
    if ids.ndim == 1 and isinstance(offsets, Tensor):
        place = torch.arange(len(ids), device=ids.device)
        row = torch.searchsorted(offsets.long(), place, right=True) - 1
        mixed = _scramble(_scramble(ids * _STEP) + (place - offsets.long()[row] + 1) * _STEP)
        return torch.zeros(len(offsets), dtype=torch.int64, device=ids.device).index_add(0, row, mixed) & (2**63 - 1)
    if ids.ndim != 2:
        return None
    mask = features.get("attention_mask")
    mask = torch.ones_like(ids) if not isinstance(mask, Tensor) else (mask > 0).long()
    place = mask.cumsum(1)
    return (_scramble(_scramble(ids * _STEP) + place * _STEP) * mask).sum(1) & (2**63 - 1)


class _Model:
    """A model as an encoder for `GradCache`, which needs to know how to hold back the exchange of gradients."""

    def __init__(self, model: nn.Module, read: Any, task: str | None = None) -> None:
        self.model, self.read, self.task = model, read, task

    def __call__(self, features: Mapping[str, Any]) -> Any:
        arguments = {} if self.task is None else {"task": features.get("task", self.task)}
        return self.read(self.model(dict(features), **arguments))

    def no_sync(self) -> AbstractContextManager[Any]:
        return self.model.no_sync() if hasattr(self.model, "no_sync") else nullcontext()  # type: ignore[operator]


def _embedding(output: Mapping[str, Tensor]) -> Tensor:
    return output["sentence_embedding"]


def _token_vectors(output: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"tokens": output["token_embeddings"], "mask": output["attention_mask"].bool()}


def _columns(features: Iterable[Mapping[str, Any]], least: int) -> list[Any]:
    columns = list(features)
    if len(columns) < least:
        names = "query, positive" if least == 2 else "query, positive, negative"
        raise InputError(
            message(
                f"{len(columns)} columns of texts", f"at least {least}: {names}, ...", "add columns to the data set"
            )
        )
    return columns


def _label_fields(labels: Tensor | None, meaning: str, columns: int) -> dict[str, Tensor]:
    if meaning == "ignored":
        return {}
    if labels is None:
        raise InputError(message("no labels", f"labels that are {meaning}", "add a label column to the data set"))
    if meaning != "classes":
        return {meaning: labels}
    if labels.ndim == 1:
        return {"labels": labels}
    if labels.shape[1:] != (columns - 1,):
        raise InputError(
            message(
                f"classes of shape {tuple(labels.shape)}",
                f"(n,), or (n, {columns - 1}) for the positive and each negative",
                "give every document column a class",
            )
        )
    return {"labels": labels[:, 0], **({"negative_labels": labels[:, 1:]} if columns > 2 else {})}


class _ContrastiveText(nn.Module):
    """What both text forms share: ids, labels, the choice between one forward pass and `GradCache`."""

    def __init__(
        self, model: nn.Module, loss: ContrastiveLoss, *, mini_batch_size: int | None, labels: str, same_texts: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.contrastive = loss
        self.mini_batch_size = None if mini_batch_size is None else check_count(mini_batch_size, name="mini_batch_size")
        self.labels = check_choice(labels, _LABELS, name="labels")
        self.same_texts = same_texts
        self.last_parts: dict[str, float] = {}
        self._empty: int | None = None

    @property
    def uses_gradient_cache(self) -> bool:
        """Whether `MatryoshkaLoss` must shorten cached embeddings instead of the model's output."""
        return self.mini_batch_size is not None

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card tells of the loss.

        Returns
        -------
        dict
            The settings that differ from their defaults, and the mini-batch size.
        """
        default = ContrastiveSettings()
        changed = {k: v for k, v in vars(self.contrastive.settings).items() if v != getattr(default, k)}
        return {**changed, "mini_batch_size": self.mini_batch_size, "labels": self.labels}

    def _known(self, columns: list[Any], labels: Tensor | None) -> dict[str, Any]:
        fields: dict[str, Any] = _label_fields(labels, self.labels, len(columns))
        ids = [text_ids(column) for column in columns] if self.same_texts else [None]
        numbered = [found for found in ids if found is not None]
        if len(numbered) == len(columns):
            fields |= {"query_ids": numbered[0], "positive_ids": numbered[1]}
            if len(numbered) > 2:
                fields["negative_ids"] = torch.stack(numbered[2:], 1)
        return fields | self._present(columns)

    def _present(self, columns: list[Any]) -> dict[str, Tensor]:
        """Which negatives exist: rows with fewer than the others are filled up with empty texts."""
        ids = [text_ids(column) for column in columns[2:]]
        numbered = [found for found in ids if found is not None]
        if not numbered or len(numbered) < len(ids):
            return {}
        if self._empty is None:
            write = getattr(getattr(self.model, "module", self.model), "preprocess", None)
            found = text_ids(write([""])) if write is not None else None
            self._empty = -1 if found is None else int(found[0])
        return {"negative_mask": torch.stack(numbered, 1) != self._empty}

    def _finish(self, output: LossOutput) -> Tensor:
        self.last_parts = output.parts
        return output.loss

    def _refuse_layers(self) -> None:
        # The backward pass would encode with the last layer what was embedded with an earlier one.
        first = next(iter(getattr(self.model, "module", self.model).children()), None)
        if type(getattr(first, "forward", None)).__name__ == "TransformerDecorator":
            raise InputError(
                message("mini_batch_size inside AdaptiveLayerLoss", "whole batches", "set mini_batch_size=None")
            )


class TextContrastiveLoss(_ContrastiveText):
    """`ContrastiveLoss` for columns of texts: query, positive, and any number of hard negatives.

    A row with fewer negatives than others has empty texts in their place, without a prompt; these do not count.

    Parameters
    ----------
    model : SentenceTransformer
        Returns ``sentence_embedding`` of shape (n, d).
    settings : ContrastiveSettings, optional
        As for `ContrastiveLoss`.
    mini_batch_size : int, optional
        Rows encoded at once, through `GradCache`; left out, the whole batch.
    guide : SentenceTransformer, optional
        Judges candidates where the settings have a `margin`; it is not trained.
    labels : {"ignored", "classes", "teacher_scores", "targets", "weights"}, default "ignored"
        What the label column of the data set holds: a class per row (or per document column), scores or shares of the
        positive and each negative, or a weight per row.
    same_texts : bool, default True
        Leave out candidates with the tokens of the query, of its positive, or of another row with either.

    Raises
    ------
    InputError
        A guide without a margin or the reverse, or a setting out of range.

    Notes
    -----
    With `ContrastiveSettings` of temperature 1 / scale and ``same_texts=False``, the value and gradient are those of
    sentence-transformers' MultipleNegativesRankingLoss, and with a guide, of GISTEmbedLoss; `mini_batch_size` gives
    their cached forms. Works inside MatryoshkaLoss, and without `mini_batch_size` inside AdaptiveLayerLoss.

    Examples
    --------
    >>> class Table(torch.nn.EmbeddingBag):
    ...     def forward(self, features):
    ...         return {"sentence_embedding": super().forward(features["input_ids"])}
    >>> loss = TextContrastiveLoss(Table(10, 4), ContrastiveSettings(temperature=0.1), mini_batch_size=1)
    >>> texts = [{"input_ids": torch.tensor([[1, 2], [3, 4]])}, {"input_ids": torch.tensor([[1, 5], [3, 6]])}]
    >>> loss(texts).backward()
    """

    def __init__(
        self,
        model: nn.Module,
        settings: ContrastiveSettings | None = None,
        *,
        mini_batch_size: int | None = None,
        guide: nn.Module | None = None,
        labels: str = "ignored",
        same_texts: bool = True,
    ) -> None:
        settings = replace(settings or ContrastiveSettings(), shared_ids=same_texts)
        super().__init__(
            model,
            ContrastiveLoss(settings),
            mini_batch_size=mini_batch_size,
            labels=labels,
            same_texts=same_texts,
        )
        judged = settings.margin is not None and settings.margin_source == "guide"
        if judged != (guide is not None):
            given = "a guide without a margin" if guide is not None else "a margin without a guide"
            raise InputError(message(given, "both or neither", "pass guide and set margin in the settings"))
        # Hidden from parameters() and state_dict(): a guide is neither trained nor saved.
        self._guide = [] if guide is None else [guide]
        self._fields: dict[str, Any] = {}

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        sentence_features : iterable of dict
            One per column, as the trainer's collator makes them.
        labels : Tensor of shape (n,) or (n, columns - 1), optional
            See `labels` of the class.

        Returns
        -------
        Tensor of shape ()
            The loss; its parts are in `last_parts`.

        Raises
        ------
        InputError
            Fewer than two columns, missing labels, or what `ContrastiveLoss` refuses.
        """
        columns = _columns(sentence_features, 2)
        self._fields = {**self._known(columns, labels), **self._judgements(columns)}
        encode = _Model(self.model, _embedding)
        if self.mini_batch_size is None:
            # The trainer's wrappers read what the model writes into the columns, so they are passed as they are.
            embeddings = [self.model(column)["sentence_embedding"] for column in columns]
            return self._finish(self._loss(embeddings))
        self._refuse_layers()
        inputs = {str(number): column for number, column in enumerate(columns)}
        cache = GradCache(encode, self._cached, mini_batch_size=self.mini_batch_size, parameters=self._learned())
        return cache(inputs)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """Compute the loss from embeddings, the hook by which `MatryoshkaLoss` shortens cached embeddings.

        Parameters
        ----------
        reps : list of list of Tensor of shape (n, d)
            Mini-batches of each column.
        labels : Tensor, optional
            Not used; they were read in `forward`.
        with_backward : bool, default False
            Add the gradient to ``grad`` of the embeddings and keep only the graph of what the loss itself learns.

        Returns
        -------
        Tensor of shape ()
            The loss.
        """
        output = self._loss([join_rows(parts) for parts in reps])
        loss = self._finish(output)
        if not with_backward:
            return loss
        leaves = [part for parts in reps for part in parts]
        learned = self._learned()
        gradients = torch.autograd.grad(loss, leaves + learned, allow_unused=True)
        for leaf, gradient in zip(leaves, gradients, strict=False):
            given = torch.zeros_like(leaf) if gradient is None else gradient
            leaf.grad = given if leaf.grad is None else leaf.grad + given
        total = loss.detach()
        for parameter, gradient in zip(learned, gradients[len(leaves) :], strict=True):
            if gradient is not None:
                total = total + (gradient * (parameter - parameter.detach())).sum()
        return total

    def _cached(self, batch: dict[str, Tensor]) -> Tensor:
        reps = [[batch[str(number)]] for number in range(len(batch))]
        if not torch.is_grad_enabled():
            return self.calculate_loss(reps)
        # Leaves of their own, so that a wrapper may fill in the gradient of each column.
        leaves = [[part.detach().requires_grad_() for part in parts] for parts in reps]
        total = self.calculate_loss(leaves, with_backward=True)
        for (whole,), (leaf,) in zip(reps, leaves, strict=True):
            if leaf.grad is not None:
                total = total + (leaf.grad * (whole - whole.detach())).sum()
        return total

    def _learned(self) -> list[Tensor]:
        return [parameter for parameter in self.contrastive.parameters() if parameter.requires_grad]

    def _loss(self, embeddings: list[Tensor]) -> LossOutput:
        batch: dict[str, Tensor | None] = {"queries": embeddings[0], "positives": embeddings[1], **self._fields}
        if len(embeddings) > 2:
            batch["negatives"] = torch.stack(embeddings[2:], 1)
        return self.contrastive(batch)

    @torch.no_grad()
    def _judgements(self, columns: list[Any]) -> dict[str, Tensor]:
        if not self._guide:
            return {}
        guide, found = self._guide[0], []
        guide.eval()
        for column in columns:
            features = self._for_guide(guide, column)
            size = self.mini_batch_size or len(column["input_ids"])
            cache = GradCache(_Model(guide, _embedding), lambda batch: batch["texts"], mini_batch_size=size)
            found.append(cache({"texts": features}))
        out = {"guide_queries": found[0], "guide_positives": found[1]}
        return out | ({"guide_negatives": torch.stack(found[2:], 1)} if len(found) > 2 else {})

    def _for_guide(self, guide: Any, column: Mapping[str, Any]) -> dict[str, Any]:
        """The column as the guide's tokenizer writes it, where that differs from the model's."""
        own, other = getattr(self.model, "tokenizer", None), getattr(guide, "tokenizer", None)
        if own is None or other is None or own is other or own.get_vocab() == other.get_vocab():
            return dict(column)
        texts = own.batch_decode(column["input_ids"], skip_special_tokens=True)
        device = column["input_ids"].device
        made = guide.preprocess(texts) if hasattr(guide, "preprocess") else guide.tokenize(texts)
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in made.items()}


class TextMaxSimLoss(_ContrastiveText):
    """`MaxSimContrastiveLoss` for columns of texts: query, positive, and any number of hard negatives.

    Parameters
    ----------
    model : MultiVectorEncoder
        Returns ``token_embeddings`` of shape (n, t, d) and, as ``attention_mask``, the tokens that count.
    settings : ContrastiveSettings, optional
        As for `MaxSimContrastiveLoss`.
    mini_batch_size : int, optional
        Rows encoded at once, through `GradCache`; left out, the whole batch.
    normalize : bool, default False
        Divide scores by the number of query tokens.
    labels : {"ignored", "classes", "teacher_scores", "targets", "weights"}, default "ignored"
        As for `TextContrastiveLoss`.
    same_texts : bool, default True
        As for `TextContrastiveLoss`.

    Raises
    ------
    InputError
        What `MaxSimContrastiveLoss` refuses.

    Examples
    --------
    >>> class Table(torch.nn.Embedding):
    ...     def forward(self, features, task=None):
    ...         ids = features["input_ids"]
    ...         return {"token_embeddings": super().forward(ids), "attention_mask": torch.ones_like(ids)}
    >>> loss = TextMaxSimLoss(Table(10, 4))
    >>> texts = [{"input_ids": torch.tensor([[1, 2], [3, 4]])}, {"input_ids": torch.tensor([[1, 5], [3, 6]])}]
    >>> loss(texts).backward()
    """

    def __init__(
        self,
        model: nn.Module,
        settings: ContrastiveSettings | None = None,
        *,
        mini_batch_size: int | None = None,
        normalize: bool = False,
        labels: str = "ignored",
        same_texts: bool = True,
    ) -> None:
        plain = ContrastiveSettings(temperature=1.0, similarity="dot") if settings is None else settings
        loss = MaxSimContrastiveLoss(replace(plain, shared_ids=same_texts), normalize=normalize)
        super().__init__(model, loss, mini_batch_size=mini_batch_size, labels=labels, same_texts=same_texts)

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        sentence_features : iterable of dict
            One per column, as the trainer's collator makes them.
        labels : Tensor of shape (n,) or (n, columns - 1), optional
            See `labels` of the class.

        Returns
        -------
        Tensor of shape ()
            The loss; its parts are in `last_parts`.

        Raises
        ------
        InputError
            Fewer than two columns, missing labels, or what `MaxSimContrastiveLoss` refuses.
        """
        columns = _columns(sentence_features, 2)
        fields = self._known(columns, labels)
        encoders = _token_encoders(self.model, len(columns))
        inputs = {str(number): column for number, column in enumerate(columns)}

        def loss(batch: dict[str, Any]) -> LossOutput:
            return self.contrastive({**_token_sides([batch[name] for name in inputs]), **fields})

        if self.mini_batch_size is None:
            return self._finish(loss({name: encoders[name](column) for name, column in inputs.items()}))
        cache = GradCache(
            encoders, loss, mini_batch_size=self.mini_batch_size, parameters=list(self.contrastive.parameters())
        )
        return self._finish(cache(inputs))


def _token_encoders(model: nn.Module, columns: int) -> dict[str, _Model]:
    return {str(n): _Model(model, _token_vectors, "document" if n else "query") for n in range(columns)}


def _token_sides(sides: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    query, positive, *negatives = sides
    out = {
        "queries": query["tokens"],
        "query_mask": query["mask"],
        "positives": positive["tokens"],
        "positive_mask": positive["mask"],
    }
    if negatives:
        rows = len(query["mask"])
        for name, key in (("negatives", "tokens"), ("negative_token_mask", "mask")):
            joined = join_rows([side[key] for side in negatives])
            out[name] = joined.view(len(negatives), rows, *joined.shape[1:]).transpose(0, 1)
    return out


class TextDistillationLoss(nn.Module):
    """`DistillationLoss` for columns of texts: a query and its candidates, with a teacher's scores as labels.

    Parameters
    ----------
    model : SentenceTransformer or MultiVectorEncoder
        Cosines of ``sentence_embedding`` are compared, or with `late_interaction`, MaxSim of ``token_embeddings``.
    loss : DistillationLoss, optional
        Left out, the divergence at temperature 1.
    late_interaction : bool, default False
        Whether the model returns token vectors.
    normalize : bool, default False
        With `late_interaction`: divide scores by the number of query tokens.

    Examples
    --------
    >>> class Table(torch.nn.EmbeddingBag):
    ...     def forward(self, features):
    ...         return {"sentence_embedding": super().forward(features["input_ids"])}
    >>> loss = TextDistillationLoss(Table(10, 4), DistillationLoss("margin_mse"))
    >>> texts = [{"input_ids": torch.tensor([[n, n + 1]])} for n in range(3)]
    >>> loss(texts, torch.tensor([[0.9, 0.2]])).backward()
    """

    def __init__(
        self,
        model: nn.Module,
        loss: DistillationLoss | None = None,
        *,
        late_interaction: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.distillation = DistillationLoss() if loss is None else loss
        self.late_interaction = late_interaction
        self.normalize = normalize
        if normalize and not late_interaction:
            raise InputError(message("normalize without late_interaction", "both", "cosines need no normalising"))

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        sentence_features : iterable of dict
            The query's column, then one per candidate.
        labels : Tensor of shape (n, candidates)
            The teacher's scores.

        Returns
        -------
        Tensor of shape ()
            The loss.

        Raises
        ------
        InputError
            Fewer than three columns.
        DimensionError
            Labels of another shape.
        """
        columns = _columns(sentence_features, 3)
        if not self.late_interaction:
            query, *candidates = (self.model(column)["sentence_embedding"] for column in columns)
            scores = torch.cosine_similarity(query.unsqueeze(1), torch.stack(candidates, 1), dim=-1)
            return self.distillation({"student": scores, "teacher": labels}).loss
        encoders = _token_encoders(self.model, len(columns))
        query, *candidates = (encoders[str(number)](column) for number, column in enumerate(columns))
        sides = _token_sides([query, query, *candidates])
        return maxsim_distillation(
            query["tokens"],
            query["mask"],
            sides["negatives"],
            sides["negative_token_mask"],
            labels,
            loss=self.distillation,
            normalize=self.normalize,
        )
