"""Late interaction without torch: equal to the torch model token by token, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import types
import warnings

import numpy as np
import pytest

from encoders.tiny_models import WIDTH, write_tiny_bert
from orthant.encoders import LateInteractionEncoder, TransformerEncoder, load_encoder, load_token_encoder
from orthant.encoders.late_interaction.folder import read_token_folder
from orthant.encoders.late_interaction.reducing import hierarchical_pool
from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError
from orthant.types import Ragged, TokenEncoder

TEXTS = ["a cat", "", "the lighthouse, keeper.", "dog", "a cat sat on a mat and ran off. no 7", "?", "日本", "..."]
needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="the onnx extra is not installed",
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A function from settings to a saved MultiVectorEncoder and the object."""
    pytest.importorskip("torch").manual_seed(0)
    library = pytest.importorskip("sentence_transformers")
    if not hasattr(library, "MultiVectorEncoder"):
        pytest.skip("this release of sentence-transformers has no MultiVectorEncoder")
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    root = tmp_path_factory.mktemp("models")
    source = write_tiny_bert(root / "tiny", window=30)

    def make(*reducers, mask=None, dim=12, prompts=None, **settings):
        modules = [
            Transformer(str(source), **settings),
            Dense(WIDTH, dim, bias=False, activation_function=None, module_input_name="token_embeddings"),
            MultiVectorMask(**(mask or {})),
            Normalize(module_input_name="token_embeddings"),
            *reducers,
        ]
        model = MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts)
        target = root / f"model{len(list(root.iterdir()))}"
        model.save_pretrained(str(target), create_model_card=False)
        return target, model

    return make


def check_equal(folder, model, **settings):
    encoder = LateInteractionEncoder.load(folder, **{"backend": "numpy", **settings})
    assert isinstance(encoder, TokenEncoder)
    for role in ("query", "document"):
        wanted = getattr(model, f"encode_{role}")(TEXTS, convert_to_numpy=True, batch_size=3)
        found = encoder.encode_tokens(TEXTS, role=role, batch_size=5)
        assert [len(found[i]) for i in range(len(found))] == [len(one) for one in wanted]
        np.testing.assert_allclose(found.values, np.concatenate(wanted), atol=1e-5)
        assert found.values.dtype == np.float32 and found.values.shape[1] == encoder.dim
    return encoder


