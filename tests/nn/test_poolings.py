from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError

torch = pytest.importorskip("torch")

from orthant.nn.latent_attention import LatentAttentionPooling  # noqa: E402
from orthant.nn.poolings import (  # noqa: E402
    ContextualEosPooling,
    MaxPooling,
    MeanPooling,
    TokenPooling,
    make_pooling,
)

LENGTHS = (4, 7, 2)


def batch(side: str = "right", *, seed: int = 0, width: int = 9, dim: int = 6, filler: float = 0.0):
    """Three texts padded on one side; what stands on padding is `filler`."""
    rng = torch.Generator().manual_seed(seed)
    states = torch.full((len(LENGTHS), width, dim), filler)
    mask = torch.zeros(len(LENGTHS), width, dtype=torch.bool)
    for row, length in enumerate(LENGTHS):
        place = slice(0, length) if side == "right" else slice(width - length, width)
        states[row, place] = torch.randn(length, dim, generator=rng)
        mask[row, place] = True
    return states, mask


def first_tokens(mask, count):
    return mask & (mask.long().cumsum(dim=1) <= count)


def every_pooling():
    torch.manual_seed(1)
    return [
        *map(make_pooling, ("mean", "weighted_mean", "max", "cls", "last", "contextual_eos")),
        TokenPooling(position=1),
        LatentAttentionPooling(6, num_latents=5, num_heads=2),
    ]


@pytest.mark.parametrize("index", range(8))
def test_w63_padding_counts_neither_by_side_nor_by_content(index):
    pooling = every_pooling()[index]
    expected = pooling(*batch("right"))
    assert expected.shape == (3, pooling.dim_out(6))
    for side in ("left", "right"):
        for filler in (1e4, float("nan")):
            torch.testing.assert_close(pooling(*batch(side, filler=filler)), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(pooling(*batch("right", width=30)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("index", range(8))
def test_what_stands_on_the_prompt_is_not_pooled(index):
    pooling = every_pooling()[index]
    states, mask = batch("left")
    # The third text keeps two tokens, the others lose their first.
    prompt = first_tokens(mask, 1) & torch.tensor([[True], [True], [False]])
    expected = pooling(states, mask, prompt_mask=prompt)
    changed = states + prompt[..., None] * 50.0
    torch.testing.assert_close(pooling(changed, mask, prompt_mask=prompt), expected)
    if pooling.config()["kind"] != "last":
        assert not torch.allclose(pooling(changed, mask)[:2], expected[:2])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("mean", "mean"), ("weighted_mean", "weightedmean"), ("max", "max"), ("cls", "cls"), ("last", "lasttoken")],
)
@pytest.mark.parametrize("prompt_length", [0, 1])
def test_equal_to_sentence_transformers(kind, theirs, side, prompt_length):
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    states, mask = batch(side)
    features = {"token_embeddings": states, "attention_mask": mask.long(), "prompt_length": prompt_length}
    expected = modules.Pooling(6, theirs, include_prompt=False)(features)["sentence_embedding"]
    found = make_pooling(kind)(states, mask, prompt_mask=first_tokens(mask, prompt_length))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pooling", [MeanPooling(), MeanPooling(weights="position")])
def test_sums_are_taken_in_float32(pooling):
    # A thousand times a hundred is beyond float16; the average is not.
    out = pooling(torch.full((1, 1000, 1), 100.0, dtype=torch.float16), torch.ones(1, 1000))
    assert out.dtype == torch.float16 and out.item() == 100


def test_latent_attention_averages_in_float32():
    torch.manual_seed(5)
    pooling = LatentAttentionPooling(6, num_latents=4, num_heads=2).half()
    with torch.no_grad():
        pooling.narrow.bias.fill_(100.0)
    states = torch.randn(1, 1000, 6)
    out = pooling(states.half(), torch.ones(1, 1000))
    assert out.dtype == torch.float16 and torch.isfinite(out).all()
    torch.testing.assert_close(out.float(), pooling.float()(states, torch.ones(1, 1000)), rtol=2e-3, atol=0.1)


def test_a_special_token_is_found_by_its_number():
    states, mask = batch("left")
    ids = torch.arange(9).repeat(3, 1) % 4
    first = TokenPooling(token_id=3)(states, mask, token_ids=ids)
    last = TokenPooling(token_id=3, position=-1)(states, mask, token_ids=ids)
    for row, length in enumerate(LENGTHS):
        places = [t for t in range(9 - length, 9) if t % 4 == 3]
        torch.testing.assert_close(first[row], states[row, places[0]])
        torch.testing.assert_close(last[row], states[row, places[-1]])
    with pytest.raises(InputError, match="no token ids"):
        TokenPooling(token_id=3)(states, mask)
    with pytest.raises(InputError, match=r"row 0 .* 0 token"):
        TokenPooling(token_id=77)(states, mask, token_ids=ids)


def test_contextual_and_end_states_are_joined_in_this_order():
    states, mask = batch("left")
    out = ContextualEosPooling()(states, mask)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(out[row], torch.cat([states[row, 9 - length], states[row, -1]]))


def _latent_reference(pooling, states, mask):
    """Latent attention in float64 NumPy, text by text and head by head."""
    w = {name: value.detach().double().numpy() for name, value in pooling.state_dict().items()}

    def norm(x, name):
        if not pooling.prenorm:
            return x
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return scaled * w[f"norm_{name}.weight"] + w[f"norm_{name}.bias"]

    from scipy.special import erf

    out = []
    for x, real in zip(states.double().numpy(), mask.numpy(), strict=True):
        x = x[real]
        latents = norm(w["latents"], "latents")
        q, k, v = (
            part @ w[f"to_{n}.weight"].T
            for part, n in ((norm(x, "states"), "queries"), (latents, "keys"), (latents, "values"))
        )
        heads = []
        for h in range(pooling.num_heads):
            cut = slice(h * pooling.head_dim, (h + 1) * pooling.head_dim)
            scores = np.exp(q[:, cut] @ k[:, cut].T / np.sqrt(pooling.head_dim))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, cut])
        o = np.concatenate(heads, axis=1) @ w["to_out.weight"].T + (x if pooling.residual else 0)
        hidden = norm(o, "mlp") @ w["widen.weight"].T + w["widen.bias"]
        a, b = np.split(hidden, 2, axis=1)
        m = (a * b * 0.5 * (1 + erf(b / np.sqrt(2)))) @ w["narrow.weight"].T + w["narrow.bias"]
        out.append((m + (o if pooling.residual else 0)).mean(axis=0))
    return np.stack(out)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("prenorm", [True, False])
