"""Whole models: folders, state dicts and modules, what is merged, what is copied, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from orthant.errors import DtypeError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.merging import (  # noqa: E402
    Dare,
    Karcher,
    Linear,
    ModelStock,
    Slerp,
    TaskArithmetic,
    Ties,
    greedy_soup,
    merge_models,
    merge_tensors,
    merged_state,
    methods,
    mismatches,
)


def _states(count=3, dtype=torch.float32, spread=0.3):
    generator = torch.Generator().manual_seed(0)
    shapes = {"encoder.layer.0.weight": (4, 6), "encoder.layer.1.weight": (6, 4), "embeddings.weight": (9, 4)}
    base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tuned = [
        {name: value + spread * torch.randn(value.shape, generator=generator) for name, value in base.items()}
        for _ in range(count)
    ]
    every = [{name: value.to(dtype) for name, value in state.items()} for state in (base, *tuned)]
    for i, state in enumerate(every):
        state["position_ids"] = torch.arange(5) + (i == 3)
    return every[0], every[1:]


def _folder(path, state, *, config=None, shards=False, vocabulary=None):
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"hidden_size": 4, "_name_or_path": path.name, **(config or {})}))
    (path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary or {"a": 0}}}))
    (path / "README.md").write_text("the old model")
    (path / "pytorch_model.bin").write_bytes(b"old weights")
    if not shards:
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})
        return path
    names = list(state)
    halves = {"model-1.safetensors": names[:2], "model-2.safetensors": names[2:]}
    for file, inside in halves.items():
        save_file({name: state[name] for name in inside}, path / file, metadata={"format": "pt"})
    where = {name: file for file, inside in halves.items() for name in inside}
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def _joined(method, base, tuned, **settings):
    return method([torch.tensor(each - base) for each in tuned], **settings).numpy()


RULES = {
    "linear": (Linear(weights=(1.0, 2.0, 3.0)), lambda b, t: np.average(t, axis=0, weights=[1, 2, 3])),
    "arithmetic": (
        TaskArithmetic(weights=(1.0, -0.5, 0.25)),
        lambda b, t: b + (t[0] - b) - (t[1] - b) / 2 + (t[2] - b) / 4,
    ),
    "karcher": (Karcher(), lambda b, t: _joined(methods.karcher_mean, 0, t)),
    "ties": (Ties(density=0.4, scale=0.7), lambda b, t: b + 0.7 * _joined(methods.ties, b, t, density=0.4)),
    "stock": (ModelStock(), lambda b, t: b + _joined(methods.model_stock, b, t)),
}


@pytest.mark.parametrize("key", RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_w82_rules_over_whole_models(key, dtype):
    base, tuned = _states(dtype=dtype)
    rule, formula = RULES[key]
    found = merged_state(tuned, rule=rule, ancestor=base if rule.needs_ancestor else None)
    for name in base:
        if name == "position_ids":
            assert torch.equal(found[name], tuned[0][name])
            continue
        # Half precision is computed in float32 and rounded once at the end.
        wide = np.float64 if dtype == torch.float64 else np.float32
        wanted = formula(base[name].to(torch.float64).numpy().astype(wide), [t[name].double().numpy() for t in tuned])
        assert found[name].dtype == dtype
        step = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 4e-6, torch.float64: 1e-11}[dtype]
        np.testing.assert_allclose(found[name].double().numpy(), wanted, rtol=step, atol=step)


def test_w82_half_precision_is_rounded_once():
    # In float16 the sum of these rounds at every step, and the mean would come out as 2048.
    states = [{"w": torch.tensor([value]).half()} for value in (2048.0, 2049.9, 2050.0, 2052.0)]
    assert merged_state(states)["w"].item() == 2050.0


@pytest.mark.parametrize("shards", [False, True])
def test_w82_folder_is_complete(tmp_path, shards):
    _, tuned = _states(2)
    folders = [_folder(tmp_path / f"m{i}", state, shards=shards) for i, state in enumerate(tuned)]
    record = merge_models(folders, tmp_path / "out", rule=Slerp(t=0.3))
    out = tmp_path / "out"
    kept = {"config.json", "tokenizer.json", "merge.json"}
    weights = (
        {"model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"}
        if shards
        else {"model.safetensors"}
    )
    assert {path.name for path in out.iterdir()} == kept | weights
    found = {name: value for path in out.glob("*.safetensors") for name, value in load_file(path).items()}
    assert set(found) == set(tuned[0])
    for name, value in found.items():
        a, b = tuned[0][name], tuned[1][name]
        assert torch.equal(value, a if name == "position_ids" else methods.slerp(a, b, t=0.3))
    assert json.loads((out / "merge.json").read_text()) == json.loads(json.dumps(record))
    assert record["rule"] == {"name": "Slerp", "t": 0.3} and record["copied_from_first"] == ["position_ids"]
    if shards:
        index = json.loads((out / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in found.values())
        assert set(index["weight_map"]) == set(found)


def test_record_names_what_was_read_and_written(tmp_path):
    import hashlib

    _, tuned = _states(2)
    folders = [_folder(tmp_path / f"m{i}", state) for i, state in enumerate(tuned)]
    record = merge_models(folders, tmp_path / "out")

    def digest(path):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}

    assert [m["sha256"] for m in record["models"]] == [digest(f / "model.safetensors") for f in folders]
    assert record["written"] == digest(tmp_path / "out" / "model.safetensors")
    assert [m["origin"] for m in record["models"]] == ["m0", "m1"]


def test_modules_in_a_sentence_transformers_folder_are_merged(tmp_path):
    _, tuned = _states(2)
    folders = []
    for i, state in enumerate(tuned):
        folder = _folder(tmp_path / f"m{i}", state)
        modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "2_Dense").mkdir()
        save_file({"linear.weight": torch.full((4, 4), float(i + 1))}, folder / "2_Dense" / "model.safetensors")
        # Trainers leave checkpoints beside the model: they are other models.
        _folder(folder / "checkpoint-5", {"w": torch.ones(1)})
        folders.append(folder)
    merge_models(folders, tmp_path / "out")
    assert (load_file(tmp_path / "out" / "2_Dense" / "model.safetensors")["linear.weight"] == 1.5).all()
    assert not (tmp_path / "out" / "checkpoint-5").exists()


_MEMORY = """
import sys
import torch
from orthant.learn.merging import ModelStock, merge_models
torch.set_num_threads(1)

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

