from __future__ import annotations

import json

import numpy as np
import pytest

from encoders.tiny_models import write_tiny_bert
from learn.text.text_models import TEXTS, decoder_config, tokenizer_folder
from orthant.encoders import load_encoder
from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from orthant.learn.text.backbone import load_backbone  # noqa: E402
from orthant.learn.text.encoder import build_text_encoder, load_text_model  # noqa: E402
from orthant.nn.latent_attention import LatentAttentionPooling  # noqa: E402
from orthant.nn.poolings import TokenPooling, make_pooling  # noqa: E402

POOLINGS = ("mean", "weighted_mean", "max", "cls", "last", "latent_attention", "contextual_eos")
PROMPTS = {"query": "find: ", "document": ""}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tokenizer_folder(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def decoder(words):
    return load_backbone(decoder_config("Qwen2"), tokenizer=words, bidirectional=True)


@pytest.mark.parametrize(
    ("pooling", "include_prompt"),
    [("mean", True), ("mean", False), ("last", True), ("latent_attention", False), ("contextual_eos", True)],
)
def test_saved_models_load_equal(pooling, include_prompt, decoder, tmp_path):
    model = build_text_encoder(
        decoder, pooling=pooling, projection=8, prompts=PROMPTS, include_prompt=include_prompt, device="cpu"
    )
    expected = model.encode_query(TEXTS)
    assert expected.shape == (4, 8)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)
    model.save_pretrained(str(tmp_path), create_model_card=False)
    again = load_text_model(tmp_path, device="cpu")
    np.testing.assert_allclose(again.encode_query(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(again.encode_document(TEXTS), model.encode_document(TEXTS), atol=1e-6)
    assert again[0].auto_model.config.is_causal is False and again.prompts == model.prompts


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_the_parts(pooling, decoder):
    model = build_text_encoder(decoder, pooling=pooling, normalize=False, device="cpu")
    features = decoder.preprocess(TEXTS)
    with torch.no_grad():
        decoder(features)
        own = make_pooling(pooling, dim=32)
        if pooling == "latent_attention":
            own.load_state_dict(model[1].inner.state_dict())
        expected = own(features["token_embeddings"], features["attention_mask"])
    np.testing.assert_allclose(model.encode(TEXTS), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last", "latent_attention"])
def test_w63_padding_side_does_not_matter(pooling, decoder):
    model = build_text_encoder(decoder, pooling=pooling, prompts=PROMPTS, include_prompt=False, device="cpu")
    try:
        decoder.tokenizer.padding_side = "right"
        right = model.encode_query(TEXTS)
        decoder.tokenizer.padding_side = "left"
        np.testing.assert_allclose(model.encode_query(TEXTS), right, atol=1e-5)
    finally:
        decoder.tokenizer.padding_side = "right"


def test_common_poolings_need_nothing_but_sentence_transformers(words, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = build_text_encoder(words, pooling="mean", device="cpu")
    model.save_pretrained(str(tmp_path), create_model_card=False)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert all(module["type"].startswith("sentence_transformers.") for module in modules)
    plain = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    np.testing.assert_allclose(plain.encode(TEXTS), model.encode(TEXTS), atol=1e-6)
    # It is also what the encoder without torch reads.
    np.testing.assert_allclose(load_encoder(tmp_path).encode(TEXTS), model.encode(TEXTS), atol=1e-5)


def test_other_poolings_load_in_the_library_when_trusted(decoder, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = build_text_encoder(decoder, pooling="latent_attention", device="cpu")
    model.save_pretrained(str(tmp_path), create_model_card=False)
    plain = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True, local_files_only=True)
    np.testing.assert_allclose(plain.encode(TEXTS), model.encode(TEXTS), atol=1e-6)


def test_models_serve_as_encoders(decoder):
    model = build_text_encoder(decoder, pooling="latent_attention", prompts=PROMPTS, device="cpu")
    encoder = load_encoder(model)
    assert encoder.dim == 32 and encoder.max_tokens == model.max_seq_length
    np.testing.assert_allclose(encoder.encode(TEXTS, role="query"), model.encode_query(TEXTS), atol=1e-6)


def test_w35_identity_tells_poolings_prompts_and_directions_apart(words):
    def named(backbone, **settings):
        return load_encoder(build_text_encoder(backbone, device="cpu", **settings)).fingerprint

    causal = load_backbone(decoder_config("Qwen2"), tokenizer=words)
    both = load_backbone(decoder_config("Qwen2"), tokenizer=words, bidirectional=True)
    names = [
        named(both, pooling=TokenPooling(position=1)),
        named(both, pooling=TokenPooling(position=2)),
        named(both, pooling="mean"),
        named(both, pooling="mean", include_prompt=False),
        named(causal, pooling="mean"),
        named(causal, pooling=TokenPooling(position=1)),
    ]
    assert len(set(names)) == len(names)


def test_the_instruction_is_attended_to_but_not_pooled(decoder):
    included = build_text_encoder(decoder, prompts=PROMPTS, device="cpu")
    left_out = build_text_encoder(decoder, prompts=PROMPTS, include_prompt=False, device="cpu")
    assert not np.allclose(included.encode_query(TEXTS), left_out.encode_query(TEXTS), atol=1e-3)
    # Without a prompt the two are one.
    np.testing.assert_allclose(included.encode_document(TEXTS), left_out.encode_document(TEXTS), atol=1e-5)
    # Attention still sees it.
    other = build_text_encoder(decoder, prompts={"query": "name: "}, include_prompt=False, device="cpu")
    assert not np.allclose(other.encode_query(TEXTS), left_out.encode_query(TEXTS), atol=1e-4)


def test_a_text_that_is_all_instruction_is_refused(decoder):
    # The prompt fills the window; the closing token that remains says nothing of the text.
    model = build_text_encoder(decoder, prompts={"query": "abcdefghijklm " * 20}, include_prompt=False, device="cpu")
    with pytest.raises(InputError, match="nothing to pool beside the prompt"):
        model.encode_query(["a"])
    short = build_text_encoder(decoder, prompts=PROMPTS, include_prompt=False, device="cpu")
    with pytest.raises(InputError, match=r"row 1 of the batch"):
        short.encode_query(["a", ""])
    assert np.isfinite(short.encode_document(["a", ""])).all()


def test_start_weights_follow_the_seed(decoder):
    def weight(seed):
        model = build_text_encoder(decoder, pooling="latent_attention", projection=4, seed=seed, device="cpu")
        return model[1].inner.latents, model[2].linear.weight

    for one, again, other in zip(*(weight(seed) for seed in (1, 1, 2)), strict=True):
        assert torch.equal(one, again) and not torch.equal(one, other)


def test_windows_are_set_and_kept(words, tmp_path):
    model = build_text_encoder(words, max_tokens=8, device="cpu")
    model.save_pretrained(str(tmp_path), create_model_card=False)
    assert model.max_seq_length == 8 and load_text_model(tmp_path, device="cpu").max_seq_length == 8


def test_what_does_not_fit_is_refused(words, decoder, tmp_path):
    with pytest.raises(NotFoundError, match="never downloaded"):
        build_text_encoder("intfloat/e5-small")
    with pytest.raises(NotFoundError, match="never downloaded"):
        load_text_model(tmp_path / "missing")
    with pytest.raises(InputError, match=r"without modules\.json"):
        load_text_model(tmp_path)
    with pytest.raises(DimensionError, match="width 32 for a pooling of width 64"):
        build_text_encoder(decoder, pooling=LatentAttentionPooling(64, num_latents=2))
    with pytest.raises(InputError, match="pooling='average'"):
        build_text_encoder(decoder, pooling="average")
    with pytest.raises(InputError, match="num_heads=5"):
        build_text_encoder(decoder, pooling={"kind": "latent_attention", "num_heads": 5})
    with pytest.raises(InputError, match="dimension=0"):
        build_text_encoder(decoder, projection=0)
    with pytest.raises(InputError, match="a Linear"):
        build_text_encoder(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="max_tokens=100"):
        build_text_encoder(decoder, max_tokens=100)


def test_folders_with_other_modules_or_damage_are_refused(words, tmp_path):
    folder = write_tiny_bert(tmp_path / "tiny")
    entries = json.loads((folder / "modules.json").read_text())

    def told(entry, error, text):
        (folder / "modules.json").write_text(json.dumps([entries[0], entry]))
        with pytest.raises(error, match=text):
            load_text_model(folder, device="cpu")

    told({"name": "1", "path": "1_Pooling", "type": "os.path.Pooling"}, InputError, "trust_remote_code")
    told({"name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Nothing"}, InputError, "Nothing")
    told({"name": "1", "path": "../x", "type": "sentence_transformers.models.Pooling"}, InputError, "inside the model")
    (folder / "model.safetensors").write_bytes(b"no weights")
    told(entries[1], StoreCorruptedError, "loading failed")
    (folder / "modules.json").write_text("{")
    with pytest.raises(StoreCorruptedError, match="JSON"):
        load_text_model(folder)
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder"}))
    write_tiny_bert(tmp_path / "whole")
    (folder / "model.safetensors").write_bytes((tmp_path / "whole" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="CrossEncoder"):
        load_text_model(folder)
