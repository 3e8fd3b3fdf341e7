"""Gradients over a data set: their mean, their mean square (Fisher's diagonal), and how two data sets agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from orthant.errors import InputError, NonFiniteError, message
from orthant.learn.merging.arrays import cosine, norm
from orthant.learn.merging.sources import open_weights
from orthant.validate import check_choice, check_count

__all__ = [
    "GradientStatistics",
    "collect_gradients",
    "fisher_diagonal",
    "gradient_alignment",
    "gradient_cosines",
    "parameters_in",
    "single_rows",
]

Loss = Callable[[Any], Any]


@dataclass(frozen=True)
class GradientStatistics:
    """What one pass over a data set says about each weight.

    Attributes
    ----------
    mean : dict of str to torch.Tensor
        Mean gradient by name of parameter, float32, in the parameter's shape.
    square : dict of str to torch.Tensor
        Mean of the squared gradient: the empirical Fisher diagonal.
    count : int
        Gradients averaged.
    loss : float
        Mean loss.
    """

    mean: dict[str, torch.Tensor]
    square: dict[str, torch.Tensor]
    count: int
    loss: float


def parameters_in(model: nn.Module, scope: Sequence[str]) -> dict[str, nn.Parameter]:
    """Floating parameters whose names match a pattern.

    Parameters
    ----------
    model : torch.nn.Module
        With plain weights.
    scope : sequence of str
        Patterns (``*``, ``?``); a parameter is taken when one of them matches its whole name.

    Returns
    -------
    dict of str to torch.nn.Parameter
        In the order of the model, tied ones once.

    Raises
    ------
    InputError
        Nothing matches, or the model has an unmerged adapter.
    """
    open_weights(model)
    patterns = [scope] if isinstance(scope, str) else list(scope)
    out = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point() and any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if not out:
        known = [name for name, _ in model.named_parameters()][:5]
        raise InputError(
            message(
                f"scope {patterns}, which matches no floating parameter", f"patterns of names like {known}", "widen it"
            )
        )
    return out


def single_rows(batch: Any) -> Iterator[Any]:
    """Split a batch into batches of one row each.

    Parameters
    ----------
    batch : tensor, list, or mapping, tuple or list of these
        All with the same number of rows along the first axis.

    Yields
    ------
    same structure
        One row each; tensors keep their first axis.

    Raises
    ------
    InputError
        Different numbers of rows, or none.

    Examples
    --------
    >>> [row["x"].tolist() for row in single_rows({"x": torch.tensor([[1], [2]])})]
    [[[1]], [[2]]]
    """
    lengths = set(_lengths(batch))
    if len(lengths) != 1 or lengths == {0}:
        raise InputError(
            message(f"a batch with {sorted(lengths) or 'no'} rows", "one number of rows", "use per='batch' or pad it")
        )
    for i in range(lengths.pop()):
        yield _row(batch, i)


def _nested(batch: Any) -> bool:
    return isinstance(batch, (list, tuple)) and any(
        isinstance(part, (torch.Tensor, Mapping, list, tuple)) for part in batch
    )


def _lengths(batch: Any) -> Iterator[int]:
    if isinstance(batch, Mapping) or _nested(batch):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _lengths(part)
    elif isinstance(batch, torch.Tensor):
        yield len(batch) if batch.ndim else 0
    elif isinstance(batch, (list, tuple)):
        yield len(batch)


def _row(batch: Any, i: int) -> Any:
    if isinstance(batch, Mapping):
        return {key: _row(part, i) for key, part in batch.items()}
    if _nested(batch):
        return type(batch)(_row(part, i) for part in batch)
    return batch[i : i + 1] if isinstance(batch, (torch.Tensor, list, tuple)) else batch


@contextmanager
def _prepared(model: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Switch dropout off and gradients on, and leave the model as it was."""
    modes = {module: module.training for module in model.modules()}
    needs = [(parameter, parameter.requires_grad) for parameter in parameters]
    model.eval()
    for parameter, _ in needs:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter, wanted in needs:
            parameter.requires_grad_(wanted)
        for module, mode in modes.items():
            module.training = mode


