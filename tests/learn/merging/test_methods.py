"""Each way of merging one tensor against its formula in float64 NumPy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NonFiniteError  # noqa: E402
from orthant.learn.merging import methods  # noqa: E402


def _tensors(count=3, shape=(6, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def _double(tensors):
    return [tensor.numpy().astype(np.float64) for tensor in tensors]


def _close(found, wanted):
    np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-6, atol=2e-6)


def test_sum_and_mean():
    tensors, weights = _tensors(), [0.5, 2.0, 0.25]
    x = _double(tensors)
    _close(methods.weighted_sum(tensors, weights=[1.0, -0.5, 2.0]), x[0] - 0.5 * x[1] + 2 * x[2])
    _close(methods.weighted_mean(tensors, weights=weights), np.average(x, axis=0, weights=weights))
    _close(methods.weighted_mean(tensors), np.mean(x, axis=0))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_slerp(t):
    a, b = _tensors(2)
    x, y = _double([a, b])
    angle = np.arccos((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y))
    _close(methods.slerp(a, b, t=t), (np.sin((1 - t) * angle) * x + np.sin(t * angle) * y) / np.sin(angle))


def test_slerp_of_equal_opposite_and_zero_directions_is_the_line():
    (a,) = _tensors(1)
    _close(methods.slerp(a, 3 * a, t=0.25), 1.5 * a.numpy())
    _close(methods.slerp(a, -a, t=0.25), 0.5 * a.numpy())
    _close(methods.slerp(a, torch.zeros_like(a), t=0.25), 0.75 * a.numpy())


def test_karcher_mean_is_where_the_logarithms_cancel():
    common = _tensors(1, seed=9)[0]
    tensors, weights = [common + 0.7 * each for each in _tensors()], np.array([0.2, 0.5, 0.3])
    mean = methods.karcher_mean(tensors, weights=weights).numpy().astype(np.float64).ravel()
    units = [each.ravel() / np.linalg.norm(each) for each in _double(tensors)]
    u = mean / np.linalg.norm(mean)
    logs = [np.arccos(v @ u) / np.sin(np.arccos(v @ u)) * (v - (v @ u) * u) for v in units]
    assert np.linalg.norm(sum(w * log for w, log in zip(weights, logs, strict=True))) < 1e-6
    lengths = [np.linalg.norm(each) for each in _double(tensors)]
    assert np.linalg.norm(mean) == pytest.approx(weights @ lengths, rel=1e-6)


def test_karcher_mean_of_two_unit_tensors_is_slerp():
    a, b = (each / each.norm() for each in _tensors(2))
    _close(methods.karcher_mean([a, b], weights=[0.7, 0.3]), methods.slerp(a, b, t=0.3).numpy())
    # A zero tensor has no direction, but a length: it shortens the mean.
    _close(methods.karcher_mean([a, torch.zeros_like(a)]), 0.5 * a.numpy())


def _ties_by_hand(x, density, weights):
    kept = []
    for each in x:
        flat = each.ravel().copy()
        flat[np.argsort(-np.abs(flat), kind="stable")[round(density * flat.size) :]] = 0
        kept.append(flat.reshape(each.shape))
    sign = np.sign(sum(w * each for w, each in zip(weights, kept, strict=True)))
    out = np.zeros_like(x[0])
    for place in np.ndindex(out.shape):
        agree = [(w, k[place]) for w, k in zip(weights, kept, strict=True) if np.sign(k[place]) == sign[place] != 0]
        out[place] = sum(w * k for w, k in agree) / sum(w for w, _ in agree) if agree else 0.0
    return out


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_ties(density):
    tensors, weights = _tensors(), [1.0, 2.0, 0.5]
    _close(methods.ties(tensors, density=density, weights=weights), _ties_by_hand(_double(tensors), density, weights))


def test_ties_abstains_where_the_vote_is_balanced():
    assert methods.elect_and_average([torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])]).tolist() == [0.0, 0.0]


def test_dare_drops_and_rescales():
    (d,) = _tensors(1, shape=(200, 200))
    thinned = methods.drop_and_rescale(d, density=0.25, generator=torch.Generator().manual_seed(3))
    stays = thinned != 0
    _close(thinned[stays], d[stays].numpy() / 0.25)
    assert float(stays.float().mean()) == pytest.approx(0.25, abs=0.01)


def test_dare_joins_by_sum_or_by_vote():
    tensors = _tensors()
    thinned = [
        methods.drop_and_rescale(d, density=0.5, generator=generator)
        for generator in [torch.Generator().manual_seed(4)]
        for d in tensors
    ]
    found = methods.dare(tensors, generator=torch.Generator().manual_seed(4), density=0.5, weights=[1, 2, 3])
    _close(found, sum(w * each for w, each in zip([1, 2, 3], _double(thinned), strict=True)))
    voted = methods.dare(tensors, generator=torch.Generator().manual_seed(4), density=0.5, elect=True)
    _close(voted, _ties_by_hand(_double(thinned), 1.0, [1, 1, 1]))


def test_model_stock():
    tensors = [0.4 * each + _tensors(1, seed=5)[0] for each in _tensors()]
    x = [each.ravel() for each in _double(tensors)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    c = np.mean([x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for i, j in pairs])
    _close(methods.model_stock(tensors).ravel(), 3 * c / (1 + 2 * c) * np.mean(x, axis=0))
    # Opposed models cancel out instead of going beyond the ancestor.
    assert not methods.model_stock([tensors[0], -tensors[0] * 0.5]).any()


def test_inputs_stay_as_they_are():
    tensors = _tensors()
    before = [each.clone() for each in tensors]
    for merge in (methods.weighted_mean, methods.karcher_mean, methods.ties, methods.model_stock):
        merge(tensors)
    methods.dare(tensors, generator=torch.Generator())
    methods.slerp(tensors[0], tensors[1])
    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))


def test_bad_numbers_are_refused():
    tensors = _tensors()
    with pytest.raises(InputError, match="2 weights for 3 models"):
        methods.weighted_sum(tensors, weights=[1.0, 2.0])
    with pytest.raises(InputError, match="non-negative"):
        methods.weighted_mean(tensors, weights=[1.0, -2.0, 3.0])
    with pytest.raises(NonFiniteError, match="finite"):
        methods.weighted_sum(tensors, weights=[1.0, float("nan"), 3.0])
    with pytest.raises(InputError, match="density=0"):
        methods.ties(tensors, density=0.0)
    with pytest.raises(InputError, match=r"density=1\.5"):
        methods.dare(tensors, generator=torch.Generator(), density=1.5)
    with pytest.raises(InputError, match="at least two"):
        methods.model_stock(tensors[:1])
    with pytest.raises(InputError, match="no tensors"):
        methods.weighted_mean([])
