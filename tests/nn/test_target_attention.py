from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError

torch = pytest.importorskip("torch")

from orthant.nn.target_attention import TargetAttention  # noqa: E402


def history():
    rng = torch.Generator().manual_seed(0)
    items, target = torch.randn(3, 5, 4, generator=rng), torch.randn(3, 4, generator=rng)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    return items, mask, target


@pytest.mark.parametrize("normalize", ["none", "softmax"])
@pytest.mark.parametrize("hidden", [(7,), (8, 5)])
def test_equal_to_the_formula(normalize, hidden):
    torch.manual_seed(1)
    unit = TargetAttention(4, hidden=hidden, activation="sigmoid", normalize=normalize)
    items, mask, target = history()
    layers = [m for m in unit.score if isinstance(m, torch.nn.Linear)]
    expected = np.zeros((3, 5))
    for b in range(3):
        real = int(mask[b].sum())
        for t in range(real):
            e, c = items[b, t].double().numpy(), target[b].double().numpy()
            x = np.concatenate([e, c, e - c, e * c])
            for number, layer in enumerate(layers):
                x = layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()
                x = 1 / (1 + np.exp(-x)) if number < len(layers) - 1 else x
            expected[b, t] = x[0]
        if normalize == "softmax" and real:
            grown = np.exp(expected[b, :real] / 2)
            expected[b, :real] = grown / grown.sum()
    found = unit.weights(items, mask, target=target)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
    pooled = np.einsum("bt,btd->bd", expected, items.double().numpy())
    np.testing.assert_allclose(unit(items, mask, target=target).detach().numpy(), pooled, atol=1e-6)


@pytest.mark.parametrize("normalize", ["none", "softmax"])
def test_padding_has_no_weight_and_an_empty_history_is_zero(normalize):
    torch.manual_seed(2)
    unit = TargetAttention(4, normalize=normalize)
    items, mask, target = history()
    weights = unit.weights(items, mask, target=target)
    assert (weights[~mask] == 0).all() and (weights[mask] != 0).all()
    expected = unit(items, mask, target=target)
    assert (expected[2] == 0).all()
    dirty = items.masked_fill(~mask[..., None], float("nan"))
    torch.testing.assert_close(unit(dirty, mask, target=target), expected)
    unit(dirty, mask, target=target).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in unit.parameters())


def test_only_the_plain_sum_tells_the_strength_of_an_interest():
    torch.manual_seed(3)
    item, target = torch.randn(1, 1, 4), torch.randn(1, 4)
    once, thrice = (item, torch.ones(1, 1)), (item.expand(1, 3, 4), torch.ones(1, 3))
    plain, softmax = TargetAttention(4), TargetAttention(4, normalize="softmax")
    torch.testing.assert_close(plain(*thrice, target=target), 3 * plain(*once, target=target))
    torch.testing.assert_close(softmax(*thrice, target=target), softmax(*once, target=target))


def test_the_candidate_decides():
    torch.manual_seed(4)
    unit = TargetAttention(4)
    items, mask, target = history()
    shuffled = unit.weights(items, mask, target=target[[1, 0, 2]])
    assert not torch.allclose(shuffled[:2], unit.weights(items, mask, target=target)[:2], atol=1e-3)


def test_what_does_not_fit_is_refused():
    unit = TargetAttention(4)
    items, mask, target = history()
    with pytest.raises(DimensionError, match=r"candidates of shape \(2, 4\)"):
        unit(items, mask, target=target[:2])
    with pytest.raises(DimensionError, match=r"\(B, T, 4\)"):
        unit(items[..., :3], mask, target=target)
    with pytest.raises(DimensionError, match="mask"):
        unit(items, mask[:, :3], target=target)
    with pytest.raises(InputError, match="normalize"):
        TargetAttention(4, normalize="l1")
    with pytest.raises(InputError, match="hidden=0"):
        TargetAttention(4, hidden=(0,))
    with pytest.raises(InputError, match="activation"):
        TargetAttention(4, activation="dice")
