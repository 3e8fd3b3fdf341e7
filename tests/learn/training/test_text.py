"""Stages of texts: the library's trainer under our order, schedule, callbacks and checkpoints."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("datasets")

from learn.training import text_trial  # noqa: E402
from learn.training.problems import same_weights  # noqa: E402
from learn.training.text_trial import ranking, train  # noqa: E402
from learn.training.texts import pairs, tiny_encoder, tiny_folder  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.samplers import Interleaved, Sequential  # noqa: E402
from orthant.learn.training import Callback, LoRA, Validation  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("still"), dropout=0.0)


@pytest.fixture(scope="module")
def whole(folder):
    model = tiny_encoder(folder)
    return train(model), model


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, run):
        if run.step == self.step:
            run.stop("here")


def test_equals_a_loop_by_hand(still):
    ours, theirs = tiny_encoder(still), tiny_encoder(still)
    history = train(ours, sampler=Sequential(), warmup=0.2, max_grad_norm=0.5, steps=6)
    loss = ranking(theirs)
    named = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(named, lr=1e-3, weight_decay=0.0)
    rows = pairs()
    for step in range(6):
        chosen = [rows[(8 * step + i) % 40] for i in range(8)]
        share = step / 2 if step < 2 else (6 - step) / 4
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * share
        theirs.train()
        features = [theirs.preprocess([row[column] for row in chosen]) for column in ("anchor", "positive")]
        value = loss(features, None)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(named, 0.5)
        optimizer.step()
        assert history.rows[step]["loss"] == pytest.approx(float(value.detach()), abs=1e-5)
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_it_learns_and_says_nothing(folder, capfd, tmp_path):
    os.chdir(tmp_path)
    model = tiny_encoder(folder)
    history = train(model, steps=20)
    losses = history.column("loss")
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    out, _ = capfd.readouterr()
    assert not out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 10))])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(folder, tmp_path, whole, step):
    first = train(tiny_encoder(folder), tmp_path, [Stop(step)])
    assert (len(first), first.stopped) == (step, "here")
    model = tiny_encoder(folder)
    history = train(model, tmp_path)
    assert history.column("loss") == whole[0].column("loss")
    assert same_weights(model, whole[1])
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"arrays.safetensors", "config.json"}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
def test_resumed_after_kill_is_the_same_to_the_bit(folder, tmp_path, whole):
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent / "src"), str(tests)])}
    script = [sys.executable, str(Path(text_trial.__file__)), str(folder), str(tmp_path)]
    killed = subprocess.run([*script, "8"], env=environment, capture_output=True, timeout=250)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    again = subprocess.run(script, env=environment, capture_output=True, timeout=250, check=True)
    entire = subprocess.run([*script[:-1], "-"], env=environment, capture_output=True, timeout=250, check=True)
    assert json.loads(again.stdout) == json.loads(entire.stdout)


@pytest.mark.slow
def test_accumulated_batches_follow_each_other(still):
    one, two = tiny_encoder(still), tiny_encoder(still)
    seen = train(one, sampler=Sequential(), steps=10, learning_rate=1e-12).column("loss")
    pair = train(two, sampler=Sequential(), steps=5, accumulate=2, learning_rate=1e-12).column("loss")
    np.testing.assert_allclose(pair, [np.mean(both) for both in zip(seen[::2], seen[1::2], strict=True)], rtol=1e-5)


def test_the_same_callbacks_work_as_in_the_thin_loop(folder):
    order = []

    class Look(Callback):
        def on_start(self, run):
            order.append("start")

        def on_gradients(self, run):
            assert any(parameter.grad is not None for parameter in run.trained.values())
            order.append("gradients")

        def on_step(self, run):
            order.append("step")

        def on_stage_end(self, run):
            order.append("stage")

        def on_end(self, run):
            order.append("end")

    train(tiny_encoder(folder), steps=2, callbacks=[Look()])
    assert order == ["start", "gradients", "step", "gradients", "step", "stage", "end"]


class Breaking(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.inner, self.calls = model, ranking(model), 0

    def forward(self, features, labels):
        self.calls += 1
        if self.calls == 4:
            embeddings = self.model[0].model.embeddings.word_embeddings.weight
            embeddings.register_hook(lambda gradient: gradient * math.nan)
        return self.inner(features, labels)


def test_w83_nan_stops_the_run_and_names_the_parameter(folder):
    model, seen = tiny_encoder(folder), []

    class Look(Callback):
        def on_step(self, run):
            seen.append({name: tensor.clone() for name, tensor in run.model.state_dict().items()})

    with pytest.warns(RuntimeWarning, match=r"step 4 of stage 'pairs'.*word_embeddings\.weight"):
        history = train(model, loss=Breaking, callbacks=[Look()])
    assert len(history) == 3
    assert all(torch.equal(tensor, seen[-1][name]) for name, tensor in model.state_dict().items())


def test_frozen_masked_and_validated(folder):
    model = tiny_encoder(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = "0.model.encoder.layer.0.output.dense.weight"
    mask = torch.rand(32, 32) > 0.5
    rules = Validation(
        lambda model: {"norm": float(np.linalg.norm(model.encode(["red stone"])))}, metrics=["norm"], every=2
    )
    from orthant.learn.training import Curriculum, Stage

    stage = Stage(
        "pairs",
        pairs(),
        ranking,
        steps=4,
        batch_size=8,
        learning_rate=1e-2,
        freeze=["*embeddings*"],
        masks={name: mask},
    )
    history = Curriculum([stage]).run(model, validate=rules)
    assert [row["step"] for row in history.rows if "norm" in row] == [2, 4]
    after = model.state_dict()
    assert torch.equal(
        after["0.model.embeddings.word_embeddings.weight"], before["0.model.embeddings.word_embeddings.weight"]
    )
    assert not after[name][~mask].any()
    assert not torch.equal(after[name][mask], before[name][mask])


def test_lora_is_merged(folder):
    pytest.importorskip("peft")
    model = tiny_encoder(folder)
    names = list(model.state_dict())
    query = model.state_dict()["0.model.encoder.layer.0.attention.self.query.weight"].clone()
    train(model, steps=3, lora=LoRA(rank=2, targets=["query"]), learning_rate=1e-2)
    assert list(model.state_dict()) == names
    assert not torch.equal(model.state_dict()["0.model.encoder.layer.0.attention.self.query.weight"], query)


def test_several_data_sets_with_a_loss_each(folder):
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    from datasets import Dataset

    scored = [{"one": row["anchor"], "two": row["positive"], "score": i % 2} for i, row in enumerate(pairs(24))]
    table = Dataset.from_list(scored)
    data = {"pairs": pairs(), "scored.en": table}
    losses = {"pairs": ranking, "scored.en": CoSENTLoss}
    history = train(tiny_encoder(folder), data=data, loss=losses, steps=None, epochs=1)
    assert len(history) == 8
    assert table.column_names == ["one", "two", "score"]
    assert "dataset_name" not in table[0]


def test_batches_of_several_data_sets_share_columns(folder):
    data = {"a": pairs(), "b": pairs(seed=1)}
    assert len(train(tiny_encoder(folder), data=data, mixture=Interleaved(sub_batch=4), steps=3)) == 3
    other = {"a": pairs(), "b": [{"q": row["anchor"], "d": row["positive"]} for row in pairs()]}
    with pytest.raises(InputError, match="one data set per batch"):
        train(tiny_encoder(folder), data=other, mixture=Interleaved(sub_batch=4), steps=3)


def test_terms_of_a_loss_stand_in_the_history(folder):
    class Two(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.inner = model, ranking(model)

        def forward(self, features, labels):
            value = self.inner(features, labels)
            return {"near": value, "far": 0.5 * value}

    history = train(tiny_encoder(folder), loss=Two, steps=2)
    for row in history.rows:
        assert row["near"] + row["far"] == pytest.approx(row["loss"], rel=1e-5)


@pytest.mark.slow
def test_prompts_change_what_is_read(folder):
    plain = train(tiny_encoder(folder), steps=1)
    asked = train(tiny_encoder(folder), steps=1, prompts={"anchor": "old new "})
    assert plain.column("loss") != asked.column("loss")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "without rows"),
        (3, "type int"),
        ([{"a": "x", "b": "y"}, {"a": "x"}], r"data\[1\] with keys \['a'\]"),
    ],
)
def test_tables_that_do_not_fit_are_refused(folder, data, text):
    with pytest.raises(InputError, match=text):
        train(tiny_encoder(folder), data=data)


def test_cross_encoders_train_too(folder):
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model = CrossEncoder(str(folder), num_labels=1, device="cpu")
    data = [{"one": row["anchor"], "two": row["positive"], "label": float(i % 2)} for i, row in enumerate(pairs())]
    history = train(model, data=data, loss=BinaryCrossEntropyLoss, steps=3)
    assert len(history) == 3
