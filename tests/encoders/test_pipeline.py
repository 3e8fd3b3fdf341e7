"""What stands behind a transformer, without torch: equal to sentence-transformers module by module."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from encoders.tiny_models import WIDTH, write_tiny_bert
from orthant.encoders.pipeline.pooling import POOLINGS, pool
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder
from orthant.encoders.transformer import TransformerEncoder
from orthant.encoders.transformer_folder import read_transformer_folder
from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError

TEXTS = ["a cat", "", "the lighthouse keeper", "dog.", "a cat sat on a mat and ran off, no. 7", "?", "日本"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A function from modules to a saved model and the object, both of sentence-transformers."""
    pytest.importorskip("torch").manual_seed(0)
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    root = tmp_path_factory.mktemp("models")
    source = write_tiny_bert(root / "tiny")

    def build(*modules, prompts=None):
        model = SentenceTransformer(modules=[Transformer(str(source)), *modules], device="cpu", prompts=prompts)
        target = root / f"model{len(list(root.iterdir()))}"
        model.save_pretrained(str(target), create_model_card=False)
        return target, model

    return build


def check_equal(folder, model, tolerance=2e-6):
    encoder = TransformerEncoder.load(folder, backend="numpy")
    assert encoder.fingerprint == SentenceTransformerEncoder(model).fingerprint
    for role in ("query", "document"):
        wanted = getattr(model, f"encode_{role}")(TEXTS, batch_size=4, show_progress_bar=False)
        found = encoder.encode(TEXTS, role=role, batch_size=3)
        assert found.shape == wanted.shape and encoder.dim == wanted.shape[1]
        np.testing.assert_allclose(found, wanted, atol=tolerance * max(1, np.abs(wanted).max()))
    return encoder


@pytest.mark.parametrize("mode", [*POOLINGS, ("mean", "cls"), ("max", "weightedmean", "lasttoken")], ids=str)
@pytest.mark.parametrize("prompted", [True, False])
def test_poolings(built, mode, prompted):
    from sentence_transformers.sentence_transformer.modules import Pooling

    prompts = {"query": "find: ", "document": "x y z "}
    folder, model = built(Pooling(WIDTH, pooling_mode=mode, include_prompt=prompted), prompts=prompts)
    encoder = check_equal(folder, model)
    assert ("without-prompt" in encoder.fingerprint) != prompted


def test_layers_behind_the_pooling(built):
    import torch
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling

    norm = LayerNorm(48)
    with torch.no_grad():
        norm.norm.weight.normal_()
        norm.norm.bias.normal_()
    folder, model = built(
        Pooling(WIDTH, pooling_mode="mean"),
        Dense(WIDTH, 48),
        norm,
        Dropout(0.3),
        Normalize(),
        Dense(48, 48, activation_function=torch.nn.PReLU(), use_residual=True),
        Dense(48, 16, bias=False, activation_function=None, use_residual=True),
        Normalize(),
    )
    encoder = check_equal(folder, model)
    assert encoder.dim == 16 and encoder.encode_tokens(["a cat"]).values.shape[1] == WIDTH
    longer = TransformerEncoder.load(folder, backend="numpy", truncation="chunk", max_tokens=8)
    np.testing.assert_allclose(np.linalg.norm(longer.encode(["abc " * 20]), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "ELU", "LeakyReLU", "PReLU", "Identity"])
def test_activations(built, name):
    import torch
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling

    folder, model = built(Pooling(WIDTH), Dense(WIDTH, 5, activation_function=getattr(torch.nn, name)()))
    check_equal(folder, model)


def test_activations_and_weights_tell_models_apart(built):
    import torch
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling

    dense = Dense(WIDTH, 5)
    found = {TransformerEncoder.load(built(Pooling(WIDTH), dense)[0], backend="numpy").fingerprint}
    dense.activation_function = torch.nn.Identity()
    found.add(TransformerEncoder.load(built(Pooling(WIDTH), dense)[0], backend="numpy").fingerprint)
    with torch.no_grad():
        dense.linear.weight[0, 0] += 1
    found.add(TransformerEncoder.load(built(Pooling(WIDTH), dense)[0], backend="numpy").fingerprint)
    assert len(found) == 3


