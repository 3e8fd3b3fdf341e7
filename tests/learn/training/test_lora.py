"""Low-rank factors: trained, merged, gone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from learn.training.problems import network, stage  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training import Callback, Curriculum, LoRA  # noqa: E402
from orthant.learn.training.lora import adapted_layers, add_adapters, merge_adapters  # noqa: E402


def _stir(model):
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_()


def test_merged_forward_equals_adapted_forward():
    model = network(1).eval()
    names = list(model.state_dict())
    x = torch.randn(16, 6)
    plain = model(x).detach()
    add_adapters(model, LoRA(rank=2, alpha=3.0, targets=["0", "4"]))
    torch.testing.assert_close(model(x), plain, rtol=0, atol=1e-6)
    _stir(model)
    adapted = model(x).detach()
    assert not torch.allclose(adapted, plain)
    assert merge_adapters(model) == 2
    torch.testing.assert_close(model(x), adapted, rtol=1e-5, atol=1e-5)
    assert list(model.state_dict()) == names
    assert not adapted_layers(model)


def test_merge_is_the_product_of_the_factors():
    model = network(1)
    before = model[0].weight.detach().clone()
    add_adapters(model, LoRA(rank=2, alpha=3.0, targets=["0"]))
    _stir(model)
    factors = {name: p.detach().clone() for name, p in model[0].named_parameters() if "lora_" in name}
    merge_adapters(model)
    wanted = before + 1.5 * factors["lora_B.default.weight"] @ factors["lora_A.default.weight"]
    torch.testing.assert_close(model[0].weight.detach(), wanted, rtol=1e-5, atol=1e-5)


def test_stage_trains_only_factors_and_ends_with_plain_weights():
    model = network(1)
    names = list(model.state_dict())
    last, first = model[4].weight.detach().clone(), model[0].weight.detach().clone()
    trained = []

    class Look(Callback):
        def on_start(self, run):
            trained.extend(run.trained)

    lora = LoRA(rank=2, targets=["0"], also_train=["1.*"])
    Curriculum([stage(steps=5, lora=lora, learning_rate=0.1)]).run(model, callbacks=[Look()])
    assert sorted(name for name in trained if name.startswith("model.")) == [
        "model.0.lora_A.default.weight",
        "model.0.lora_B.default.weight",
        "model.1.bias",
        "model.1.weight",
    ]
    assert list(model.state_dict()) == names
    assert torch.equal(model[4].weight, last)
    assert not torch.equal(model[0].weight, first)
    assert torch.linalg.matrix_rank(model[0].weight.detach() - first, tol=1e-4) <= 2
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_unmerged_factors_stay():
    model = network(1)
    Curriculum([stage(steps=2, lora=LoRA(rank=2, targets=["0"], merge=False))]).run(model)
    assert adapted_layers(model) == ["0"]
    with pytest.raises(InputError, match="has adapters"):
        add_adapters(model, LoRA(targets=["0"]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rank": 0}, "rank=0"),
        ({"alpha": 0.0}, "alpha=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"targets": "query"}, "list of layer names"),
        ({"targets": []}, "list of layer names"),
    ],
)
def test_refusals(changes, text):
    with pytest.raises(InputError, match=text):
        LoRA(**changes)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"targets=\['query'\]; expected names of layers, such as \['0', '4'\]"):
        add_adapters(network(), LoRA(targets=["query"]))
    with pytest.raises(InputError, match="also_train='9"):
        add_adapters(network(), LoRA(targets=["0"], also_train=["9.*"]))
