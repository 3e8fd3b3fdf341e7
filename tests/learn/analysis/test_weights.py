"""The report on two models against NumPy, and against what was done to them."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.learn.analysis import weight_difference  # noqa: E402


def _states():
    generator = torch.Generator().manual_seed(0)
    shapes = {"layer.0.weight": (12, 7), "layer.0.bias": (12,), "layer.1.weight": (7, 12), "head.weight": (3, 7)}
    before = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    after = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in before.items()}
    after["layer.1.weight"] = before["layer.1.weight"].clone()
    after["layer.0.bias"][:6] = before["layer.0.bias"][:6]
    return before, after


def test_rows_equal_numpy():
    before, after = _states()
    report = weight_difference(before, after)
    assert [row.name for row in report.tensors] == list(before)
    for row in report.tensors:
        a, b = (state[row.name].double().numpy().ravel() for state in (before, after))
        d = b - a
        assert row.norm == pytest.approx(np.linalg.norm(d), rel=1e-6)
        assert row.relative == pytest.approx(np.linalg.norm(d) / np.linalg.norm(a), rel=1e-6)
        assert row.mean_absolute == pytest.approx(np.abs(d).mean(), rel=1e-6)
        assert row.largest == pytest.approx(np.abs(d).max(), rel=1e-6)
        assert row.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)
        assert row.changed == np.mean(a != b)
    frozen = report.tensors[2]
    assert (frozen.norm, frozen.relative, frozen.changed, frozen.cosine, frozen.rank) == (0.0, 0.0, 0.0, 1.0, 0)
    assert report.tensors[1].changed == 0.5


def test_layers_sum_up_their_tensors():
    before, after = _states()
    layers = weight_difference(before, after).layers()
    assert [row.name for row in layers] == ["layer.0", "layer.1", "head"]
    a, b = (torch.cat([s["layer.0.weight"].ravel(), s["layer.0.bias"]]).double().numpy() for s in (before, after))
    assert layers[0].norm == pytest.approx(np.linalg.norm(b - a), rel=1e-6)
    assert layers[0].cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-6)
    assert layers[0].mean_absolute == pytest.approx(np.abs(b - a).mean(), rel=1e-6)
    assert layers[0].changed == np.mean(a != b) and layers[0].entries == a.size
    assert layers[1].changed == 0.0


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (30, 4, 10)])
def test_rank_at_energy_equals_the_spectrum(shape):
    generator = torch.Generator().manual_seed(1)
    difference = torch.randn(shape, generator=generator).double() * torch.linspace(0.01, 1.0, shape[-1])
    values = np.linalg.svd(difference.numpy().reshape(shape[0], -1), compute_uv=False) ** 2
    before = {"w": torch.zeros(shape, dtype=torch.float64)}
    for energy in (0.5, 0.9, 0.99, 1.0):
        row = weight_difference(before, {"w": difference}, energy=energy).tensors[0]
        wanted = int(np.searchsorted(np.cumsum(values) / values.sum(), energy - 1e-12)) + 1
        assert row.rank_at_energy == wanted
    assert weight_difference(before, {"w": difference}, energy=None).tensors[0].rank_at_energy is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merged_adapter_has_its_rank(dtype):
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(96, 64, generator=generator).to(dtype)
    low, high = torch.randn(96, 4, generator=generator), torch.randn(4, 64, generator=generator)
    tuned = (base.float() + 0.5 * low @ high).to(dtype)
    row = weight_difference({"w": base}, {"w": tuned}).tensors[0]
    # Rounding gives the stored difference full rank; only what stands out of the rounding counts.
    assert np.linalg.matrix_rank((tuned.double() - base.double()).numpy()) > 4
    assert row.rank == 4


def test_folder_and_module_are_compared(tmp_path):
    from safetensors.torch import save_file

    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    save_file({"weight": model[0].weight.detach() * 2, "bias": model[0].bias.detach()}, tmp_path / "model.safetensors")
    rows = weight_difference(model, tmp_path).tensors
    assert rows[0].relative == pytest.approx(1.0) and rows[1].changed == 0.0
    turned = {row.name: row.relative for row in weight_difference(tmp_path, model).tensors}
    assert turned == pytest.approx({"0.weight": 0.5, "0.bias": 0.0})


def test_growth_out_of_zero_is_infinite_and_still_json(tmp_path):
    report = weight_difference({"w": torch.zeros(3)}, {"w": torch.ones(3)})
    assert math.isinf(report.tensors[0].relative) and report.tensors[0].cosine == 0.0
    report.to_json(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["tensors"][0]["relative"] is None and found["layers"][0]["changed"] == 1.0
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_refused():
    before, after = _states()
    with pytest.raises(InputError, match="2 mismatches"):
        weight_difference({**before, "x": torch.ones(1)}, {**after, "y": torch.ones(1)})
    with pytest.raises(InputError, match=r"energy=1\.5"):
        weight_difference(before, after, energy=1.5)
    with pytest.raises(InputError, match="without floating"):
        weight_difference({"i": torch.arange(3)}, {"i": torch.arange(3)})
    with pytest.raises(NonFiniteError, match=r"head\.weight"):
        weight_difference(before, {**after, "head.weight": torch.full((3, 7), float("inf"))})
    with pytest.raises(InputError, match="merge_and_unload"):
        weight_difference(before, {**after, "q.lora_A.default.weight": torch.ones(1)})
