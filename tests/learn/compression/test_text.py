"""A tiny BERT as codes: the copy is served without torch, and is what was trained."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from learn.training.texts import tiny_folder
from orthant.encoders import load_encoder
from orthant.encoders.pipeline.compressed import COMPRESSED_FILE, decoded_weights
from orthant.encoders.transformer import TransformerEncoder
from orthant.errors import InputError, StoreCorruptedError
from orthant.learn.compression import LowRankVQ, compress_text_encoder

TEXTS = [
    f"{a} {b} {c}" for a in ("red", "green", "blue") for b in ("stone", "river", "tree") for c in ("old", "new")
] * 2
POLICY = {
    "*token_type*": None,
    "*position*": None,
    "*word_embeddings": LowRankVQ(k=16, block=4),
    "*": LowRankVQ(k=64, block=4, rank=3),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("compressed")
    source = tiny_folder(place / "whole")
    options = {"policy": POLICY, "max_tokens": 8, "learning_rate": 3e-3, "batch_size": 8, "min_cosine": -1.0}
    reports = {
        steps: compress_text_encoder(source, place / f"small{steps}", TEXTS, steps=steps, **options)
        for steps in (0, 40)
    }
    return source, place, reports


def test_copy_is_what_was_trained_and_training_brings_it_nearer(folders):
    _, _, reports = folders
    assert all(one.served.max_difference < 1e-4 for one in reports.values())
    assert reports[40].kept.cosine_mean > reports[0].kept.cosine_mean


def test_copy_is_small_and_stands_for_itself(folders):
    source, place, reports = folders
    weights = (place / "small40" / COMPRESSED_FILE).stat().st_size
    assert weights < (source / "model.safetensors").stat().st_size / 3
    files = [path for path in (place / "small40").rglob("*") if path.is_file()]
    assert reports[40].nbytes == sum(path.stat().st_size for path in files)
    assert json.loads((place / "small40" / "compression.json").read_text())["fingerprint"] == reports[40].fingerprint
    assert reports[40].fingerprint != TransformerEncoder.load(source, backend="numpy").fingerprint


def test_backends_agree_and_torch_is_refused(folders):
    _, place, _ = folders
    plain = TransformerEncoder.load(place / "small40", backend="numpy").encode(TEXTS[:5])
    with pytest.raises(InputError, match="codes"):
        TransformerEncoder.load(place / "small40", backend="torch")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    np.testing.assert_allclose(load_encoder(place / "small40").encode(TEXTS[:5]), plain, atol=1e-5)


def test_copy_is_served_without_torch(folders):
    _, place, _ = folders
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "import orthant.encoders.bert_backends as b; b._installed = lambda *names: False\n"
        f"from orthant.encoders import load_encoder; e = load_encoder({str(place / 'small40')!r})\n"
        "print(e.backend, e.encode(['red stone']).shape)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["numpy", "(1,", "32)"]


def test_what_cannot_be_compressed_is_refused_and_nothing_is_left(folders, tmp_path):
    source, place, _ = folders
    with pytest.raises(InputError, match="in codes"):
        compress_text_encoder(place / "small0", tmp_path / "again", TEXTS)
    with pytest.raises(InputError, match="not empty"):
        compress_text_encoder(source, place / "small0", TEXTS)
    with pytest.raises(InputError, match="mean cosine"):
        compress_text_encoder(source, tmp_path / "far", TEXTS, policy=POLICY, steps=0, max_tokens=8, min_cosine=1.0)
    assert list(tmp_path.iterdir()) == []


def test_damaged_codes_are_told():
    with pytest.raises(StoreCorruptedError, match="number of columns"):
        decoded_weights({"w#codes": np.zeros((2, 2), np.uint8)})
    parts = {"w#codes": np.zeros((2, 2), np.uint8), "w#columns": np.array([9], np.int32)}
    parts |= {"w#codebook": np.ones((20, 4), np.float16), "w#lift": np.ones((4, 4), np.float16)}
    with pytest.raises(StoreCorruptedError, match="do not fit"):
        decoded_weights(parts)
