"""Models of PyLate and of the first ColBERT code: every setting against a computation of its own, both ways."""

from __future__ import annotations

import json
import string
import sys
import warnings

import numpy as np
import pytest
from safetensors.numpy import save_file

import orthant
from encoders.late_interaction.pylate_models import (
    ADDED,
    MARKERS,
    dense,
    write_pylate,
    write_stanford,
)
from encoders.tiny_models import WIDTH, write_tiny_bert
from orthant.encoders import LateInteractionEncoder, load_encoder, load_token_encoder
from orthant.encoders.late_interaction.rules import TokenRules
from orthant.errors import DimensionError, InputError, NotFoundError, StoreCorruptedError

TEXTS = ["a cat", "", "the lighthouse, keeper.", "a cat sat on a mat and ran off. no 7", "?", "日本 x", " ... y "]
TANH = "torch.nn.modules.activation.Tanh"
SETTINGS = {
    "plain": {},
    "all left out": dict.fromkeys(
        ("query_prefix", "document_prefix", "query_length", "document_length", "attend_to_expansion_tokens",
         "skiplist_words", "do_query_expansion", "similarity_fn_name"), ...
    ),
    "lengths": {"query_length": 6, "document_length": 9},
    "no expansion": {"do_query_expansion": False, "attend_to_expansion_tokens": True},
    "attended": {"attend_to_expansion_tokens": True},
    "no prefix": {"query_prefix": "", "document_prefix": ""},
    "a prefix of queries": {"query_prefix": "q", "document_prefix": ""},
    "no skip list": {"skiplist_words": []},
    "known words skipped": {"skiplist_words": ["a", "."]},
    "unknown words skipped": {"skiplist_words": ["a", "nothing"]},
    "prompts": {"prompts": {"query": "find: ", "document": "text "}},
    "default prompt": {"prompts": {"all": "it is ", "query": "", "document": "of "}, "default_prompt_name": "all"},
    "several layers": {"layers": [
        dense(WIDTH, WIDTH, bias=True, activation_function=TANH, use_residual=True),
        dense(WIDTH, 20, use_residual=True, seed=4),
        dense(20, 7, bias=True, seed=5),
    ]},
}  # fmt: skip


