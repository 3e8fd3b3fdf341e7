"""How much each weight is worth: a score per entry, larger is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch

from orthant.errors import DtypeError, InputError, NonFiniteError, message, warn
from orthant.learn.analysis.gradients import GradientStatistics, gradient_alignment
from orthant.learn.merging.sources import Weights, WeightSource, check_finite, open_weights
from orthant.measures.correlation import spearman
from orthant.validate import check_choice, check_count

__all__ = [
    "alignment_scores",
    "fisher_scores",
    "magnitude_scores",
    "random_scores",
    "rank_agreement",
]

# Added to every squared gradient and under every root, as in the authors' code: it keeps zeros apart from "unknown".
_FLOOR = 1e-8


def _in_scope(model: Weights, scope: Sequence[str]) -> tuple[WeightSource, list[str]]:
    source = open_weights(model)
    patterns = [scope] if isinstance(scope, str) else list(scope)
    names = [name for name in source.names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not names:
        known = list(source.names[:5])
        raise InputError(
            message(f"scope {patterns}, which matches no tensor", f"patterns of names like {known}", "widen it")
        )
    odd = [name for name in names if not source.dtype(name).is_floating_point or source.dtype(name).itemsize < 2]
    if odd:
        raise DtypeError(
            message(
                f"integer or quantised tensors in scope: {odd[:5]}", "floating weights", "narrow scope or dequantise"
            )
        )
    return source, names


def _weight(source: WeightSource, name: str) -> torch.Tensor:
    return check_finite(source.read(name).to(torch.float32), name=name, origin=source.origin)


def magnitude_scores(model: Weights, *, scope: Sequence[str] = ("*.weight",)) -> dict[str, torch.Tensor]:
    """Score weights by their size, the baseline that needs no data.

    Parameters
    ----------
    model : folder, state dict or module
        With plain weights.
    scope : sequence of str, default ("*.weight",)
        Patterns (``*``, ``?``) of names of tensors that may be pruned, such as ``("*.intermediate.dense.weight",)``.

    Returns
    -------
    dict of str to torch.Tensor
        ``|w|``, float32, in the tensor's shape.

    Raises
    ------
    InputError, DtypeError, NonFiniteError
        A scope that matches nothing or integers, an unmerged adapter, NaN or infinity.

    Examples
    --------
    >>> magnitude_scores({"a.weight": torch.tensor([-2.0, 1.0])})["a.weight"].tolist()
    [2.0, 1.0]
    """
    source, names = _in_scope(model, scope)
    return {name: _weight(source, name).abs() for name in names}


def random_scores(model: Weights, *, scope: Sequence[str] = ("*.weight",), seed: int = 0) -> dict[str, torch.Tensor]:
    """Score weights by chance: what any other score has to beat.

    Parameters
    ----------
    model : folder, state dict or module
        With plain weights.
    scope : sequence of str, default ("*.weight",)
        As for `magnitude_scores`.
    seed : int, default 0
        Fixes the numbers.

    Returns
    -------
    dict of str to torch.Tensor
        Uniform in 0 to 1, float32, in the tensor's shape.

    Raises
    ------
    InputError, DtypeError
        As for `magnitude_scores`.
    """
    source, names = _in_scope(model, scope)
    generator = torch.Generator().manual_seed(check_count(seed, name="seed", minimum=0))
    return {name: torch.rand(source.shape(name), generator=generator) for name in names}


def fisher_scores(model: Weights, fisher: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Score weights by how much the loss would rise without them, to second order.

    Parameters
    ----------
    model : folder, state dict or module
        With the tensors that ``fisher`` names.
    fisher : mapping of str to torch.Tensor
        As `orthant.learn.analysis.fisher_diagonal` gives it, in the tensors' shapes.

    Returns
    -------
    dict of str to torch.Tensor
        ``F w^2 / 2``, float32, in the tensor's shape.

    Raises
    ------
    InputError, DtypeError, NonFiniteError
        Tensors or shapes that the model does not have, NaN or infinity.

    References
    ----------
    LeCun et al., Optimal Brain Damage, NeurIPS 1989, with Fisher's diagonal for the Hessian's.

    Examples
    --------
    >>> fisher_scores({"w": torch.tensor([2.0])}, {"w": torch.tensor([3.0])})["w"].item()
    6.0
    """
    source = _matching(model, fisher)
    return {name: 0.5 * values * _weight(source, name).square() for name, values in fisher.items()}


