"""Gradient statistics against autograd, one sample at a time, and against formulas."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.learn.analysis import (  # noqa: E402
    collect_gradients,
    fisher_diagonal,
    gradient_alignment,
    gradient_conflict,
    gradient_cosines,
)
from orthant.learn.analysis.gradients import single_rows  # noqa: E402


def _setting(seed=0, batches=3):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    data = [{"x": torch.randn(4, 5), "y": torch.randn(4, 2)} for _ in range(batches)]

    def loss(batch):
        return (model(batch["x"]) - batch["y"]).square().sum(1).mean()

    return model, data, loss


def _by_hand(model, pieces, loss):
    """Gradients of each piece by plain backward passes, without dropout, stacked in float64."""
    model.eval()
    out = {name: [] for name, _ in model.named_parameters()}
    for piece in pieces:
        model.zero_grad()
        loss(piece).backward()
        for name, parameter in model.named_parameters():
            out[name].append(parameter.grad.double().numpy().copy())
    model.zero_grad()
    model.train()
    return {name: np.stack(values) for name, values in out.items()}


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_statistics_equal_autograd(per):
    model, data, loss = _setting()
    pieces = [row for batch in data for row in single_rows(batch)] if per == "sample" else data
    wanted = _by_hand(model, pieces, loss)
    found = collect_gradients(model, iter(data), loss, per=per)
    assert found.count == len(pieces)
    for name, gradients in wanted.items():
        np.testing.assert_allclose(found.mean[name].numpy(), gradients.mean(0), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.square[name].numpy(), (gradients**2).mean(0), rtol=1e-5, atol=1e-7)
    assert set(fisher_diagonal(model, data, loss)) == set(wanted)


def test_a_batch_is_no_substitute_for_its_samples():
    model, data, loss = _setting()
    exact = fisher_diagonal(model, data, loss)["0.weight"]
    assert float(fisher_diagonal(model, data, loss, per="batch")["0.weight"].sum()) < 0.8 * float(exact.sum())


def test_the_model_is_left_as_it_was():
    model, data, loss = _setting()
    model[0].weight.requires_grad_(False)
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = collect_gradients(model, data, loss)
    assert found.mean["0.weight"].abs().sum() > 0
    assert not model[0].weight.requires_grad and model[3].weight.requires_grad
    assert model.training and model[0].training and not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_scope_and_parameters_that_the_loss_misses():
    model, data, loss = _setting()
    assert set(collect_gradients(model, data, loss, scope=("3.*",)).mean) == {"3.weight", "3.bias"}
    first = collect_gradients(model, data, lambda batch: model[0](batch["x"]).mean())
    assert not first.mean["3.weight"].any()


def test_rows_of_nested_batches():
    batch = ({"ids": torch.arange(6).reshape(2, 3)}, ["a", "b"], [torch.ones(2), torch.zeros(2)])
    rows = list(single_rows(batch))
    assert len(rows) == 2 and rows[1][0]["ids"].tolist() == [[3, 4, 5]] and rows[1][1] == ["b"]
    assert rows[0][2][0].tolist() == [1.0]


def test_alignment_is_the_smoothed_product_of_unit_gradients():
    model, data, loss = _setting()
    a = collect_gradients(model, data[:1], loss)
    b = collect_gradients(model, data[1:], loss)
    aligned = gradient_alignment(a, b)
    for name, value in aligned.items():
        x, y = (each.mean[name].double().numpy() for each in (a, b))
        product = x * y / np.linalg.norm(x) / np.linalg.norm(y)
        assert gradient_alignment(a, b, window=1)[name].numpy() == pytest.approx(product, abs=1e-7)
        assert gradient_cosines(a, b)[name] == pytest.approx(product.sum(), abs=1e-6)
        if product.ndim == 2:
            padded = np.pad(product, 1)
            product = sum(padded[i : i + len(x), j : j + x.shape[1]] for i in range(3) for j in range(3)) / 9
        np.testing.assert_allclose(value.numpy(), product, atol=1e-7)


def test_conflict_is_the_cosine_of_mean_gradients():
    model, data, loss = _setting()
    tasks = {"a": data[:1], "b": data[1:2], "against a": data[:1]}
    losses = {"a": loss, "b": loss, "against a": lambda batch: -0.5 * loss(batch)}
    found = gradient_conflict(model, tasks, losses)
    gradients = {task: _by_hand(model, tasks[task], losses[task]) for task in tasks}
    whole = [np.concatenate([g.mean(0).ravel() for g in each.values()]) for each in gradients.values()]
    wanted = np.corrcoef(whole) * 0 + [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in whole] for x in whole]
    np.testing.assert_allclose(found.cosine, wanted, atol=1e-6)
    assert found.cosine[0, 2] == pytest.approx(-1.0) and found.norms[2] == pytest.approx(found.norms[0] / 2)
    head = [np.concatenate([each["3.weight"].ravel(), each["3.bias"].ravel()]) for each in gradients.values()]
    assert found.layers["3"][0, 1] == pytest.approx(
        head[0] @ head[1] / np.linalg.norm(head[0]) / np.linalg.norm(head[1]), abs=1e-6
    )
    rows = [row for row in found.rows() if row["layer"] == "all"]
    assert [(row["task"], row["other"]) for row in rows] == [("a", "b"), ("a", "against a"), ("b", "against a")]
    assert rows[1]["conflict"]


def test_conflict_is_drawn(tmp_path):
    model, data, loss = _setting()
    gradient_conflict(model, {"a": data[:1], "b": data[1:]}, loss).plot(tmp_path / "conflict.png")
    assert (tmp_path / "conflict.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_refused():
    model, data, loss = _setting()
    with pytest.raises(InputError, match="no batches"):
        collect_gradients(model, [], loss)
    with pytest.raises(InputError, match="matches no floating parameter"):
        collect_gradients(model, data, loss, scope=("encoder.*",))
    with pytest.raises(InputError, match="not one number"):
        collect_gradients(model, data, lambda batch: model(batch["x"]))
    with pytest.raises(InputError, match="without gradient"):
        collect_gradients(model, data, lambda batch: torch.tensor(1.0))
    with pytest.raises(InputError, match=r"none of .* affects"):
        collect_gradients(model, data, lambda batch: model[0](batch["x"]).mean(), scope=("3.*",))
    with pytest.raises(InputError, match="rows"):
        list(single_rows({"a": torch.ones(2), "b": torch.ones(3)}))
    with pytest.raises(InputError, match="per='token'"):
        collect_gradients(model, data, loss, per="token")
    poisoned = [data[0], {"x": torch.full((4, 5), float("nan")), "y": torch.zeros(4, 2)}]
    with pytest.raises(NonFiniteError, match=r"0\.weight.* at batch 1"):
        collect_gradients(model, poisoned, loss)
    a, b = collect_gradients(model, data, loss), collect_gradients(model, data, loss, scope=("3.*",))
    with pytest.raises(InputError, match="other tensors"):
        gradient_alignment(a, b)
    with pytest.raises(InputError, match="odd"):
        gradient_alignment(a, a, window=2)
    with pytest.raises(InputError, match="at least two"):
        gradient_conflict(model, {"a": data}, loss)
    with pytest.raises(InputError, match="without a loss"):
        gradient_conflict(model, {"a": data, "b": data}, {"a": loss})


def test_an_unmerged_adapter_is_refused():
    class Adapted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lora_A = torch.nn.Linear(2, 1)

    with pytest.raises(InputError, match="merge_and_unload"):
        collect_gradients(Adapted(), [1], lambda batch: None)