def reference(folder, texts, role, settings, layers):
    """Token vectors of each text, one at a time, by torch and by what PyLate documents."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = transformers.AutoModel.from_pretrained(str(folder)).eval()
    query = role == "query"
    prefix = settings[f"{role}_prefix"]
    expand, length = query and settings["do_query_expansion"], settings[f"{role}_length"]
    skipped = {tokenizer.token_to_id(word) or 1 for word in settings["skiplist_words"]}
    cls, sep, filler = (tokenizer.token_to_id(word) for word in ("[CLS]", "[SEP]", "[MASK]"))
    out = []
    for text in texts:
        start = [cls, tokenizer.token_to_id(prefix)] if prefix else [cls]
        own = tokenizer.encode((settings["prompt"][role] + text).strip(), add_special_tokens=False).ids
        ids = start + own[: length - len(start) - 1] + [sep]
        mask = [1] * len(ids)
        if expand:
            mask += [int(settings["attend_to_expansion_tokens"])] * (length - len(ids))
            ids += [filler] * (length - len(ids))
        with torch.no_grad():
            states = model(torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state[0]
            for config, arrays in layers:
                given = {name: torch.from_numpy(array) for name, array in arrays.items()}
                mapped = states @ given["linear.weight"].T + given.get("linear.bias", 0)
                mapped = torch.tanh(mapped) if config["activation_function"] == TANH else mapped
                if config["use_residual"]:
                    mapped = mapped + (states @ given["residual.weight"].T if "residual.weight" in given else states)
                states = mapped
            states = states / states.norm(dim=1, keepdim=True)
        keep = [query or one not in skipped for one in ids]
        out.append(states.numpy()[keep])
    return out


def check_equal(encoder, wanted, role, texts=TEXTS):
    with pytest.warns(UserWarning) if encoder.max_tokens < 12 else _quiet():
        found = encoder.encode_tokens(texts, role=role, batch_size=3)
    assert [len(found[i]) for i in range(len(found))] == [len(one) for one in wanted]
    np.testing.assert_allclose(found.values, np.concatenate(wanted), atol=1e-5)
    words = encoder.token_texts(texts, role=role)
    assert [len(one) for one in words] == [len(one) for one in wanted]


def _quiet():
    block = warnings.catch_warnings()
    warnings.simplefilter("ignore", UserWarning)
    return block


def told(name):
    """Settings of a case with PyLate's defaults put in."""
    given = {key: value for key, value in SETTINGS[name].items() if value is not ...}
    base = {
        "query_prefix": ADDED[0], "document_prefix": ADDED[1], "query_length": 14, "document_length": 20,
        "attend_to_expansion_tokens": False, "skiplist_words": [".", ",", "?"], "do_query_expansion": True,
    }  # fmt: skip
    if name == "all left out":
        base |= {"query_length": 32, "document_length": 180, "skiplist_words": list(string.punctuation)}
    prompts = given.get("prompts", {})
    prompt = {role: prompts.get(role) or prompts.get("all", "") for role in ("query", "document")}
    return {**base, **given, "prompt": prompt}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_equals_a_computation_by_torch(name, tmp_path):
    folder = write_pylate(tmp_path / "model", **SETTINGS[name])
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    layers = SETTINGS[name].get("layers") or [dense(WIDTH, 12)]
    for role in ("query", "document"):
        check_equal(encoder, reference(folder, TEXTS, role, told(name), layers), role)
    assert encoder.normalized and encoder.dim == layers[-1][0]["out_features"]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_equals_pylate(name, tmp_path):
    models = pytest.importorskip("pylate.models", reason="pylate is not installed")
    folder = write_pylate(tmp_path / "model", **SETTINGS[name])
    model = models.ColBERT(str(folder), device="cpu")
    written = LateInteractionEncoder.load(folder, backend="numpy").save_pylate(tmp_path / "written")
    for own, theirs in ((folder, model), (folder, models.ColBERT(str(written), device="cpu"))):
        encoder = LateInteractionEncoder.load(own, backend="numpy")
        for role in ("query", "document"):
            prompt = role if theirs.prompts.get(role) else None
            wanted = theirs.encode(TEXTS, is_query=role == "query", prompt_name=prompt, show_progress_bar=False)
            check_equal(encoder, wanted, role)


def test_a_stanford_checkpoint_and_its_conversion_equal_pylate(tmp_path):
    models = pytest.importorskip("pylate.models", reason="pylate is not installed")
    folder = write_stanford(tmp_path / "model")
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    written = encoder.save_pylate(tmp_path / "written")
    for place in (folder, written):
        model = models.ColBERT(str(place), device="cpu")
        for role in ("query", "document"):
            check_equal(encoder, model.encode(TEXTS, is_query=role == "query", show_progress_bar=False), role)


def test_sentence_transformers_reads_the_same_vectors(tmp_path):
    pytest.importorskip("torch")
    library = pytest.importorskip("sentence_transformers")
    if not hasattr(library, "MultiVectorEncoder"):
        pytest.skip("this release of sentence-transformers has no MultiVectorEncoder")
    folder = write_pylate(tmp_path / "model", attend_to_expansion_tokens=True)
    model = library.MultiVectorEncoder(str(folder), device="cpu")
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    for role in ("query", "document"):
        check_equal(encoder, getattr(model, f"encode_{role}")(TEXTS, convert_to_numpy=True), role)


@pytest.mark.parametrize(
    "metadata", [{}, {"attend_to_mask_tokens": True, "mask_punctuation": False, "doc_maxlen": 9}, {"query_maxlen": ...}]
)
def test_a_stanford_checkpoint_equals_a_computation_by_torch(metadata, tmp_path):
    folder = write_stanford(tmp_path / "model", **metadata)
    settings = {
        "query_prefix": MARKERS[0], "document_prefix": MARKERS[1], "do_query_expansion": True,
        "prompt": {"query": "", "document": ""},
        "query_length": 32 if "query_maxlen" in metadata else 14, "document_length": metadata.get("doc_maxlen", 20),
        "attend_to_expansion_tokens": metadata.get("attend_to_mask_tokens", False),
        "skiplist_words": list(string.punctuation) if metadata.get("mask_punctuation", True) else [],
    }  # fmt: skip
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    for role in ("query", "document"):
        check_equal(encoder, reference(folder, TEXTS, role, settings, [dense(WIDTH, 12)]), role)


