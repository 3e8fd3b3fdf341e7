"""Smaller transformers give what masked ones give."""

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from orthant.errors import InputError  # noqa: E402
from orthant.learn.pruning import (  # noqa: E402
    apply_masks,
    find_attention,
    head_masks,
    head_scores,
    lowest_heads,
    magnitude_scores,
    remove_heads,
    remove_layers,
)


def _bert():
    return transformers.BertModel(
        transformers.BertConfig(
            vocab_size=30, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=32
        )
    )


def _distilbert():
    return transformers.DistilBertModel(
        transformers.DistilBertConfig(vocab_size=30, dim=24, n_layers=3, n_heads=4, hidden_dim=32)
    )


def _qwen():
    return transformers.Qwen2Model(
        transformers.Qwen2Config(
            vocab_size=30,
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
        )
    )


FAMILIES = {"bert": _bert, "distilbert": _distilbert, "qwen": _qwen}
IDS = torch.arange(14).reshape(2, 7)
MASK = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    model = FAMILIES[request.param]().eval()
    # Biases start at zero, where a mistake with them would not show.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def _run(model):
    return model(input_ids=IDS, attention_mask=MASK).last_hidden_state[MASK.bool()]


def test_removed_heads_equal_masked_heads(model):
    names = list(find_attention(model))
    count = find_attention(model)[names[0]].heads
    heads = {names[0]: [0], names[2]: [1] if count == 2 else [1, 3]}
    masked = apply_masks(copy.deepcopy(model), head_masks(model, heads))
    whole, before = _run(model), sum(p.numel() for p in model.parameters())
    removed = remove_heads(copy.deepcopy(model), heads)
    torch.testing.assert_close(_run(removed), _run(masked), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(_run(removed), whole, atol=1e-3)
    assert sum(p.numel() for p in removed.parameters()) < before
    assert [each.heads for each in find_attention(removed).values()] == [count - 1, count, count - len(heads[names[2]])]
    # Saved weights fit a fresh model from which the same heads were removed.
    fresh = remove_heads(copy.deepcopy(model), heads)
    fresh.load_state_dict(removed.state_dict())


def test_gradients_reach_what_is_left(model):
    names = list(find_attention(model))
    remove_heads(model, {names[1]: [0]})
    model(input_ids=IDS, attention_mask=MASK).last_hidden_state.square().mean().backward()
    assert model.get_submodule(find_attention(model)[names[1]].query).weight.grad.abs().sum() > 0


@torch.no_grad()
def test_removed_layers_equal_layers_that_pass_their_input_on(model, tmp_path):
    stack = next(m for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3)
    skipped = copy.deepcopy(model)
    other = next(m for n, m in skipped.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3)
    other[1].forward = lambda hidden_states, *rest, **named: hidden_states
    kept = [stack[0], stack[2]]
    assert remove_layers(model, [1]) is model
    torch.testing.assert_close(_run(model), _run(skipped), rtol=1e-5, atol=1e-5)
    assert [
        id(layer)
        for layer in next(m for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 2)
    ] == [id(layer) for layer in kept]
    # The configuration follows: the folder loads as any other.
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(_run(loaded), _run(model), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_removed_layer_equals_masked_layer_where_norms_come_first():
    torch.manual_seed(0)
    model = _qwen().eval()
    masked = copy.deepcopy(model)
    masks = {f"layers.1.{part}.weight": 0 for part in ("self_attn.o_proj", "mlp.down_proj")}
    apply_masks(masked, {name: torch.zeros_like(masked.get_parameter(name)) for name in masks})
    torch.testing.assert_close(_run(remove_layers(model, [1])), _run(masked), rtol=1e-5, atol=1e-5)


def test_heads_are_scored_and_chosen():
    torch.manual_seed(0)
    model = _bert()
    name = list(find_attention(model))[1]
    attention = find_attention(model)[name]
    with torch.no_grad():
        for layer in (attention.query, attention.key, attention.value):
            model.get_submodule(layer).weight[6:12] = 0.0
        model.get_submodule(attention.output).weight[:, 6:12] = 0.0
    scores = head_scores(model, magnitude_scores(model, scope=("*attention*.weight",)))
    assert scores[name][1] == 0.0 and scores[name][0] > 0
    value = model.get_submodule(attention.value).weight
    alone = head_scores(model, {f"{attention.value}.weight": value.detach().abs()})
    torch.testing.assert_close(alone[name][2], value[12:18].detach().abs().mean())
    assert lowest_heads(scores, sparsity=1 / 12) == {name: [1]}
    # However much is asked for, a module keeps its best head.
    assert {len(heads) for heads in lowest_heads(scores, sparsity=0.99).values()} == {3}


def test_bad_input_is_refused():
    model = _bert()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    name = next(iter(find_attention(model)))
    for heads, text in (
        ({name: [4]}, "distinct numbers below 4"),
        ({name: [0, 0]}, "distinct numbers"),
        ({name: [0, 1, 2, 3]}, "all 4 heads"),
        ({"nowhere": [0]}, "nowhere"),
        ({}, "attention modules"),
    ):
        with pytest.raises(InputError, match=text):
            remove_heads(model, {**({name: [0]} if "nowhere" in heads else {}), **heads})
    for layers in ([], [0, 1, 2], [3], [-1]):
        with pytest.raises(InputError, match="layer"):
            remove_layers(model, layers)
    with pytest.raises(InputError, match="stack='layers'"):
        remove_layers(model, [0], stack="layers")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(InputError, match="attention of a known layout"):
        find_attention(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="0 stacks"):
        remove_layers(torch.nn.Linear(2, 2), [0])
    with pytest.raises(InputError, match="no attention weight"):
        head_scores(model, {"pooler.dense.weight": torch.ones(24, 24)})
