from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.losses.metric.batches import batch, value_and_gradients  # noqa: E402
from orthant.errors import DimensionError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.losses.regularisers import (  # noqa: E402
    Alignment,
    Brownian,
    EnergyConfusion,
    EntropyCost,
    InitialDistance,
    KoLeo,
    Orthogonality,
    RowNorm,
    SingularValue,
    SpreadOut,
    Uniformity,
    VarianceCovariance,
)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def uniformity(rows, labels):
    x, n = unit(rows), len(rows)
    return np.log(np.mean([np.exp(-1.5 * ((x[i] - x[j]) ** 2).sum()) for i in range(n) for j in range(i)]))


def alignment(rows, labels, power):
    x, n = unit(rows), len(rows)
    return np.mean([np.linalg.norm(x[i] - x[j]) ** power for i in range(n) for j in range(i) if labels[i] == labels[j]])


def koleo(rows, labels):
    x, n = unit(rows), len(rows)
    return -np.mean([np.log(min(np.linalg.norm(x[i] - x[j]) for j in range(n) if j != i)) for i in range(n)])


def spread_out(rows, labels):
    x = unit(rows)
    found = np.array([x[i] @ x[j] for i in range(len(x)) for j in range(i)])
    return found.mean() ** 2 + 0.5 * max(0.0, (found**2).mean() - 1 / rows.shape[1])


def variance_covariance(rows, labels):
    c = np.cov(rows.T)
    spread = np.maximum(0, 1.3 - np.sqrt(np.diag(c) + 1e-4)).mean()
    return 2.0 * spread + 3.0 * ((c**2).sum() - (np.diag(c) ** 2).sum()) / rows.shape[1]


def singular_value(rows, labels):
    x, dim = unit(rows), rows.shape[1]
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2 / (len(x) - 1)
    values = np.concatenate([values, np.zeros(dim)])[:dim]
    return dim * ((values - 1 / dim) ** 2).sum()


def energy(rows, labels):
    n = len(rows)
    return np.mean([((rows[i] - rows[j]) ** 2).sum() / 2 for i in range(n) for j in range(i) if labels[i] != labels[j]])


REFERENCES = {
    "uniformity": (Uniformity(t=1.5), uniformity),
    "alignment": (Alignment(), lambda rows, labels: alignment(rows, labels, 2)),
    "alignment, power 3": (Alignment(power=3.0), lambda rows, labels: alignment(rows, labels, 3)),
    "koleo": (KoLeo(), koleo),
    "spread-out": (SpreadOut(second_moment=0.5), spread_out),
    "variance": (VarianceCovariance(variance=2.0, covariance=3.0, target=1.3), variance_covariance),
    "singular": (SingularValue(), singular_value),
    "energy": (EnergyConfusion(pairs_per_anchor=None, log=False), energy),
    "log energy": (EnergyConfusion(pairs_per_anchor=None), lambda rows, labels: np.log(energy(rows, labels))),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("rows", "dim"), [(24, 8), (12, 20)])
def test_w59_values_equal_the_formula_and_gradients_are_theirs(name, rows, dim):
    term, reference = REFERENCES[name]
    embeddings, labels = batch(rows=rows, dim=dim, classes=4)
    given = None if name == "spread-out" else labels
    wanted = reference(embeddings.detach().numpy(), labels.numpy())
    assert term(embeddings, given).item() == pytest.approx(wanted, rel=1e-10)
    assert torch.autograd.gradcheck(lambda e: term(e, given), embeddings)
    single = term(embeddings.detach().float(), given).item()
    assert single == pytest.approx(wanted, rel=1e-4)


def test_spread_out_leaves_out_what_belongs_together():
    embeddings, labels = batch()
    x, known = unit(embeddings.detach().numpy()), labels.numpy()
    found = np.array([x[i] @ x[j] for i in range(24) for j in range(i) if known[i] != known[j]])
    wanted = found.mean() ** 2 + max(0.0, (found**2).mean() - 1 / 8)
    assert SpreadOut()(embeddings, labels).item() == pytest.approx(wanted, rel=1e-10)