@pytest.mark.parametrize("attend", [False, True])
def test_other_architectures_run_by_torch(attend, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = write_pylate(tmp_path / "model", attend_to_expansion_tokens=attend)
    config = json.loads((folder / "config.json").read_text())
    kept = {name: config[name] for name in ("vocab_size", "max_position_embeddings", "hidden_size", "pad_token_id")}
    torch.manual_seed(0)
    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "cls_token_id": 2}
    others = {"sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    model = transformers.ModernBertModel(transformers.ModernBertConfig(**kept, **small, **others))
    model.save_pretrained(folder)
    encoder = load_token_encoder(folder)
    assert encoder.backend == "torch"
    settings = {**told("plain"), "attend_to_expansion_tokens": attend}
    for role in ("query", "document"):
        check_equal(encoder, reference(folder, TEXTS, role, settings, [dense(WIDTH, 12)]), role)


def test_white_space_around_a_text_is_removed(tmp_path):
    folder = write_pylate(tmp_path / "model")
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "z"}
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    encoder = LateInteractionEncoder.load(folder, backend="numpy")
    assert encoder.token_texts([" a b "]) == [["[CLS]", "[D] ", "a", "##z", "##b", "[SEP]"]]


def test_runtimes_agree_and_no_torch_is_needed(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    for folder in (write_pylate(tmp_path / "pylate"), write_stanford(tmp_path / "stanford")):
        encoders = [LateInteractionEncoder.load(folder, backend=name) for name in ("numpy", "onnx")]
        assert len({one.fingerprint for one in encoders}) == 1
        for role in ("query", "document"):
            found, wanted = (one.encode_tokens(TEXTS, role=role).values for one in encoders)
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_collection_searches_by_such_a_model(tmp_path):
    pytest.importorskip("onnxruntime")
    folder = str(write_pylate(tmp_path / "model"))
    texts = ["a cat sat", "the keeper", "no 7"]
    with orthant.open(tmp_path / "notes.orthant") as notes:
        notes.add_space("words", encoder=folder, kind="tokens")
        notes.upsert(["x", "y", "z"], texts=texts)
    with orthant.open(tmp_path / "notes.orthant") as notes:
        notes.use_encoder("words", folder)
        hits = notes.search("keeper", mode="tokens", space="words")
    encoder = load_token_encoder(folder)
    query = encoder.encode_tokens(["keeper"], role="query")[0]
    rows = encoder.encode_tokens(texts)
    scores = {key: (query @ rows[i].T).max(axis=1).sum() for i, key in enumerate("xyz")}
    assert [hit.id for hit in hits] == sorted(scores, key=lambda key: -scores[key])
    np.testing.assert_allclose([hit.score for hit in hits], sorted(scores.values(), reverse=True), atol=1e-4)


def test_fingerprints_tell_settings_apart_and_earlier_ones_stay(tmp_path):
    assert TokenRules().digest == "84909d99d5"
    changes = (
        {}, {"query_prefix": "q"}, {"document_prefix": ""}, {"skiplist_words": []}, {"do_query_expansion": False},
        {"attend_to_expansion_tokens": True}, {"query_length": 15},
    )  # fmt: skip
    found = {
        LateInteractionEncoder.load(write_pylate(tmp_path / str(i), **change), backend="numpy").fingerprint
        for i, change in enumerate(changes)
    }
    assert len(found) == len(changes)


def test_a_model_saved_for_pylate_gives_the_same_vectors(tmp_path):
    for source in (
        write_pylate(tmp_path / "a", **SETTINGS["several layers"], prompts={"query": "q: "}),
        write_stanford(tmp_path / "b"),
    ):
        encoder = LateInteractionEncoder.load(source, backend="numpy")
        written = encoder.save_pylate(tmp_path / f"{source.name}-saved")
        again = LateInteractionEncoder.load(written, backend="numpy")
        for role in ("query", "document"):
            check_equal(again, list(encoder.encode_tokens(TEXTS, role=role)), role)
        with pytest.raises(InputError, match="not empty"):
            encoder.save_pylate(written)
    # Its projection is a module now; the old name would have it read from the weights.
    assert "architectures" not in json.loads((written / "config.json").read_text())


def save_native(folder, *, kinds=("Dense", "MultiVectorMask", "Normalize"), transformer=None, mask=None):
    """A folder as MultiVectorEncoder saves it, by hand."""
    write_tiny_bert(folder)
    settings = {"Dense": {**dense(WIDTH, 12)[0]}, "MultiVectorMask": mask or {}, "Normalize": {}}
    entries = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, kind in enumerate(kinds, start=1):
        place = folder / f"m{i}"
        place.mkdir()
        config = {"module_input_name": "token_embeddings", **settings.get(kind, {})}
        if kind == "HierarchicalTokenPooling":
            config = {"pool_factor": 2.0, "normalize_embeddings": True}
        (place / "config.json").write_text(json.dumps(config))
        tensors = dense(WIDTH, 12)[1]
        if kind == "LayerNorm":
            width = 12 if "Dense" in kinds[:i] else WIDTH
            tensors = {f"norm.{name}": np.ones(width, dtype=np.float32) for name in ("weight", "bias")}
        save_file(tensors, place / "model.safetensors")
        entries.append({"idx": i, "name": str(i), "path": f"m{i}", "type": f"sentence_transformers.models.{kind}"})
    (folder / "modules.json").write_text(json.dumps(entries))
    own = {"max_seq_length": 20, **(transformer or {})}
    (folder / "sentence_bert_config.json").write_text(json.dumps(own))
    return LateInteractionEncoder.load(folder, backend="numpy")


def test_models_of_sentence_transformers_are_saved_for_pylate(tmp_path):
    fixed = {"query_expansion": {"strategy": "fixed", "length": 9, "token": "[MASK]"}, "document_length": 15}
    for i, encoder in enumerate(
        (
            save_native(tmp_path / "a", transformer=fixed, mask={"skiplist_words": ["a", "nothing"]}),
            save_native(tmp_path / "b", kinds=("MultiVectorMask", "Normalize")),
        )
    ):
        again = LateInteractionEncoder.load(encoder.save_pylate(tmp_path / f"saved{i}"), backend="numpy")
        for role in ("query", "document"):
            check_equal(again, list(encoder.encode_tokens(TEXTS, role=role)), role)


def test_what_pylate_does_not_have_is_not_saved(tmp_path):
    everything = ("Dense", "MultiVectorMask", "Normalize")
    cases = {
        "a reducer of tokens": {"kinds": (*everything, "HierarchicalTokenPooling")},
        "LayerNorm": {"kinds": ("LayerNorm", *everything)},
        "unit length": {"kinds": ("Dense", "MultiVectorMask")},
        "keep_only_token_ids": {"mask": {"keep_only_token_ids": [5]}},
        "a skip list of queries": {"mask": {"skiplist_words": ["."], "skiplist_tasks": ["query", "document"]}},
        "at least a length": {"transformer": {"query_expansion": {"strategy": "min", "length": 9}}},
        "filled up with 'z'": {"transformer": {"query_expansion": {"strategy": "fixed", "length": 9, "token": "z"}}},
    }
    for i, (text, settings) in enumerate(cases.items()):
        encoder = save_native(tmp_path / str(i), **settings)
        with pytest.raises(InputError, match=text):
            encoder.save_pylate(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_exported_models_of_pylate(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    from orthant.learn import export_encoder

    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path / "cache"))
    folder = write_pylate(tmp_path / "model", **SETTINGS["unknown words skipped"])
    report = export_encoder(folder, tmp_path / "served")
    assert report.reference == "numpy"
    copied, origin = load_token_encoder(tmp_path / "served"), LateInteractionEncoder.load(folder, backend="numpy")
    assert copied.fingerprint == origin.fingerprint
    for role in ("query", "document"):
        check_equal(copied, list(origin.encode_tokens(TEXTS, role=role)), role)
    with pytest.raises(InputError, match="an export"):
        copied.save_pylate(tmp_path / "back")
    with pytest.raises(InputError, match="save_pylate"):
        export_encoder(write_stanford(tmp_path / "stanford"), tmp_path / "other")


def test_what_is_not_computed_is_refused_by_name(tmp_path):
    for i, (settings, error, text) in enumerate(
        (
            ({"similarity_fn_name": "XTR"}, InputError, "XTR"),
            ({"pool_factor": 2}, InputError, "pool_factor"),
            ({"query_prefix": "[X]"}, InputError, r"\[X\]"),
            ({"query_length": 2}, InputError, "query length 2"),
            ({"query_length": 65}, InputError, "filled up to 65"),
            ({"query_length": "14"}, StoreCorruptedError, "query_length"),
            ({"document_length": True}, StoreCorruptedError, "document_length"),
            ({"skiplist_words": [1]}, StoreCorruptedError, "skiplist_words"),
            ({"layers": []}, InputError, "without a Dense"),
            ({"layers": [dense(WIDTH, 12, init_weight=1)]}, InputError, "init_weight"),
            ({"layers": [dense(WIDTH, 12, activation_function="torch.nn.Softmax")]}, InputError, "Softmax"),
            ({"layers": [dense(20, 12)]}, DimensionError, "20 values"),
        )
    ):
        folder = write_pylate(tmp_path / str(i), **settings)
        with pytest.raises(error, match=text):
            LateInteractionEncoder.load(folder, backend="numpy")
        with pytest.raises(InputError, match="load_token_encoder"):
            load_encoder(folder)


def test_folders_that_are_not_whole_are_refused(tmp_path):
    def changed(name, change, write=write_pylate):
        folder = write(tmp_path / str(len(list(tmp_path.iterdir()))))
        own = json.loads((folder / name).read_text())
        own = [*own, change] if isinstance(own, list) else {**own, **change}
        (folder / name).write_text(json.dumps(own))
        return folder

    extra = {"idx": 2, "name": "2", "path": "1_Dense", "type": "pylate.models.hyper.Hyper"}
    mask = {"idx": 2, "name": "2", "path": "1_Dense", "type": "sentence_transformers.models.MultiVectorMask"}
    for folder, error, text in (
        (changed("modules.json", extra), InputError, "hyper.Hyper"),
        (changed("modules.json", mask), InputError, "PyLate with sentence_transformers.models.MultiVectorMask"),
        (changed("tokenizer_config.json", {"padding_side": "left"}), InputError, "padding_side 'left'"),
        (changed("tokenizer_config.json", {"truncation_side": "left"}), InputError, "truncation_side 'left'"),
        (changed("config.json", {"vocab_size": 89}), InputError, r"\[D\]|\[Q\]"),
        (changed("artifact.metadata", {"similarity": "l2"}, write_stanford), InputError, "similarity 'l2'"),
        (changed("artifact.metadata", {"interaction": "flipr"}, write_stanford), InputError, "flipr"),
        (changed("artifact.metadata", {"relu": True}, write_stanford), InputError, "relu"),
        (changed("artifact.metadata", {"dim": 13}, write_stanford), DimensionError, "12 values"),
        (changed("artifact.metadata", {"doc_token_id": "[unused1]"}, write_stanford), InputError, "unused1"),
    ):
        with pytest.raises(error, match=text):
            LateInteractionEncoder.load(folder, backend="numpy")
    bare = write_stanford(tmp_path / "bare")
    (bare / "artifact.metadata").unlink()
    with pytest.raises(NotFoundError, match=r"artifact\.metadata"):
        load_token_encoder(bare)
    without = write_stanford(tmp_path / "without")
    write_tiny_bert(tmp_path / "plain")
    (without / "model.safetensors").write_bytes((tmp_path / "plain" / "model.safetensors").read_bytes())
    with pytest.raises(NotFoundError, match=r"linear\.weight"):
        load_token_encoder(without)
    with pytest.raises(InputError, match="load_token_encoder"):
        load_encoder(bare)
