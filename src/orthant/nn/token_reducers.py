"""Fewer token vectors per text, inside the forward pass: clusters, head, tail, every k-th, and a random control.

Every reducer takes tokens of shape (B, T, d) and a mask of shape (B, T) and returns the same, shorter and padded on the
right. Padding takes no part, wherever it lies; a text without tokens stays without.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from orthant.errors import DimensionError, InputError, message
from orthant.transforms.token_clustering import check_budget, cluster_budget, spread_positions
from orthant.validate import check_choice, check_count

__all__ = [
    "ClusterReducer",
    "HeadReducer",
    "RandomReducer",
    "StrideReducer",
    "TailReducer",
    "TokenReducer",
    "make_reducer",
]


class TokenReducer(nn.Module):
    """Root of the reducers: token vectors and mask in, fewer token vectors and their mask out."""

    kind = ""

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Reduce a batch.

        Parameters
        ----------
        tokens : Tensor of shape (B, T, d)
            Token vectors.
        mask : Tensor of shape (B, T), bool
            True on real tokens.

        Returns
        -------
        tokens : Tensor of shape (B, K, d)
            What remains, K the most of any text; zeros on padding.
        mask : Tensor of shape (B, K), bool
            True on what remains.

        Raises
        ------
        DimensionError
            Shapes that do not fit.
        """
        if tokens.ndim != 3 or mask.shape != tokens.shape[:2]:
            raise DimensionError(
                message(
                    f"tokens of shape {tuple(tokens.shape)} with a mask of shape {tuple(mask.shape)}",
                    "(B, T, d) and (B, T)",
                    "pass the token vectors and mask of one batch",
                )
            )
        real = mask.bool()
        # Real tokens first, in their order: the result does not depend on where padding was.
        order = (~real).to(torch.uint8).argsort(dim=1, stable=True)
        counts = real.sum(dim=1)
        length = int(counts.max()) if len(counts) else 0
        order = order[:, :length]
        packed = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))
        packed = packed.masked_fill((torch.arange(length, device=mask.device) >= counts[:, None])[..., None], 0)
        return self._reduce(packed, counts)

    @abstractmethod
    def _reduce(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Reduce texts whose real tokens come first, ``counts`` (B,) of them."""

    def config(self) -> dict[str, Any]:
        """Return what `make_reducer` needs to make an equal one.

        Returns
        -------
        dict
            JSON values; ``"kind"`` names the reducer.
        """
        return {"kind": self.kind}


def _live(budgets: Tensor) -> Tensor:
    """Return the mask of texts of which ``budgets`` (B,) vectors remain."""
    width = int(budgets.max()) if len(budgets) else 0
    return torch.arange(width, device=budgets.device) < budgets[:, None]


def _pick(tokens: Tensor, places: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
    chosen = tokens.gather(1, places.clamp_min(0)[..., None].expand(-1, -1, tokens.shape[2]))
    return chosen.masked_fill(~live[..., None], 0), live


class ClusterReducer(TokenReducer):
    """Replace the tokens of each text by the means of k clusters of them, and train through it.

    A late-interaction model trained with the clusters in its forward pass learns tokens that cluster well, and keeps
    more of its quality than one whose tokens are clustered afterwards (`orthant.transforms.TokenClusterer`).

    Parameters
    ----------
    k : int, optional
        Vectors per text, at least 1; texts with fewer tokens keep them unchanged. Studied are 4 and 8 for queries, 8
        and 32 for documents.
    ratio : float, optional
        Instead of ``k``: vectors per token, above 0 and at most 1, rounded down, at least one. Studied are 0.25
        and 0.5.
    n_iter : int, default 8
        Rounds of k-means. Below 3 clusters are still rough; beyond 10 little changes.
    init : {"spread", "farthest"}, default "spread"
        Start from tokens at even distances along the text, or from each time the token farthest from those chosen.
    normalize : bool, default False
        Bring what remains to unit length.

    Raises
    ------
    InputError
        Both of ``k`` and ``ratio`` or neither, or a value out of range.

    Notes
    -----
    Assignments a(i) come from Lloyd's rounds without gradient; then ``c_j = mean_{i: a(i) = j} x_i`` is taken from the
    live tokens, so ``dc_j / dx_i = 1 / |cluster j|``. A cluster that falls empty takes the token farthest from its own
    centre, so exactly ``min(k, tokens)`` vectors remain. Cost: O(n_iter T k d).

    References
    ----------
    Veneroso et al.: CRISP: Clustering Multi-Vector Representations for Denoising and Pruning. arXiv 2505.11471,
    section 3.

    Examples
    --------
    >>> tokens = torch.tensor([[[0.0], [1.0], [10.0], [12.0], [99.0]]], requires_grad=True)
    >>> kept, mask = ClusterReducer(k=2)(tokens, torch.tensor([[1, 1, 1, 1, 0]]))
    >>> kept.tolist()
    [[[0.5], [11.0]]]
    >>> kept.sum().backward()
    >>> tokens.grad.flatten().tolist()
    [0.5, 0.5, 0.5, 0.5, 0.0]
    """

    kind = "cluster"

    def __init__(
        self,
        *,
        k: int | None = None,
        ratio: float | None = None,
        n_iter: int = 8,
        init: Literal["spread", "farthest"] = "spread",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        check_budget(k, ratio)
        self.k, self.ratio = k, ratio
        self.n_iter = check_count(n_iter, name="n_iter")
        self.init = check_choice(init, ("spread", "farthest"), name="init")
        self.normalize = normalize

    def _reduce(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        lengths = counts.cpu().numpy()
        kept = cluster_budget(lengths, k=self.k, ratio=self.ratio)
        budgets = torch.from_numpy(kept).to(tokens.device)
        live = _live(budgets)
        with torch.no_grad():
            starts = torch.from_numpy(spread_positions(lengths, kept, live.shape[1])).to(tokens.device)
            found = self._assign(tokens.detach(), counts, live, starts)
            real = torch.arange(tokens.shape[1], device=tokens.device) < counts[:, None]
            # Texts within their budget keep every token in its place.
            whole = (counts <= budgets)[:, None]
            found = torch.where(whole, torch.arange(tokens.shape[1], device=tokens.device), found)
            # What is not real goes to a column of its own, which is cut off.
            found = found.where(real, live.shape[1])
        means = _means(tokens, found, live.shape[1])
        if self.normalize:
            means = functional.normalize(means, dim=-1)
        return means.masked_fill(~live[..., None], 0), live

    def _assign(self, tokens: Tensor, counts: Tensor, live: Tensor, starts: Tensor) -> Tensor:
        """Return the cluster of each token, shape (B, T)."""
        if not live.numel():
            return counts.new_zeros(tokens.shape[:2])
        x = tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens
        real = torch.arange(x.shape[1], device=x.device) < counts[:, None]
        squares = (x * x).sum(dim=2)
        if self.init == "farthest":
            starts = _farthest_positions(x, squares, real, live)
        centres = x.gather(1, starts[..., None].expand(-1, -1, x.shape[2]))
        before = None
        for _ in range(self.n_iter):
            costs = (centres * centres).sum(dim=2)[:, None] - 2 * x @ centres.transpose(1, 2)
            cost, found = costs.masked_fill(~live[:, None], float("inf")).min(dim=2)
            found = _without_empty(found, cost + squares, real, live)
            if before is not None and torch.equal(found, before):
                break
            before = found
            centres = _means(x, found.where(real, live.shape[1]), live.shape[1])
        return found

    def config(self) -> dict[str, Any]:
        """Return what `make_reducer` needs to make an equal one.

        Returns
        -------
        dict
            JSON values.
        """
        names = ("k", "ratio", "n_iter", "init", "normalize")
        return {"kind": self.kind, **{name: getattr(self, name) for name in names}}


def _means(tokens: Tensor, found: Tensor, width: int) -> Tensor:
    """Return the mean of each cluster, shape (B, width, d); tokens of cluster ``width`` are left out."""
    wide = tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens
    shape = (len(tokens), width + 1, tokens.shape[2])
    sums = wide.new_zeros(shape).scatter_add(1, found[..., None].expand_as(wide), wide)
    sizes = wide.new_zeros(shape[:2]).scatter_add(1, found, torch.ones_like(found, dtype=wide.dtype))
    return (sums / sizes.clamp_min(1)[..., None])[:, :width].to(tokens.dtype)


def _farthest_positions(x: Tensor, squares: Tensor, real: Tensor, live: Tensor) -> Tensor:
    starts = torch.zeros_like(live, dtype=torch.long)
    lines = torch.arange(len(x), device=x.device)
    nearest = torch.full_like(squares, float("inf")).masked_fill(~real, float("-inf"))
    for j in range(1, live.shape[1]):
        last = x[lines, starts[:, j - 1]]
        distances = squares + (last * last).sum(dim=1, keepdim=True) - 2 * (x @ last[..., None])[..., 0]
        nearest = torch.minimum(nearest, distances)
        # A chosen token is out, even where rounding leaves it a distance from itself.
        nearest[lines, starts[:, j - 1]] = float("-inf")
        starts[:, j] = nearest.argmax(dim=1).where(live[:, j], 0)
    return starts


def _without_empty(found: Tensor, distances: Tensor, real: Tensor, live: Tensor) -> Tensor:
    """Give each empty cluster the farthest token that does not leave another empty."""
    width = live.shape[1]
    sizes = live.new_zeros((len(found), width + 1), dtype=torch.long)
    sizes = sizes.scatter_add(1, found.where(real, width), torch.ones_like(found))[:, :width]
    rows = torch.nonzero(((sizes == 0) & live).any(dim=1)).flatten().tolist()
    # Texts that fit their budget are left as they are afterwards, so they need no repair.
    for row in rows:
        for cluster in torch.nonzero((sizes[row] == 0) & live[row]).flatten().tolist():
            free = real[row] & (sizes[row][found[row]] > 1)
            token = int(distances[row].masked_fill(~free, float("-inf")).argmax())
            sizes[row, found[row, token]] -= 1
            sizes[row, cluster] += 1
            found[row, token] = cluster
            distances[row, token] = float("-inf")
    return found


class _FixedNumber(TokenReducer):
    """Keeps k tokens of each text."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = check_count(k, name="k")

    def config(self) -> dict[str, Any]:
        """Return what `make_reducer` needs to make an equal one.

        Returns
        -------
        dict
            JSON values.
        """
        return {"kind": self.kind, "k": self.k}


class HeadReducer(_FixedNumber):
    """Keep the first k tokens of each text: what most encoders put first stands for the whole, at no cost.

    Parameters
    ----------
    k : int
        Tokens kept, at least 1; shorter texts keep all.

    Raises
    ------
    InputError
        k below 1.

    Examples
    --------
    >>> kept, _ = HeadReducer(2)(torch.arange(4.0).view(1, 4, 1), torch.tensor([[1, 1, 1, 0]]))
    >>> kept.flatten().tolist()
    [0.0, 1.0]
    """

    kind = "head"

    def _reduce(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        live = _live(counts.clamp_max(self.k))
        return _pick(tokens, torch.arange(live.shape[1], device=tokens.device).where(live, 0), live)


class TailReducer(_FixedNumber):
    """Keep the last k tokens of each text: a cheap baseline that suits causal models.

    Parameters
    ----------
    k : int
        Tokens kept, at least 1; shorter texts keep all.

    Raises
    ------
    InputError
        k below 1.

    Examples
    --------
    >>> kept, _ = TailReducer(2)(torch.arange(4.0).view(1, 4, 1), torch.tensor([[1, 1, 1, 0]]))
    >>> kept.flatten().tolist()
    [1.0, 2.0]
    """

    kind = "tail"

    def _reduce(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        budgets = counts.clamp_max(self.k)
        live = _live(budgets)
        return _pick(tokens, torch.arange(live.shape[1], device=tokens.device) + (counts - budgets)[:, None], live)


class StrideReducer(TokenReducer):
    """Keep every k-th token of each text, the first among them: a baseline that costs nothing.

    Parameters
    ----------
    k : int
        Distance between kept tokens, at least 1, which keeps all. Studied are 2 and 4.

    Raises
    ------
    InputError
        k below 1.

    Examples
    --------
    >>> kept, _ = StrideReducer(2)(torch.arange(4.0).view(1, 4, 1), torch.tensor([[1, 1, 1, 0]]))
    >>> kept.flatten().tolist()
    [0.0, 2.0]
    """

    kind = "stride"

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = check_count(k, name="k")

    def _reduce(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        live = _live((counts + self.k - 1) // self.k)
        places = torch.arange(live.shape[1], device=tokens.device).expand(len(tokens), -1) * self.k
        return _pick(tokens, places.where(live, 0), live)

    def config(self) -> dict[str, Any]:
        """Return what `make_reducer` needs to make an equal one.

        Returns
        -------
        dict
            JSON values.
        """
        return {"kind": self.kind, "k": self.k}


class RandomReducer(TokenReducer):
    """Average random groups of tokens: the control that shows whether clusters matter.

    Parameters
    ----------
    k : int, optional
        Vectors per text, at least 1; shorter texts keep their tokens.
    ratio : float, optional
        Instead of ``k``: vectors per token, above 0 and at most 1.
    seed : int, default 0
        Of the groups. They depend on it and on the number of tokens alone, so a text gives the same vectors each time.
    normalize : bool, default False
        Bring what remains to unit length.

    Raises
    ------
    InputError
        Both of ``k`` and ``ratio`` or neither, or a value out of range.

    Examples
    --------
    >>> RandomReducer(k=2)(torch.randn(1, 6, 3), torch.ones(1, 6))[0].shape
    torch.Size([1, 2, 3])
    """

    kind = "random"

    def __init__(
        self, *, k: int | None = None, ratio: float | None = None, seed: int = 0, normalize: bool = False
    ) -> None:
        super().__init__()
        check_budget(k, ratio)
        self.k, self.ratio = k, ratio
        self.seed = check_count(seed, name="seed", minimum=0)
        self.normalize = normalize

    def _reduce(self, tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        lengths = counts.cpu().numpy()
        kept = cluster_budget(lengths, k=self.k, ratio=self.ratio)
        live = _live(torch.from_numpy(kept).to(tokens.device))
        found = np.full(tokens.shape[:2], live.shape[1], dtype=np.int64)
        for row, (count, budget) in enumerate(zip(lengths.tolist(), kept.tolist(), strict=True)):
            groups = np.arange(count) % max(budget, 1)
            shuffled = np.random.default_rng((self.seed, count)).permutation(groups) if budget < count else groups
            found[row, :count] = shuffled
        means = _means(tokens, torch.from_numpy(found).to(tokens.device), live.shape[1])
        if self.normalize:
            means = functional.normalize(means, dim=-1).masked_fill(~live[..., None], 0)
        return means, live

    def config(self) -> dict[str, Any]:
        """Return what `make_reducer` needs to make an equal one.

        Returns
        -------
        dict
            JSON values.
        """
        names = ("k", "ratio", "seed", "normalize")
        return {"kind": self.kind, **{name: getattr(self, name) for name in names}}


_REDUCERS: dict[str, Any] = {
    reducer.kind: reducer for reducer in (ClusterReducer, HeadReducer, TailReducer, StrideReducer, RandomReducer)
}


def make_reducer(config: Mapping[str, Any]) -> TokenReducer:
    """Make a reducer from what its ``config()`` returned.

    Parameters
    ----------
    config : mapping
        ``"kind"``, one of ``"cluster"``, ``"head"``, ``"tail"``, ``"stride"`` and ``"random"``, and the arguments of
        its class.

    Returns
    -------
    TokenReducer
        Equal to the one that told its settings.

    Raises
    ------
    InputError
        An unknown kind or setting.

    Examples
    --------
    >>> make_reducer({"kind": "tail", "k": 4}).config()
    {'kind': 'tail', 'k': 4}
    """
    settings = dict(config)
    kind = check_choice(settings.pop("kind", None), tuple(_REDUCERS), name="reducer")
    try:
        return _REDUCERS[kind](**settings)
    except TypeError as error:
        raise InputError(
            message(f"settings {sorted(settings)} for reducer {kind!r}", "those of its class", "see its documentation")
        ) from error
