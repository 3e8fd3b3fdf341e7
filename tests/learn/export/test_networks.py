"""Torch modules and their NumPy networks compute the same, for random stacks; what is not known is named."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings, strategies  # noqa: E402
from torch import nn  # noqa: E402

from orthant.errors import InputError  # noqa: E402
from orthant.learn.export.networks import export_network  # noqa: E402
from orthant.nn.residual import Residual  # noqa: E402
from orthant.transforms.layers import Layer  # noqa: E402

ACTIVATIONS = [
    nn.ReLU, nn.GELU, lambda: nn.GELU(approximate="tanh"), nn.SiLU, nn.Tanh, nn.Sigmoid, nn.PReLU, nn.ELU,
    lambda: nn.ELU(alpha=0.3), nn.LeakyReLU, nn.Identity, nn.Dropout,
]  # fmt: skip


def trained_batch_norm(width):
    norm = nn.BatchNorm1d(width)
    with torch.no_grad():
        for tensor in (norm.running_mean, norm.weight, norm.bias):
            tensor.normal_()
        norm.running_var.uniform_(0.3, 2)
    return norm


@strategies.composite
def stacks(draw, depth=2):
    """A random module and its width: layers of all kinds, nested."""
    torch.manual_seed(draw(strategies.integers(0, 10_000)))
    first = width = draw(strategies.integers(1, 12))
    parts = []
    for _ in range(draw(strategies.integers(0, 5))):
        choice = draw(strategies.integers(0, 6))
        if choice == 0:
            out = draw(strategies.integers(1, 12))
            parts.append(nn.Linear(width, out, bias=draw(strategies.booleans())))
            width = out
        elif choice == 1:
            parts.append(draw(strategies.sampled_from(ACTIVATIONS))())
        elif choice == 2 and width > 1:
            parts.append(nn.LayerNorm(width, eps=0.1, elementwise_affine=draw(strategies.booleans())))
        elif choice == 3:
            parts.append(trained_batch_norm(width))
        elif choice == 4:
            parts.append(Residual(nn.Sequential(nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, width))))
        elif choice == 5:
            parts.append(nn.PReLU(width))
        elif depth:
            inner, into, out = draw(stacks(depth=depth - 1))
            parts += [nn.Linear(width, into), inner]
            width = out
    return nn.Sequential(*parts), first, width


@settings(max_examples=60, deadline=None)
@given(stacks(), strategies.integers(0, 1000))
def test_random_stacks_are_equal(stack, seed):
    module, width, out = stack
    X = np.random.default_rng(seed).standard_normal((7, width)).astype(np.float32)
    wanted = copy.deepcopy(module).double().eval()(torch.from_numpy(X).double()).detach().numpy()
    network = export_network(module)
    found = network.transform(X)
    assert found.shape == (7, out) and network.dim in (out, None)
    np.testing.assert_allclose(found, wanted, atol=1e-6 * max(1, np.abs(wanted).max()), rtol=0)


def test_tables_and_what_follows_them():
    table = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Linear(4, 2))
    network = export_network(table)
    ids = np.array([[1, 8], [0, 3]])
    np.testing.assert_allclose(network.transform(ids), table(torch.from_numpy(ids)).detach().numpy(), atol=1e-6)


def test_training_goes_on_afterwards():
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.BatchNorm1d(3).eval())
    before = {key: value.clone() for key, value in module.state_dict().items()}
    network = export_network(module)
    assert module.training and module[1].training and not module[2].training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    kept = network.transform(np.ones((1, 3)))
    with torch.no_grad():
        module[0].weight.add_(1)
    np.testing.assert_array_equal(network.transform(np.ones((1, 3))), kept)


def test_a_module_may_describe_itself():
    class Doubling(nn.Module):
        factor = 2.0

        def forward(self, x):
            return 2 * x

        def network_layers(self):
            return [Layer("linear", {"weight": np.eye(3) * self.factor})]

    network = export_network(nn.Sequential(nn.Linear(2, 3), Doubling()))
    assert network.dim == 3
    Doubling.factor = 3.0
    with pytest.raises(InputError, match="differs"):
        export_network(nn.Sequential(nn.Linear(2, 3), Doubling()))


def test_what_is_not_known_is_named():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    for module, text in [
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv1d(2, 2, 1))), "Conv1d at '1.0'"),
        (Residual(nn.LSTM(2, 2)), "LSTM at 'inner'"),
        (Scaled(2, 2), "Scaled"),
        (nn.LayerNorm((2, 3)), "normalized_shape"),
        (nn.BatchNorm1d(2, track_running_stats=False), "track_running_stats"),
        (nn.Embedding(3, 2, max_norm=1.0), "max_norm"),
        (nn.Flatten(0), "start_dim"),
        ("a string", "a str"),
    ]:
        with pytest.raises(InputError, match=text):
            export_network(module)
