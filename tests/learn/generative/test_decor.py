"""The hook on a pipeline's text vectors: a stand-in around a real CLIP text model, and tiny pipelines of diffusers."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from orthant.errors import InputError  # noqa: E402
from orthant.learn.generative import apply_decor  # noqa: E402

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WIDTH, LENGTH = 32, 12


class Letters:
    """Every letter is a token, as CLIP's tokenizer would give them: start, letters, end, padding by the end token."""

    model_max_length = LENGTH
    bos_token_id, eos_token_id, pad_token_id = 26, 27, 27

    def __call__(self, texts, **options):
        rows = []
        for text in [texts] if isinstance(texts, str) else texts:
            own = [LETTERS.index(letter) for letter in text if letter in LETTERS][: LENGTH - 2]
            rows.append([26, *own, *[27] * (LENGTH - 1 - len(own))])
        return {"input_ids": rows[0] if isinstance(texts, str) else rows}


def clip(width=WIDTH, seed=0):
    torch.manual_seed(seed)
    config = transformers.CLIPTextConfig(
        vocab_size=28,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=8,
        bos_token_id=26,
        eos_token_id=27,
    )
    return transformers.CLIPTextModelWithProjection(config).eval()


class Pipeline:
    """What `encode_prompt` of Stable Diffusion XL does with its two text encoders, and nothing else."""

    def __init__(self, second=True):
        self.tokenizer, self.text_encoder = Letters(), clip()
        self.text_encoder_2 = clip(16, seed=1) if second else None

    def encode_prompt(
        self, prompt, device, num_images_per_prompt, do_classifier_free_guidance, negative_prompt="", prompt_embeds=None
    ):
        def encoded(text):
            texts = [text] if isinstance(text, str) else text
            ids = torch.tensor(self.tokenizer(texts)["input_ids"], device=device)
            encoders = [one for one in (self.text_encoder, self.text_encoder_2) if one is not None]
            outs = [one(ids) for one in encoders]
            return torch.cat([out.last_hidden_state for out in outs], dim=-1), outs[-1].text_embeds

        tokens, pooled = encoded(prompt)
        negative = encoded(negative_prompt) if do_classifier_free_guidance else (None, None)
        if self.text_encoder_2 is None:
            return tokens, negative[0]
        return tokens, negative[0], pooled, negative[1]


def asked(pipeline, prompt="a boat", **options):
    with torch.no_grad():
        return pipeline.encode_prompt(prompt, "cpu", 1, True, **options)


def test_what_is_undesired_is_gone_from_the_guiding_branch_only():
    pipeline = Pipeline(second=False)
    before, negative = asked(pipeline)
    tokens = asked(pipeline, "red")[0][0, 1:4].numpy()
    with apply_decor(pipeline, "red") as hook:
        after, same = asked(pipeline)
        assert hook.pooled is None and hook.projections[0].basis_.shape == (3, WIDTH)
    np.testing.assert_allclose(after[0, 1:].numpy() @ tokens.T, 0, atol=1e-3)
    assert torch.equal(after[0, 0], before[0, 0]) and torch.equal(same, negative)
    assert not torch.allclose(after, before, atol=1e-2)
    assert torch.equal(asked(pipeline)[0], before) and "encode_prompt" not in vars(pipeline)


def test_two_text_encoders_and_the_vector_of_the_prompt_have_their_own_directions():
    pipeline = Pipeline()
    red, before = asked(pipeline, "red"), asked(pipeline)
    hook = apply_decor(pipeline, ["red"], preserve_norm=True)
    after = asked(pipeline)
    for part in (slice(0, WIDTH), slice(WIDTH, WIDTH + 16)):
        product = after[0][0, 1:, part] @ red[0][0, 1:4, part].T
        np.testing.assert_allclose(product.numpy(), 0, atol=1e-3)
        norms = [x[0][0, :, part].norm(dim=-1).numpy() for x in (before, after)]
        np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)
    assert abs(float(torch.nn.functional.cosine_similarity(after[2], red[2]))) < 1e-4
    assert torch.equal(after[3], before[3])
    hook.remove()
    hook.remove()
    half = apply_decor(pipeline, ["red"], strength=0.0)
    np.testing.assert_allclose(asked(pipeline)[0].numpy(), before[0].numpy(), atol=1e-6)
    half.remove()


def test_what_cannot_be_projected_is_refused():
    pipeline = Pipeline(second=False)
    with pytest.raises(InputError, match="no token"):
        apply_decor(pipeline, ["", "..."])
    with pytest.raises(InputError, match="pipeline of the diffusers kind"):
        apply_decor(object(), "red")
    with pytest.raises(InputError, match="strength"):
        apply_decor(pipeline, "red", strength=1.5)
    with apply_decor(pipeline, [LETTERS[:10], LETTERS[10:20], LETTERS[16:]]), pytest.raises(InputError, match="% of"):
        asked(pipeline, "abcdefghij")


def test_a_pipeline_of_diffusers_draws_another_picture(tmp_path):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    tokenizer.model_max_length = LENGTH
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=52,
        eos_token_id=53,
    )
    blocks = {"block_out_channels": (32, 32), "norm_num_groups": 8, "layers_per_block": 1, "sample_size": 16}
    unet = diffusers.UNet2DConditionModel(
        **blocks,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    kinds = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    pipeline = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(**{**blocks, **kinds, "latent_channels": 4}),
        text_encoder=transformers.CLIPTextModel(config).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def drawn():
        settings = {"num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}
        return pipeline("a boat", generator=torch.Generator().manual_seed(0), **settings).images

    plain = drawn()
    with apply_decor(pipeline, "red") as hook:
        assert hook.projections[0].n_features_in_ == 32
        assert np.abs(drawn() - plain).max() > 1e-4
    np.testing.assert_array_equal(drawn(), plain)