def collect_gradients(
    model: nn.Module, batches: Iterable[Any], loss: Loss, *, scope: Sequence[str] = ("*",), per: str = "batch"
) -> GradientStatistics:
    """Average gradients and squared gradients of a loss over a data set.

    Parameters
    ----------
    model : torch.nn.Module
        Left as it was: dropout is off meanwhile, and ``.grad`` is not touched.
    batches : iterable
        What ``loss`` takes, one batch after another.
    loss : callable of batch to torch.Tensor of shape (), or to an object with such a ``loss``
        Runs the model; a mean over the rows of the batch.
    scope : sequence of str, default ("*",)
        Patterns of names of parameters to look at, such as ``("*.dense.weight",)``. Fewer need less memory.
    per : {"batch", "sample"}, default "batch"
        Take a gradient per batch, or split every batch into rows: exact, and slower by the batch's size. The square of
        a batch's mean gradient is smaller than the mean square by up to that factor.

    Returns
    -------
    GradientStatistics
        Two float32 tensors per parameter.

    Raises
    ------
    InputError
        No batches, a scope that matches nothing or that the loss does not reach, an unmerged adapter, a loss that is
        not one number.
    NonFiniteError
        NaN or infinity in a gradient; the text names the parameter and the batch.

    Notes
    -----
    ``mean_j = (1/n) sum_i g_ij`` and ``square_j = (1/n) sum_i g_ij^2`` over n batches or samples, each counting once.

    References
    ----------
    Kirkpatrick et al., Overcoming Catastrophic Forgetting, arXiv 1612.00796, section 2. Martens, New Insights and
    Perspectives on the Natural Gradient Method, arXiv 1412.1193, section 5, on "empirical".

    Examples
    --------
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> data = [torch.tensor([[1.0], [3.0]])]
    >>> seen = collect_gradients(model, data, lambda x: model(x).mean(), per="sample")
    >>> seen.mean["weight"].item(), seen.square["weight"].item()
    (2.0, 5.0)
    """
    check_choice(per, ("batch", "sample"), name="per")
    parameters = parameters_in(model, scope)
    names, tensors = list(parameters), list(parameters.values())
    mean = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    square = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    reached: set[str] = set()
    count, total = 0, 0.0
    with _prepared(model, tensors):
        for number, batch in enumerate(batches):
            for piece in single_rows(batch) if per == "sample" else (batch,):
                value = _scalar(loss(piece))
                if not value.requires_grad:
                    raise InputError(message("a loss without gradient", "one that runs the model", "check the loss"))
                for name, gradient in zip(names, torch.autograd.grad(value, tensors, allow_unused=True), strict=True):
                    if gradient is not None:
                        reached.add(name)
                        _add(mean[name], square[name], gradient.detach(), name, number)
                count, total = count + 1, total + float(value.detach())
    if not count:
        raise InputError(message("no batches", "at least one", "pass data; an iterator is used up after one pass"))
    if not reached:
        raise InputError(
            message(f"a loss that none of {names[:5]} affects", "a scope that it uses", "check scope or loss")
        )
    for sums in (*mean.values(), *square.values()):
        sums.div_(count)
    return GradientStatistics(mean, square, count, total / count)


def _scalar(value: Any) -> torch.Tensor:
    out = value if isinstance(value, torch.Tensor) else getattr(value, "loss", None)
    if not isinstance(out, torch.Tensor) or out.numel() != 1:
        raise InputError(
            message("a loss that is not one number", "a tensor of shape ()", "take the mean over the batch")
        )
    return out.reshape(())


