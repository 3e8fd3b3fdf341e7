from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.nn import DifferentiablePQ, measure_usage  # noqa: E402
from orthant.quantization import ProductQuantizer  # noqa: E402
from quantization.vectors import generated, real  # noqa: E402


def draw(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts_of(z, m: int) -> np.ndarray:
    return z.detach().double().numpy().reshape(len(z), m, -1)


@pytest.mark.parametrize("form", ["vq", "sx"])
def test_soft_gradients_in_closed_form(form):
    module = DifferentiablePQ(6, m=2, codebook_size=5, form=form, temperature=0.7).double()
    z = draw(9, 6).double().requires_grad_()
    out = module(z)
    incoming = draw(9, 6, seed=1).double()
    tensors = [z, module.keys] + ([module.values] if form == "sx" else [])
    gradients = torch.autograd.grad(out.values, tensors, incoming)
    K = module.keys.detach().numpy()
    V = K if form == "vq" else module.values.detach().numpy()
    y, g = parts_of(z, 2), parts_of(incoming, 2)
    gap = y[:, :, None] - K
    logits = -(gap**2).sum(3) / 0.7
    codes = logits.argmax(2)
    np.testing.assert_array_equal(out.indices.numpy(), codes)
    np.testing.assert_array_equal(out.values.detach().numpy(), V[np.arange(2), codes].reshape(9, 6))
    s = np.exp(logits - logits.max(2, keepdims=True))
    s /= s.sum(2, keepdims=True)
    worth = np.einsum("nmd,mkd->nmk", g, V)
    slope = s * (worth - (s * worth).sum(2, keepdims=True)) / 0.7
    np.testing.assert_allclose(
        gradients[0].numpy(), (slope[..., None] * -2 * gap).sum(2).reshape(9, 6), rtol=1e-8, atol=1e-12
    )
    to_keys = (slope[..., None] * 2 * gap).sum(0)
    to_values = np.einsum("nmk,nmd->mkd", np.eye(5)[codes], g)
    if form == "vq":
        np.testing.assert_allclose(gradients[1].numpy(), to_keys + to_values, rtol=1e-7, atol=1e-12)
        chosen = K[np.arange(2), codes]
        assert out.loss.item() == pytest.approx(1.25 * ((y - chosen) ** 2).mean(), rel=1e-10)
    else:
        np.testing.assert_allclose(gradients[1].numpy(), to_keys, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(gradients[2].numpy(), to_values, rtol=1e-10, atol=1e-12)
        assert out.loss.item() == 0


def test_copied_gradients():
    module = DifferentiablePQ(6, m=3, codebook_size=5, gradient="copy")
    z, incoming = draw(9, 6).requires_grad_(), draw(9, 6, seed=1)
    out = module(z)
    assert torch.equal(torch.autograd.grad(out.values, z, incoming, retain_graph=True)[0], incoming)
    assert torch.autograd.grad(out.values, module.keys, incoming, retain_graph=True, allow_unused=True)[0] is None
    (gradient,) = torch.autograd.grad(out.loss, module.keys)
    gap = parts_of(z, 3) - module.keys.detach().double().numpy()[np.arange(3), out.indices.numpy()]
    wanted = np.zeros((3, 5, 2))
    np.add.at(wanted, (np.arange(3), out.indices.numpy()), -2 * gap / gap.size)
    np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(("bits", "rotation"), [(8, None), (4, None), (4, "opq")])
def test_codes_are_those_of_the_quantizer_both_ways(bits, rotation, data_root, tmp_path):
    X = real(data_root, 1500)[:, :24].copy()
    quantizer = ProductQuantizer(m=12, bits=bits, rotation=rotation, iterations=2).fit(X)
    module = DifferentiablePQ.from_quantizer(quantizer, temperature=0.05)
    z = torch.from_numpy(X)
    codes = module.encode(z)
    np.testing.assert_allclose(module.decode(codes).detach().numpy(), quantizer.decode(quantizer.encode(X)), atol=1e-7)
    usage = measure_usage(module, z.split(1000))
    module.to_quantizer(usage=usage).save(tmp_path / "saved")
    back = ProductQuantizer.load(tmp_path / "saved")
    np.testing.assert_array_equal(back.encode(X), quantizer.encode(X))
    np.testing.assert_array_equal(back.usage_.counts, usage.counts)
    # And after training, rotation and all.
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (module(z[:500]).values - z[:500]).square().sum().backward()
        optimizer.step()
    trained = module.to_quantizer()
    found = module.encode(z).numpy().astype(np.uint8)
    np.testing.assert_array_equal(trained.encode(X), found if bits == 8 else found[:, :6] | found[:, 6:] << 4)
    assert (trained.encode(X) != quantizer.encode(X)).any()


def test_keys_and_values_of_their_own_survive_the_way_out_and_back():
    module = DifferentiablePQ(8, m=2, codebook_size=20, form="sx", seed=2)
    z = draw(500, 8)
    quantizer = module.to_quantizer()
    np.testing.assert_array_equal(quantizer.encode(z.numpy()), module.encode(z).numpy())
    np.testing.assert_array_equal(quantizer.decode(quantizer.encode(z.numpy())), module(z).values.detach().numpy())
    back = DifferentiablePQ.from_quantizer(quantizer, form="sx")
    assert torch.equal(back(z).values, module(z).values)
    with pytest.raises(InputError, match="form='sx'"):
        DifferentiablePQ.from_quantizer(quantizer)


def test_training_for_a_task_beats_the_codes_that_it_began_with():
    """Scores of queries are what counts here: only some directions matter, and the codes learn which."""
    X = torch.from_numpy(generated(1500, 16) / 3)
    Q = draw(200, 16, seed=3) * torch.tensor([3.0, 0.2, 0.2, 0.2] * 4)
    quantizer = ProductQuantizer(m=4, bits=4).fit(X.numpy())
    module = DifferentiablePQ.from_quantizer(quantizer, temperature=0.3)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    target = Q @ X.T

    def error() -> float:
        with torch.no_grad():
            return (Q @ module(X).values.T - target).square().mean().item()

    before = error()
    for _ in range(60):
        optimizer.zero_grad()
        (Q @ module(X).values.T - target).square().mean().backward()
        optimizer.step()
    assert error() < 0.85 * before


def test_refusals():
    for settings, words in (
        ({"m": 4}, "divisor"),
        ({"codebook_size": 1}, "codebook_size"),
        ({"form": "dpq"}, "form"),
        ({"gradient": "hard"}, "gradient"),
        ({"form": "sx", "gradient": "copy"}, "gradient='soft'"),
        ({"temperature": 0.0}, "above 0"),
        ({"commitment": -1.0}, "commitment"),
    ):
        with pytest.raises(InputError, match=words):
            DifferentiablePQ(**{"dim": 6, "m": 3, "codebook_size": 8, **settings})
    module = DifferentiablePQ(6, m=3, codebook_size=8)
    module.temperature = -1.0
    with pytest.raises(InputError, match="above 0"):
        module(draw(2, 6))
    with pytest.raises(NonFiniteError):
        module(torch.full((2, 6), float("nan")))
    for codes in (torch.full((1, 3), 8), torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 3)):
        with pytest.raises(InputError):
            module.decode(codes)
    with pytest.raises(InputError):
        module(draw(2, 5))