root = sys.argv[1]
small = root + "/small"
merge_models([small, small], root + "/warm", ancestor=small, rule=ModelStock())
before = peak()
whole = root + "/whole"
merge_models([whole, whole], root + "/out", ancestor=whole, rule=ModelStock())
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_w25_memory_is_that_of_a_tensor_per_model(tmp_path):
    _folder(tmp_path / "whole", {f"layers.{i}.weight": torch.ones(512, 1024) for i in range(32)})
    _folder(tmp_path / "small", {"w": torch.ones(8, 8)})
    largest, whole = 2 << 20, 64 << 20
    run = subprocess.run([sys.executable, "-c", _MEMORY, str(tmp_path)], capture_output=True, check=True, text=True)
    # Three models with a tensor each, and a few more for what is computed; one whole model would be 64 MiB.
    assert int(run.stdout) < 12 * largest < whole


def test_w82_mismatches_are_listed_together():
    a = {"x": torch.ones(2), "y": torch.ones(2, 3), "z": torch.ones(4), "only": torch.ones(2)}
    # "only" is equal to "x", as fresh norms are; that makes it no copy.
    b = {"x": torch.ones(2), "y": torch.ones(3, 2), "z": torch.ones(4, dtype=torch.int64), "extra": torch.ones(1)}
    lines = mismatches([a, b])
    assert [line.split(":")[0] for line in lines] == ["y", "z", "only", "extra"]
    with pytest.raises(InputError) as caught:
        merged_state([a, b])
    assert all(line in str(caught.value) for line in lines) and "4 mismatches" in str(caught.value)


