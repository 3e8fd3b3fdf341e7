from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, DtypeError, InputError
from orthant.transforms import TokenClusterer
from orthant.types import Ragged


def texts(lengths=(9, 3, 0, 30, 1, 17), *, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(rng.standard_normal((offsets[-1], dim)).astype(np.float32), offsets)


def plain_kmeans(x, k, *, rounds, farthest):
    """Lloyd's rounds in float64, token by token."""
    n = len(x)
    if n <= k:
        return np.arange(n)
    if farthest:
        starts = [0]
        while len(starts) < k:
            gaps = ((x[:, None] - x[starts][None]) ** 2).sum(axis=2).min(axis=1)
            gaps[starts] = -1
            starts.append(int(gaps.argmax()))
    else:
        starts = [int((j + 0.5) * n / k) for j in range(k)]
    centres = x[starts]
    for _ in range(rounds):
        found = np.array([((centres - token) ** 2).sum(axis=1).argmin() for token in x])
        for empty in sorted(set(range(k)) - set(found.tolist())):
            sizes = np.bincount(found, minlength=k)
            far = [((token - centres[c]) ** 2).sum() if sizes[c] > 1 else -1 for token, c in zip(x, found, strict=True)]
            found[int(np.argmax(far))] = empty
        centres = np.stack([x[found == j].mean(axis=0) for j in range(k)])
    return found


@pytest.mark.parametrize("init", ["spread", "farthest"])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("rounds", [1, 3, 8])
def test_assignments_are_those_of_plain_k_means(init, k, rounds):
    X = texts()
    clusterer = TokenClusterer(k=k, n_iter=rounds, init=init)
    found, out = clusterer.assign(X), clusterer.transform(X)
    for i in range(len(X)):
        own = found[X.offsets[i] : X.offsets[i + 1]]
        expected = plain_kmeans(X[i].astype(np.float64), k, rounds=rounds, farthest=init == "farthest")
        np.testing.assert_array_equal(own, expected)
        assert len(out[i]) == min(k, len(X[i]))
        for j in range(len(out[i])):
            np.testing.assert_allclose(out[i][j], X[i][own == j].mean(axis=0, dtype=np.float64), atol=1e-6)


def test_a_share_is_rounded_down_to_at_least_one():
    out = TokenClusterer(ratio=0.25).transform(texts())
    assert np.diff(out.offsets).tolist() == [2, 1, 0, 7, 1, 4]


def test_equal_tokens_give_as_many_vectors_as_asked_for():
    X = Ragged(np.ones((6, 3), np.float32), np.array([0, 6]))
    clusterer = TokenClusterer(k=4)
    assert sorted(set(clusterer.assign(X).tolist())) == [0, 1, 2, 3]
    np.testing.assert_allclose(clusterer.transform(X).values, np.ones((4, 3)), atol=1e-6)


def test_starts_are_distinct_even_where_tokens_are_equal():
    from orthant.transforms.token_clustering import _farthest_positions

    tokens, real = np.ones((1, 6, 3), np.float32), np.ones((1, 6), bool)
    starts = _farthest_positions(tokens, (tokens**2).sum(axis=2), real, np.array([4]), 4)
    assert len(set(starts[0].tolist())) == 4


def test_an_empty_cluster_takes_the_farthest_token():
    # Both starts (positions 1 and 4) hold the same value, so one cluster falls empty at once.
    X = Ragged(np.array([[0.0], [0], [0], [0], [0], [9]], np.float32), np.array([0, 6]))
    assert TokenClusterer(k=2, n_iter=1).assign(X).tolist() == [0, 0, 0, 0, 0, 1]


def test_a_text_does_not_depend_on_its_neighbours(monkeypatch):
    import orthant.transforms.token_clustering as module

    X = texts((40, 7, 25, 12, 33), dim=8)
    clusterer = TokenClusterer(k=4)
    together = clusterer.assign(X)
    for i in range(len(X)):
        alone = clusterer.assign(Ragged(X[i], np.array([0, len(X[i])])))
        np.testing.assert_array_equal(alone, together[X.offsets[i] : X.offsets[i + 1]])
    monkeypatch.setattr(module, "_BLOCK_VALUES", 1)
    np.testing.assert_array_equal(clusterer.assign(X), together)


def test_more_rounds_lower_the_error_and_random_groups_are_worse():
    X = texts((60,), dim=4)

    def error(found):
        return sum(((X.values[found == j] - X.values[found == j].mean(axis=0)) ** 2).sum() for j in range(6))

    once, often = (error(TokenClusterer(k=6, n_iter=rounds).assign(X)) for rounds in (1, 8))
    assert often < once < error(np.random.default_rng(0).permutation(np.arange(60) % 6))


def test_unit_length_on_request():
    out = TokenClusterer(k=2, normalize=True).transform(texts())
    np.testing.assert_allclose(np.linalg.norm(out.values, axis=1), 1, atol=1e-6)


def test_no_texts_and_empty_texts():
    none = TokenClusterer(k=2).transform(Ragged(np.zeros((0, 4), np.float32), np.array([0])))
    assert len(none) == 0 and none.values.shape == (0, 4)
    empty = TokenClusterer(k=2).transform(Ragged(np.zeros((0, 4), np.float32), np.array([0, 0, 0])))
    assert empty.offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("init", ["spread", "farthest"])
@pytest.mark.parametrize("budget", [{"k": 4}, {"ratio": 0.3}, {"k": 1}, {"k": 100}])
@pytest.mark.parametrize("normalize", [True, False])
def test_equal_to_the_torch_twin(init, budget, normalize):
    torch = pytest.importorskip("torch")
    from orthant.nn.token_reducers import ClusterReducer

    X = texts((9, 3, 0, 30, 1, 17, 128), dim=24, seed=3)
    tokens, mask = torch.zeros(7, 130, 24), torch.zeros(7, 130, dtype=torch.bool)
    for i in range(7):
        tokens[i, 2 : 2 + len(X[i])] = torch.from_numpy(X[i])
        mask[i, 2 : 2 + len(X[i])] = True
    kept, live = ClusterReducer(**budget, init=init, normalize=normalize)(tokens, mask)
    out = TokenClusterer(**budget, init=init, normalize=normalize).transform(X)
    np.testing.assert_array_equal(live.sum(dim=1).numpy(), np.diff(out.offsets))
    np.testing.assert_allclose(kept[live].numpy(), out.values, atol=1e-5)


def test_what_does_not_fit_is_refused():
    X = texts()
    for settings, told in (
        ({}, "exactly one"),
        ({"k": 2, "ratio": 0.5}, "exactly one"),
        ({"k": 0}, "k=0"),
        ({"ratio": 0.0}, "above 0"),
        ({"ratio": 1.5}, "ratio=1.5"),
        ({"k": 2, "n_iter": 0}, "n_iter=0"),
        ({"k": 2, "init": "random"}, "init"),
    ):
        with pytest.raises(InputError, match=told):
            TokenClusterer(**settings).transform(X)
    with pytest.raises(DtypeError, match="Ragged"):
        TokenClusterer(k=2).transform(X.values)
    for offsets in ([0, 5], [1, 60], [0, 50, 40, 60]):
        with pytest.raises(DimensionError, match="offsets from"):
            TokenClusterer(k=2).transform(Ragged(X.values, np.array(offsets)))
    with pytest.raises(DtypeError, match="offsets float64"):
        TokenClusterer(k=2).transform(Ragged(X.values, X.offsets.astype(float)))
    bad = X.values.copy()
    bad[4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        TokenClusterer(k=2).transform(Ragged(bad, X.offsets))
