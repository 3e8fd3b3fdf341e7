"""Two processes on CPUs against one, and what one process does with the same calls."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training import distributed_trial, text_trial  # noqa: E402
from learn.training.problems import network, stage  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training import Curriculum  # noqa: E402
from orthant.learn.training.batches import BatchPlan  # noqa: E402
from orthant.learn.training.distributed import Processes, _buckets, joined_processes  # noqa: E402

gloo = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="torch without gloo"
)


def _environment():
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(tests.parent / "src"), str(tests)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def _torchrun(script, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    done = subprocess.run([*command, *arguments], env=_environment(), capture_output=True, timeout=250)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def _two_processes(script, *arguments):
    """What torchrun does, without its own process, which would import torch a third time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    announced = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env={**_environment(), **announced, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    results = [process.communicate(timeout=250) for process in started]
    for process, (_, errors) in zip(started, results, strict=True):
        assert process.returncode == 0, errors.decode()[-3000:]
    return json.loads(results[0][0].decode().strip().splitlines()[-1])


@gloo
def test_two_processes_train_as_one(tmp_path):
    """In-batch negatives across processes, odd batches, unused weights, a stop and a resumption."""
    found = _two_processes(distributed_trial.__file__, str(tmp_path))
    history, model = distributed_trial.train()
    assert found["context"]["processes"] == 2
    assert [row["step"] for row in found["rows"]] == list(range(1, 13))
    for column in ("loss", "scale"):
        ours = [row[column] for row in found["rows"]]
        np.testing.assert_allclose(ours, history.column(column), rtol=0, atol=1e-5)
    assert [row["norm"] for row in found["rows"] if "norm" in row] == pytest.approx(history.column("norm"), abs=1e-5)
    for mine, other in zip(found["weights"], model.parameters(), strict=True):
        np.testing.assert_allclose(mine, other.detach().flatten().tolist(), atol=1e-5)


@gloo
@pytest.mark.slow
def test_two_processes_train_a_text_model_as_one(tmp_path):
    pytest.importorskip("sentence_transformers")
    from learn.training.texts import tiny_encoder, tiny_folder

    folder = tiny_folder(tmp_path / "model", dropout=0.0)
    found = _torchrun(text_trial.__file__, str(folder), "-")
    model = tiny_encoder(folder)
    history = text_trial.train(model)
    np.testing.assert_allclose(found["losses"], history.column("loss"), rtol=0, atol=1e-5)
    for name, tensor in model.state_dict().items():
        assert found["weights"][name] == pytest.approx(tensor.double().sum().item(), abs=1e-3)


def test_every_process_gets_its_part():
    plan = BatchPlan(stage(batch_size=6), sizes=[20], columns=[None], seed=1, world=2)
    first = next(plan.batches())
    assert plan.part(first, 0) + plan.part(first, 1) == first
    assert {len(batch) % 2 for batch in plan._epoch(0)} == {0}


def test_a_batch_must_reach_all_processes():
    with pytest.raises(InputError, match="batch_size=3 for 4 processes"):
        BatchPlan(stage(batch_size=3), sizes=[20], columns=[None], seed=1, world=4)


def test_one_process_needs_no_group():
    processes = Processes()
    tensor = torch.ones(2)
    assert processes.gather(tensor)[0] is tensor
    processes.share([tensor])
    processes.wait()
    assert processes.first


def test_incomplete_announcement_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="WORLD_SIZE without RANK"), joined_processes(torch.device("cpu")):
        pass


def test_buckets_keep_order_and_dtype():
    sizes = [3 << 20, 2 << 20, 1, 5]
    parameters = [torch.nn.Parameter(torch.empty(size)) for size in sizes]
    parameters.append(torch.nn.Parameter(torch.empty(4, dtype=torch.float64)))
    found = list(_buckets(parameters))
    assert [len(bucket) for bucket in found] == [1, 3, 1]
    assert [id(p) for bucket in found for p in bucket] == [id(p) for p in parameters]


def test_resuming_with_other_processes_is_refused(tmp_path):
    Curriculum([stage(steps=2)], checkpoint_every=1).run(network(), tmp_path)
    config = next(tmp_path.glob("*/config.json"))
    assert json.loads(config.read_text())["state"]["plan"]["processes"] == 1
