from __future__ import annotations

import pytest

from orthant.errors import DimensionError, InputError, StoreCorruptedError

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from orthant.learn.text.modules import PoolingModule, ReducerModule, prompt_positions  # noqa: E402
from orthant.nn.latent_attention import LatentAttentionPooling  # noqa: E402
from orthant.nn.poolings import MeanPooling, TokenPooling  # noqa: E402
from orthant.nn.token_reducers import ClusterReducer, TailReducer  # noqa: E402


def features(side="right"):
    rng = torch.Generator().manual_seed(0)
    states, mask = torch.zeros(2, 8, 6), torch.zeros(2, 8, dtype=torch.long)
    for row, length in enumerate((7, 5)):
        place = slice(0, length) if side == "right" else slice(8 - length, 8)
        states[row, place] = torch.randn(length, 6, generator=rng)
        mask[row, place] = 1
    return {"token_embeddings": states, "attention_mask": mask, "input_ids": torch.arange(16).view(2, 8) % 5}


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_prompt_is_pooled_only_when_it_is_included(side):
    given = {**features(side), "prompt_length": 3}
    full = PoolingModule("mean", 6)(dict(given))["sentence_embedding"]
    without = PoolingModule("mean", 6, include_prompt=False)(dict(given))["sentence_embedding"]
    for row, length in enumerate((7, 5)):
        start = 0 if side == "right" else 8 - length
        states = given["token_embeddings"][row]
        torch.testing.assert_close(full[row], states[start : start + length].mean(dim=0))
        torch.testing.assert_close(without[row], states[start + 3 : start + length].mean(dim=0))
    # The trainer's batches carry the length as a tensor.
    again = PoolingModule("mean", 6, include_prompt=False)({**given, "prompt_length": torch.tensor([3, 3])})
    torch.testing.assert_close(again["sentence_embedding"], without)
    # The mask is shared with whoever encodes the same features again.
    assert torch.equal(given["attention_mask"], features(side)["attention_mask"])


def test_prompt_positions_are_the_first_real_tokens():
    mask = features("left")["attention_mask"]
    assert prompt_positions(mask, 2).nonzero().tolist() == [[0, 1], [0, 2], [1, 3], [1, 4]]
    assert not prompt_positions(mask, 0).any()


def test_a_text_that_is_all_prompt_is_refused():
    module = PoolingModule("mean", 6, include_prompt=False)
    with pytest.raises(InputError, match=r"row 1 of the batch\) with 0 token"):
        module({**features(), "prompt_length": 5})


def test_flattened_batches_are_padded_again():
    given = features()
    lengths = (7, 5)
    flat = torch.cat([given["token_embeddings"][row, :length] for row, length in enumerate(lengths)])[None]
    ids = torch.cat([given["input_ids"][row, :length] for row, length in enumerate(lengths)])[None]
    cut = {"token_embeddings": flat, "input_ids": ids, "cu_seq_lens_q": torch.tensor([0, 7, 12], dtype=torch.int32)}
    for make in (lambda: PoolingModule("max", 6), lambda: ReducerModule(TailReducer(2))):
        for name in ("sentence_embedding", "token_embeddings"):
            expected, found = make()(dict(given)), make()(dict(cut))
            if name in expected and name in found and expected[name].shape == found[name].shape:
                torch.testing.assert_close(found[name], expected[name])


def test_special_tokens_are_found_through_the_features():
    found = PoolingModule(TokenPooling(token_id=3), 6)(features())["sentence_embedding"]
    given = features()
    torch.testing.assert_close(found[0], given["token_embeddings"][0, 3])
    torch.testing.assert_close(found[1], given["token_embeddings"][1, 0])


@pytest.mark.parametrize(
    "pooling",
    [
        MeanPooling(weights="position"),
        TokenPooling(position=1, token_id=3),
        LatentAttentionPooling(6, num_latents=3, num_heads=2, residual=False),
        "contextual_eos",
    ],
)
def test_poolings_save_and_load_equal(pooling, tmp_path):
    module = PoolingModule(pooling, 6, include_prompt=False)
    module.save(str(tmp_path))
    again = PoolingModule.load(str(tmp_path))
    assert again.get_config_dict() == module.get_config_dict() and again.pooling_mode == module.pooling_mode
    assert again.get_embedding_dimension() == (12 if pooling == "contextual_eos" else 6)
    # The second text has no second token number 3; the first will do.
    given = {name: value[:1] for name, value in features().items()}
    given["input_ids"][0, 5] = 3
    torch.testing.assert_close(again(dict(given))["sentence_embedding"], module(dict(given))["sentence_embedding"])


def test_weights_that_do_not_fit_are_refused(tmp_path):
    PoolingModule(LatentAttentionPooling(6, num_latents=3, num_heads=2), 6).save(str(tmp_path))
    config = (tmp_path / "config.json").read_text().replace('"num_latents": 3', '"num_latents": 4')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(StoreCorruptedError, match="weights"):
        PoolingModule.load(str(tmp_path))
    with pytest.raises(DimensionError, match="width 8 for a pooling of width 6"):
        PoolingModule(LatentAttentionPooling(6, num_latents=3, num_heads=2), 8)


def test_queries_and_documents_have_reducers_of_their_own(tmp_path):
    module = ReducerModule(documents=ClusterReducer(k=3), queries=TailReducer(2))
    module.save(str(tmp_path))
    for one in (module, ReducerModule.load(str(tmp_path))):
        for task, reducer in (
            ("document", ClusterReducer(k=3)),
            (None, ClusterReducer(k=3)),
            ("query", TailReducer(2)),
        ):
            given = features("left")
            expected = reducer(given["token_embeddings"], given["attention_mask"])
            found = one(dict(given), task=task)
            torch.testing.assert_close(found["token_embeddings"], expected[0])
            assert torch.equal(found["attention_mask"], expected[1])
            plain = [s[m.bool()] for s, m in zip(given["token_embeddings"], given["attention_mask"], strict=True)]
            for row, kept in enumerate(one.pool(plain, task=task)):
                torch.testing.assert_close(kept, expected[0][row][expected[1][row]])
    only = ReducerModule(queries=TailReducer(2))
    assert only(features())["token_embeddings"].shape == (2, 8, 6) and not only.applies_to("document")
    with pytest.raises(InputError, match="no reducer"):
        ReducerModule()
