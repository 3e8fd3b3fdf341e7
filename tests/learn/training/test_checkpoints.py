"""Checkpoints on disk: what survives a kill, and what happens to damaged ones."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training import killed  # noqa: E402
from learn.training.problems import network, same_weights, stage  # noqa: E402
from orthant.errors import InputError, NotFoundError, StoreCorruptedError  # noqa: E402
from orthant.learn.training import Curriculum, LoRA, Validation, read_checkpoint  # noqa: E402
from orthant.learn.training.checkpoints import (  # noqa: E402
    Checkpoint,
    latest_checkpoint,
    list_checkpoints,
    mean_weights,
    random_states,
    restore_random_states,
    write_checkpoint,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The training of ``killed`` without a kill."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    history, model = killed.train(tmp_path_factory.mktemp("whole"))
    yield history, model
    torch.set_num_threads(threads)


def _kill(folder, *where):
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests)])
    done = subprocess.run(
        [sys.executable, str(Path(killed.__file__)), str(folder), *where],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
def test_resumed_after_kill_is_the_same_to_the_bit(tmp_path, whole):
    _kill(tmp_path, "first", "8", "after")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-000-00000003", "checkpoint-000-00000006"]
    history, model = killed.train(tmp_path)
    assert history.column("loss") == whole[0].column("loss")
    assert [row["step"] for row in history.rows] == [row["step"] for row in whole[0].rows]
    assert same_weights(model, whole[1])


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
@pytest.mark.slow
def test_resumed_after_kill_within_a_checkpoint(tmp_path, whole):
    _kill(tmp_path, "second", "6", "during")
    assert len(list(tmp_path.glob(".checkpoint-001-00000006*.partial"))) == 1
    history, model = killed.train(tmp_path)
    assert history.column("loss") == whole[0].column("loss")
    assert same_weights(model, whole[1])
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("at", [("first", 3), ("first", 11), ("second", 1), ("second", 7), ("second", 9)])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(tmp_path, whole, at):
    class Stop(killed.KillAt):
        def on_step(self, run):
            if (run.stage.name, run.step) == self.where:
                run.stop("here")

    history, _ = killed.train(tmp_path, [Stop(*at)])
    assert history.stopped == "here"
    history, model = killed.train(tmp_path)
    assert not history.stopped
    assert history.column("loss") == whole[0].column("loss")
    assert same_weights(model, whole[1])


def test_a_finished_run_is_read_not_repeated(tmp_path, whole):
    killed.train(tmp_path)

    class Never(killed.KillAt):
        def on_step(self, run):
            raise RuntimeError("trained again")

    history, model = killed.train(tmp_path, [Never("", 0)])
    assert same_weights(model, whole[1])
    assert history.column("loss") == whole[0].column("loss")


@pytest.mark.parametrize("file", ["arrays.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_checkpoints_are_passed_over(tmp_path, whole, file, damage):
    class Stop(killed.KillAt):
        def on_step(self, run):
            if (run.stage.name, run.step) == self.where:
                run.stop("here")

    killed.train(tmp_path, [Stop("first", 8)])
    newest = list_checkpoints(tmp_path)[-1]
    assert newest.name.endswith("8")
    data = (newest / file).read_bytes()
    if damage == "gone":
        (newest / file).unlink()
    else:
        changed = data[: len(data) // 2] if damage == "cut" else data.replace(b'"step": 8', b'"step": 9')
        if file == "arrays.safetensors" and damage == "changed":
            changed = data[:-1] + bytes([data[-1] ^ 1])
        assert changed != data
        (newest / file).write_bytes(changed)
    with pytest.warns(UserWarning, match=r"checkpoint-000-00000008 is passed over"):
        history, model = killed.train(tmp_path)
    assert history.column("loss") == whole[0].column("loss")
    assert same_weights(model, whole[1])


def test_w50_nothing_is_pickled(tmp_path):
    Curriculum([stage(steps=4)], checkpoint_every=2).run(network(), tmp_path)
    files = sorted({path.name for path in tmp_path.rglob("*") if path.is_file()})
    assert files == ["arrays.safetensors", "config.json"]
    for path in tmp_path.rglob("config.json"):
        json.loads(path.read_text())


def test_as_many_stay_as_asked(tmp_path):
    Curriculum([stage(steps=12)], checkpoint_every=2, keep_checkpoints=3).run(network(), tmp_path)
    assert len(list_checkpoints(tmp_path)) == 3


def test_another_plan_is_refused(tmp_path):
    Curriculum([stage(steps=4)], checkpoint_every=2).run(network(), tmp_path)
    with pytest.raises(InputError, match=r"learning_rate \(0.01 then, 0.02 now\)"):
        Curriculum([stage(steps=4, learning_rate=0.02)], checkpoint_every=2).run(network(), tmp_path)
    with pytest.raises(InputError, match="seed"):
        Curriculum([stage(steps=4)], checkpoint_every=2, seed=1).run(network(), tmp_path)
    with pytest.raises(InputError, match="resume=False with checkpoints"):
        Curriculum([stage(steps=4)]).run(network(), tmp_path, resume=False)


def test_another_model_is_refused(tmp_path):
    Curriculum([stage(steps=4)], checkpoint_every=2).run(network(), tmp_path)
    with pytest.raises(StoreCorruptedError, match="does not fit the model"):
        Curriculum([stage(steps=4)], checkpoint_every=2).run(torch.nn.Linear(6, 2), tmp_path)


def test_validation_and_its_best_weights_survive(tmp_path):
    values = [0.1, 0.9, 0.3, 0.2, 0.4]

    def rules():
        given = iter(values)
        return Validation(
            lambda model: {"score": next(given)}, metrics=["score"], monitor="score", every=2, keep_best=True
        )

    whole = network(1)
    Curriculum([stage(steps=10)], checkpoint_every=2).run(whole, validate=rules())

    class Stop(killed.KillAt):
        def on_step(self, run):
            if run.step == 6:
                run.stop("here")

    Curriculum([stage(steps=10)], checkpoint_every=2).run(
        network(1), tmp_path, validate=rules(), callbacks=[Stop("", 0)]
    )
    later = Validation(lambda model: {"score": 0.4}, metrics=["score"], monitor="score", every=2, keep_best=True)
    model = network(1)
    history = Curriculum([stage(steps=10)], checkpoint_every=2).run(model, tmp_path, validate=later)
    assert history.column("score")[:3] == values[:3]
    assert same_weights(model, whole)


def test_lora_resumes_within_and_after_its_stage(tmp_path):
    pytest.importorskip("peft")

    def train(folder, at=None):
        class Stop(killed.KillAt):
            def on_step(self, run):
                if (run.stage.name, run.step) == at:
                    run.stop("here")

        model = network(1)
        stages = [stage("thin", steps=6, lora=LoRA(rank=2, dropout=0.1, targets=["0", "4"])), stage("whole", steps=4)]
        history = Curriculum(stages, checkpoint_every=2).run(model, folder, callbacks=[Stop("", 0)])
        return history.column("loss"), model

    losses, model = train(None)
    for number, at in enumerate([("thin", 3), ("whole", 1)]):
        folder = tmp_path / str(number)
        train(folder, at)
        again = train(folder)
        assert again[0] == losses
        assert same_weights(again[1], model)


def test_random_states_come_back():
    for _ in range(3):
        random.gauss(0, 1)
        np.random.normal()
        torch.rand(3)
    random.gauss(0, 1)
    states = random_states(CPU)
    first = (random.gauss(0, 1), random.random(), np.random.normal(), float(torch.rand(())))
    restore_random_states(states, CPU)
    assert (random.gauss(0, 1), random.random(), np.random.normal(), float(torch.rand(()))) == first


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_every_dtype_comes_back(tmp_path, dtype):
    tensor = (torch.arange(6).reshape(2, 3) % 2).to(dtype)
    written = write_checkpoint(tmp_path, Checkpoint(0, 1, {"model.a": tensor, "model.b": tensor[0, 1]}, {"x": [1]}))
    read = read_checkpoint(written)
    assert read.state == {"x": [1]}
    for name, expected in (("a", tensor), ("b", tensor[0, 1])):
        assert read.part("model")[name].dtype == dtype
        assert torch.equal(read.part("model")[name], expected)


def test_mean_of_checkpoints_is_the_mean(tmp_path):
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(3, 4, 5)).astype(np.float32)
    paths = [
        write_checkpoint(tmp_path, Checkpoint(0, i + 1, {"model.w": torch.tensor(a), "model.n": torch.tensor(i)}))
        for i, a in enumerate(arrays)
    ]
    mean = mean_weights(paths)
    np.testing.assert_array_equal(mean["w"].numpy(), arrays.astype(np.float64).mean(axis=0).astype(np.float32))
    assert int(mean["n"]) == 2
    (paths[0] / "arrays.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out of the average"):
        mean = mean_weights(paths)
    np.testing.assert_array_equal(mean["w"].numpy(), arrays[1:].astype(np.float64).mean(axis=0).astype(np.float32))
    with pytest.raises(NotFoundError):
        mean_weights([])


def test_no_folder_no_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path / "absent") is None
    assert list_checkpoints(tmp_path) == []
