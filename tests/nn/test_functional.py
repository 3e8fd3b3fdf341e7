from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DtypeError, InputError  # noqa: E402
from orthant.nn.functional import (  # noqa: E402
    gumbel_softmax,
    straight_through_one_hot,
    straight_through_round,
    straight_through_sign,
)


def leaf(*shape: int, seed: int = 0):
    return (
        torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1.5
    ).requires_grad_()


def test_sign_has_no_zero_and_a_gate():
    x = torch.tensor([-1.5, -1.0, -0.2, -0.0, 0.0, 1.0, 1.0001], requires_grad=True)
    out = straight_through_sign(x)
    assert out.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    incoming = torch.arange(1.0, 8.0)
    out.backward(incoming)
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 0]
    assert incoming.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_round_passes_the_gradient():
    x = leaf(40)
    out = straight_through_round(x)
    weights = leaf(40, seed=1).detach()
    (out * weights).sum().backward()
    np.testing.assert_array_equal(out.detach().numpy(), np.round(x.detach().numpy()))
    np.testing.assert_array_equal(x.grad.numpy(), weights.numpy())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_one_hot_has_the_gradient_of_the_softmax(temperature):
    x, incoming = leaf(6, 5), leaf(6, 5, seed=1).detach()
    out = straight_through_one_hot(x, temperature=temperature)
    out.backward(incoming)
    logits = x.detach().numpy() / temperature
    s = np.exp(logits - logits.max(1, keepdims=True))
    s /= s.sum(1, keepdims=True)
    g = incoming.numpy()
    np.testing.assert_array_equal(out.detach().numpy(), np.eye(5)[logits.argmax(1)])
    np.testing.assert_allclose(x.grad.numpy(), s * (g - (s * g).sum(1, keepdims=True)) / temperature, rtol=1e-10)
    chosen = torch.tensor([4, 3, 2, 1, 0, 0])
    assert straight_through_one_hot(x, indices=chosen).argmax(1).tolist() == chosen.tolist()


def test_gumbel_draws_have_the_probabilities_and_can_be_repeated():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0]).double()
    draws = gumbel_softmax(
        logits.expand(20_000, 4), temperature=0.7, hard=True, generator=torch.Generator().manual_seed(0)
    )
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(0).numpy(), torch.softmax(logits, 0).numpy(), atol=0.01)
    one, two, other = (gumbel_softmax(logits, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.sum().item() == pytest.approx(1)


def test_gumbel_gradient_is_that_of_the_softmax_of_the_same_noise():
    x, incoming = leaf(3, 4), leaf(3, 4, seed=1).detach()
    for hard in (False, True):
        x.grad = None
        s = gumbel_softmax(x, temperature=0.5, generator=torch.Generator().manual_seed(3)).detach().numpy()
        gumbel_softmax(x, temperature=0.5, hard=hard, generator=torch.Generator().manual_seed(3)).backward(incoming)
        g = incoming.numpy()
        np.testing.assert_allclose(x.grad.numpy(), s * (g - (s * g).sum(1, keepdims=True)) / 0.5, rtol=1e-9)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "warm", True])
def test_temperatures_are_checked(temperature):
    for call in (straight_through_one_hot, gumbel_softmax):
        with pytest.raises(InputError, match="above 0"):
            call(torch.zeros(3), temperature=temperature)


def test_integers_have_no_gradient():
    for call in (straight_through_sign, straight_through_round):
        with pytest.raises(DtypeError):
            call(torch.arange(3))
