"""Metrics by declared names, early stopping, the best weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import network, stage  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training import Callback, Curriculum, Validation  # noqa: E402


def _score(model):
    return {"score": 1.0, "other": 2.0}


def test_w83_unknown_metric_names_are_refused_with_the_valid_ones():
    with pytest.raises(InputError, match=r"monitor='mrr@10'; expected one of \['ndcg@10', 'recall'\]"):
        Validation(_score, metrics=["ndcg@10", "recall"], monitor="mrr@10")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"metrics": []}, "list of names"),
        ({"metrics": "score"}, "list of names"),
        ({"metrics": ["loss"]}, r"metrics named \['loss'\]"),
        ({"patience": 2}, "without monitor"),
        ({"keep_best": True}, "without monitor"),
        ({"every": 0}, "every=0"),
        ({"monitor": "score", "patience": 0}, "patience=0"),
        ({"function": 3}, "callable"),
    ],
)
def test_refusals(changes, text):
    settings = {"function": _score, "metrics": ["score"], **changes}
    with pytest.raises(InputError, match=text):
        Validation(settings.pop("function"), **settings)


@pytest.mark.parametrize(
    ("returned", "text"),
    [({"other": 1.0}, r"without \['score'\]"), (0.5, "mapping"), ({"score": float("nan")}, "finite")],
)
def test_what_the_function_returns_is_checked(returned, text):
    with pytest.raises(InputError, match=text):
        Validation(lambda model: returned, metrics=["score"], monitor="score").measure(network())


def test_metrics_stand_in_the_history_where_they_were_taken():
    history = Curriculum([stage(steps=7)]).run(network(), validate=Validation(_score, metrics=["score"], every=3))
    assert [row["step"] for row in history.rows if "score" in row] == [3, 6, 7]
    assert not any("other" in row for row in history.rows)


def test_judging_changes_nothing():
    def judge(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"score": float(torch.rand(()))}

    one, two = network(1), network(1)
    one[1].eval()
    plain = Curriculum([stage(steps=6)]).run(two)
    judged = Curriculum([stage(steps=6)]).run(network(1), validate=Validation(judge, metrics=["score"], every=1))
    assert judged.column("loss") == plain.column("loss")
    Validation(judge, metrics=["score"]).measure(one)
    assert one.training
    assert not one[1].training


@pytest.mark.parametrize("larger", [True, False])
def test_patience_ends_the_stage_and_the_best_weights_return(larger):
    values = iter([0.2, 0.5, 0.4, 0.5, 0.9, 0.1])
    sign = 1 if larger else -1
    rules = Validation(
        lambda model: {"score": sign * next(values)},
        metrics=["score"],
        monitor="score",
        larger_is_better=larger,
        every=2,
        patience=2,
        keep_best=True,
    )
    kept = []

    class Look(Callback):
        def on_step(self, run):
            kept.append(run.model[0].weight.detach().clone())

    model = network(1)
    history = Curriculum([stage("a", steps=12)]).run(model, validate=rules, callbacks=[Look()])
    # The best is at step 4; neither step 6 nor the tie at 8 improves on it.
    assert len(history) == 8
    assert not history.stopped
    assert torch.equal(model[0].weight, kept[3])


def test_a_stage_cannot_end_in_two_ways():
    rules = Validation(_score, metrics=["score"], monitor="score", keep_best=True)
    with pytest.raises(InputError, match="one way to end a stage"):
        Curriculum([stage(ema=0.9)]).run(network(), validate=rules)