SETTINGS = {
    "plain": {},
    "prompts": {"prompts": {"query": "q: ", "document": "d: "}},
    "lengths": {"query_length": 6, "document_length": 9},
    "expanded": {"query_expansion": {"strategy": "fixed", "length": 12}, "query_length": 12},
    "expanded and attended": {"query_expansion": {"strategy": "fixed", "length": 12, "attend": True}},
    "expanded at least": {"query_expansion": {"strategy": "min", "length": 10, "token": "z"}, "query_length": 14},
    "skip list": {"mask": {"skiplist_words": [".", ",", "a", "not a token"]}},
    "skip list of both": {"mask": {"skiplist_words": ["."], "skiplist_tasks": ["query", "document"]}},
    "kept only": {"mask": {"keep_only_token_ids": [5, 6, 7, 8, 9]}},
    "lower case": {"do_lower_case": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_equal_those_of_torch(build, name):
    folder, model = build(**SETTINGS[name])
    encoder = check_equal(folder, model)
    assert encoder.dim == 12 and encoder.normalized


@needs_onnx
def test_runtimes_agree(build):
    folder, model = build(**SETTINGS["expanded"], mask={"skiplist_words": ["."]})
    encoders = {name: check_equal(folder, model, backend=name) for name in ("numpy", "onnx", "torch")}
    assert len({encoder.fingerprint for encoder in encoders.values()}) == 1
    small = LateInteractionEncoder.load(folder, backend="onnx-int8", threads=2)
    assert "int8" in small.fingerprint
    found, wanted = (one.encode_tokens(TEXTS).values for one in (small, encoders["numpy"]))
    assert found.shape == wanted.shape and (found * wanted).sum(axis=1).mean() > 0.9
    np.testing.assert_allclose(small.encode_tokens(TEXTS[2:3]).values, small.encode_tokens(TEXTS)[2], atol=1e-6)


def test_hierarchical_pooling_equals_that_of_torch(build):
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    for settings in (
        {"pool_factor": 2.0},
        {"pool_factor": 3.0, "num_protected_tokens": 0, "normalize_embeddings": False},
        {"pool_factor": 1.5, "tasks": ["query", "document"]},
    ):
        folder, model = build(HierarchicalTokenPooling(**settings))
        encoder = check_equal(folder, model)
        assert encoder.normalized == settings.get("normalize_embeddings", True)


def test_layers_behind_a_reducer(build):
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    dense = Dense(12, 5, module_input_name="token_embeddings")
    pooling = HierarchicalTokenPooling(2.0, normalize_embeddings=False)
    folder, model = build(pooling, dense, Normalize(module_input_name="token_embeddings"))
    encoder = check_equal(folder, model)
    assert encoder.dim == 5 and encoder.normalized


def test_clusters_go_through_our_reducer(build, monkeypatch):
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    folder, _ = build(HierarchicalTokenPooling(2.0))
    entries = json.loads((folder / "modules.json").read_text())
    entries[-1]["type"] = "orthant.learn.text.modules.ReducerModule"
    (folder / "modules.json").write_text(json.dumps(entries))
    place = folder / entries[-1]["path"] / "config.json"
    place.write_text(json.dumps({"documents": {"kind": "cluster", "k": 2, "n_iter": 3}, "queries": None}))
    seen = []

    class TokenClusterer:
        def __init__(self, **settings):
            seen.append(settings)

        def transform(self, X):
            firsts = X.values[X.offsets[:-1]]
            return Ragged(firsts, np.arange(len(X) + 1))

    module = types.ModuleType("orthant.transforms.token_clustering")
    module.TokenClusterer = TokenClusterer
    monkeypatch.setitem(sys.modules, module.__name__, module)
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    assert seen == [{"k": 2, "n_iter": 3}] and not encoder.normalized
    assert len(encoder.encode_tokens(TEXTS).values) == len(TEXTS)
    assert len(encoder.encode_tokens(TEXTS, role="query").values) > len(TEXTS), "queries keep their tokens"
    everything = encoder.encode_tokens(TEXTS, role="query")
    place.write_text(json.dumps({"documents": {"kind": "tail", "k": 2}, "queries": {"kind": "stride", "k": 3}}))
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    assert encoder.normalized, "what is picked stays as it was"
    found = {role: encoder.encode_tokens(TEXTS, role=role) for role in ("query", "document")}
    for i in range(len(TEXTS)):
        np.testing.assert_allclose(found["document"][i], everything[i][-2:], atol=1e-6)
        np.testing.assert_allclose(found["query"][i], everything[i][::3], atol=1e-6)
    place.write_text(json.dumps({"documents": {"kind": "head", "k": 2}}))
    first = LateInteractionEncoder.load(folder, backend="numpy").encode_tokens(TEXTS)
    for i in range(len(TEXTS)):
        np.testing.assert_allclose(first[i], everything[i][:2], atol=1e-6)
    for wrong in ({"documents": {"kind": "random"}}, {"documents": {"kind": "tail", "size": 1}}, {"reducer": 1}):
        place.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match="ReducerModule"):
            LateInteractionEncoder.load(folder, backend="numpy")


def test_tokens_are_told_in_words_where_each_has_its_own_vector(build):
    folder, _ = build(mask={"skiplist_words": ["."]})
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    for role in ("query", "document"):
        told, vectors = encoder.token_texts(TEXTS, role=role), encoder.encode_tokens(TEXTS, role=role)
        assert [len(row) for row in told] == np.diff(vectors.offsets).tolist()
    assert told[0][1:-1] == ["a", "c", "##a", "##t"]


def test_fingerprints_tell_rules_apart(build):
    folder, _ = build()
    found = {LateInteractionEncoder.load(folder, backend="numpy").fingerprint}
    for path, change in (
        ("2_MultiVectorMask/config.json", {"skiplist_words": ["."]}),
        ("sentence_bert_config.json", {"document_length": 7}),
        ("config_sentence_transformers.json", {"prompts": {"query": "q: "}}),
    ):
        settings = json.loads((folder / path).read_text())
        (folder / path).write_text(json.dumps({**settings, **change}))
        found.add(LateInteractionEncoder.load(folder, backend="numpy").fingerprint)
    assert len(found) == 4


def test_cut_texts_are_told(build):
    folder, _ = build(document_length=5)
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    with pytest.warns(UserWarning, match="1 of 2 texts were longer than 5 tokens"):
        found = encoder.encode_tokens(["a", "a b c d e f"])
    assert len(found[1]) == 5 and encoder.max_tokens == 5
    assert len(encoder.encode_tokens([])) == 0 and encoder.encode_tokens([]).values.shape == (0, 12)
    for wrong in ({"role": "passage"}, {"batch_size": 0}):
        with pytest.raises(InputError):
            encoder.encode_tokens(["a"], **wrong)
    with pytest.raises(InputError):
        encoder.encode_tokens("one text")


@pytest.mark.parametrize("prompts", [None, {"document": "d: "}])
def test_chunkers_are_told_what_fits_the_window(build, prompts):
    folder, _ = build(document_length=20, prompts=prompts)
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    words = ["a", "cat", "lighthouse", "ran", "mat."]
    each = encoder.token_counts(words)
    assert encoder.token_counts([" ".join(words * 40)]).tolist() == [40 * each.sum()] and 40 * each.sum() > 20
    assert each[0] == 1
    fits = " ".join(["a"] * encoder.document_tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode_tokens([fits])
    with pytest.warns(UserWarning, match="cut there"):
        encoder.encode_tokens([f"{fits} a"])


def test_names_and_folders(build, tmp_path):
    folder, model = build()
    encoder = load_token_encoder(folder)
    assert isinstance(encoder, LateInteractionEncoder) and load_token_encoder(encoder) is encoder
    plain = load_token_encoder(str(write_tiny_bert(tmp_path / "plain")))
    assert isinstance(plain, TransformerEncoder)
    with pytest.raises(InputError, match="load_token_encoder"):
        load_encoder(folder)
    with pytest.raises(InputError, match="load_encoder"):
        LateInteractionEncoder.load(tmp_path / "plain")
    with pytest.raises(NotFoundError, match="no folder"):
        load_token_encoder(tmp_path / "absent")
    with pytest.raises(InputError, match="save_pretrained"):
        load_token_encoder(model)


def test_bad_folders_are_refused(build, tmp_path):
    folder, _ = build()

    def change(name, settings):
        copy = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(folder, copy)
        own = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps({**own, **settings} if isinstance(own, dict) else [*own, settings]))
        return copy

    for copy, error, text in (
        (change("modules.json", {"name": "4", "path": "4", "type": "mine.Sharpen"}), InputError, r"mine\.Sharpen"),
        (change("1_Dense/config.json", {"module_input_name": "sentence_embedding"}), InputError, "sentence_embedding"),
        (change("1_Dense/config.json", {"in_features": 7}), DimensionError, "7 values"),
        (change("config_sentence_transformers.json", {"model_type": "ColBERT"}), InputError, "PyLate"),
        (change("sentence_bert_config.json", {"query_expansion": {"length": 3}}), StoreCorruptedError, "strategy"),
    ):
        with pytest.raises(error, match=text):
            read_token_folder(copy)
    unknown = {"strategy": "fixed", "length": 8, "token": "[NEVER]"}
    with pytest.raises(InputError, match=r"\[NEVER\]"):
        LateInteractionEncoder.load(change("sentence_bert_config.json", {"query_expansion": unknown}), backend="numpy")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NotFoundError, match="tokenizer"):
        read_token_folder(folder)


def test_pooling_keeps_what_is_protected():
    tokens = np.eye(6, dtype=np.float32)[[0, 1, 1, 2, 2, 2]]
    found = hierarchical_pool(tokens, factor=2.5, protected=1)
    np.testing.assert_array_equal(found, np.eye(6)[[0, 1, 2]])
    assert hierarchical_pool(tokens[:1], factor=2.0) is not None
