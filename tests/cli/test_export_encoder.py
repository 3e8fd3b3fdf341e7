"""``orthant export-encoder``."""

from __future__ import annotations

import pytest

from encoders.tiny_models import WIDTH, write_tiny_bert
from orthant.encoders import load_encoder

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import importlib.util

    # Without sentence-transformers NumPy is compared with, which is quicker to load.
    real = importlib.util.find_spec
    hidden = "sentence_transformers"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == hidden else real(name, *rest))
    return write_tiny_bert(tmp_path / "tiny")


def test_a_folder_is_exported_and_reported(run, folder, tmp_path):
    ran = run("export-encoder", str(folder), str(tmp_path / "out"), "--int8", "--min-cosine", "0.5", "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert report["precision"] == "int8" and report["dim"] == WIDTH and report["agreement"]["cosine_min"] > 0.5
    assert load_encoder(tmp_path / "out").fingerprint == report["fingerprint"]
    ran = run("export-encoder", str(folder), str(tmp_path / "wide"))
    assert ran.code == 0 and "float32, built" in ran.out and "load_encoder" in ran.out


def test_refusals_are_one_paragraph(run, folder, tmp_path):
    ran = run("export-encoder", str(folder), str(tmp_path / "out"), "--int8", "--min-cosine", "0.99999")
    assert ran.code == 2 and "min_cosine=0.99999" in ran.err and not (tmp_path / "out").exists()
    ran = run("export-encoder", str(folder), str(folder))
    assert ran.code == 2 and "not empty" in ran.err and len(ran.err.strip().splitlines()) == 1
    assert run("export-encoder", str(tmp_path / "absent"), str(tmp_path / "out")).code == 2