def test_w82_versions_of_transformers_may_differ(tmp_path):
    _, tuned = _states(2)
    norm = torch.ones(4)
    old = {**tuned[0], "embeddings.LayerNorm.gamma": norm}
    new = {**tuned[1], "embeddings.LayerNorm.weight": 3 * norm}
    del new["position_ids"]
    merge_models([_folder(tmp_path / "old", old), _folder(tmp_path / "new", new)], tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert set(found) == set(old) - {"position_ids"}
    assert found["embeddings.LayerNorm.gamma"].tolist() == [2.0] * 4


def test_floating_types_may_differ_when_the_result_is_named():
    a, b = {"w": torch.ones(2)}, {"w": torch.zeros(2).half()}
    with pytest.raises(InputError, match="name the type"):
        merged_state([a, b])
    assert merged_state([a, b], dtype="bfloat16")["w"].dtype == torch.bfloat16
    with pytest.raises(DtypeError, match="float8"):
        merged_state([a, b], dtype="float8")


def test_settings_that_change_the_function_are_conflicts(tmp_path):
    _, tuned = _states(2)
    a = _folder(tmp_path / "a", tuned[0], config={"hidden_act": "gelu"})
    b = _folder(tmp_path / "b", tuned[1], config={"hidden_act": "relu"}, vocabulary={"b": 0})
    with pytest.raises(InputError, match=r"(?s)hidden_act='relu'.*another vocabulary"):
        merge_models([a, b], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_tied_weights_are_merged_once_and_stay_tied():
    class Tied(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.embed = torch.nn.Embedding(5, 3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

    a, b = Tied(0), Tied(0)
    b.load_state_dict({"embed.weight": a.embed.weight + 1, "head.weight": a.embed.weight + 1})
    # Thinning draws per name, so two merges of one tensor would differ.
    state = merged_state([a, b], rule=Dare(), ancestor=a)
    assert state["embed.weight"].data_ptr() == state["head.weight"].data_ptr()
    # An ancestor that ties what a fine-tuned model no longer ties has values for both.
    loose = {"embed.weight": a.embed.weight.detach() + 0.1, "head.weight": a.embed.weight.detach() + 0.2}
    apart = merged_state([loose], rule=TaskArithmetic(weights=(0.5,)), ancestor=a)
    torch.testing.assert_close(apart["head.weight"] - apart["embed.weight"], torch.full((5, 3), 0.05))
    with pytest.raises(InputError, match=r"head\.weight: only in"):
        merged_state([a, loose])
    # A folder that lacks the second copy, and one that has it, are one model to a merge.
    one, two = {"embed.weight": a.embed.weight}, {name: value.clone() for name, value in b.state_dict().items()}
    assert set(merged_state([one, two])) == set(merged_state([two, one])) == {"embed.weight"}


def test_integers_and_running_statistics_are_the_first_models(tmp_path):
    states = [
        {
            "n.weight": torch.ones(2),
            "n.running_mean": torch.full((2,), float(i)),
            "n.num_batches_tracked": torch.tensor(i),
        }
        for i in range(2)
    ]
    record = merge_models(states, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found["n.running_mean"].tolist() == [0.0, 0.0] and found["n.num_batches_tracked"].item() == 0
    assert record["copied_though_different"] == ["n.running_mean", "n.num_batches_tracked"]


def test_dare_depends_on_seed_and_name_only():
    base, tuned = _states()
    rule = Dare(density=0.5, seed=1)
    found = dict(merge_tensors(tuned, rule=rule, ancestor=base))
    turned = [dict(reversed(state.items())) for state in tuned]
    again = dict(merge_tensors(turned, rule=rule, ancestor=dict(reversed(base.items()))))
    assert all(torch.equal(found[name], again[name]) for name in found)
    other = dict(merge_tensors(tuned, rule=Dare(density=0.5, seed=2), ancestor=base))
    assert not torch.equal(found["embeddings.weight"], other["embeddings.weight"])
    alike = merged_state(
        [{"a": torch.ones(50), "b": torch.ones(50)}], rule=rule, ancestor=dict.fromkeys("ab", torch.zeros(50))
    )
    assert not torch.equal(alike["a"], alike["b"])


def test_unrelated_models_are_warned_about():
    base, tuned = _states(2)
    stranger = {name: torch.randn(value.shape) if value.ndim > 1 else value for name, value in base.items()}
    with pytest.warns(UserWarning, match="unrelated"):
        merged_state([tuned[0], stranger])


def test_greedy_soup_keeps_what_helps():
    target = torch.tensor([1.0, 1.0])
    models = [{"w": torch.tensor(v)} for v in ([5.0, 5.0], [0.0, 1.0], [2.0, 1.0], [0.9, 3.0])]
    soup = greedy_soup(models, lambda state: -float((state["w"] - target).norm()))
    # By hand: 1 and 2 alone score -1; together 0; the others only lower that.
    assert soup.kept == (1, 2) and soup.score == 0.0 and soup.state["w"].tolist() == [1.0, 1.0]
    assert soup.scores == pytest.approx([-(32**0.5), -1.0, -1.0, -((0.1**2 + 4) ** 0.5)])
    with pytest.raises(NonFiniteError, match="score"):
        greedy_soup(models, lambda state: float("nan"))


def test_bad_input_is_refused(tmp_path):
    base, tuned = _states()
    refused = [
        ({"models": tuned[:1]}, "one model only"),
        ({"models": []}, "no models"),
        ({"models": tuned, "rule": Linear(weights=(1.0, 2.0))}, "2 weights for 3 models"),
        ({"models": tuned, "rule": Slerp()}, "3 models to slerp"),
        ({"models": tuned[:2], "rule": Slerp(t=1.5)}, "t=1.5"),
        ({"models": tuned, "rule": Ties()}, "without an ancestor"),
        ({"models": tuned, "rule": Linear(), "ancestor": base}, "has no effect"),
        ({"models": tuned[:1], "rule": ModelStock(), "ancestor": base}, "at least two"),
        ({"models": [{**state, "q.lora_A.weight": torch.ones(1)} for state in tuned]}, "merge_and_unload"),
        ({"models": [{}, {}]}, "without tensors"),
        ({"models": [1, 2]}, "type int"),
    ]
    for arguments, text in refused:
        with pytest.raises(InputError, match=text):
            merged_state(**arguments)
    broken = {**tuned[0], "embeddings.weight": torch.full((9, 4), float("nan"))}
    with pytest.raises(NonFiniteError, match=r"embeddings\.weight"):
        merge_models([tuned[0], broken], tmp_path / "out")
    big = [{"w": torch.tensor([6e4]).half()}] * 2
    with pytest.raises(NonFiniteError, match="beyond float16"):
        merged_state(big, rule=TaskArithmetic(), ancestor={"w": torch.zeros(1).half()})
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="not empty"):
        merge_models(tuned, tmp_path / "full")
