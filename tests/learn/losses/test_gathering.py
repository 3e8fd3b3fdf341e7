"""Rows gathered over two processes: the loss and the gradient of one process with the whole batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from orthant.learn.losses.gathering import gather_rows, process_count, process_rank  # noqa: E402

PROGRAM = """
import json, os, sys
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from orthant.learn.gradcache import GradCache
from orthant.learn.losses import ContrastiveLoss, ContrastiveSettings
from orthant.learn.losses.gathering import gather_rows

torch.set_num_threads(1)
rank, world, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if world > 1:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
generator = torch.Generator().manual_seed(0)
x, y = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64)
n = torch.randn(6, 2, 6, generator=generator, dtype=torch.float64)
ids = torch.tensor([1, 2, 3, 4, 1, 5])
settings = ContrastiveSettings(temperature=0.3, symmetric=True, queue_size=4)
out = {}
for kind in ("plain", "cached", "ddp"):
    # Shares may differ, but not where gradients are cached: there every process must weigh its loss alike.
    cut = 4 if kind == "plain" else 3
    rows = slice(0, 6) if world == 1 else [slice(0, cut), slice(cut, 6)][rank]
    torch.manual_seed(1)
    tower = torch.nn.Linear(6, 4).double()
    loss = ContrastiveLoss(settings)
    batch = {"queries": x[rows], "positives": y[rows]}
    if kind == "plain":
        given = {name: tower(value) for name, value in batch.items()}
        output = loss({**given, "negatives": tower(n[rows]), "positive_ids": ids[rows]})
    else:
        # Mini-batches exchange gradients once, with the last of them.
        wrapped = DistributedDataParallel(tower) if kind == "ddp" and world > 1 else tower
        cache = GradCache(wrapped, loss, mini_batch_size=2)
        output = cache({**batch, "negatives": n[rows]}, fields={"positive_ids": ids[rows]})
    share = len(x[rows]) / 6
    (output.loss if kind == "ddp" else share * output.loss).backward()
    gradient, value = tower.weight.grad, output.loss.detach() * share
    if world > 1:
        dist.all_reduce(value)
        if kind != "ddp":
            dist.all_reduce(gradient)
    out[kind] = [value.item(), gradient.flatten().tolist(), loss.queue.flatten().tolist()]
tokens, offset = gather_rows(torch.full((1 + rank, 2 + rank), rank + 1.0))
out["tokens"] = [tokens.tolist(), offset]
if rank == 0:
    print(json.dumps(out))
if world > 1:
    dist.barrier()
    dist.destroy_process_group()
    # A worker of DistributedDataParallel that asks for the interpreter's lock while the interpreter ends aborts it.
    sys.stdout.flush()
    os._exit(0)
"""


def _pair(folder):
    address = (folder / "store").as_uri()
    source = Path(__file__).resolve().parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), "2", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        done = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), done[0][1].decode() + done[1][1].decode()
    return json.loads(done[0][0])


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed training")
def test_two_processes_are_one(tmp_path, monkeypatch, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["program", "0", "1", ""])
    exec(compile(PROGRAM, "program", "exec"), {})
    torch.set_num_threads(threads)
    one, two = json.loads(capsys.readouterr().out), _pair(tmp_path)
    for kind in ("plain", "cached", "ddp"):
        for single, both in zip(one[kind], two[kind], strict=True):
            assert both == pytest.approx(single, abs=1e-12)
    assert one["plain"][1] == pytest.approx(one["cached"][1], abs=1e-12)
    assert two["tokens"] == [[[1.0, 1.0, 0.0], [2.0, 2.0, 2.0], [2.0, 2.0, 2.0]], 0]


def test_alone_everything_is_as_it_was():
    rows = torch.ones(2, 3)
    assert gather_rows(rows) == (rows, 0)
    assert (process_count(), process_rank()) == (1, 0)