def test_spread_out_equals_sentence_transformers():
    peers = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    embeddings, _ = batch()
    other = peers.GlobalOrthogonalRegularizationLoss(None).compute_loss_from_embeddings([embeddings])
    mine = SpreadOut()(embeddings)
    assert mine.item() == pytest.approx(sum(other.values()).item(), rel=1e-9)


def test_energy_of_drawn_pairs_is_unbiased_and_never_of_one_class():
    embeddings, labels = batch()
    rows = embeddings.detach()
    torch.manual_seed(0)
    # Two classes far apart: a single pair of one class would pull the mean down by much more than the tolerance.
    apart = torch.zeros(12, 3)
    apart[6:, 0] = 10.0
    halves = torch.arange(12) // 6
    for _ in range(20):
        assert EnergyConfusion(log=False, pairs_per_anchor=3)(apart, halves).item() == 50.0
    term = EnergyConfusion(log=False, pairs_per_anchor=2000)
    # Every row draws equally often from the rows after it.
    later = [
        np.mean([((rows[i] - rows[j]) ** 2).sum().item() / 2 for j in range(i + 1, 24) if labels[i] != labels[j]])
        for i in range(24)
        if any(labels[i] != labels[j] for j in range(i + 1, 24))
    ]
    assert term(rows, labels).item() == pytest.approx(np.mean(later), rel=0.02)
    torch.manual_seed(5)
    first = EnergyConfusion()(rows, labels).item()
    torch.manual_seed(5)
    assert EnergyConfusion()(rows, labels).item() == first


def test_the_gradient_of_the_log_energy_does_not_depend_on_scale():
    embeddings, labels = batch()
    term = EnergyConfusion(pairs_per_anchor=None)
    _, (small,) = value_and_gradients(lambda: term(embeddings, labels), embeddings)
    large = (1000 * embeddings.detach()).requires_grad_()
    _, (other,) = value_and_gradients(lambda: term(large, labels), large)
    torch.testing.assert_close(small, 1000 * other)


def test_a_collapse_is_reported():
    rows = torch.ones(4, 3, requires_grad=True)
    with pytest.warns(UserWarning, match="have collapsed"):
        value = EnergyConfusion()(rows, torch.tensor([0, 0, 1, 1]))
    assert value.item() == pytest.approx(np.log(1e-12))
    value.backward()
    assert torch.isfinite(rows.grad).all()


def test_brownian_directions_are_unit_and_fresh():
    rows = torch.eye(200, 5).repeat(5, 1)[:500].requires_grad_()
    torch.manual_seed(0)
    first = Brownian()(rows)
    second = Brownian()(rows)
    assert first.item() != second.item()
    assert abs(first.item()) < 0.1
    torch.manual_seed(0)
    assert Brownian()(rows).item() == first.item()
    points = torch.nn.functional.normalize(torch.randn(400, 6)).requires_grad_()
    torch.manual_seed(1)
    (gradient,) = torch.autograd.grad(Brownian()(points), points)
    torch.manual_seed(1)
    kicks = torch.nn.functional.normalize(torch.randn(400, 6))
    across = kicks - (kicks * points.detach()).sum(dim=1, keepdim=True) * points.detach()
    torch.testing.assert_close(gradient, across / 400, rtol=1e-4, atol=1e-7)


def test_kicks_disperse_a_cluster_and_only_they_do():
    rng = np.random.default_rng(0)
    start = torch.tensor(unit(np.eye(32)[0] * 10 + rng.standard_normal((128, 32)) * 0.18), dtype=torch.float32)

    def mean_cosine(weight):
        torch.manual_seed(0)
        points = start.clone().requires_grad_()
        for _ in range(150):
            (gradient,) = torch.autograd.grad(128 * weight * Brownian()(points), points)
            points = torch.nn.functional.normalize(points.detach() - 0.2 * gradient).requires_grad_()
        found = (points @ points.T).detach()
        return float((found.sum() - found.diagonal().sum()) / (128 * 127))

    assert mean_cosine(0.0) > 0.98
    assert abs(mean_cosine(1.0)) < 0.05


