from __future__ import annotations

import pytest

from orthant.errors import DimensionError, InputError

torch = pytest.importorskip("torch")

from orthant.nn.token_reducers import (  # noqa: E402
    ClusterReducer,
    HeadReducer,
    RandomReducer,
    StrideReducer,
    TailReducer,
    make_reducer,
)

LENGTHS = (11, 3, 0, 20)
EVERY = (
    {"kind": "cluster", "k": 4},
    {"kind": "cluster", "k": 4, "init": "farthest"},
    {"kind": "cluster", "ratio": 0.25},
    {"kind": "tail", "k": 4},
    {"kind": "stride", "k": 3},
    {"kind": "random", "k": 4},
)
WIDTHS = ([4, 3, 0, 4], [4, 3, 0, 4], [2, 1, 0, 5], [4, 3, 0, 4], [4, 1, 0, 7], [4, 3, 0, 4])


def batch(side="right", *, width=24, filler=0.0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    tokens, mask = torch.full((4, width, 6), filler), torch.zeros(4, width, dtype=torch.bool)
    for row, length in enumerate(LENGTHS):
        place = slice(0, length) if side == "right" else slice(width - length, width)
        tokens[row, place] = torch.randn(length, 6, generator=rng)
        mask[row, place] = True
    return tokens.to(dtype), mask


@pytest.mark.parametrize(("config", "sizes"), list(zip(EVERY, WIDTHS, strict=True)))
def test_numbers_of_vectors_and_padding(config, sizes):
    reducer = make_reducer(config)
    kept, live = reducer(*batch())
    assert live.sum(dim=1).tolist() == sizes and kept.shape == (4, max(sizes), 6)
    assert (kept[~live] == 0).all()
    for side in ("left", "right"):
        for filler in (1e4, float("nan")):
            again, mask = reducer(*batch(side, filler=filler, width=31))
            assert torch.equal(mask, live)
            torch.testing.assert_close(again, kept, rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", EVERY)
def test_settings_make_an_equal_reducer(config):
    reducer = make_reducer(config)
    assert make_reducer(reducer.config()).config() == reducer.config()
    torch.testing.assert_close(make_reducer(reducer.config())(*batch())[0], reducer(*batch())[0])


def test_gaps_in_the_mask_are_no_tokens():
    tokens, mask = batch()
    holes = mask & (torch.arange(24) % 3 != 0)
    packed = torch.zeros(4, 24, 6)
    for row in range(4):
        packed[row, : int(holes[row].sum())] = tokens[row][holes[row]]
    dense = torch.arange(24) < holes.sum(dim=1, keepdim=True)
    for config in EVERY:
        torch.testing.assert_close(make_reducer(config)(tokens, holes)[0], make_reducer(config)(packed, dense)[0])


def test_tail_and_stride_keep_what_they_say():
    tokens, mask = batch("left")
    torch.testing.assert_close(HeadReducer(4)(tokens, mask)[0][3], tokens[3, 4:8])
    torch.testing.assert_close(TailReducer(4)(tokens, mask)[0][3], tokens[3, -4:])
    torch.testing.assert_close(StrideReducer(3)(tokens, mask)[0][3], tokens[3, 4:][::3])


@pytest.mark.parametrize("init", ["spread", "farthest"])
def test_gradient_is_one_over_the_size_of_the_cluster(init):
    tokens, mask = batch(dtype=torch.float64)
    tokens.requires_grad_()
    kept, _ = ClusterReducer(k=4, init=init)(tokens, mask)
    upstream = torch.randn(kept.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kept.backward(upstream)
    # Which cluster a token is in follows from which mean it helps to make.
    for row in (0, 3):
        real = tokens[row, : LENGTHS[row]].detach()
        found = torch.cdist(real, kept[row].detach()).argmin(dim=1)
        sizes = found.bincount(minlength=4)
        expected = upstream[row][found] / sizes[found][:, None]
        torch.testing.assert_close(tokens.grad[row, : LENGTHS[row]], expected, rtol=1e-12, atol=1e-12)
        for j in range(4):
            torch.testing.assert_close(kept[row, j], real[found == j].mean(dim=0))
    torch.testing.assert_close(tokens.grad[1, :3], upstream[1, :3])
    assert (tokens.grad[~mask] == 0).all()


@pytest.mark.parametrize("init", ["spread", "farthest"])
def test_short_texts_keep_their_tokens_unchanged_and_in_order(init):
    tokens, mask = batch()
    # The third token is the farthest from the first: a start by distance would come before the second.
    tokens[1, :3, 0] = torch.tensor([0.0, 1.0, 9.0])
    kept, _ = ClusterReducer(k=4, init=init)(tokens, mask)
    assert torch.equal(kept[1, :3], tokens[1, :3])


def test_starts_are_distinct_even_where_tokens_are_equal():
    from orthant.nn.token_reducers import _farthest_positions

    tokens, live = torch.ones(1, 6, 3), torch.ones(1, 4, dtype=torch.bool)
    starts = _farthest_positions(tokens, tokens.square().sum(dim=2), torch.ones(1, 6, dtype=torch.bool), live)
    assert len(set(starts[0].tolist())) == 4


def test_equal_tokens_give_as_many_vectors_as_asked_for():
    kept, live = ClusterReducer(k=4)(torch.ones(2, 9, 3), torch.ones(2, 9))
    assert live.all() and kept.shape == (2, 4, 3)
    torch.testing.assert_close(kept, torch.ones(2, 4, 3))


def test_unit_length_on_request():
    kept, live = ClusterReducer(k=4, normalize=True)(*batch())
    torch.testing.assert_close(kept[live].norm(dim=-1), torch.ones(int(live.sum())))


def test_half_precision_is_clustered_in_float32():
    tokens, mask = batch(dtype=torch.bfloat16)
    kept, live = ClusterReducer(k=4)(tokens, mask)
    assert kept.dtype == torch.bfloat16
    wide, _ = ClusterReducer(k=4)(tokens.float(), mask)
    torch.testing.assert_close(kept[live].float(), wide[live], rtol=1e-2, atol=1e-2)


def test_random_groups_follow_the_seed_and_are_worse_than_clusters():
    tokens, mask = batch()
    one, two = RandomReducer(k=4, seed=1), RandomReducer(k=4, seed=2)
    assert torch.equal(one(tokens, mask)[0], one(tokens, mask)[0])
    assert not torch.allclose(one(tokens, mask)[0], two(tokens, mask)[0])
    torch.testing.assert_close(one(tokens, mask)[0][1, :3], tokens[1, :3])

    def gap(reducer):
        kept, _ = reducer(tokens, mask)
        return torch.cdist(tokens[3, :20], kept[3]).min(dim=1).values.square().sum()

    assert gap(ClusterReducer(k=4)) < gap(one)


def test_what_does_not_fit_is_refused():
    tokens, mask = batch()
    with pytest.raises(DimensionError, match=r"\(4, 20\)"):
        TailReducer(2)(tokens, mask[:, :20])
    for call, told in (
        (lambda: ClusterReducer(), "exactly one"),
        (lambda: ClusterReducer(k=3, ratio=0.5), "exactly one"),
        (lambda: ClusterReducer(k=0), "k=0"),
        (lambda: ClusterReducer(ratio=0.0), "above 0"),
        (lambda: ClusterReducer(ratio=1.2), "ratio=1.2"),
        (lambda: ClusterReducer(k=3, n_iter=0), "n_iter"),
        (lambda: ClusterReducer(k=3, init="random"), "init"),
        (lambda: RandomReducer(ratio=-0.1), "ratio"),
        (lambda: TailReducer(0), "k=0"),
        (lambda: StrideReducer(0), "k=0"),
        (lambda: make_reducer({"kind": "mean"}), "reducer='mean'"),
        (lambda: make_reducer({"kind": "tail", "n": 3}), "reducer 'tail'"),
    ):
        with pytest.raises(InputError, match=told):
            call()


def test_no_texts_at_all():
    kept, live = ClusterReducer(k=4)(torch.zeros(0, 5, 3), torch.zeros(0, 5))
    assert kept.shape == (0, 0, 3) and live.shape == (0, 0)
    kept, live = ClusterReducer(k=4)(torch.zeros(2, 5, 3), torch.zeros(2, 5))
    assert kept.shape == (2, 0, 3) and live.shape == (2, 0)