@pytest.mark.parametrize("head_dim", [None, 5])
def test_latent_attention_equals_the_formula(residual, prenorm, head_dim):
    torch.manual_seed(2)
    pooling = LatentAttentionPooling(
        6, num_latents=7, num_heads=3, head_dim=head_dim, mlp_ratio=2, residual=residual, prenorm=prenorm
    )
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    states, mask = batch("left")
    expected = _latent_reference(pooling, states, mask)
    np.testing.assert_allclose(pooling(states, mask).detach().numpy(), expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(pooling.double()(states.double(), mask).detach().numpy(), expected, atol=1e-12)


def test_the_order_of_latents_does_not_matter_and_their_content_does():
    torch.manual_seed(3)
    pooling = LatentAttentionPooling(6, num_latents=8, num_heads=2)
    states, mask = batch()
    expected = pooling(states, mask)
    with torch.no_grad():
        pooling.latents.copy_(pooling.latents[torch.randperm(8)])
        torch.testing.assert_close(pooling(states, mask), expected, rtol=0, atol=1e-5)
        pooling.latents.mul_(-1)
        assert not torch.allclose(pooling(states, mask), expected, atol=1e-3)


def test_tokens_attend_before_the_average_is_taken():
    # Averaging first is another model: it must not be the same where states differ within a text.
    torch.manual_seed(4)
    pooling = LatentAttentionPooling(6, num_latents=8, num_heads=2)
    states, mask = batch()
    averaged = MeanPooling()(states, mask)[:, None]
    assert not torch.allclose(pooling(averaged, torch.ones(3, 1)), pooling(states, mask), atol=1e-3)


def test_every_parameter_gets_a_gradient():
    pooling = LatentAttentionPooling(6, num_latents=4, num_heads=2)
    pooling(*batch()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pooling.parameters())


@pytest.mark.parametrize("index", range(8))
def test_settings_make_an_equal_pooling(index):
    pooling = every_pooling()[index]
    again = make_pooling(pooling.config())
    again.load_state_dict(pooling.state_dict())
    torch.testing.assert_close(again(*batch()), pooling(*batch()))
    assert again.config() == pooling.config()
    assert make_pooling("latent_attention", dim=16).config()["dim"] == 16


def test_what_does_not_fit_is_refused():
    states, mask = batch()
    with pytest.raises(InputError, match=r"num_heads=4 for dim=6.*divisor"):
        LatentAttentionPooling(6, num_heads=4)
    with pytest.raises(InputError, match="num_latents=0"):
        LatentAttentionPooling(6, num_latents=0, num_heads=2)
    with pytest.raises(DimensionError, match="width 6 for a pooling of width 8"):
        LatentAttentionPooling(8, num_heads=2)(states, mask)
    with pytest.raises(DimensionError, match=r"\(3, 8\)"):
        MeanPooling()(states, mask[:, :8])
    with pytest.raises(DimensionError, match="prompt mask"):
        MeanPooling()(states, mask, prompt_mask=mask[:2])
    with pytest.raises(InputError, match="pooling='average'"):
        make_pooling("average")
    with pytest.raises(InputError, match="depth"):
        make_pooling({"kind": "mean", "depth": 3})


@pytest.mark.parametrize("index", range(8))
def test_a_text_that_is_all_prompt_is_refused(index):
    pooling = every_pooling()[index]
    states, mask = batch()
    with pytest.raises(InputError, match=r"row 2 of the batch\) with 0 token"):
        pooling(states, mask, prompt_mask=mask & torch.tensor([[False], [False], [True]]))
    with pytest.raises(InputError, match="row 0"):
        MaxPooling()(states, torch.zeros_like(mask))


@pytest.mark.filterwarnings("ignore")
def test_the_check_stays_out_of_a_traced_graph():
    states, mask = batch()
    traced = torch.jit.trace(MeanPooling(), (states, mask))
    torch.testing.assert_close(traced(states, mask), MeanPooling()(states, mask))
