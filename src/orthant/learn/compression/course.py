"""The course of a compression: factors, training, codes, training, and the matrices that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import parametrize

from orthant.errors import InputError, message
from orthant.learn.compression.parametrisation import LowRankWeight
from orthant.learn.compression.policy import Policy, chosen_layers
from orthant.quantization.lowrank import LowRankVQMatrix
from orthant.validate import check_count

__all__ = ["Compression", "compress", "input_moments"]

Train = Callable[[nn.Module], Any]


@dataclass(frozen=True, eq=False)
class Compression:
    """A network whose chosen weights are codes, and what it takes to keep it.

    Attributes
    ----------
    model : torch.nn.Module
        The network that was given, changed in place.
    layers : tuple of str
        Names of the layers whose weights are codes.
    """

    model: nn.Module
    layers: tuple[str, ...]

    def matrices(self) -> dict[str, LowRankVQMatrix]:
        """Return the coded weights as they are now.

        Returns
        -------
        dict of str to LowRankVQMatrix
            By name of the parameter, such as ``"0.weight"``; a convolution's has one row for each output.
        """
        return {f"{name}.weight": _parts(self.model.get_submodule(name))[0].matrix() for name in self.layers}

    def others(self) -> dict[str, npt.NDArray[Any]]:
        """Return every other parameter and buffer that the network saves.

        Returns
        -------
        dict of str to ndarray of any shape
            By name.
        """
        coded = tuple(f"{name}.parametrizations." for name in self.layers)
        state = self.model.state_dict()
        return {name: value.cpu().numpy() for name, value in state.items() if not name.startswith(coded)}

    @property
    def nbytes(self) -> int:
        """Return the bytes of the coded weights."""
        return sum(matrix.nbytes for matrix in self.matrices().values())

    def restore(self) -> nn.Module:
        """Make plain weights of what is coded, for code that knows nothing of parametrisations.

        Returns
        -------
        torch.nn.Module
            The network, with the values that its codes stand for, rounded as they are stored.
        """
        for name, matrix in self.matrices().items():
            layer = self.model.get_submodule(name.removesuffix(".weight"))
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            plain = layer.get_parameter("weight")
            with torch.no_grad():
                plain.copy_(torch.from_numpy(matrix.decode()).reshape(plain.shape).to(plain.device))
            plain.requires_grad_(True)
        return self.model


def compress(
    model: nn.Module,
    policy: Policy,
    *,
    train: Train | None = None,
    tune: Train | None = None,
    observe: Train | None = None,
    follow: bool = False,
    iterations: int = 15,
    seed: int = 0,
) -> Compression:
    """Replace weights of a network by low-rank codes, with your training before and after.

    For networks that must shrink by 8 to 30 times and can be trained a little: by 4 times, 8-bit integers lose nothing
    and need no training. Without any training use ``observe``.

    Parameters
    ----------
    model : torch.nn.Module
        The trained network; changed in place.
    policy : LowRankVQ or mapping of str to LowRankVQ or None
        Settings for all Linear, Conv2d and Embedding layers, or by patterns of names; the first that fits counts. First
        and last layers are best left alone, or given smaller blocks.
    train : callable, optional
        Called with the network while its weights are factors, to let the task make up for a rank below the block.
    tune : callable, optional
        Called with the network once there are codes: trains codewords, maps, biases, normalisation. Keep weight decay
        off. Where it has batch normalisation, its statistics are those of this training.
    observe : callable, optional
        Called with the network as it is before clustering; should run it on inputs like those it is for. Codes are
        then chosen so that outputs change least.
    follow : bool, default False
        Train W~ beside the codewords, by gradients passed through the codes; call ``assign_again`` of each
        `LowRankWeight` in ``tune`` to let codes change. Costs the memory of the factors.
    iterations : int, default 15
        Passes of k-means for each layer.
    seed : int, default 0
        Of k-means.

    Returns
    -------
    Compression
        With ``matrices`` for serving and ``restore`` for plain weights.

    Raises
    ------
    InputError
        A block that does not divide a weight, more codewords than blocks, a shared or parametrised weight, a pattern
        that fits nothing. The network is as it was.

    Notes
    -----
    Bytes of a layer with n blocks: ``n bits / 8 + 2 (k d + m d)``, bits being 4 up to 16 codewords and 8 above.
    ``observe`` is not part of the paper; see `orthant.quantization.LowRankVQMatrix.compress`.
    Cost: O(n k d) for each pass of k-means, beside your training.

    References
    ----------
    Zhu, Wang, Cheng, Gao: Learning low-rank representations for model compression. arXiv 2211.11397, section 3.

    Examples
    --------
    >>> from orthant.learn.compression import LowRankVQ
    >>> network = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 4))
    >>> small = compress(network, {"0": LowRankVQ(k=16, block=8, rank=4)})
    >>> small.layers, small.nbytes
    (('0',), 320)
    >>> network(torch.zeros(1, 32)).shape
    torch.Size([1, 4])
    """
    check_count(iterations, name="iterations")
    check_count(seed, name="seed", minimum=0)
    chosen = chosen_layers(model, policy)
    made = {name: LowRankWeight(layer.get_parameter("weight"), setting) for name, (layer, setting) in chosen.items()}
    for name, (layer, _) in chosen.items():
        parametrize.register_parametrization(layer, "weight", made[name])
    if train is not None:
        train(model)
    observed = [name for name, (layer, _) in chosen.items() if isinstance(layer, nn.Linear)]
    moments = {} if observe is None else input_moments(model, observed, observe)
    for name, weight in made.items():
        _, narrow = _parts(chosen[name][0])
        weight.cluster(narrow, moments=moments.get(name), iterations=iterations, seed=seed)
        narrow.requires_grad_(follow)
    if tune is not None:
        tune(model)
    return Compression(model, tuple(made))


def _parts(layer: Any) -> tuple[LowRankWeight, nn.Parameter]:
    found = layer.parametrizations.weight
    return found[0], found.original


def input_moments(model: nn.Module, names: list[str], run: Train) -> Mapping[str, npt.NDArray[np.float64]]:
    """Sum ``x x^T`` over the inputs of linear layers while a network runs.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    names : list of str
        Its linear layers to watch.
    run : callable
        Called with the network, without gradients.

    Returns
    -------
    mapping of str to ndarray of shape (in, in), float64
        Sums; padded positions count like others unless ``run`` leaves them out.

    Raises
    ------
    InputError
        A layer that saw no input.
    """
    sums: dict[str, torch.Tensor] = {}
    with _watched(model, names, sums), torch.no_grad():
        run(model)
    unseen = [name for name in names if name not in sums]
    if unseen:
        raise InputError(message(f"layers {unseen[:5]} that saw no input", "a run of all", "run the whole network"))
    return {name: one.double().cpu().numpy() for name, one in sums.items()}


@contextmanager
def _watched(model: nn.Module, names: list[str], sums: dict[str, torch.Tensor]) -> Iterator[None]:
    def hook(name: str) -> Callable[..., None]:
        def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            rows = inputs[0].reshape(-1, inputs[0].shape[-1]).float()
            sums[name] = sums.get(name, torch.zeros((), device=rows.device)) + rows.T @ rows

        return add

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
