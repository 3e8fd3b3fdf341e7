"""Scores against their equations, and on a planted model whose blocks are known to serve one task or both."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DtypeError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.analysis import GradientStatistics, collect_gradients  # noqa: E402
from orthant.learn.pruning import (  # noqa: E402
    alignment_scores,
    fisher_scores,
    magnitude_scores,
    random_scores,
    rank_agreement,
    unstructured_masks,
)


def _statistics(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=generator)
    return GradientStatistics({"w": mean}, {"w": mean.square() + torch.rand(shape, generator=generator)}, 1, 0.0)


@pytest.mark.parametrize("normalise", ["none", "zscore", "rank"])
def test_alignment_scores_follow_the_equation(normalise):
    shape, beta, gamma = (5, 8), 0.7, 0.4
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    general, domain = _statistics(shape, 1), _statistics(shape, 2)
    found = alignment_scores({"w": w}, general=general, domain=domain, beta=beta, gamma=gamma, normalise=normalise)["w"]

    size = np.abs(w.double().numpy())
    g, d = (each.mean["w"].double().numpy() for each in (general, domain))
    product = np.pad(g * d / np.linalg.norm(g) / np.linalg.norm(d), 1)
    aligned = sum(product[i : i + 5, j : j + 8] for i in range(3) for j in range(3)) / 9
    f = [each.square["w"].double().numpy() + 1e-8 for each in (domain, general)]
    terms = [(f[0] - beta * f[1]) * size * np.clip(1 + 0.2 * aligned, 0.8, 1.2), np.sqrt(size + 1e-8)]
    if normalise == "zscore":
        terms = [(term - term.mean()) / term.std(ddof=1) for term in terms]
    if normalise == "rank":
        terms = [term.ravel().argsort().argsort().reshape(shape) / (term.size - 1) for term in terms]
    np.testing.assert_allclose(found.numpy(), terms[0] + gamma * terms[1], rtol=1e-5, atol=1e-5)


def test_small_scores_are_not_rounded_away():
    # A softplus in float32 would put 0.69 before these and lose them.
    w = torch.full((4,), 1e-6)
    zero = {"w": torch.zeros(4)}
    steps = {"w": torch.tensor([1.0, 2.0, 3.0, 4.0]) * 1e-4}
    scores = alignment_scores(
        {"w": w},
        general=GradientStatistics(zero, zero, 1, 0.0),
        domain=GradientStatistics(zero, steps, 1, 0.0),
        gamma=0.0,
    )
    assert torch.argsort(scores["w"]).tolist() == [0, 1, 2, 3] and len(set(scores["w"].tolist())) == 4


def test_planted_blocks_go_in_the_right_order():
    # One linear map, four blocks of inputs: seen by the general task, by the domain's, by both, and by both with
    # opposite targets. All weights have one size, so that size says nothing.
    torch.manual_seed(0)
    width, out = 8, 6
    model = torch.nn.Linear(4 * width, out, bias=False)
    with torch.no_grad():
        model.weight.copy_(0.1 * torch.sign(torch.randn_like(model.weight)))
    blocks = {
        name: slice(i * width, (i + 1) * width) for i, name in enumerate(("general", "domain", "both", "conflict"))
    }

    def data(seen, sign):
        x = torch.zeros(256, 4 * width)
        for name, scale in seen.items():
            x[:, blocks[name]] = scale * torch.randn(256, width, generator=torch.Generator().manual_seed(len(name)))
        target = x[:, blocks["both"]].sum(1, keepdim=True) + sign * x[:, blocks["conflict"]].sum(1, keepdim=True)
        return [(x, target.expand(-1, out))]

    def loss(batch):
        return (model(batch[0]) - batch[1]).square().mean()

    general = collect_gradients(model, data({"general": 2.0, "both": 1.0, "conflict": 2.0}, -1.0), loss, per="sample")
    domain = collect_gradients(model, data({"domain": 2.0, "both": 2.0, "conflict": 1.0}, 1.0), loss, per="sample")
    scores = alignment_scores({"weight": model.weight}, general=general, domain=domain)
    masks = unstructured_masks(scores, sparsity=0.5)["weight"]
    pruned = {name: float((~masks[:, place]).float().mean()) for name, place in blocks.items()}
    assert pruned["general"] > 0.9 and pruned["conflict"] > 0.9
    assert pruned["domain"] < 0.1 and pruned["both"] < 0.1
    magnitude = magnitude_scores({"weight": model.weight}, scope=("weight",))
    share = (~unstructured_masks(magnitude, sparsity=0.5)["weight"][:, :width]).float().mean()
    assert 0.2 < float(share) < 0.9


def test_simple_scores():
    state = {"a.weight": torch.tensor([[-2.0, 0.5]]), "a.bias": torch.ones(1), "i": torch.arange(2)}
    assert magnitude_scores(state)["a.weight"].tolist() == [[2.0, 0.5]]
    assert fisher_scores(state, {"a.weight": torch.tensor([[1.0, 8.0]])})["a.weight"].tolist() == [[2.0, 1.0]]
    first, again, other = (random_scores(state, seed=seed)["a.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_agreement_is_rank_correlation_over_all_tensors():
    from scipy.stats import spearmanr

    generator = torch.Generator().manual_seed(0)
    a = {name: torch.randn(shape, generator=generator) for name, shape in {"x": (6, 7), "y": (30,)}.items()}
    b = {name: value + torch.randn(value.shape, generator=generator) for name, value in a.items()}
    flat = [np.concatenate([value.numpy().ravel() for value in scores.values()]) for scores in (a, b)]
    assert rank_agreement(a, b) == pytest.approx(spearmanr(*flat).statistic)
    assert abs(rank_agreement(a, b, sample=50) - rank_agreement(a, b)) < 0.2


def test_equal_data_sets_are_warned_about():
    general = _statistics((3, 3), 1)
    with pytest.warns(UserWarning, match="equal"):
        scores = alignment_scores({"w": torch.randn(3, 3)}, general=general, domain=general)
    assert scores["w"].shape == (3, 3)


def test_bad_input_is_refused():
    state = {"a.weight": torch.ones(2, 2), "q.weight": torch.ones(2, dtype=torch.int8)}
    with pytest.raises(InputError, match="matches no tensor"):
        magnitude_scores(state, scope=("encoder.*",))
    with pytest.raises(DtypeError, match=r"q\.weight"):
        magnitude_scores(state)
    with pytest.raises(NonFiniteError, match=r"a\.weight"):
        magnitude_scores({"a.weight": torch.tensor([float("nan")])})
    with pytest.raises(InputError, match="merge_and_unload"):
        magnitude_scores({"q.lora_B.weight": torch.ones(1)})
    with pytest.raises(InputError, match="model lacks"):
        fisher_scores(state, {"b": torch.ones(1)})
    with pytest.raises(NonFiniteError, match="statistics"):
        fisher_scores(state, {"a.weight": torch.full((2, 2), float("inf"))})
    with pytest.raises(InputError, match="normalise='max'"):
        alignment_scores(
            {"w": torch.ones(2)}, general=_statistics((2,), 0), domain=_statistics((2,), 1), normalise="max"
        )
    with pytest.raises(InputError, match="different tensors"):
        rank_agreement({"a": torch.ones(2)}, {"b": torch.ones(2)})