def _add(mean: torch.Tensor, square: torch.Tensor, gradient: torch.Tensor, name: str, number: int) -> None:
    wide = gradient.to_dense().to(torch.float32) if gradient.is_sparse else gradient.to(torch.float32)
    if not bool(torch.isfinite(wide).all()):
        raise NonFiniteError(
            message(f"a gradient of {name!r} with NaN or infinity at batch {number}", "finite ones", "check that batch")
        )
    mean.add_(wide)
    square.addcmul_(wide, wide)


def fisher_diagonal(
    model: nn.Module, batches: Iterable[Any], loss: Loss, *, scope: Sequence[str] = ("*",), per: str = "sample"
) -> dict[str, torch.Tensor]:
    """Estimate how much each weight matters to a loss: the empirical diagonal of Fisher's matrix.

    Parameters
    ----------
    model : torch.nn.Module
        As for `collect_gradients`.
    batches : iterable
        As for `collect_gradients`.
    loss : callable of batch to torch.Tensor of shape ()
        As for `collect_gradients`; a negative log-likelihood gives Fisher's matrix, others an analogue.
    scope : sequence of str, default ("*",)
        As for `collect_gradients`.
    per : {"sample", "batch"}, default "sample"
        As for `collect_gradients`.

    Returns
    -------
    dict of str to torch.Tensor
        Mean squared gradient by name, float32, in the parameter's shape.

    Raises
    ------
    InputError, NonFiniteError
        As for `collect_gradients`.

    Examples
    --------
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> fisher_diagonal(model, [torch.tensor([[1.0], [3.0]])], lambda x: model(x).mean())["weight"].item()
    5.0
    """
    return collect_gradients(model, batches, loss, scope=scope, per=per).square


def _check_pair(a: GradientStatistics, b: GradientStatistics) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in each.mean.items()} for each in (a, b)]
    if shapes[0] != shapes[1]:
        odd = sorted(shapes[0].items() ^ shapes[1].items())[:5]
        raise InputError(message(f"gradients of other tensors: {odd}", "one model and scope", "collect both alike"))


def gradient_cosines(a: GradientStatistics, b: GradientStatistics) -> dict[str, float]:
    """Cosine of two data sets' mean gradients, tensor by tensor.

    Parameters
    ----------
    a, b : GradientStatistics
        Of one model and scope.

    Returns
    -------
    dict of str to float
        From -1 (each step for one set undoes the other) to 1; 0.0 where a gradient is zero.

    Raises
    ------
    InputError
        Other tensors.
    """
    _check_pair(a, b)
    return {name: cosine(gradient, b.mean[name]) for name, gradient in a.mean.items()}


def gradient_alignment(a: GradientStatistics, b: GradientStatistics, *, window: int = 3) -> dict[str, torch.Tensor]:
    """Say for each weight whether two data sets pull it the same way.

    Parameters
    ----------
    a, b : GradientStatistics
        Of one model and scope.
    window : int, default 3
        Side of the square over which a matrix is averaged, odd; 1 does not smooth. Larger sees neighbourhoods, not
        weights.

    Returns
    -------
    dict of str to torch.Tensor
        Positive where they agree, in the parameter's shape; small numbers, since a unit vector has as many entries as
        the tensor.

    Raises
    ------
    InputError
        Other tensors, or an even window.

    Notes
    -----
    ``(g_a/|g_a|) * (g_b/|g_b|)`` per tensor, matrices smoothed by the mean over a window with zeros outside.

    References
    ----------
    GAPrune: Gradient-Alignment Pruning for Domain-Aware Embeddings, arXiv 2509.10844, section on alignment.
    """
    _check_pair(a, b)
    if check_count(window, name="window") % 2 == 0:
        raise InputError(message(f"window={window}", "an odd number", "use 3"))
    out = {}
    for name, gradient in a.mean.items():
        other = b.mean[name]
        lengths = norm(gradient) * norm(other)
        product = gradient * other / lengths if lengths else torch.zeros_like(gradient)
        if product.ndim == 2 and window > 1:
            product = torch.nn.functional.avg_pool2d(product[None, None], window, stride=1, padding=window // 2)[0, 0]
        out[name] = product
    return out
