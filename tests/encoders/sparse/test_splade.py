"""SPLADE models without torch: the definition, the library's own answers, the table of queries, refusals."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from encoders.sparse.tiny_splade import TERMS, write_inference_free, write_tiny_splade
from encoders.tiny_models import VOCABULARY
from orthant.encoders import SentenceTransformerSparseEncoder, SpladeEncoder, load_encoder, load_sparse_encoder
from orthant.encoders.bert_backends import load_token_model
from orthant.encoders.pipeline.tokenizer import read_tokenizer
from orthant.encoders.sparse.folder import read_sparse_folder
from orthant.errors import InputError, NotFoundError, StoreCorruptedError
from orthant.types import SparseEncoder

TEXTS = [" ".join(VOCABULARY[5:9]), VOCABULARY[7], "", "zzz unknown", " ".join(VOCABULARY[5:12] * 2)]


def by_definition(folder, text, *, pooling="max", twice=False):
    """Return the weights of one text from the logits, term by term, in float64."""
    part = read_sparse_folder(folder).parts["document"]
    tokenizer = read_tokenizer(part.backbone.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(part.backbone.max_tokens)
    ids = np.array([tokenizer.encode(text).ids])
    states = load_token_model("numpy", part.backbone, "", threads=None, device=None).states(ids, np.ones_like(ids))[0]
    layers, decoder, bias = part.head()
    from scipy.special import erf

    x = states.astype(np.float64) @ layers[0].arrays["weight"].T.astype(np.float64) + layers[0].arrays["bias"]
    x = x * 0.5 * (1 + erf(x / np.sqrt(2)))
    x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-12)
    logits = (x * layers[2].arrays["weight"] + layers[2].arrays["bias"]) @ decoder.T + bias
    weights = np.log1p(np.maximum(logits, 0))
    weights = np.log1p(weights) if twice else weights
    return weights.max(axis=0) if pooling == "max" else weights.sum(axis=0)


@pytest.mark.parametrize(("pooling", "activation"), [("max", "relu"), ("sum", "relu"), ("max", "log1p_relu")])
def test_weights_are_those_of_the_definition(tmp_path, pooling, activation):
    folder = write_tiny_splade(tmp_path / "m", pooling=pooling, activation=activation)
    encoder = SpladeEncoder.load(folder, backend="numpy")
    assert isinstance(encoder, SparseEncoder) and encoder.dim == TERMS and list(encoder.vocabulary) == VOCABULARY
    found = encoder.encode_sparse(TEXTS)
    assert found.shape == (len(TEXTS), TERMS) and found.dtype == np.float32 and (found.data > 0).all()
    for row, text in zip(found.toarray(), TEXTS, strict=True):
        wanted = by_definition(folder, text, pooling=pooling, twice=activation == "log1p_relu")
        np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-4)
    # Alone or in a padded batch.
    np.testing.assert_allclose(encoder.encode_sparse(TEXTS[1:2]).toarray()[0], found.toarray()[1], atol=1e-5)
    assert encoder.encode_sparse([]).shape == (0, TERMS)


def test_settings_have_fingerprints_of_their_own(tmp_path):
    folders = [
        write_tiny_splade(tmp_path / "a"),
        write_tiny_splade(tmp_path / "b", pooling="sum"),
        write_tiny_splade(tmp_path / "c", activation="log1p_relu"),
        write_tiny_splade(tmp_path / "d", seed=5),
        write_inference_free(tmp_path / "e"),
        write_inference_free(tmp_path / "f", np.ones(TERMS, dtype=np.float32)),
    ]
    marks = [SpladeEncoder.load(folder, backend="numpy").fingerprint for folder in folders]
    assert len(set(marks)) == len(marks)
    assert marks[0] == SpladeEncoder.load(folders[0], backend="numpy").fingerprint


def test_queries_of_a_table_need_no_model(tmp_path):
    weights = np.linspace(-1, 2, TERMS, dtype=np.float32)
    encoder = SpladeEncoder.load(write_inference_free(tmp_path / "m", weights), backend="numpy")
    words = [VOCABULARY[40], VOCABULARY[38], VOCABULARY[40], VOCABULARY[5]]
    row = encoder.encode_sparse([" ".join(words)], role="query").toarray()[0]
    wanted = np.zeros(TERMS, dtype=np.float32)
    for word in words:
        # Once, however often it occurs, and nothing below 0.
        wanted[VOCABULARY.index(word)] = max(0, weights[VOCABULARY.index(word)])
    np.testing.assert_array_equal(row, wanted)
    plain = SpladeEncoder.load(write_tiny_splade(tmp_path / "p"), backend="numpy")
    np.testing.assert_array_equal(encoder.encode_sparse(TEXTS).toarray(), plain.encode_sparse(TEXTS).toarray())


@pytest.mark.parametrize("write", [write_tiny_splade, write_inference_free])
def test_the_library_agrees(tmp_path, write):
    library = pytest.importorskip("sentence_transformers")
    if not hasattr(library, "SparseEncoder"):
        pytest.skip("this release of sentence-transformers has no SparseEncoder")
    folder = write(tmp_path / "m")
    wrapped = load_sparse_encoder(library.SparseEncoder(str(folder), device="cpu", local_files_only=True))
    assert isinstance(wrapped, SentenceTransformerSparseEncoder) and wrapped.dim == TERMS
    own = SpladeEncoder.load(folder, backend="numpy")
    for role in ("query", "document"):
        ours, theirs = (one.encode_sparse(TEXTS, role=role).toarray() for one in (own, wrapped))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        assert ours.any()
    assert wrapped.fingerprint == load_sparse_encoder(wrapped).fingerprint
    with pytest.raises(InputError, match="space of its own"):
        load_encoder(wrapped._model)


def test_long_texts_are_cut_with_a_warning(tmp_path):
    encoder = SpladeEncoder.load(write_tiny_splade(tmp_path / "m"), backend="numpy")
    with pytest.warns(UserWarning, match="1 of 2 texts were longer than 24 tokens"):
        encoder.encode_sparse([VOCABULARY[6], f"{VOCABULARY[6]} " * 40])


def test_what_is_no_sparse_model_is_refused(tmp_path):
    folder = write_tiny_splade(tmp_path / "m")
    with pytest.raises(InputError, match="load_sparse_encoder"):
        load_encoder(str(folder))
    with pytest.raises(NotFoundError, match="no folder"):
        load_sparse_encoder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="CallableSparseEncoder"):
        load_sparse_encoder(lambda texts: [])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
    with pytest.raises(InputError, match="head of a roberta"):
        load_sparse_encoder(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "1_Splade" / "config.json").write_text(json.dumps({"pooling_strategy": "median"}))
    with pytest.raises(InputError, match="median"):
        load_sparse_encoder(folder)
    (folder / "1_Splade" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(StoreCorruptedError):
        load_sparse_encoder(folder)


def test_no_torch_is_imported(tmp_path):
    folder = write_inference_free(tmp_path / "m")
    code = (
        "import sys; from orthant.encoders import SpladeEncoder\n"
        f"e = SpladeEncoder.load({str(folder)!r}, backend='numpy')\n"
        "[e.encode_sparse(['a'], role=r) for r in ('query', 'document')]\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
