"""The teacher against its closed form."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.training.problems import network  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.training import EMATeacher  # noqa: E402


def _walk(teacher, student, updates):
    """Random steps of the student, each followed by the teacher; the student's weights at each."""
    seen = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        seen.append([p.detach().clone() for p in student.parameters()])
        teacher.update()
    return seen


def test_constant_momentum_is_a_weighted_sum():
    student = network().double()
    start = [p.detach().clone() for p in student.parameters()]
    teacher = EMATeacher(student, momentum=0.9)
    seen = _walk(teacher, student, 7)
    for i, parameter in enumerate(teacher.teacher.parameters()):
        wanted = 0.9**7 * start[i] + 0.1 * sum(0.9 ** (6 - n) * seen[n][i] for n in range(7))
        torch.testing.assert_close(parameter.detach(), wanted, rtol=0, atol=1e-13)


def test_cosine_momentum_rises_to_one():
    student = torch.nn.Linear(2, 2).double()
    teacher = EMATeacher(student, momentum=0.5, schedule="cosine", steps=4)
    wanted = student.weight.detach().clone().numpy()
    seen = _walk(teacher, student, 6)
    for k in range(6):
        momentum = 1 - 0.5 * (math.cos(math.pi * min(k / 4, 1)) + 1) / 2
        assert teacher.momentum_at(k) == pytest.approx(momentum)
        wanted = momentum * wanted + (1 - momentum) * seen[k][0].numpy()
    np.testing.assert_allclose(teacher.teacher.weight.detach().numpy(), wanted, atol=1e-13)


def test_no_gradient_no_second_student_no_training_mode():
    student = network(dropout=0.5)
    teacher = EMATeacher(student).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.ones(3, 6)).requires_grad
    assert len(list(teacher.parameters())) == len(list(student.parameters()))
    student[1].running_mean.fill_(3.0)
    teacher.update()
    assert float(teacher.teacher[1].running_mean[0]) == 3.0


def test_state_comes_back():
    student = network()
    teacher = EMATeacher(student, momentum=0.3, schedule="cosine", steps=9)
    _walk(teacher, student, 2)
    other = EMATeacher(copy.deepcopy(student), momentum=0.3, schedule="cosine", steps=9)
    other.load_state_dict(teacher.state_dict())
    assert int(other.updates) == 2
    assert torch.equal(other.teacher[0].weight, teacher.teacher[0].weight)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"momentum": 1.5}, "momentum=1.5"),
        ({"schedule": "step"}, "'constant', 'cosine'"),
        ({"schedule": "cosine"}, "steps=None with schedule='cosine'"),
        ({"steps": 5}, "steps=5 with schedule='constant'"),
    ],
)
def test_refusals(changes, text):
    with pytest.raises(InputError, match=text):
        EMATeacher(network(), **changes)
