"""A batch for the contrastive loss: its fields checked, gathered across processes, and mixed negatives made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from orthant.errors import DtypeError, InputError, message
from orthant.learn.losses.blocks import DenseScorer, Encoded, Scorer, Sides
from orthant.learn.losses.gathering import gather_rows
from orthant.learn.losses.protocol import check_finite, check_shape
from orthant.validate import check_choice, check_count

__all__ = ["FIELDS", "ContrastiveBatch", "mix_negatives", "read_batch"]

_SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ContrastiveBatch(Sides):
    """Sides of a batch with what is known of its W rows.

    Attributes
    ----------
    queue_ids : Tensor of shape (c,), int64, or None
        What the entries of the queue are; here as elsewhere -1 where not known.
    query_ids, positive_ids, negative_ids, known_ids : Tensor of shape (W,), (W,), (W, m), (W, r), int64, or None
        What the items are. `known_ids` are documents known to answer the row's query.
    labels, negative_labels : Tensor of shape (W,) and (W, m), int64, or None
        Classes.
    weights : Tensor of shape (W,) or None
        Weight of each row's loss.
    teacher_scores, targets : Tensor of shape (W, 1 + m) or None
        For the positive and the row's own negatives.
    guide : Sides or None
        The same items as a guide embedded them.
    shared_ids : bool
        Whether ids of queries and documents are of one kind, such as hashes of texts.
    offset : int
        Where the rows of this process begin.
    count : int
        How many they are.
    """

    queue_ids: Tensor | None = None
    query_ids: Tensor | None = None
    positive_ids: Tensor | None = None
    negative_ids: Tensor | None = None
    known_ids: Tensor | None = None
    labels: Tensor | None = None
    negative_labels: Tensor | None = None
    weights: Tensor | None = None
    teacher_scores: Tensor | None = None
    targets: Tensor | None = None
    guide: Sides | None = None
    shared_ids: bool = False
    offset: int = 0
    count: int = 0


_SIDES = ("queries", "positives", "negatives")
_INTEGERS = {"query_ids", "positive_ids", "negative_ids", "known_ids", "labels", "negative_labels"}
_TOKEN_MASKS = {"query_mask": "queries", "positive_mask": "positives", "negative_token_mask": "negatives"}
_GUIDES = {f"guide_{side}": side for side in _SIDES}
FIELDS = (
    *_SIDES,
    "negative_mask",
    *sorted(_INTEGERS),
    "weights",
    "teacher_scores",
    "targets",
    *_GUIDES,
    "queue_entries",
)


def read_batch(
    batch: Mapping[str, Tensor], *, scorer: Scorer, tokens: bool = False, gather: bool = True, shared_ids: bool = False
) -> ContrastiveBatch:
    """Check the fields of a batch, gather them across processes and prepare them for a scorer.

    Parameters
    ----------
    batch : mapping of str to Tensor
        ``queries`` and ``positives`` of shape (B, d), optionally ``negatives`` of shape (B, m, d) and other fields of
        `FIELDS`; None stands for an absent field. With `tokens`, sides have shape (B, t, d) and (B, m, t, d), and
        ``query_mask``, ``positive_mask``, ``negative_token_mask`` say which tokens count.
    scorer : Scorer
        What prepares the sides.
    tokens : bool, default False
        Whether an item is several vectors.
    gather : bool, default True
        Take in the rows of other processes as further candidates.
    shared_ids : bool, default False
        Whether ids of queries and documents are of one kind.

    Returns
    -------
    ContrastiveBatch
        W = B rows, or those of all processes.

    Raises
    ------
    InputError
        An unknown or missing field, another device, rows without any valid token, targets that do not sum to 1.
    DimensionError
        Shapes that do not belong together.
    NonFiniteError
        NaN or infinity.
    """
    known = {*FIELDS, *(_TOKEN_MASKS if tokens else ())}
    unknown = sorted(set(batch) - known)
    if unknown:
        raise InputError(
            message(f"batch fields {unknown}", "fields of " + ", ".join(sorted(known)), "rename or drop them")
        )
    present = {name: value for name, value in batch.items() if value is not None}
    missing = [name for name in ("queries", "positives") if name not in present]
    if missing:
        raise InputError(message(f"a batch without {missing}", "queries and positives", "add them"))
    _check_shapes(present, tokens=tokens)
    check_finite({name: value for name, value in present.items() if value.is_floating_point()})
    _check_targets(present)
    count, offset = len(present["queries"]), 0
    present.pop("queue_entries", None)
    if gather:
        for name in sorted(present):
            present[name], offset = gather_rows(present[name])
    return _build(present, scorer, tokens=tokens, shared_ids=shared_ids, count=count, offset=offset)


def _check_shapes(present: dict[str, Tensor], *, tokens: bool) -> None:
    queries = present["queries"]
    n = len(queries) if isinstance(queries, Tensor) and queries.ndim else 0
    middle: tuple[int | None, ...] = (None,) if tokens else ()
    check_shape(queries, (None, *middle, None), name="queries")
    if n == 0 or queries.shape[-1] == 0:
        raise InputError(message(f"queries of shape {tuple(queries.shape)}", "at least one row and column", "skip it"))
    dim = queries.shape[-1]
    check_shape(present["positives"], (n, *middle, dim), name="positives", like=queries)
    m = None
    if "negatives" in present:
        check_shape(present["negatives"], (n, None, *middle, dim), name="negatives", like=queries)
        m = present["negatives"].shape[1]
        present.setdefault("negative_mask", torch.ones(n, m, dtype=torch.bool, device=queries.device))
    own = None if m is None else m + 1
    shapes: dict[str, tuple[int | None, ...]] = {
        "negative_mask": (n, m),
        "negative_ids": (n, m),
        "negative_labels": (n, m),
        "known_ids": (n, None),
        "teacher_scores": (n, own),
        "targets": (n, own),
        "guide_queries": (n, None),
        "guide_positives": (n, None),
        "guide_negatives": (n, m, None),
        "queue_entries": (None, dim),
        "query_mask": (n, queries.shape[1]),
        "positive_mask": (n, present["positives"].shape[1]),
        "negative_token_mask": (n, m, None),
    }
    for name, value in present.items():
        if name in _SIDES:
            continue
        if m is None and own is None and (name.startswith("negative") or name in {"teacher_scores", "targets"}):
            raise InputError(message(f"{name} without negatives", "the field negatives", "add it, or drop this field"))
        check_shape(value, shapes.get(name, (n,)), name=name, like=queries)
        integral = not (value.is_floating_point() or value.dtype == torch.bool)
        if name in _INTEGERS and not integral:
            raise DtypeError(message(f"{name} of dtype {value.dtype}", "integers", "map them to int64"))
        if name.endswith("mask"):
            present[name] = value.bool()
    _check_token_masks(present)


def _check_token_masks(present: dict[str, Tensor]) -> None:
    for name, side in _TOKEN_MASKS.items():
        if name not in present or side not in present:
            continue
        check_shape(present[name], tuple(present[side].shape[:-1]), name=name)
        empty = ~present[name].any(-1)
        if side == "negatives":
            empty &= present["negative_mask"]
        if empty.any():
            rows = empty.nonzero()[:, 0].unique().tolist()[:5]
            raise InputError(
                message(f"{name} without any token in rows {rows}", "at least one token that counts", "drop these rows")
            )


def _check_targets(present: dict[str, Tensor]) -> None:
    targets = present.get("targets")
    if targets is None:
        return
    wrong = ((targets.sum(1) - 1.0).abs() > _SUM_TOLERANCE) | (targets < 0).any(1)
    if wrong.any():
        rows = wrong.nonzero().flatten().tolist()[:5]
        raise InputError(
            message(
                f"targets that are no distribution in rows {rows}",
                "shares of 0 or more that sum to 1",
                "divide each row by its sum, or pass raw scores as teacher_scores",
            )
        )
    if ((targets[:, 1:] > 0) & ~present["negative_mask"]).any():
        raise InputError(
            message("targets above 0 on absent negatives", "0 where negative_mask is False", "set them to 0")
        )


def _build(
    present: dict[str, Tensor], scorer: Scorer, *, tokens: bool, shared_ids: bool, count: int, offset: int
) -> ContrastiveBatch:
    def side(name: str, mask: str) -> Encoded | None:
        if name not in present:
            return None
        values = present[name]
        valid = present.get(mask)
        if tokens and valid is None:
            valid = torch.ones(values.shape[:-1], dtype=torch.bool, device=values.device)
        return scorer.prepare(Encoded(values, valid))

    sides = {name: side(name, mask) for mask, name in _TOKEN_MASKS.items()}
    plain = {f.name: present[f.name] for f in fields(ContrastiveBatch) if f.name in present and f.name not in _SIDES}
    out = ContrastiveBatch(**sides, **plain, shared_ids=shared_ids, offset=offset, count=count)  # type: ignore[arg-type]
    guides = {short: present[name].detach() for name, short in _GUIDES.items() if name in present}
    if not guides:
        return out
    if set(guides) != {name for name in _SIDES if name in present}:
        raise InputError(
            message(f"guide embeddings of {sorted(guides)}", "of every side of the batch", "embed all with the guide")
        )
    judge = DenseScorer()
    encoded = {name: judge.prepare(Encoded(values)) for name, values in guides.items()}
    return replace(out, guide=Sides(**encoded, negative_mask=out.negative_mask))  # type: ignore[arg-type]


def mix_negatives(
    queries: Tensor,
    negatives: Tensor,
    mask: Tensor,
    *,
    how: str = "pair",
    count: int = 1,
    beta: float = 2.0,
    temperature: float = 0.05,
    normalize: bool = True,
) -> tuple[Tensor, Tensor]:
    """Make harder negatives of each row's own hard negatives, in the space of the embeddings.

    Parameters
    ----------
    queries : Tensor of shape (n, d)
        Embedded queries; used by ``"list"`` only.
    negatives : Tensor of shape (n, m, d)
        Embedded hard negatives.
    mask : Tensor of shape (n, m), bool
        Which of them exist. A row with fewer than two gets none.
    how : {"pair", "list"}, default "pair"
        ``"pair"`` takes two at random and a share from Beta(beta, beta). ``"list"`` takes all, weighted by the softmax
        of their similarity to the query; from the second mixture on the weights are multiplied by exponential noise,
        so that the mixtures differ.
    count : int, default 1
        Mixtures per row, of at least 1.
    beta : float, default 2.0
        Small: mixtures near one parent; large: near the middle.
    temperature : float, default 0.05
        Of the softmax. Small: the hardest negative alone; large: the plain mean.
    normalize : bool, default True
        Give mixtures norm 1, which moves them outwards, towards the query. Turn off for dot products.

    Returns
    -------
    mixed : Tensor of shape (n, count, d)
        Gradients flow to the negatives; shares and weights are constants.
    mixed_mask : Tensor of shape (n, count), bool
        False where a row had fewer than two negatives.

    Raises
    ------
    InputError
        Room for fewer than two negatives per row, or a setting out of range.

    Notes
    -----
    Pair: norm(s h_a + (1 - s) h_b). List: norm(sum_k w_k h_k), w = softmax_k(<q, h_k> / temperature).

    References
    ----------
    Zhao et al. 2025, "KaLM-Embedding-V2", arXiv 2506.20923, section on online hard-negative mixing; Kalantidis et al.
    2020, "Hard Negative Mixing for Contrastive Learning", arXiv 2010.01028.

    Examples
    --------
    >>> import torch
    >>> mixed, there = mix_negatives(torch.eye(2)[:1], torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool))
    >>> tuple(mixed.shape), round(float(mixed.norm()), 4), there.tolist()
    ((1, 1, 2), 1.0, [[True]])
    """
    check_choice(how, ("pair", "list"), name="how")
    check_count(count, name="count")
    if mask.shape[1] < 2:
        raise InputError(
            message(f"{mask.shape[1]} hard negatives per row", "at least two to mix", "add negatives or set mix=None")
        )
    enough = mask.sum(1) >= 2
    with torch.no_grad():
        if how == "pair":
            weights = _pair_weights(mask, count, beta, negatives.dtype)
        else:
            logits = torch.einsum("nd,nmd->nm", queries, negatives) / temperature
            logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).unsqueeze(1).repeat(1, count, 1)
            noise = torch.empty_like(logits).exponential_().log()
            noise[:, 0] = 0.0
            weights = torch.softmax(logits + noise, dim=-1)
        weights = weights * mask.unsqueeze(1)
    mixed = weights @ negatives
    if normalize:
        mixed = torch.nn.functional.normalize(mixed, dim=-1)
    return mixed, enough.unsqueeze(1).expand(-1, count)


def _pair_weights(mask: Tensor, count: int, beta: float, dtype: torch.dtype) -> Tensor:
    n, m = mask.shape
    # Two distinct negatives at random: the two largest of random keys, absent ones last.
    keys = torch.rand(n, count, m, device=mask.device).masked_fill(~mask.unsqueeze(1), -1.0)
    pair = keys.topk(2, dim=-1).indices
    share = torch.distributions.Beta(beta, beta).sample((n, count)).to(mask.device, dtype)
    weights = torch.zeros(n, count, m, dtype=dtype, device=mask.device)
    return weights.scatter_(-1, pair, torch.stack([share, 1.0 - share], dim=-1))
