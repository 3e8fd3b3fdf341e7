"""What a stage refuses, and what it says about itself."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import Squared, network, stage, table  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training import Curriculum, LoRA, Stage  # noqa: E402


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": None}, "neither steps nor epochs"),
        ({"steps": 3, "epochs": 1.0}, "both steps and epochs"),
        ({"steps": 0}, "steps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
        ({"warmup": 1.5}, "warmup=1.5"),
        ({"schedule": "steps"}, "'linear', 'cosine', 'constant'"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm=-1.0"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"average_last": 1}, "average_last=1"),
        ({"average_last": 2, "ema": 0.9}, "average_last and ema"),
        ({"lora": LoRA(targets=["0"]), "ema": 0.9}, "lora with an average"),
        ({"lora": LoRA(targets=["0"]), "masks": {"0.weight": torch.ones(8, 6)}}, "lora with masks"),
        ({"freeze": "0.*"}, r"Write \['0\.\*'\]"),
        ({"loss": torch.nn.MSELoss()}, "loss of type MSELoss"),
    ],
)
def test_refusals(changes, text):
    settings = {"data": table(), "loss": Squared, "steps": 5, **changes}
    with pytest.raises(InputError, match=text):
        Stage("a", settings.pop("data"), settings.pop("loss"), **settings)


def test_name_is_needed():
    with pytest.raises(InputError, match="name=''"):
        Stage("", table(), Squared, steps=1)


@pytest.mark.parametrize(
    ("stages", "text"), [([], "at least one Stage"), ([stage("a"), stage("a")], "different names"), (["a"], "Stage")]
)
def test_curriculum_refuses(stages, text):
    with pytest.raises(InputError, match=text):
        Curriculum(stages)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"freeze": ["9.*"]}, "freeze='9"),
        ({"freeze": ["*"], "loss": lambda model: torch.nn.MSELoss()}, "nothing to train"),
        ({"masks": {"9.weight": torch.ones(2)}}, "mask for '9.weight'"),
        ({"masks": {"0.weight": torch.ones(2)}}, r"shape \(2,\)"),
        ({"data": {"x": [1.0, 2.0], "y": [1.0]}}, "lengths"),
        ({"data": {"x": []}}, "without rows"),
        ({"data": {"x": ["a", "b"]}}, "dtype"),
        ({"data": {"x": 1.0}}, "scalar"),
        ({"data": [1, 2]}, "type list"),
        ({"loss": lambda model: 3}, "returns int"),
        ({"loss": {"a": Squared}}, r"losses for \['a'\]"),
        ({"prompts": "query: "}, "prompts or routes"),
        ({"sampler": "shufled"}, r"'shuffled'"),
        ({"sampler": "proportional"}, r"one of .*'shuffled'"),
        ({"sampler": 3}, "method batches"),
        ({"average_last": 9}, "average_last=9"),
    ],
)
def test_what_does_not_fit_is_refused(changes, text):
    with pytest.raises(InputError, match=text):
        Curriculum([stage(**changes)], checkpoint_every=5).run(network())


class NotScalar(Squared):
    def forward(self, batch):
        return self.model(batch["x"])


class Detached(Squared):
    def forward(self, batch):
        return self.model(batch["x"]).mean().detach()


@pytest.mark.parametrize(("loss", "text"), [(NotScalar, "scalar tensor"), (Detached, "without a gradient")])
def test_losses_that_cannot_be_minimised_are_refused(loss, text):
    with pytest.raises(InputError, match=text):
        Curriculum([stage(loss=loss)]).run(network())


def test_run_refuses_what_is_no_model_or_callback():
    with pytest.raises(InputError, match=r"torch\.nn\.Module"):
        Curriculum([stage()]).run("model")
    with pytest.raises(InputError, match="Callback"):
        Curriculum([stage()]).run(network(), callbacks=[print])
    with pytest.raises(InputError, match="Validation"):
        Curriculum([stage()]).run(network(), validate=lambda model: {})
