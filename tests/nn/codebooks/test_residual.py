from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.nn import ResidualVQ, SimVQ, VectorQuantizer, measure_usage  # noqa: E402
from orthant.quantization import ResidualQuantizer  # noqa: E402


def draw(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(level: int):
    return VectorQuantizer(6, 12, seed=level, commitment=0.5)


def test_values_losses_and_gradients_in_closed_form():
    module = ResidualVQ(plain, levels=3)
    z = draw(80, 6).requires_grad_()
    out = module(z)
    left, total, loss, slope = z.detach().numpy().copy(), np.zeros((80, 6), np.float32), 0.0, 0.0
    for level, book in enumerate(module.codebook().detach().numpy()):
        codes = ((left[:, None].astype(np.float64) - book) ** 2).sum(2).argmin(1)
        np.testing.assert_array_equal(out.indices[:, level].numpy(), codes)
        gap = (left - book[codes]).astype(np.float64)
        loss, slope = loss + 1.5 * (gap**2).mean(), slope + 0.5 * 2 * gap / gap.size
        total, left = total + book[codes], left - book[codes]
    np.testing.assert_array_equal(out.values.detach().numpy(), total)
    assert out.loss.item() == pytest.approx(loss, rel=1e-5)
    (gradient,) = torch.autograd.grad(out.loss, z, retain_graph=True)
    np.testing.assert_allclose(gradient.numpy(), slope, rtol=1e-4, atol=1e-8)
    incoming = draw(80, 6, seed=1)
    assert torch.equal(torch.autograd.grad(out.values, z, incoming)[0], incoming)
    assert out.usage.counts.shape == (3, 12) and (out.usage.counts.sum(1) == 80).all()


@pytest.mark.parametrize("make", [plain, lambda level: SimVQ(6, 12, seed=level)], ids=["plain", "sim"])
@pytest.mark.filterwarnings("ignore:.*map has not been trained")
def test_quantizer_gives_the_same_codes_and_values(make):
    module = ResidualVQ(make, levels=4).eval()
    z = draw(3000, 6, seed=5)
    quantizer = module.to_quantizer()
    codes = module.encode(z)
    assert quantizer.code_size == 2
    packed = codes.numpy().astype(np.uint8)
    np.testing.assert_array_equal(quantizer.encode(z.numpy()), packed[:, :2] | packed[:, 2:] << 4)
    np.testing.assert_array_equal(quantizer.decode(quantizer.encode(z.numpy())), module.decode(codes).detach().numpy())
    assert torch.equal(module(z).indices, codes)
    back = ResidualVQ.from_quantizer(quantizer, update="ema")
    assert torch.equal(back.encode(z), codes)
    assert module.to_quantizer(beam=4).beam == 4


def test_fitted_quantizer_comes_in_with_its_codes():
    X = (draw(1500, 4) @ draw(4, 8, seed=1)).numpy()
    quantizer = ResidualQuantizer(levels=3, bits=4).fit(X)
    module = ResidualVQ.from_quantizer(quantizer)
    codes = module.encode(torch.from_numpy(X))
    np.testing.assert_array_equal(module.decode(codes).detach().numpy(), quantizer.decode(quantizer.encode(X)))
    usage = measure_usage(module, [torch.from_numpy(X)])
    np.testing.assert_array_equal(usage.counts, quantizer.usage_.counts)


def test_dropout_leaves_out_the_last_levels_of_some_samples():
    module = ResidualVQ(plain, levels=4, dropout=0.6, seed=3)
    z = draw(400, 5, 6)
    out = module(z)
    depth = (out.indices >= 0).sum(-1)
    assert (depth == depth[:, :1]).all(), "a sample keeps one depth"
    assert all(((out.indices >= 0)[..., :level].all(-1) == (depth >= level)).all() for level in range(1, 5))
    # A share of 0.6 draws from 1 to 4: three of four of these are below 4.
    assert abs((depth[:, 0] < 4).double().mean().item() - 0.45) < 0.06
    torch.testing.assert_close(module.decode(out.indices), out.values)
    assert out.usage.counts.sum(1).tolist() == [(out.indices[..., level] >= 0).sum().item() for level in range(4)]
    gradient = torch.autograd.grad(out.loss, module.books[3].weight)[0]
    assert gradient.abs().sum() > 0
    assert (module.eval()(z).indices >= 0).all()
    torch.testing.assert_close(
        module.decode(module.encode(z)[..., :2]),
        module.codebook()[0][module.encode(z)[..., 0]] + module.codebook()[1][module.encode(z)[..., 1]],
    )


def test_prefixes_are_better_with_dropout():
    X = draw(3000, 3) @ draw(3, 6, seed=1)
    errors = {}
    for dropout in (0.0, 1.0):
        module = ResidualVQ(
            lambda level: VectorQuantizer(6, 12, seed=level, update="ema", decay=0.9, restart_below=1.0),
            levels=3,
            dropout=dropout,
        )
        weight = torch.nn.Parameter(torch.eye(6))
        optimizer = torch.optim.Adam([weight], 5e-3)
        for step in range(150):
            batch = X[torch.arange(300) + 300 * (step % 9)]
            out = module(batch)
            ((out.values @ weight - batch).square().mean()).backward()
            optimizer.step(), optimizer.zero_grad()
        codes = module.encode(X[2700:])
        errors[dropout] = (module.decode(codes[..., :1]) @ weight - X[2700:]).square().mean().item()
    assert errors[1.0] < errors[0.0]


def test_a_shared_book_learns_from_all_levels_at_once():
    make = lambda level: VectorQuantizer(6, 12, update="ema", decay=0.5)  # noqa: E731
    module = ResidualVQ(make, levels=2, shared=True)
    first = module.books[0].weight.clone()
    z = draw(50, 6)
    out = module(z)
    torch.testing.assert_close(out.values, first[out.indices[:, 0]] + first[out.indices[:, 1]])
    counts = torch.bincount(out.indices.reshape(-1), minlength=12)
    torch.testing.assert_close(module.books[0].average_counts, 0.5 + 0.5 * counts)
    assert len(module.books) == 1 and module.codebook().shape == (2, 12, 6) and module.books[0].steps == 1


def test_refusals():
    for make, levels, words in (
        (plain, 0, "levels"),
        (lambda level: VectorQuantizer(6, 12 + level), 2, "same for all levels"),
        (lambda level: torch.nn.Linear(2, 2), 1, "Linear"),
    ):
        with pytest.raises(InputError, match=words):
            ResidualVQ(make, levels=levels)
    one = plain(0)
    with pytest.raises(InputError, match="shared=True"):
        ResidualVQ(lambda level: one, levels=2)
    with pytest.raises(InputError, match="dropout"):
        ResidualVQ(plain, levels=2, dropout=2)
    module = ResidualVQ(plain, levels=2)
    with pytest.raises(NonFiniteError):
        module(torch.full((2, 6), float("inf")))
    for codes in (
        torch.tensor([[0, 12]]),
        torch.tensor([[0, -2]]),
        torch.zeros(1, 3, dtype=torch.int64),
        torch.tensor(1),
    ):
        with pytest.raises(InputError):
            module.decode(codes)