def _matching(model: Weights, values: Mapping[str, torch.Tensor]) -> WeightSource:
    source = open_weights(model)
    if not values:
        raise InputError(message("statistics of no tensor", "at least one", "collect gradients first"))
    known = set(source.names)
    bad = [name for name, tensor in values.items() if name not in known or source.shape(name) != tuple(tensor.shape)]
    if bad:
        raise InputError(
            message(f"statistics for {bad[:5]}, which the model lacks in that shape", "one model", "collect them anew")
        )
    broken = [name for name, tensor in values.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise NonFiniteError(message(f"statistics with NaN for {broken[:5]}", "finite ones", "check the data"))
    return source


def alignment_scores(
    model: Weights,
    *,
    general: GradientStatistics,
    domain: GradientStatistics,
    beta: float = 1.0,
    gamma: float = 0.5,
    normalise: str = "none",
    window: int = 3,
) -> dict[str, torch.Tensor]:
    """Score weights by what they do for one domain beyond what they do in general, and by whether both agree on them.

    Use it to prune an encoder for one field of knowledge. With the raw scales of small gradients the size of the
    weights decides nearly alone: compare with `rank_agreement`, and set ``normalise``.

    Parameters
    ----------
    model : folder, state dict or module
        With the tensors that the statistics name.
    general, domain : GradientStatistics
        From two data sets, over one scope: what to weigh is in there.
    beta : float, default 1.0
        How much general importance counts against a weight; 0 looks at the domain alone.
    gamma : float, default 0.5
        How much size protects a weight; 0 lets gradients decide alone.
    normalise : {"none", "zscore", "rank"}, default "none"
        Bring both terms to one scale per tensor, by mean and spread or by ranks from 0 to 1.
    window : int, default 3
        As for `orthant.learn.analysis.gradient_alignment`.

    Returns
    -------
    dict of str to torch.Tensor
        Float32, in the tensor's shape.

    Raises
    ------
    InputError, DtypeError, NonFiniteError
        Statistics of other tensors, an unknown normalisation, NaN or infinity.

    Warns
    -----
    UserWarning
        Both data sets gave equal statistics: nothing but size is left to decide.

    Notes
    -----
    ``(F_dom |w| - beta F_gen |w|) clip(1 + 0.2 a, 0.8, 1.2) + gamma sqrt(|w| + 1e-8)`` with F the mean squared gradient
    plus 1e-8 and a the alignment. The paper's softplus around it keeps every order and costs float32 its small
    differences, so it is left out.

    References
    ----------
    GAPrune: Gradient-Alignment Pruning for Domain-Aware Embeddings, arXiv 2509.10844, section on the DAI score.
    """
    check_choice(normalise, ("none", "zscore", "rank"), name="normalise")
    source = _matching(model, domain.square)
    aligned = gradient_alignment(general, domain, window=window)
    if all(torch.equal(domain.square[name], general.square[name]) for name in domain.square):
        warn("General and domain statistics are equal, so the scores follow the weights' size; pass two data sets.")
    scores = {}
    for name, fisher in domain.square.items():
        size = _weight(source, name).abs()
        gain = ((fisher + _FLOOR) - beta * (general.square[name] + _FLOOR)) * size
        factor = (1 + 0.2 * aligned[name]).clamp(0.8, 1.2)
        scores[name] = _scaled(gain * factor, normalise) + gamma * _scaled(torch.sqrt(size + _FLOOR), normalise)
    return scores


def _scaled(values: torch.Tensor, normalise: str) -> torch.Tensor:
    if normalise == "zscore" and values.numel() > 1:
        return (values - values.mean()) / values.std().clamp_min(torch.finfo(values.dtype).tiny)
    if normalise == "rank":
        order = torch.argsort(values.reshape(-1), stable=True)
        ranks = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel()))
        return (ranks.to(values.dtype) / max(order.numel() - 1, 1)).reshape(values.shape)
    return values


def rank_agreement(
    a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], *, sample: int = 200_000, seed: int = 0
) -> float:
    """Say whether two scores would prune the same weights: rank correlation over all tensors.

    Parameters
    ----------
    a, b : mapping of str to torch.Tensor
        Scores of the same tensors.
    sample : int, default 200000
        Entries compared, drawn at random; more narrows the error, which is about 1 / sqrt(sample).
    seed : int, default 0
        Fixes the sample.

    Returns
    -------
    float
        Spearman's correlation, -1 to 1. Above 0.99 a score has degenerated into the other.

    Raises
    ------
    InputError
        Other tensors, or constant scores.

    Examples
    --------
    >>> rank_agreement({"w": torch.tensor([1.0, 2.0, 3.0])}, {"w": torch.tensor([1.0, 4.0, 9.0])})
    1.0
    """
    shapes = [{name: tuple(tensor.shape) for name, tensor in scores.items()} for scores in (a, b)]
    if shapes[0] != shapes[1] or not a:
        raise InputError(message("scores of different tensors", "the same names and shapes", "score one scope twice"))
    count = sum(tensor.numel() for tensor in a.values())
    picked = np.arange(count)
    if count > check_count(sample, name="sample", minimum=2):
        picked = np.sort(np.random.default_rng(seed).choice(count, size=sample, replace=False))
    return round(spearman(_picked(a.values(), picked), _picked([b[name] for name in a], picked)), 12)


def _picked(tensors: Iterable[torch.Tensor], places: np.ndarray) -> np.ndarray:
    out, first = [], 0
    for tensor in tensors:
        inside = places[np.searchsorted(places, first) : np.searchsorted(places, first + tensor.numel())] - first
        out.append(tensor.reshape(-1)[torch.from_numpy(inside)].double().numpy())
        first += tensor.numel()
    return np.concatenate(out)
