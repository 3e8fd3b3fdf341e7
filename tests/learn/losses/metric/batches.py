"""Seeded batches, and the gradient of a loss."""

from __future__ import annotations

import numpy as np
import torch


def batch(rows: int = 24, dim: int = 8, classes: int = 5, seed: int = 0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    embeddings = torch.tensor(rng.standard_normal((rows, dim)) + 0.5, dtype=dtype, requires_grad=True)
    labels = torch.tensor(rng.permutation(np.arange(rows) % classes))
    return embeddings, labels


def value_and_gradients(call, *leaves):
    loss = call()
    loss = getattr(loss, "loss", loss)
    return loss.item(), torch.autograd.grad(loss, leaves)


def assert_same(mine, other, *leaves, tolerance=1e-9):
    """Equal values and equal gradients with respect to every leaf."""
    value, gradients = value_and_gradients(mine, *leaves)
    wanted, expected = value_and_gradients(other, *leaves)
    assert abs(value - wanted) <= tolerance * max(1.0, abs(wanted)), (value, wanted)
    assert value != 0
    for found, true in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, true, rtol=tolerance, atol=tolerance)
        assert found.abs().max() > 0
