"""Masks remove exactly what they should; the report counts it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError, NonFiniteError, NotFoundError  # noqa: E402
from orthant.learn.pruning import (  # noqa: E402
    apply_masks,
    magnitude_scores,
    prune_folder,
    sparsity_report,
    structured_masks,
    unstructured_masks,
)


def _scores(kind="normal"):
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (13, 11), "b": (40,), "c": (3, 5, 7)}
    scores = {
        name: torch.randn(shape, generator=generator) * (3.0 if name == "b" else 1.0) for name, shape in shapes.items()
    }
    if kind == "ties":
        scores = {name: value.round() for name, value in scores.items()}
    if kind == "tiny":
        scores = {name: value * 1e-42 for name, value in scores.items()}
    if kind == "constant":
        scores = {name: torch.zeros_like(value) * -1.0 for name, value in scores.items()}
    return scores


@pytest.mark.parametrize("kind", ["normal", "ties", "tiny", "constant"])
@pytest.mark.parametrize("sparsity", [0.0, 0.003, 0.5, 0.77, 0.999])
def test_global_threshold_equals_a_sort(kind, sparsity):
    scores = _scores(kind)
    masks = unstructured_masks(scores, sparsity=sparsity)
    flat = np.concatenate([value.numpy().ravel() for value in scores.values()])
    wanted = np.ones(flat.size, dtype=bool)
    wanted[np.argsort(flat, kind="stable")[: round(sparsity * flat.size)]] = False
    found = np.concatenate([masks[name].numpy().ravel() for name in scores])
    np.testing.assert_array_equal(found, wanted)
    assert all(masks[name].shape == scores[name].shape for name in scores)


def test_uniform_budget_takes_the_same_share_everywhere():
    scores = _scores()
    masks = unstructured_masks(scores, sparsity=0.4, budget="uniform")
    for name, mask in masks.items():
        assert int((~mask).sum()) == round(0.4 * mask.numel())
        assert float(scores[name][~mask].max()) <= float(scores[name][mask].min())


def test_bounds_hold_and_the_total_is_exact():
    scores = _scores()
    scores["a"] = scores["a"] - 100.0
    total = sum(value.numel() for value in scores.values())
    free = unstructured_masks(scores, sparsity=0.5)
    assert not free["a"].any()
    masks = unstructured_masks(scores, sparsity=0.5, bounds=(0.1, 0.6))
    removed = {name: int((~mask).sum()) for name, mask in masks.items()}
    assert sum(removed.values()) == round(0.5 * total)
    assert removed["a"] == np.ceil(0.6 * 143) and removed["b"] >= 4
    for name, mask in masks.items():
        assert float(scores[name][~mask].max()) <= float(scores[name][mask].min())


def test_whole_rows_and_columns():
    generator = torch.Generator().manual_seed(1)
    scores = {"a": torch.rand(6, 10, generator=generator), "b": torch.rand(4, 3, generator=generator)}
    for unit, axis in (("row", 1), ("column", 0)):
        masks = structured_masks(scores, sparsity=0.4, unit=unit)
        means = np.concatenate([value.double().numpy().mean(axis=axis) for value in scores.values()])
        gone = np.concatenate([~mask.numpy().any(axis=axis) for mask in masks.values()])
        full = np.concatenate([mask.numpy().all(axis=axis) for mask in masks.values()])
        assert np.array_equal(gone, ~full) and gone.sum() == round(0.4 * means.size)
        assert means[gone].max() < means[~gone].min()


def test_masks_are_applied_and_counted():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    masks = unstructured_masks(magnitude_scores(model), sparsity=0.5)
    rows = sparsity_report(model, masks=masks)
    assert rows[-1]["zeros"] == 0 and rows[-1]["violations"] == rows[-1]["masked"] == 48
    assert apply_masks(model, masks) is model
    rows = sparsity_report(model, masks=masks)
    assert rows[-1]["sparsity"] == 0.5 and rows[-1]["violations"] == 0
    assert [row["name"] for row in rows] == ["0.weight", "1.weight", "all"]
    assert sparsity_report(model)[-1]["entries"] == 8 * 8 + 8 + 8 * 4 + 4
    with torch.no_grad():
        model[0].weight[~masks["0.weight"]] = 1e-9
    assert sparsity_report(model, masks=masks)[-1]["violations"] == int((~masks["0.weight"]).sum())


def test_what_is_masked_becomes_plain_zero():
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[float("inf"), -1.0]]))
    apply_masks(model, {"weight": torch.tensor([[0.0, 0.0]])})
    assert model.weight.tolist() == [[0.0, 0.0]] and not torch.signbit(model.weight).any()


def test_a_folder_is_pruned(tmp_path):
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    state = {"w.weight": torch.randn(6, 6).bfloat16(), "w.bias": torch.randn(6).bfloat16(), "ids": torch.arange(3)}
    save_file(state, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    masks = unstructured_masks(magnitude_scores(tmp_path / "model"), sparsity=0.5)
    # Masks of a module in which the folder's model is wrapped fit as well.
    record = prune_folder(tmp_path / "model", {f"0.model.{n}": mask for n, mask in masks.items()}, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(found["w.weight"], state["w.weight"] * masks["w.weight"])
    assert torch.equal(found["w.bias"], state["w.bias"]) and torch.equal(found["ids"], state["ids"])
    assert record["sparsity"][-1] == {"name": "all", "entries": 36, "zeros": 18, "sparsity": 0.5}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors", "pruning.json"}


def test_bad_input_is_refused(tmp_path):
    scores = _scores()
    for sparsity in (-0.1, 1.0, 1.5, float("nan"), True, "half"):
        with pytest.raises(InputError, match="sparsity="):
            unstructured_masks(scores, sparsity=sparsity)
    with pytest.raises(InputError, match="no weight"):
        unstructured_masks({}, sparsity=0.5)
    with pytest.raises(NonFiniteError, match="scores with NaN"):
        unstructured_masks({"w": torch.tensor([float("nan")])}, sparsity=0.5)
    with pytest.raises(InputError, match="budget='layer'"):
        unstructured_masks(scores, sparsity=0.5, budget="layer")
    with pytest.raises(InputError, match="uniform"):
        unstructured_masks(scores, sparsity=0.5, budget="uniform", bounds=(0.0, 1.0))
    with pytest.raises(InputError, match="within the bounds"):
        unstructured_masks(scores, sparsity=0.9, bounds=(0.0, 0.5))
    with pytest.raises(InputError, match="the lower one first"):
        unstructured_masks(scores, sparsity=0.5, bounds=(0.9, 0.1))
    with pytest.raises(DimensionError, match="no matrices"):
        structured_masks(scores, sparsity=0.5)
    model = torch.nn.Linear(2, 2)
    before = model.weight.detach().clone()
    with pytest.raises(InputError, match="model lacks"):
        apply_masks(model, {"weight": torch.zeros(2, 2), "other": torch.ones(1)})
    with pytest.raises(DimensionError, match="another shape"):
        apply_masks(model, {"weight": torch.zeros(2)})
    with pytest.raises(InputError, match="no masks"):
        apply_masks(model, {})
    assert torch.equal(model.weight, before)
    with pytest.raises(InputError, match="model lacks"):
        sparsity_report(model, masks={"other": torch.ones(1)})
    with pytest.raises(NotFoundError, match="no safetensors"):
        prune_folder(tmp_path, {"w": torch.ones(1)}, tmp_path / "out")
    with pytest.raises(InputError, match="Use the folder's names"):
        prune_folder({"w": torch.ones(1)}, {"v": torch.ones(1)}, tmp_path / "out")
    with pytest.raises(DimensionError, match="another shape"):
        prune_folder({"w": torch.ones(1)}, {"w": torch.ones(2)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
