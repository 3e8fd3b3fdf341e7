from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.nn import SimVQ, VectorQuantizer, measure_usage  # noqa: E402
from orthant.quantization import ResidualQuantizer  # noqa: E402


def draw(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def nearest_in_float64(z, book) -> np.ndarray:
    z, book = z.detach().double().numpy(), book.detach().double().numpy()
    return ((z[:, None] - book) ** 2).sum(2).argmin(1)


MAKERS = {
    "gradient": lambda: VectorQuantizer(6, 20),
    "ema": lambda: VectorQuantizer(6, 20, update="ema"),
    "sim": lambda: SimVQ(6, 20),
    "sim-trained": lambda: SimVQ(6, 20, train_codebook=True, bias=False, rate=5.0),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_values_losses_and_gradients_in_closed_form(kind):
    module = MAKERS[kind]().eval()
    module.commitment = 0.4
    z = draw(3, 50, 6).requires_grad_()
    out = module(z)
    book = module.codebook().detach()
    rows = z.detach().reshape(-1, 6)
    codes = nearest_in_float64(rows, book)
    np.testing.assert_array_equal(out.indices.numpy().ravel(), codes)
    assert torch.equal(out.values.detach().reshape(-1, 6), book[codes]) and out.indices.shape == (3, 50)
    gap = (rows - book[codes]).double().numpy()
    wanted = (gap**2).mean() * (0.4 + (kind != "ema"))
    assert out.loss.item() == pytest.approx(wanted, rel=1e-5)
    # What follows sees codewords and sends its gradient to z as it is.
    incoming = draw(3, 50, 6, seed=1)
    (gradient,) = torch.autograd.grad(out.values, z, incoming, retain_graph=True)
    assert torch.equal(gradient, incoming)
    (gradient,) = torch.autograd.grad(out.loss, z, retain_graph=True)
    np.testing.assert_allclose(gradient.reshape(-1, 6).numpy(), 0.4 * 2 * gap / gap.size, rtol=1e-4, atol=1e-9)
    if kind == "gradient":
        (gradient,) = torch.autograd.grad(out.loss, module.weight)
        wanted = np.zeros((20, 6))
        np.add.at(wanted, codes, -2 * gap / gap.size)
        np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-4, atol=1e-8)
    if kind == "sim":
        (gradient,) = torch.autograd.grad(out.loss, module.map.weight)
        wanted = (-2 * gap / gap.size).T @ module.base[codes].double().numpy()
        np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-4, atol=1e-7)
    assert out.usage.counts.tolist() == [np.bincount(codes, minlength=20).tolist()]