@pytest.mark.parametrize("term", [SingularValue(), VarianceCovariance(target=0.18), Uniformity(), KoLeo()])
def test_terms_undo_a_collapse(term):
    torch.manual_seed(0)
    points = torch.nn.functional.normalize(torch.eye(32)[:1] + 0.02 * torch.randn(96, 32)).requires_grad_()
    optimiser = torch.optim.Adam([points], lr=0.01)
    spread = []
    for _ in range(150):
        rows = torch.nn.functional.normalize(points)
        spread.append(float(((rows - rows.mean(dim=0)) ** 2).sum(dim=1).mean().detach()))
        optimiser.zero_grad()
        term(rows).backward()
        optimiser.step()
    assert spread[0] < 0.02
    assert spread[-1] > 0.5


def test_terms_on_weights_equal_their_formulas():
    rng = np.random.default_rng(0)
    for shape in ((4, 9), (9, 4)):
        w = rng.standard_normal(shape)
        weights = torch.tensor(w, requires_grad=True)
        short = w if shape[0] < shape[1] else w.T
        assert Orthogonality()(None, weights=weights).item() == pytest.approx(
            ((short @ short.T - np.eye(4)) ** 2).sum() / 4, rel=1e-12
        )
        assert RowNorm()(None, weights=weights).item() == pytest.approx(
            np.mean([(np.linalg.norm(row) ** 2 - 1) ** 2 for row in w]), rel=1e-12
        )
        start = rng.standard_normal(shape)
        term = InitialDistance(torch.tensor(start))
        assert term(None, weights=weights).item() == pytest.approx(((w - start) ** 2).sum(), rel=1e-12)
        assert "initial" in term.state_dict()
        for one in (Orthogonality(), RowNorm(), term):
            assert torch.autograd.gradcheck(lambda e: one(None, weights=e), weights)  # noqa: B023


def test_entropy_cost_and_its_direction():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.standard_normal((10, 4)), requires_grad=True)
    p = np.exp(logits.detach().numpy())
    p /= p.sum(axis=1, keepdims=True)
    wanted = -(p * np.log(p)).sum(axis=1).mean()
    probabilities = logits.softmax(dim=1)
    assert EntropyCost()(probabilities).item() == pytest.approx(wanted, rel=1e-12)
    assert EntropyCost(sharpen=False)(probabilities).item() == pytest.approx(-wanted, rel=1e-12)
    for sharpen, sign in ((True, -1), (False, 1)):
        (gradient,) = torch.autograd.grad(EntropyCost(sharpen=sharpen)(logits.softmax(dim=1)), logits)
        moved = (logits - 0.1 * gradient).softmax(dim=1)
        change = -(moved * moved.log()).sum(dim=1).mean().item() - wanted
        assert change * sign > 0
    zero = torch.tensor([[1.0, 0.0]], requires_grad=True)
    EntropyCost()(zero).backward()
    assert torch.isfinite(zero.grad).all()


def test_bad_input_is_refused():
    rows, one = torch.randn(6, 3), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(InputError, match="a batch of one class"):
        EnergyConfusion()(rows, one)
    with pytest.raises(InputError, match="a batch of one class"):
        SpreadOut()(rows, one)
    with pytest.raises(InputError, match="no labels; expected them for EnergyConfusion"):
        EnergyConfusion()(rows)
    with pytest.raises(InputError, match="without a positive pair"):
        Alignment()(rows, torch.arange(6))
    with pytest.raises(InputError, match="no weights; expected them for RowNorm"):
        RowNorm()(rows)
    with pytest.raises(InputError, match="no embeddings"):
        Uniformity()(None)
    with pytest.raises(InputError, match="3 rows; expected at least 4"):
        SingularValue()(rows[:3])
    for term in (Uniformity(), KoLeo(), SpreadOut(), VarianceCovariance()):
        with pytest.raises(InputError, match=r"1 row\(s\); expected at least 2"):
            term(rows[:1])
    with pytest.raises(NonFiniteError, match="embeddings with NaN"):
        Brownian()(rows / 0)
    with pytest.raises(InputError, match="no distributions"):
        EntropyCost()(rows)
    with pytest.raises(DimensionError, match="weights of shape"):
        InitialDistance(torch.eye(2))(None, weights=torch.eye(3))
    with pytest.raises(InputError, match="weight=-1"):
        KoLeo(weight=-1)
    with pytest.raises(DimensionError, match="labels of shape"):
        EnergyConfusion()(rows, torch.arange(4))
