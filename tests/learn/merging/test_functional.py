"""A merge that is learned: its ends, its gradients, its counts, and what is written."""

import copy
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.learn.merging import LearnedMerge, methods  # noqa: E402
from orthant.learn.merging.coefficients import ArcPosition  # noqa: E402


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4) for _ in range(2)])
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x, *, scale=1.0):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x) * scale


def _models(count=3, dtype=torch.float32):
    torch.manual_seed(0)
    base = Tiny().to(dtype)
    tuned = []
    for _ in range(count):
        model = copy.deepcopy(base)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        tuned.append(model)
    return base, tuned, torch.randn(5, 4, dtype=dtype)


SETTINGS = [
    {"granularity": granularity, "path": path, **({"parts": 3} if granularity == "partition" else {})}
    for granularity in ("model", "layer", "block", "partition")
    for path in ("linear", "simplex", "slerp")
]


@pytest.mark.parametrize("granularity", ["model", "layer", "block", "partition"])
def test_zero_is_the_ancestor_and_one_is_a_model(granularity):
    base, tuned, X = _models()
    merge = LearnedMerge(base, tuned, granularity=granularity, parts=2 if granularity == "partition" else None)
    assert torch.equal(merge(X), base(X))
    with torch.no_grad():
        merge.position.values[1] = 1.0
    assert torch.allclose(merge(X), tuned[1](X), atol=1e-5)


@pytest.mark.parametrize(("granularity", "groups"), [("model", 1), ("layer", 3), ("block", 6), ("partition", 18)])
def test_counts(granularity, groups):
    base, tuned, _ = _models()
    parts = 3 if granularity == "partition" else None
    for path, each in {"linear": 3 * groups, "simplex": 4 * groups, "slerp": 4 * groups}.items():
        merge = LearnedMerge(base, tuned, granularity=granularity, parts=parts, path=path)
        assert sum(p.numel() for p in merge.parameters()) == each and len(merge.rows()) == groups


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s['granularity']}-{s['path']}")
def test_gradients_equal_finite_differences(settings):
    base, tuned, X = _models(dtype=torch.float64)
    merge = LearnedMerge(base, tuned, **settings)
    names = [name for name, _ in merge.named_parameters()]
    torch.manual_seed(1)
    start = [p.detach() + 0.1 * torch.randn_like(p) for p in merge.parameters()]

    def loss(*values):
        out = torch.func.functional_call(merge, dict(zip(names, values, strict=True)), (X,))
        return out.square().sum()

    inputs = tuple(value.requires_grad_() for value in start)
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("exclude", [(), ("head.*",)])
def test_only_coefficients_take_gradients(exclude):
    base, tuned, X = _models()
    merge = LearnedMerge(base, tuned, exclude=exclude)
    merge(X).square().mean().backward()
    assert merge.position.values.grad.abs().min() > 0
    assert all(parameter.grad is None for model in (base, *tuned) for parameter in model.parameters())
    assert torch.equal(merge(X, named={"scale": 2.0}), base(X, scale=2.0))


def test_arc_is_slerp_of_task_vectors():
    base, tuned, _ = _models(2, torch.float64)
    merge = LearnedMerge(base, tuned, path="slerp", granularity="block")
    with torch.no_grad():
        merge.position.places[:] = 0.3
        merge.position.lengths[:] = 1.7
    for name, value in merge.merged().items():
        start = base.state_dict()[name]
        a, b = (model.state_dict()[name] - start for model in tuned)
        wanted = start + 1.7 * methods.slerp(a, b, t=0.3)
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9)


def test_arc_ends_at_a_model():
    base, tuned, X = _models(2)
    merge = LearnedMerge(base, tuned, path="slerp")
    with torch.no_grad():
        merge.position.places[:] = 0.0
    assert torch.allclose(merge(X), tuned[0](X), atol=1e-5)


def test_chain_of_arcs_follows_its_definition():
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    arc = ArcPosition((vectors @ vectors.T)[None])
    places, lengths = [0.3, 0.6, 0.2], [1.1, 0.8, 1.5]
    with torch.no_grad():
        arc.places[:, 0], arc.lengths[:, 0] = torch.tensor(places), torch.tensor(lengths)
    reached = vectors[0]
    for vector, place, length in zip(vectors[1:], places, lengths, strict=True):
        reached = length * methods.slerp(reached, vector, t=place)
    torch.testing.assert_close(arc()[:, 0] @ vectors, reached)


def test_arc_between_parallel_or_zero_vectors_is_a_line_with_finite_gradients():
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    arc = ArcPosition((vectors @ vectors.T)[None])
    out = arc()
    torch.testing.assert_close(out[:, 0] @ vectors, torch.tensor([1.0, 0.0], dtype=torch.float64))
    out.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in arc.parameters())


def test_simplex_shares_sum_to_the_length():
    base, tuned, _ = _models()
    merge = LearnedMerge(base, tuned, path="simplex", granularity="block")
    torch.testing.assert_close(merge.coefficients, torch.full((3, 6), 1 / 3, dtype=torch.float64))
    with torch.no_grad():
        merge.position.logits.normal_()
        merge.position.lengths[:] = 0.5
    torch.testing.assert_close(merge.coefficients.sum(0), torch.full((6,), 0.5, dtype=torch.float64))


