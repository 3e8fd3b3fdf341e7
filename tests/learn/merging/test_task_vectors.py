"""Differences of models as vectors."""

import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DtypeError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.merging import TaskVector  # noqa: E402


def _models():
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)) for _ in range(3)]
    for i, model in enumerate(models):
        model[1].num_batches_tracked += i
    return models


def _flat(state):
    return torch.cat([value.reshape(-1) for value in state.values() if value.is_floating_point()]).double()


def test_arithmetic_is_that_of_vectors():
    base, a, b = _models()
    x, y, z = (_flat(model.state_dict()) for model in (base, a, b))
    first, second = TaskVector.between(base, a), TaskVector.between(base, b)
    combined = (first * 2 + second - -first).differences
    assert torch.allclose(_flat(combined), 3 * (y - x) + (z - x), atol=1e-6)
    assert first.norm() == pytest.approx(float((y - x).norm()), rel=1e-6)
    assert first.cosine(second) == pytest.approx(float(torch.cosine_similarity(y - x, z - x, dim=0)), rel=1e-5)
    assert (0.0 * first).cosine(second) == 0.0


def test_apply_restores_the_tuned_model_and_keeps_the_ancestor():
    base, a, _ = _models()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    found = TaskVector.between(base, a).apply(base)
    for name, value in a.state_dict().items():
        wanted = value if value.is_floating_point() else before[name]
        torch.testing.assert_close(found[name], wanted, rtol=1e-6, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    forgotten = TaskVector.between(base, a).apply(base, scale=-1.0)["0.weight"]
    torch.testing.assert_close(forgotten, 2 * base[0].weight.detach() - a[0].weight.detach())


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("bfloat16", 4e-3), ("float16", 5e-4)])
def test_save_and_load(tmp_path, dtype, error):
    base, a, _ = _models()
    vector = TaskVector.between(base, a)
    vector.save(tmp_path / "v.safetensors", dtype=dtype)
    found = TaskVector.load(tmp_path / "v.safetensors")
    assert list(found.differences) == list(vector.differences)
    assert (found - vector).norm() <= error * vector.norm()


def test_half_precision_is_subtracted_in_float32():
    # In float16 the small difference would be rounded to a multiple of 2 ** -10.
    base, tuned = {"w": torch.tensor([1.0]).bfloat16()}, {"w": torch.tensor([1.0078125]).bfloat16()}
    assert TaskVector.between(base, tuned).differences["w"].dtype == torch.float32
    assert TaskVector.between(base, tuned).norm() == 0.0078125


def test_bad_input_is_refused(tmp_path):
    from safetensors.torch import save_file

    base, a, _ = _models()
    vector = TaskVector.between(base, a)
    with pytest.raises(InputError, match="mismatches"):
        TaskVector.between(base, {"w": torch.ones(1)})
    with pytest.raises(InputError, match="mismatches"):
        vector + TaskVector({"w": torch.ones(1)})
    with pytest.raises(InputError, match="mismatches"):
        vector.apply({"0.weight": torch.ones(3, 4)})
    with pytest.raises(NonFiniteError, match="factor"):
        vector * float("inf")
    with pytest.raises(DtypeError, match="int8"):
        vector.save(tmp_path / "v.safetensors", dtype="int8")
    save_file({"w": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="no task vector"):
        TaskVector.load(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="without tensors"):
        TaskVector({})