def test_old_names_of_norms_are_the_same_model(tmp_path):
    new, old = write_tiny_bert(tmp_path / "new"), write_tiny_bert(tmp_path / "old")
    weights = load_file(old / "model.safetensors")
    words = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for word, other in words.items():
        weights = {name.replace(word, other): array for name, array in weights.items()}
    save_file(weights, old / "model.safetensors")
    encoders = [TransformerEncoder.load(folder, backend="numpy") for folder in (new, old)]
    assert encoders[0].fingerprint == encoders[1].fingerprint
    np.testing.assert_array_equal(*(encoder.encode(TEXTS) for encoder in encoders))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_w63_padding_on_either_side_is_left_out(pooling):
    states = np.random.default_rng(0).standard_normal((1, 3, 4)).astype(np.float32)
    junk = np.full((1, 2, 4), 1e6, np.float32)
    wanted = pool(states, np.ones((1, 3), np.int64), pooling=pooling)
    for parts, mask in (((states, junk), [1, 1, 1, 0, 0]), ((junk, states), [0, 0, 1, 1, 1])):
        found = pool(np.concatenate(parts, axis=1), np.array([mask]), pooling=pooling)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_formulas_of_the_averages():
    states = np.random.default_rng(0).standard_normal((1, 3, 4)).astype(np.float32)
    mask = np.ones((1, 3), np.int64)
    a, b, c = states[0].astype(np.float64)
    np.testing.assert_allclose(pool(states, mask, pooling="mean_sqrt_len_tokens")[0], (a + b + c) / 3**0.5, atol=1e-6)
    np.testing.assert_allclose(pool(states, mask, pooling="weightedmean")[0], (a + 2 * b + 3 * c) / 6, atol=1e-6)
    left = pool(states, mask, pooling="weightedmean", counted=np.array([[0, 1, 1]]))
    np.testing.assert_allclose(left[0], (2 * b + 3 * c) / 5, atol=1e-6)


@pytest.fixture
def projected(tmp_path):
    """A tiny model with one Dense module, written by hand."""
    folder = write_tiny_bert(tmp_path / "tiny", normalize=False)
    types = ["Transformer", "Pooling", "Dense"]
    paths = ["", "1_Pooling", "2_Dense"]
    entries = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(types)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "2_Dense").mkdir()
    config = {"in_features": WIDTH, "out_features": 4, "bias": True}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
    weights = {"linear.weight": np.ones((4, WIDTH), np.float32), "linear.bias": np.zeros(4, np.float32)}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    return folder


def test_what_cannot_be_served_is_named(projected):
    assert TransformerEncoder.load(projected, backend="numpy").dim == 4
    config = json.loads((projected / "2_Dense" / "config.json").read_text())
    for change, error, text in (
        ({"activation_function": "mine.Cube"}, InputError, "mine.Cube"),
        ({"activation_function": "torch.nn.modules.activation.Softmax"}, InputError, "Softmax"),
        ({"module_input_name": "token_embeddings"}, InputError, "token_embeddings"),
        ({"in_features": 31}, DimensionError, "31 values after vectors of 32"),
    ):
        (projected / "2_Dense" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(error, match=text):
            read_transformer_folder(projected)
    (projected / "2_Dense" / "config.json").write_text(json.dumps({**config, "out_features": 5}))
    with pytest.raises(StoreCorruptedError, match="module '2'"):
        TransformerEncoder.load(projected, backend="numpy")
    (projected / "2_Dense" / "config.json").write_text(json.dumps(config))
    (projected / "2_Dense" / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(StoreCorruptedError, match="2_Dense"):
        TransformerEncoder.load(projected, backend="numpy")
    (projected / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(NotFoundError, match="2_Dense"):
        read_transformer_folder(projected)


def test_foreign_modules_are_named(projected):
    entries = json.loads((projected / "modules.json").read_text())
    entries[2]["type"] = "elsewhere.models.Dense"
    (projected / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"elsewhere\.models\.Dense"):
        read_transformer_folder(projected)
    (projected / "modules.json").write_text('{"a": 1}')
    with pytest.raises(StoreCorruptedError, match=r"modules\.json"):
        read_transformer_folder(projected)


def test_poolings_of_another_width_are_refused(projected):
    (projected / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean", "embedding_dimension": 31}')
    with pytest.raises(DimensionError, match="31"):
        read_transformer_folder(projected)