def test_training_finds_the_useful_model_and_drops_the_noise():
    base, tuned, _ = _models()
    merge = LearnedMerge(base, tuned, path="simplex")
    X = torch.randn(64, 4)
    with torch.no_grad():
        wanted = tuned[1](X)
    optimizer = torch.optim.AdamW(merge.parameters(), lr=0.3, weight_decay=0.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (merge(X) - wanted).square().mean()
        loss.backward()
        optimizer.step()
    shares = merge.coefficients[:, 0].detach()
    assert shares[1] > 0.9 and shares[[0, 2]].abs().max() < 0.1 and float(loss.detach()) < 1e-3


def test_parts_share_a_coefficient_in_vectors_too():
    base, tuned, _ = _models(1)
    merge = LearnedMerge(base, tuned, granularity="partition", parts=2, seed=3)
    with torch.no_grad():
        merge.position.values[0] = torch.arange(1.0, 1.0 + len(merge.groups))
    for name, value in merge.merged().items():
        change = tuned[0].state_dict()[name] - base.state_dict()[name]
        shares = ((value - base.state_dict()[name]) / change).detach()
        first = merge.groups.index(f"{name}#0") + 1
        assert set(shares.round().reshape(-1).tolist()) <= {first, first + 1}
        assert torch.allclose(shares, shares.round(), atol=1e-2)


def test_excluded_and_unchanged_parameters_stay():
    base, tuned, _ = _models()
    for model in tuned:
        model.layers[0].load_state_dict(base.layers[0].state_dict())
    merge = LearnedMerge(base, tuned, granularity="block", exclude=("head.*",))
    assert merge.blocks == ("layers.1.weight", "layers.1.bias")
    with pytest.raises(InputError, match="equal to the ancestor"):
        LearnedMerge(base, tuned, exclude=("*",))


def test_penalty_is_half_the_mean_norm():
    base, tuned, _ = _models()
    merge = LearnedMerge(base, tuned, granularity="layer", initial=-0.5)
    assert merge.penalty().item() == pytest.approx(0.5 * 1.5)
    assert merge.penalty(order=2.0).item() == pytest.approx(0.5 * math.sqrt(0.75))


def test_tied_weights_are_merged_once():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(5, 3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids):
            return self.head(self.embed(ids))

    base = Tied()
    other = copy.deepcopy(base)
    with torch.no_grad():
        other.embed.weight.add_(1.0)
    merge = LearnedMerge(base, [other], initial=1.0)
    ids = torch.tensor([0, 3])
    assert merge.blocks == ("embed.weight",)
    assert torch.allclose(merge(ids), other(ids), atol=1e-5)
    loaded = merge.load_into(copy.deepcopy(base))
    assert torch.allclose(loaded(ids), other(ids), atol=1e-5) and loaded.head.weight is loaded.embed.weight


def test_written_folder_loads_as_the_merged_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    torch.manual_seed(0)
    base = transformers.BertModel(config).eval()
    base.save_pretrained(tmp_path / "base")
    folders = []
    for i in range(2):
        model = copy.deepcopy(base)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(tmp_path / f"tuned{i}")
        folders.append(tmp_path / f"tuned{i}")

    class Wrapper(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = base

        def forward(self, ids):
            return self.model(ids).last_hidden_state

    wrapper = Wrapper()
    # Folders say "encoder.layer..." where the wrapper says "model.encoder.layer...".
    merge = LearnedMerge(wrapper, folders, granularity="layer", initial=0.4)
    record = merge.write(tmp_path / "out", like=tmp_path / "base")
    ids = torch.randint(0, 20, (2, 6))
    with torch.no_grad():
        found = transformers.BertModel.from_pretrained(tmp_path / "out").eval()(ids).last_hidden_state
        assert torch.allclose(found, merge(ids), atol=1e-5)
        assert not torch.allclose(found, wrapper(ids), atol=1e-3)
    assert json.loads((tmp_path / "out" / "merge.json").read_text())["coefficients"] == record["coefficients"]
    merge.plot(tmp_path / "shares.png")
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")


def test_bad_settings_are_refused():
    base, tuned, _ = _models()
    refused = [
        ({"tuned": []}, "0 fine-tuned"),
        ({"tuned": tuned[:1], "path": "slerp"}, "at least 2"),
        ({"tuned": tuned, "path": "slerp", "initial": 0.3}, "linear path only"),
        ({"tuned": tuned, "initial": float("nan")}, "finite number"),
        ({"tuned": tuned, "granularity": "partition"}, "parts=None"),
        ({"tuned": tuned, "parts": 2}, "parts=2"),
        ({"tuned": tuned, "granularity": "partition", "parts": 1}, "at least 2"),
        ({"tuned": tuned, "granularity": "neuron"}, "granularity='neuron'"),
        ({"tuned": tuned, "path": "geodesic"}, "path='geodesic'"),
        ({"tuned": [torch.nn.Linear(2, 2)]}, "mismatches"),
    ]
    for arguments, text in refused:
        with pytest.raises(InputError, match=text):
            LearnedMerge(base, **arguments)
    with torch.no_grad():
        tuned[0].head.bias[0] = np.inf
    with pytest.raises(NonFiniteError, match=r"head\.bias"):
        LearnedMerge(base, tuned)
    with pytest.raises(InputError, match="the ancestor itself"):
        LearnedMerge(base, tuned[1:]).load_into(base)