def test_running_means_follow_the_equations():
    module = VectorQuantizer(4, 8, update="ema", decay=0.9, epsilon=0.01)
    N, S = np.ones(8), module.weight.double().numpy().copy()
    for step in range(4):
        z = draw(60, 4, seed=step)
        codes = nearest_in_float64(z, module.weight)
        module(z)
        sums = np.zeros((8, 4))
        np.add.at(sums, codes, z.double().numpy())
        N, S = 0.9 * N + 0.1 * np.bincount(codes, minlength=8), 0.9 * S + 0.1 * sums
        smooth = (N + 0.01) * N.sum() / (N.sum() + 8 * 0.01)
        np.testing.assert_allclose(module.weight.numpy(), S / smooth[:, None], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(module.average_counts.numpy(), N, rtol=1e-5)
    before = module.weight.clone()
    module.eval()(draw(60, 4))
    assert torch.equal(module.weight, before) and not list(module.parameters())


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_dead_codes_restart_on_vectors_of_the_batch(update):
    module = VectorQuantizer(4, 32, update=update, restart_below=0.5, decay=0.5)
    z = draw(64, 4) + 20
    for _ in range(3):
        module(z)
    book = module.codebook().detach()
    # All but the one that had every vector, which only an optimizer moves.
    assert (book > 10).all(dim=1).sum() >= 31
    if update == "gradient":
        assert len({tuple(row) for row in book.tolist()} & {tuple(row) for row in z.tolist()}) >= 31
    # The draw depends on seed and step alone: a run that was saved goes on as it would have.
    one = VectorQuantizer(4, 32, update=update, restart_below=0.5, decay=0.5)
    two = VectorQuantizer(4, 32, update=update, restart_below=0.5, decay=0.5, seed=9)
    one(z)
    two.load_state_dict(one.state_dict())
    two.seed = one.seed
    for _ in range(2):
        one(z), two(z)
    assert torch.equal(one.codebook(), two.codebook())


@pytest.mark.parametrize("kind", ["gradient", "sim"])
def test_one_step_moves_the_chosen_codes_or_all(kind):
    module = VectorQuantizer(16, 1024) if kind == "gradient" else SimVQ(16, 1024)
    before = module.codebook().detach().clone()
    z = before[torch.arange(8) * 100] * 1.001
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    module(z).loss.backward()
    optimizer.step()
    moved = (module.codebook() != before).any(dim=1).sum().item()
    assert moved == (8 if kind == "gradient" else 1024)


def test_rate_multiplies_the_steps_of_adam():
    moves = {}
    for rate in (1.0, 10.0):
        module = SimVQ(8, 32, rate=rate)
        weight = module.map.weight.detach() * rate
        optimizer = torch.optim.Adam(module.parameters(), 1e-3)
        module(draw(200, 8)).loss.backward()
        optimizer.step()
        moves[rate] = (module.map.weight.detach() * rate - weight).abs()
    assert torch.equal(SimVQ(8, 32, rate=10.0).codebook().argmax(), SimVQ(8, 32).codebook().argmax())
    np.testing.assert_allclose(moves[10.0].numpy(), 10 * moves[1.0].numpy(), rtol=1e-2)


def usage_after(module, steps: int = 400) -> float:
    """Train an autoencoder with a codebook in the middle, and return the share of codes that other points use."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X = torch.from_numpy((rng.standard_normal((4000, 6)) @ rng.standard_normal((6, 16)) + 2).astype(np.float32))
    encoder, decoder = torch.nn.Linear(16, 8), torch.nn.Linear(8, 16)
    parameters = [*encoder.parameters(), *decoder.parameters(), *module.parameters()]
    optimizer = torch.optim.Adam(parameters, 3e-3)
    for step in range(steps):
        batch = X[(torch.arange(256) * 13 + step * 256) % 3000]
        out = module(encoder(batch))
        loss = (decoder(out.values) - batch).square().mean() + out.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(measure_usage(module, [encoder(X[3000:]).repeat(2, 1)], floor=0.0).used_share[0])


def test_w76_countermeasures_keep_codes_alive_that_plain_training_loses():
    plain = usage_after(VectorQuantizer(8, 96))
    assert plain < 0.35
    assert usage_after(VectorQuantizer(8, 96, update="ema", restart_below=0.3)) > 0.85
    assert usage_after(SimVQ(8, 96, rate=10.0)) > 0.85


def test_w76_usage_is_measured_and_warned_of():
    module = VectorQuantizer(3, 16)
    with pytest.warns(UserWarning, match="VectorQuantizer: 1 of 1 codebooks"):
        usage = measure_usage(module, [module.weight.detach()[:4].repeat(100, 1)] * 2)
    assert usage.counts.sum() == 800 and usage.dead_share[0] == 0.75 and usage.perplexity[0] == pytest.approx(4)
    out = module(module.weight.detach()[:4])
    assert out.usage.perplexity.item() == pytest.approx(4) and out.usage.dead_share.item() == 0.75
    assert module.training and str(usage).startswith("1 x 16 codes")
    with pytest.raises(InputError, match="no vectors"):
        measure_usage(module, [])


@pytest.mark.parametrize("kind", MAKERS)
def test_quantizer_gives_the_same_codes_and_values(kind, tmp_path):
    module = MAKERS[kind]()
    for step in range(3):
        module(draw(50, 6, seed=step))
    optimizer = torch.optim.SGD([*module.parameters(), torch.nn.Parameter(torch.zeros(1))], 0.1)
    module(draw(50, 6).requires_grad_()).loss.backward()
    optimizer.step()
    z = draw(5000, 6, seed=7)
    quantizer = module.to_quantizer()
    quantizer.save(tmp_path / "saved")
    quantizer = ResidualQuantizer.load(tmp_path / "saved")
    codes = module.encode(z)
    np.testing.assert_array_equal(quantizer.encode(z.numpy())[:, 0], codes.numpy())
    np.testing.assert_array_equal(quantizer.decode(quantizer.encode(z.numpy())), module.decode(codes).detach().numpy())
    np.testing.assert_array_equal(module.eval()(z).values.detach().numpy(), module.decode(codes).detach().numpy())
    for cls in (VectorQuantizer, SimVQ):
        np.testing.assert_array_equal(cls.from_quantizer(quantizer).encode(z).numpy(), codes.numpy())


def test_decoding_uses_the_mapped_codewords_and_baking_flags_an_untrained_map():
    module = SimVQ(6, 20)
    with pytest.warns(UserWarning, match="has not been trained"):
        book = module.bake()
    np.testing.assert_allclose(book, (module.base @ module.map.weight.T + module.map.bias).detach().numpy(), atol=1e-6)
    codes = torch.arange(20)
    np.testing.assert_array_equal(module.decode(codes).detach().numpy(), book)
    assert not np.allclose(module.base.numpy(), book)
    assert [name for name, _ in module.named_parameters()] == ["map.weight", "map.bias"]


def test_ties_and_near_ties_fall_as_in_numpy():
    from orthant.kernels.clustering.nearest import nearest
    from orthant.nn.codebooks import nearest_codes

    rng = np.random.default_rng(0)
    X, C = np.round(rng.standard_normal((400, 5)) * 2).astype(np.float32), np.round(rng.standard_normal((60, 5)))
    far = X.copy()
    far[:, 0] = 1e6
    for rows, book in ((X, C), (far, C * (np.arange(5) > 0)), (X * 1e30, C * 1e30), (X * 1e-30, C * 1e-30)):
        book = book.astype(np.float32)
        found = nearest_codes(torch.from_numpy(rows), torch.from_numpy(book)).numpy()
        np.testing.assert_array_equal(found, nearest(rows, book))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    module = VectorQuantizer(6, 20)
    z = draw(10, 6).to(dtype).requires_grad_()
    out = module(z)
    out.values.sum().backward()
    assert out.values.dtype == dtype and z.grad.dtype == dtype and out.loss.dtype != torch.float16
    assert torch.equal(out.indices, module.encode(z))
    assert module(z[:0]).values.shape == (0, 6)


def test_refusals():
    module = VectorQuantizer(4, 8)
    bad = draw(5, 4)
    bad[2, 1] = float("nan")
    with pytest.raises(NonFiniteError):
        module(bad)
    assert module.steps == 0
    for wrong in (draw(5, 3), torch.zeros(5, 4, dtype=torch.int64)):
        with pytest.raises(InputError):
            module(wrong)
    for codes in (torch.tensor([8]), torch.tensor([-1]), torch.tensor([0.5])):
        with pytest.raises(InputError, match="codes"):
            module.decode(codes)
    for settings in (
        {"codebook_size": 1},
        {"dim": 0},
        {"update": "adam"},
        {"decay": 1.5},
        {"commitment": -1},
        {"seed": -1},
    ):
        with pytest.raises(InputError):
            VectorQuantizer(**{"dim": 4, "codebook_size": 8, **settings})
    with pytest.raises(InputError, match="rate"):
        SimVQ(4, 8, rate=0)
    with pytest.raises(InputError, match="shape"):
        module.set_codebook(torch.zeros(7, 4))
    two = ResidualQuantizer.from_codebooks(np.zeros((2, 4, 3)))
    for cls in (VectorQuantizer, SimVQ):
        with pytest.raises(InputError, match="2 levels"):
            cls.from_quantizer(two)


_PROCESS = """
import sys, torch, numpy
from torch import distributed
from orthant.nn import VectorQuantizer
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method="file://" + folder + "/meet", rank=rank, world_size=2)
module = VectorQuantizer(4, 16, update="ema", decay=0.7, restart_below=float(sys.argv[3]))
for step in range(3):
    z = torch.randn(80, 4, generator=torch.Generator().manual_seed(step))
    module(z[rank * 40 : rank * 40 + 40])
numpy.save(f"{folder}/{rank}.npy", module.weight.numpy())
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_keep_one_codebook(tmp_path):
    path = os.pathsep.join(sys.path)
    for restart_below in (0.0, 3.0):
        folder = tmp_path / str(restart_below)
        folder.mkdir()
        started = [
            subprocess.Popen(
                [sys.executable, "-c", _PROCESS, str(rank), str(folder), str(restart_below)],
                env={**os.environ, "PYTHONPATH": path},
            )
            for rank in range(2)
        ]
        assert [process.wait(120) for process in started] == [0, 0]
        one, two = (torch.from_numpy(np.load(folder / f"{rank}.npy")) for rank in range(2))
        assert torch.equal(one, two)
        if not restart_below:
            module = VectorQuantizer(4, 16, update="ema", decay=0.7)
            for step in range(3):
                module(draw(80, 4, seed=step))
            torch.testing.assert_close(module.weight, one)
