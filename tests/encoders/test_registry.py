import os
import subprocess
import sys

import numpy as np
import pytest

import orthant.encoders
from encoders.tiny_models import FakeSentenceTransformer, write_tiny_bert
from orthant.encoders import registry
from orthant.encoders.callable import CallableEncoder
from orthant.encoders.model2vec import Model2VecEncoder
from orthant.encoders.registry import encoder_names, load_encoder, register_encoder_name
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder
from orthant.encoders.static import StaticEncoder
from orthant.encoders.transformer import TransformerEncoder
from orthant.errors import DimensionError, InputError, NonFiniteError, NotFoundError, StoreCorruptedError
from orthant.types import Encoder


def lengths(texts):
    return [[len(text), 1.0] for text in texts]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


# Names


def test_the_names():
    assert {"static", "minilm", "minilm-int8"} <= set(encoder_names())
    assert isinstance(load_encoder("static"), StaticEncoder)


@pytest.mark.parametrize(("name", "backend"), [("minilm", "auto"), ("minilm-int8", "onnx-int8")])
def test_minilm_names_choose_the_backend(monkeypatch, name, backend):
    mine = CallableEncoder(lengths, dim=2, name="x")
    asked = []
    monkeypatch.setattr(TransformerEncoder, "minilm", lambda *, backend="auto": asked.append(backend) or mine)
    assert load_encoder(name) is mine and asked == [backend]


@pytest.mark.parametrize(("wrong", "near"), [("minilmm", "minilm"), ("Static", "static")])
def test_an_unknown_name_lists_the_names_and_the_nearest(wrong, near):
    with pytest.raises(NotFoundError, match=f"'minilm', 'minilm-int8', 'static'.*[Dd]id you mean '{near}'"):
        load_encoder(wrong)


def test_an_unknown_name_far_from_all_suggests_nothing():
    with pytest.raises(NotFoundError, match="register_encoder_name") as seen:
        load_encoder("text-embedding-3")
    assert "mean" not in str(seen.value)
    with pytest.raises(NotFoundError):
        load_encoder("")
    with pytest.raises(NotFoundError, match="encoder folder"):
        load_encoder("models/minilm")


def test_a_registered_name_is_loaded_each_time_and_can_be_replaced():
    register_encoder_name("lengths", lambda: CallableEncoder(lengths, dim=2, name="lengths"))
    assert "lengths" in encoder_names() and load_encoder("lengths").dim == 2
    assert load_encoder("lengths") is not load_encoder("lengths")
    register_encoder_name("lengths", lambda: CallableEncoder(lengths, dim=2, name="lengths", revision="2"))
    assert "revision=2" in load_encoder("lengths").fingerprint
    register_encoder_name("broken", lambda: "nothing")
    with pytest.raises(InputError, match="a str from the loader of 'broken'"):
        load_encoder("broken")


@pytest.mark.parametrize("name", ["static", "minilm", "", "a/b", "..", "a b", None])
def test_a_name_that_is_taken_or_looks_like_a_path_is_refused(name):
    with pytest.raises(InputError, match="encoder name"):
        register_encoder_name(name, lambda: None)
    with pytest.raises(InputError, match="loader"):
        register_encoder_name("fine", 3)


# Folders


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_transformer_folder(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path / "cache"))
    encoder = load_encoder(kind(write_tiny_bert(tmp_path / "tiny")))
    assert isinstance(encoder, TransformerEncoder) and encoder.name is None


def test_a_static_folder(tmp_path):
    load_encoder("static").save(tmp_path)
    again = load_encoder(tmp_path)
    assert isinstance(again, StaticEncoder) and again.fingerprint == load_encoder("static").fingerprint


def test_a_model2vec_folder_and_object_agree_on_short_texts(tmp_path):
    model = _model2vec()
    model.save_pretrained(tmp_path)
    folder, wrapped = load_encoder(str(tmp_path)), load_encoder(model)
    assert isinstance(folder, StaticEncoder) and isinstance(wrapped, Model2VecEncoder)
    np.testing.assert_allclose(folder.encode(["a cat", "dogs"]), wrapped.encode(["a cat", "dogs"]), atol=1e-5)


def test_a_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "static").mkdir()
    assert isinstance(load_encoder("static"), StaticEncoder)
    with pytest.raises(InputError, match="without a model"):
        load_encoder("./static")


