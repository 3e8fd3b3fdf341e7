"""Recurrent binarisation as a torch module: what training moves, and NumPy serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from orthant.nn.functional import straight_through_sign
from orthant.transforms.layers import Layer
from orthant.types import FloatArray
from orthant.validate import check_count

if TYPE_CHECKING:
    from orthant.quantization.binary.recurrent import RecurrentBinary

__all__ = ["RecurrentBinarizer"]

_SAMPLE = 4096


class RecurrentBinarizer(nn.Module):
    """Signs, and signs of what the signs before left over, with a slope lent to each; begins at a closed form.

    Parameters
    ----------
    start : RecurrentBinary
        Fitted, with linear networks: where training begins.
    sample : ndarray of shape (n, d), float32
        Vectors, some hundreds or more, from which the scale of what enters the signs is taken.
    hidden : int, default 512
        Width of the correction beside each linear map, ``Linear -> BatchNorm -> ReLU -> Linear``, whose last weights
        begin at zero. 0 trains the linear maps alone. More than some times the dimension fits noise on few rows.

    Raises
    ------
    InputError
        A negative width.

    Notes
    -----
    As `RecurrentBinary`: ``b_i = b_(i-1) + 2^-i sign(W_i(f - R_(i-1)(b_(i-1)) / |.|))`` for rows f of unit length. Each
    W is scaled so that what enters a sign has deviation 1: two thirds lie within the gate of its slope, -1 to 1.

    References
    ----------
    Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.quantization.binary import RecurrentBinary
    >>> X = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float32)
    >>> module = RecurrentBinarizer(RecurrentBinary(dim=8, unit=True).fit(X), X, hidden=0)
    >>> sorted(set(module(torch.from_numpy(X)).abs().flatten().tolist()))
    [0.5, 1.5]
    """

    def __init__(self, start: RecurrentBinary, sample: FloatArray, *, hidden: int = 512) -> None:
        super().__init__()
        check_count(hidden, name="hidden", minimum=0)
        self.encoders = nn.ModuleList(_Corrected(network.layers[0], hidden) for network in start.encoders_)
        self.decoders = nn.ModuleList(_Corrected(network.layers[0], hidden) for network in start.decoders_)
        rest = unit = nn.functional.normalize(torch.from_numpy(sample[:_SAMPLE]), dim=-1)
        total = torch.zeros(())
        with torch.no_grad():
            for i, encoder in enumerate(self.encoders):
                linear: Any = encoder.linear
                linear.weight /= linear(rest).std().clamp_min(1e-6)
                total = total + straight_through_sign(linear(rest)) * 2.0**-i
                if i < len(self.decoders):
                    back: Any = self.decoders[i].linear
                    rest = unit - nn.functional.normalize(back(total), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Return codes as numbers.

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Vectors; only their directions count.

        Returns
        -------
        Tensor of shape (n, dim)
            Odd multiples of ``2^(1 - bits)``, not of unit length.
        """
        rest = unit = nn.functional.normalize(x, dim=-1)
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for i, encoder in enumerate(self.encoders):
            total = total + straight_through_sign(encoder(rest)) * 2.0**-i
            if i < len(self.decoders):
                rest = unit - nn.functional.normalize(self.decoders[i](total), dim=-1)
        return total


class _Corrected(nn.Module):
    """A linear map and a small network beside it that begins at zero."""

    def __init__(self, layer: Layer, hidden: int) -> None:
        super().__init__()
        leaving, entering = layer.arrays["weight"].shape
        self.linear = nn.Linear(entering, leaving)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(layer.arrays["weight"]))
            self.linear.bias.copy_(torch.from_numpy(layer.arrays.get("bias", np.zeros(leaving, np.float32))))
        self.beside: nn.Sequential | None = None
        if hidden:
            last = nn.Linear(hidden, leaving)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.beside = nn.Sequential(nn.Linear(entering, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x)
        return out if self.beside is None else out + self.beside(x)

    def network_layers(self) -> list[Layer]:
        """Return the layers that NumPy computes; the normalisation has the statistics of training."""
        weight, bias = (value.detach().cpu().numpy() for value in (self.linear.weight, self.linear.bias))
        if self.beside is None:
            return [Layer("linear", {"weight": weight, "bias": bias})]
        inner = []
        for kind, module in zip(("linear", "batch_norm", "relu", "linear"), self.beside, strict=True):
            names = {"running_mean": "mean", "running_var": "variance", "weight": "weight", "bias": "bias"}
            found = {new: getattr(module, old, None) for old, new in names.items()}
            arrays = {name: array.detach().cpu().numpy() for name, array in found.items() if array is not None}
            inner.append(Layer(kind, arrays, {"epsilon": module.eps} if kind == "batch_norm" else {}))
        # A residual layer has no bias of its own: it joins that of the last layer inside.
        last = dict(inner[-1].arrays)
        inner[-1] = Layer("linear", last | {"bias": last["bias"] + bias})
        return [Layer("residual", {"projection": weight}, inner=inner)]
