"""Recipes: every mistake is named with the way out, and nothing is guessed."""

from __future__ import annotations

import dataclasses
import json

import pytest

from orthant.errors import InputError, NotFoundError
from orthant.learn.recipes import schema
from orthant.learn.recipes.reading import parse_recipe, read_recipe

pytest.importorskip("yaml")

GOOD = """
name: medical
model: {base: minilm, layers: 3, max_tokens: 48}
data:
  questions: {source: medquad, limit: 100}
  docs: {source: papers, mining: {negatives: 2}}
stages:
  - name: warm
    data: [questions]
    steps: 10
    learning_rate: 2e-5
  - name: hard
    epochs: 1
    loss: {temperature: 0.1, matryoshka: [384, 64]}
evaluation: {metric: ndcg@10, every: 5}
seed: 3
"""


def _problems(**changes):
    values = {"name": "m", "data": {"a": {"source": "papers"}}, "stages": [{"name": "s", "steps": 5}]} | changes
    with pytest.raises(InputError) as error:
        parse_recipe(values)
    return str(error.value)


def test_a_file_becomes_a_recipe_with_defaults(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    recipe = read_recipe(tmp_path / "r.yaml")
    assert recipe.stages[0].learning_rate == 2e-5 and recipe.stages[0].batch_size == 32
    assert recipe.data["docs"].mining == schema.MiningRecipe(negatives=2)
    assert recipe.stages[1].loss.matryoshka == [384, 64] and recipe.seed == 3
    # What is written out and read again is the same recipe.
    (tmp_path / "r.json").write_text(json.dumps(recipe.as_dict()))
    assert read_recipe(tmp_path / "r.json") == recipe


def test_all_mistakes_are_listed_with_the_valid_names():
    told = _problems(modle={}, stages=[{"name": "s", "steps": "ten", "learning_rte": 1e-4}])
    assert "modle is unknown (did you mean 'model'? valid here: data, evaluation, model" in told
    assert "stages[0].learning_rte is unknown (did you mean 'learning_rate'?" in told
    assert "stages[0].steps is 'ten', expected a whole number" in told
    assert "3 problems" in told and "--schema" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../m"}, "name is '../m'"),
        ({"data": {}}, "data names no data set"),
        ({"stages": []}, "stages is empty"),
        ({"stages": [{"name": "s", "steps": 5}, {"name": "s", "steps": 5}]}, "two stages are called 's'"),
        ({"stages": [{"name": "s"}]}, "exactly one of steps and epochs"),
        ({"stages": [{"name": "s", "steps": 5, "epochs": 1}]}, "exactly one of steps and epochs"),
        ({"stages": [{"name": "s", "steps": True}]}, "expected a whole number"),
        ({"stages": [{"name": "s", "steps": 5, "data": ["b"]}]}, "names 'b', expected one of a"),
        ({"stages": [{"name": "s", "steps": 5, "batch_size": 1}]}, "batch_size is 1, expected at least 2"),
        ({"stages": [{"name": "s", "steps": 5, "learning_rate": 0}]}, "learning_rate is 0.0, expected above 0"),
        ({"stages": [{"name": "s", "steps": 5, "learning_rate": "nan"}]}, "learning_rate is nan"),
        ({"stages": [{"name": "s", "steps": 5, "loss": {"temperature": -1}}]}, "temperature is -1.0"),
        ({"stages": [{"name": "s", "steps": 5, "loss": {"in_batch": False}}]}, "nothing to compare with"),
        ({"stages": [{"name": "s", "steps": 5, "schedule": "step"}]}, "expected one of linear, cosine, constant"),
        ({"model": {"reducer": {"k": 4}}}, "no effect on kind: text"),
        ({"model": {"kind": "tokens", "pooling": "cls"}}, "no effect on kind: tokens"),
        ({"model": {"kind": "tokens", "reducer": {"kind": "tail", "ratio": 0.5}}}, "no effect on kind: tail"),
        ({"model": {"kind": "tokens", "reducer": {}}}, "exactly one of k and ratio"),
        ({"model": {"query_reducer": {"k": 4}}}, "model.query_reducer has no effect on kind: text"),
        ({"model": {"kind": "tokens", "query_reducer": {"kind": "head", "k": 0}}}, "model.query_reducer.k"),
        ({"data": {"a": {"source": "f", "negative": "n", "mining": {}}}}, "both negative and mining"),
        ({"data": {"a": {"source": "f", "mining": {"first": 9, "last": 9, "negatives": 2}}}}, "too few for 2"),
        ({"evaluation": {"metric": "ndcq@10"}}, "evaluation.metric"),
        ({"output": {"export": "int4"}}, "expected one of none, float32, int8"),
        ({"seed": None}, "seed is nothing"),
    ],
)
def test_what_cannot_be_run_is_refused(changes, said):
    assert said in _problems(**changes)


@pytest.mark.parametrize("text", ["name: [", "- a", "name: m\nname: n\n", "just text"])
def test_files_that_are_no_recipe_are_refused(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InputError):
        read_recipe(tmp_path / "r.yaml")


def test_a_name_that_is_given_twice_is_refused_in_json_too(tmp_path):
    (tmp_path / "r.json").write_text('{"name": "a", "name": "b"}')
    with pytest.raises(InputError, match="'name' twice"):
        read_recipe(tmp_path / "r.json")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(NotFoundError):
        read_recipe(tmp_path / "r.yaml")
    (tmp_path / "r.txt").write_text(GOOD)
    with pytest.raises(InputError, match="Rename"):
        read_recipe(tmp_path / "r.txt")
    with pytest.raises(InputError, match="no text file"):
        read_recipe(tmp_path)


def test_every_field_of_every_section_is_described():
    for name in schema.__all__:
        section = getattr(schema, name)
        described = [line.strip() for line in (section.__doc__ or "").splitlines() if " : " in line]
        told = {each.strip() for line in described for each in line.split(" : ")[0].split(",")}
        assert {field.name for field in dataclasses.fields(section)} == told, name