def test_folders_that_are_no_model_say_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"arrays\.safetensors .* model\.onnx"):
        load_encoder(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match="the folder of a model"):
        load_encoder(tmp_path / "file.txt")
    (tmp_path / "0_StaticEmbedding").mkdir()
    with pytest.raises(InputError, match="pass the object"):
        load_encoder(tmp_path)
    (tmp_path / "arrays.safetensors").write_text("x")
    (tmp_path / "config.json").write_text('{"kind": "transform.leanvec"}')
    with pytest.raises(InputError, match=r"'transform\.leanvec'"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(StoreCorruptedError):
        load_encoder(tmp_path)


# Objects


def test_an_encoder_comes_back_as_it_is():
    mine = CallableEncoder(lengths, dim=2, name="mine")
    assert isinstance(mine, Encoder) and load_encoder(mine) is mine


def test_model_objects_are_wrapped():
    assert isinstance(load_encoder(FakeSentenceTransformer()), SentenceTransformerEncoder)


@pytest.mark.parametrize("wrong", [None, 7, ["static"], CallableEncoder, TransformerEncoder, object()])
def test_other_objects_are_refused(wrong):
    with pytest.raises(InputError, match=r"as an encoder|no encoder|the class"):
        load_encoder(wrong)


def test_a_bare_function_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"CallableEncoder\(function, dim=\.\.\., name='my-model'\)"):
        load_encoder(lengths)


# Functions


def test_a_function_with_dimension_and_name():
    sizes = []

    def counted(items):
        sizes.append(len(items))
        return lengths(items)

    mine = CallableEncoder(counted, dim=2, name="lengths", query_function=lambda items: [[0, 2]] * len(items))
    out, report = mine.encode_with_report(["a", "bb", "ccc"], batch_size=2)
    assert out.tolist() == [[1, 1], [2, 1], [3, 1]] and sizes == [2, 1]
    assert out.dtype == np.float32 and report.items == 3
    assert mine.encode(["a"], role="query").tolist() == [[0, 2]]
    assert mine.encode([]).shape == (0, 2)
    assert mine.fingerprint != CallableEncoder(counted, dim=2, name="lengths", revision="2").fingerprint


@pytest.mark.parametrize(
    ("answer", "error"),
    [([[1.0]], DimensionError), ([[1.0, 2.0]] * 3, DimensionError), ([[1.0, np.nan]] * 2, NonFiniteError)],
)
def test_a_wrong_answer_of_a_function_is_refused(answer, error):
    with pytest.raises(error, match=r"function|per item"):
        CallableEncoder(lambda items: answer, dim=2, name="x").encode(["a", "b"])


def test_a_function_needs_a_name_and_a_list():
    for settings in ({"name": ""}, {"dim": 0}, {"function": 3}):
        with pytest.raises(InputError):
            CallableEncoder(**{"function": lengths, "dim": 2, "name": "x", **settings})
    with pytest.raises(InputError, match="a list of items"):
        CallableEncoder(lengths, dim=2, name="x").encode("text")


# model2vec objects


def _model2vec(seed=0, **settings):
    model2vec = pytest.importorskip("model2vec", reason="model2vec is not installed (extra: bench)")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[UNK]", "a", "cat", "dogs", "run"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    table = np.random.default_rng(seed).standard_normal((len(words), 8)).astype(np.float32)
    return model2vec.StaticModel(table, tokenizer, **settings)


def test_model2vec_object_is_used_whole_and_told_apart():
    wrapped = Model2VecEncoder(_model2vec(normalize=True))
    text = "a cat " * 600
    out, report = wrapped.encode_with_report([text + "run " * 300, "", "a cat"])
    assert (report.items, report.empty_items, report.truncated_items) == (3, 1, 0)
    assert out.dtype == np.float32 and out[0] @ out[2] < 0.999
    assert wrapped.fingerprint == Model2VecEncoder(_model2vec(normalize=True)).fingerprint
    others = [Model2VecEncoder(_model2vec(**one)).fingerprint for one in ({"seed": 1}, {"normalize": False})]
    assert len({wrapped.fingerprint, *others}) == 3
    assert wrapped.encode([]).shape == (0, 8)
    with pytest.raises(InputError, match="StaticModel"):
        Model2VecEncoder(lengths)


# Imports


def test_public_names_are_there_and_lazy():
    for name in orthant.encoders.__all__:
        assert getattr(orthant.encoders, name).__name__ == name
    assert set(orthant.encoders.__all__) <= set(dir(orthant.encoders))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = orthant.encoders.nothing


def test_importing_the_registry_loads_nothing_heavy():
    heavy = "torch transformers sentence_transformers onnx onnxruntime tokenizers scipy numba sklearn model2vec rich"
    program = (
        "import sys, orthant.encoders.registry, orthant.encoders\n"
        f"print(*[name for name in {heavy.split()} if name in sys.modules])"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=paths)
    assert done.stdout.strip() == ""
