"""Names of folders and modules, and who is found to be of another kind."""

import json

import pytest

torch = pytest.importorskip("torch")

from orthant.errors import StoreCorruptedError  # noqa: E402
from orthant.learn.merging.compatibility import folder_conflicts, match_names  # noqa: E402
from orthant.learn.merging.sources import layer_of, open_weights  # noqa: E402


def test_names_of_a_wrapper_are_found():
    given = ["embeddings.word.weight", "encoder.layer.0.weight", "1_Dense/linear.weight", "2_Dense/linear.weight"]
    wanted = ["0.auto_model." + name for name in given[:2]] + ["1.linear.weight", "2.linear.weight"]
    assert list(match_names(given, wanted).values()) == wanted
    assert match_names(["a.b"], ["a.b", "x.a.b"]) == {"a.b": "a.b"}
    assert match_names(["unknown"], wanted) == {"unknown": "unknown"}


def test_old_names_of_layer_norms_are_known():
    old = {"x.weight": 0, "a.LayerNorm.gamma": 1, "a.LayerNorm.beta": 2}
    new = ["m.x.weight", "m.a.LayerNorm.weight", "m.a.LayerNorm.bias"]
    assert list(match_names(list(old), new).values()) == new
    assert list(match_names([n.removeprefix("m.") for n in new], list(old)).values()) == list(old)
    # A target is given away once.
    both = ["x.weight", "a.LayerNorm.gamma", "a.LayerNorm.weight"]
    assert match_names(both, new)["a.LayerNorm.gamma"] == "a.LayerNorm.gamma"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("encoder.layer.11.output.dense.bias", "encoder.layer.11"),
        ("0.auto_model.encoder.layer.3.output.dense.bias", "0.auto_model.encoder.layer.3"),
        ("model.layers.5.mlp.experts.7.w1", "model.layers.5"),
        ("0.weight", "0"),
        ("weight", "weight"),
        ("2_Dense/linear.weight", "2_Dense/linear"),
    ],
)
def test_layers_are_named(name, layer):
    assert layer_of(name) == layer


def test_settings_of_training_are_no_conflict(tmp_path):
    from safetensors.torch import save_file

    places = []
    for i in range(2):
        place = tmp_path / f"m{i}"
        place.mkdir()
        save_file({"w": torch.ones(1)}, place / "model.safetensors")
        config = {"hidden_act": "gelu", "attention_dropout": i, "transformers_version": str(i), "id2label": {"0": i}}
        (place / "config.json").write_text(json.dumps(config))
        # Padding is written into the tokenizer's file, and says nothing about the vocabulary.
        (place / "tokenizer.json").write_text(json.dumps({"padding": i, "model": {"vocab": {"a": 0}}}))
        places.append(place)
    sources = [open_weights(place) for place in places]
    assert folder_conflicts(sources) == []
    config = json.loads((places[1] / "config.json").read_text())
    (places[1] / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-5}))
    (places[1] / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 1}}}))
    assert folder_conflicts(sources) == [
        "layer_norm_eps=1e-05 instead of None in config.json of m1",
        "another vocabulary in tokenizer.json of m1",
    ]
    (places[1] / "config.json").write_text("{")
    with pytest.raises(StoreCorruptedError, match=r"config\.json"):
        folder_conflicts(sources)
