"""The static encoder: quality, stability, speed of start, errors, and the folders it reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import orthant.encoders.static as static
from orthant.encoders.static import StaticEncoder
from orthant.errors import DimensionError, DtypeError, InputError, NotFoundError, StoreCorruptedError
from orthant.types import Encoder

SHIPPED = Path(static.__file__).with_name("static_minilm")

TEXTS = [
    "The lighthouse keeper wrote in his diary every evening.",
    "How do I read a file line by line in Python?",
    "def mean(values):\n    return sum(values) / len(values)",
    "Die Katze schl\u00e4ft auf dem Sofa.",
    "3.14",
    "\u4f60\u597d",
    "repeat repeat repeat repeat repeat",
]

# Written for this test: a sentence, one about the same without its content words, and one about something else.
TRIPLES = [
    ("A man strums a guitar.", "Someone plays a musical instrument.", "A lorry is parked near the harbour."),
    ("How can I lose weight quickly?", "diet and exercise for slimming", "connect a printer over the network"),
    ("The stock market fell sharply.", "Share prices dropped a lot.", "The violin concerto was beautiful."),
    ("The doctor prescribed antibiotics.", "medicine for a bacterial infection", "a letter from the solicitor"),
    ("remove duplicates from a list", "def unique(items): return set(items)", "def rotate(image, angle): pass"),
    ("It is raining heavily outside.", "stormy, wet weather", "a recipe with garlic and basil"),
    ("The jet flew faster than sound.", "a supersonic aircraft", "an oil painting of roses"),
    ("She bought a new automobile.", "The woman purchased a car.", "The choir rehearsed in church."),
    ("delete a folder", "def rmdir(path): remove a directory", "def mean(values): average"),
    ("The committee postponed the vote.", "delayed decision of the panel", "puppies chasing a ball"),
    ("heart attack symptoms", "signs of myocardial infarction", "cheap flights to Madrid"),
    ("train a neural network", "deep learning with gradient descent", "bake sourdough bread"),
]


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return StaticEncoder.load()


def test_follows_the_protocol(encoder):
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dim)
    assert vectors.dtype == np.float32 and vectors.flags.c_contiguous and vectors.flags.writeable
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dim)
    assert encoder.max_tokens is None
    np.testing.assert_array_equal(encoder.encode(TEXTS, role="query"), vectors)


def margins(encoder):
    left, same, other = (encoder.encode([triple[i] for triple in TRIPLES]) for i in range(3))
    return (left * same).sum(1) - (left * other).sum(1)


def test_related_texts_without_shared_words_are_closer(encoder):
    found = margins(encoder)
    assert (found > 0.05).sum() >= 11, np.round(found, 2)
    assert found.mean() > 0.25


def test_random_rows_do_not_pass_that_check(encoder):
    rows = np.random.default_rng(0).standard_normal((len(encoder._table), 256)).astype(np.float32)
    random = StaticEncoder(rows, encoder._tokenizer.source, scales=encoder._scales, power=encoder.power)
    assert margins(random).mean() < 0.15


@pytest.mark.data
def test_sts_benchmark(encoder, data_root):
    import gzip

    from scipy.stats import spearmanr

    with gzip.open(data_root / "stsb/en_test.tsv.gz", "rt", encoding="utf-8") as handle:
        rows = [line.rstrip("\n").split("\t") for line in handle][1:]
    left, right = encoder.encode([row[0] for row in rows]), encoder.encode([row[1] for row in rows])
    assert spearmanr((left * right).sum(1), [float(row[2]) for row in rows]).statistic >= 0.72


def test_w63_batches_and_order_change_nothing(encoder):
    texts = [text for i in range(12) for text in (*TEXTS, f"{TEXTS[i % 5]} {i}", "")]
    whole = encoder.encode(texts, batch_size=64)
    order = np.random.default_rng(0).permutation(len(texts))
    for batch_size in (1, 7, 64, 1_000):
        again = encoder.encode([texts[i] for i in order], batch_size=batch_size)
        assert ((again * whole[order]).sum(1) >= 1 - 1e-6).all()


def test_compiled_and_plain_paths_agree(encoder, monkeypatch):
    plain = encoder.encode(TEXTS)
    monkeypatch.setattr(static, "_COMPILE_ABOVE", 1)
    np.testing.assert_allclose(encoder.encode(TEXTS), plain, atol=1e-6)
    monkeypatch.setattr(static, "_DECODE_ABOVE", 1)
    np.testing.assert_allclose(StaticEncoder.load().encode(TEXTS), plain, atol=1e-6)


def test_threads_agree(encoder):
    wanted = encoder.encode(TEXTS * 30)
    found = {}
    threads = [Thread(target=lambda i=i: found.update({i: encoder.encode(TEXTS * 30)})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for vectors in found.values():
        np.testing.assert_array_equal(vectors, wanted)
    assert len(found) == 6


def test_golden_vectors(encoder):
    """A change here means stored vectors no longer match: raise the name of the encoder with it."""
    golden = json.loads((Path(__file__).parent / "static_golden.json").read_text())
    assert encoder.fingerprint == golden["fingerprint"]
    np.testing.assert_allclose(encoder.encode(golden["texts"])[:, :8], golden["first_components"], atol=1e-5)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b", "\x00"])
def test_texts_without_tokens_get_the_empty_direction(encoder, text):
    vectors, report = encoder.encode_with_report(["a normal text", text])
    assert report.items == 2 and report.empty_items == 1
    np.testing.assert_allclose(np.linalg.norm(vectors[1]), 1.0, atol=1e-5)
    np.testing.assert_array_equal(vectors[1], encoder.encode([""])[0])
    ordinary = encoder.encode([sentence for triple in TRIPLES for sentence in triple])
    assert (ordinary @ vectors[1]).max() < 0.3


def test_window_is_kept_and_reported(encoder):
    short = StaticEncoder(
        encoder._table, encoder._tokenizer.source, scales=encoder._scales, levels=encoder._levels,
        power=encoder.power, max_tokens=4,
    )  # fmt: skip
    vectors, report = short.encode_with_report(["one two three four five six", "one two three four", "one"])
    assert (report.truncated_items, report.truncated_tokens, report.empty_items) == (1, 2, 0)
    assert report.seconds > 0
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert encoder.encode_with_report(["word " * 5_000])[1].truncated_items == 0
    assert short.fingerprint != encoder.fingerprint


@pytest.mark.parametrize("items", [["fine", 3], ["fine", None], ["fine", b"bytes"]])
def test_items_that_are_not_text(encoder, items):
    with pytest.raises(InputError, match=r"items\[1\] of type (int|NoneType|bytes)"):
        encoder.encode(items)


def test_other_wrong_arguments(encoder):
    with pytest.raises(InputError, match="items"):
        encoder.encode("one bare text")
    with pytest.raises(InputError, match="role"):
        encoder.encode(["a"], role="passage")
    with pytest.raises(InputError, match="batch_size"):
        encoder.encode(["a"], batch_size=0)
    source, table = encoder._tokenizer.source, encoder._table
    with pytest.raises(DimensionError, match="one row per token"):
        StaticEncoder(table[:5], source, levels=encoder._levels)
    with pytest.raises(DtypeError, match="levels"):
        StaticEncoder(table, source)
    with pytest.raises(DimensionError, match="16 levels"):
        StaticEncoder(table, source, levels=np.zeros(3, np.int8))
    with pytest.raises(InputError, match="power"):
        StaticEncoder(table, source, levels=encoder._levels, power=2.0)


def test_save_and_load_give_the_same_encoder(encoder, tmp_path):
    encoder.save(tmp_path / "copy")
    copy = StaticEncoder.load(tmp_path / "copy")
    assert copy.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(copy.encode(TEXTS), encoder.encode(TEXTS))
    assert json.loads((tmp_path / "copy/config.json").read_text())["origin"] == encoder._origin


@pytest.mark.parametrize("name", ["arrays.safetensors", "tokenizer.json", "config.json"])
def test_a_tampered_file_is_refused(name, tmp_path):
    shutil.copytree(SHIPPED, tmp_path / "bad")
    path = tmp_path / "bad" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if name == "config.json":
        data = data.replace(b'"arrays_sha256": "', b'"arrays_sha256": "0')
    path.write_bytes(data)
    with pytest.raises(StoreCorruptedError, match=r"(?i)restore"):
        StaticEncoder.load(tmp_path / "bad")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"arrays\.safetensors"):
        StaticEncoder.load(tmp_path)
    shutil.copytree(SHIPPED, tmp_path / "part", ignore=shutil.ignore_patterns("tokenizer.json"))
    with pytest.raises(NotFoundError, match=r"tokenizer\.json"):
        StaticEncoder.load(tmp_path / "part")


def test_w41_starts_light():
    code = (
        "import sys, time; import numpy; t = time.process_time();"
        "from orthant.encoders.static import StaticEncoder;"
        "v = StaticEncoder.load().encode(['a query about lighthouses']);"
        "print(time.process_time() - t, [m for m in ('torch', 'numba', 'tokenizers', 'scipy', 'transformers')"
        " if m in sys.modules])"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=True
    )
    seconds, modules = done.stdout.split(" ", 1)
    assert modules.strip() == "[]"
    assert float(seconds) < 1.5


def test_w41_ships_small_and_with_its_licence():
    sizes = [path.stat().st_size for path in SHIPPED.iterdir()]
    assert sum(sizes) < 9_500_000
    assert "Apache License" in (SHIPPED / "LICENSE").read_text(encoding="utf-8")
    config = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config["kind"] == "encoder.static" and len(config["origin"]["teacher"]["weights_sha256"]) == 64


class TestModel2vecFolders:
    @pytest.fixture
    def folder(self, tmp_path, request):
        model2vec = pytest.importorskip("model2vec")
        tokenizers = pytest.importorskip("tokenizers")
        normalize, quantized, dtype = request.param
        tokenizer = tokenizers.Tokenizer.from_str((SHIPPED / "tokenizer.json").read_text(encoding="utf-8"))
        rng = np.random.default_rng(0)
        size = tokenizer.get_vocab_size()
        extra = {}
        if quantized:
            extra = {"weights": rng.random(size), "token_mapping": rng.integers(0, 500, size)}
        rows = rng.standard_normal((500 if quantized else size, 32))
        rows = (rows * 40).clip(-127, 127).astype(np.int8) if dtype == "int8" else rows.astype(dtype)
        model = model2vec.StaticModel(rows, tokenizer, normalize=normalize, **extra)
        model.save_pretrained(tmp_path / "m2v")
        return model, tmp_path / "m2v"

    @pytest.mark.parametrize(
        "folder",
        [(True, False, "float32"), (False, False, "float32"), (True, True, "float32"), (False, True, "float32"),
         (True, False, "float16"), (True, False, "int8")],
        indirect=True,
    )  # fmt: skip
    def test_parity_with_the_package(self, folder):
        model, path = folder
        encoder = StaticEncoder.load(path)
        texts = [*TEXTS, "long " * 700 + "tail words that lie outside the window"]
        wanted = model.encode(texts, use_multiprocessing=False).astype(np.float32)
        found = encoder.encode(texts)
        known = wanted.any(axis=1)
        assert known.sum() == len(texts) - 1
        atol = 2e-3 if model.embedding.dtype == np.float16 else 2e-6
        np.testing.assert_allclose(found[known], wanted[known], rtol=1e-5, atol=atol)
        assert encoder.max_tokens == 512 and encoder.encode_with_report(texts)[1].truncated_items == 1

    def test_a_folder_of_something_else(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"not a table")
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(StoreCorruptedError, match="model2vec"):
            StaticEncoder.load(tmp_path)
