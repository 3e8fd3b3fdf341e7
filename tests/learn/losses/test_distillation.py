"""Distillation losses against float64 NumPy and sentence-transformers' formulas."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.losses import (  # noqa: E402
    DistillationLoss,
    EmbeddingDistillation,
    batch_kl,
    embedding_distance,
    kl_divergence,
    list_net,
    margin_mse,
    rank_net,
    score_mse,
)

N, C = 4, 6


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, C)), 3 * generator.normal(size=(N, C))


@pytest.fixture
def mask():
    mask = np.random.default_rng(1).random((N, C)) < 0.7
    mask[:, :2] = True
    return mask


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def log_softmax(x):
    top = x.max()
    return x - top - np.log(np.exp(x - top).sum())


def over_rows(rule, student, teacher, mask):
    return np.mean([rule(s[m], t[m]) for s, t, m in zip(student, teacher, mask, strict=True)])


def kl(s, t):
    a, b = log_softmax(s / 0.5), log_softmax(t / 2.0)
    return (np.exp(b) * (b - a)).sum()


def listwise(s, t):
    return -(np.exp(log_softmax(t / 2.0)) * log_softmax(s / 0.5)).sum()


def pairwise(s, t):
    pairs = ((a, b) for a in range(len(s)) for b in range(len(s)) if t[a] > t[b])
    return sum((t[a] - t[b]) * np.log1p(np.exp(s[b] - s[a])) for a, b in pairs)


TEMPERATURES = {"student_temperature": 0.5, "teacher_temperature": 2.0}


@pytest.mark.parametrize(
    ("loss", "rule", "options"),
    [
        (kl_divergence, kl, TEMPERATURES),
        (list_net, listwise, TEMPERATURES),
        (rank_net, pairwise, {}),
    ],
)
@pytest.mark.parametrize("ragged", [False, True])
def test_w59_equals_its_equation(scores, mask, loss, rule, options, ragged):
    mask = mask if ragged else np.ones_like(mask)
    student, teacher, there = tensors(*scores, mask)
    got = loss(student, teacher, mask=there, **options)
    assert got.item() == pytest.approx(over_rows(rule, *scores, mask), abs=1e-12)
    # What absent candidates hold is of no account.
    odd = torch.where(there, student, torch.nan)
    assert loss(odd, teacher, mask=there, **options).item() == pytest.approx(got.item(), abs=1e-12)


@pytest.mark.parametrize("loss", [kl_divergence, list_net, rank_net, margin_mse, score_mse])
def test_gradients_are_those_of_the_value_and_spare_the_teacher(scores, mask, loss):
    student, teacher, there = tensors(*scores, mask)
    student.requires_grad_()
    teacher.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher.detach(), mask=there), (student,))
    loss(student, teacher, mask=there).backward()
    assert teacher.grad is None
    assert student.grad[~there].abs().sum() == 0


def test_margins_and_scores_equal_their_equations(scores, mask):
    student, teacher, there = tensors(*scores, mask)
    s, t = scores
    margins = (s[:, :1] - s[:, 1:]) - (t[:, :1] - t[:, 1:])
    assert margin_mse(student, teacher).item() == pytest.approx((margins**2).mean(), abs=1e-12)
    assert margin_mse(student, teacher, mask=there).item() == pytest.approx(
        (margins[mask[:, 1:]] ** 2).mean(), abs=1e-12
    )
    assert score_mse(student, teacher, mask=there).item() == pytest.approx(((s - t)[mask] ** 2).mean(), abs=1e-12)


def test_list_net_is_the_divergence_and_the_teacher_s_entropy(scores):
    student, teacher = tensors(*scores)
    share = teacher.softmax(1)
    entropy = -(share * share.log()).sum(1).mean()
    assert (list_net(student, teacher) - kl_divergence(student, teacher)).item() == pytest.approx(
        entropy.item(), abs=1e-12
    )


def test_unweighted_pairs_count_alike(scores):
    student, teacher = tensors(*scores)
    sharper = rank_net(student, 10 * teacher, weighted=False)
    assert sharper.item() == pytest.approx(rank_net(student, teacher, weighted=False).item(), abs=1e-12)
    assert rank_net(student, 10 * teacher).item() == pytest.approx(10 * rank_net(student, teacher).item(), rel=1e-9)


def test_ties_of_the_teacher_say_nothing():
    assert rank_net(torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2)).item() == 0.0


def test_rescaling_is_by_the_square_of_the_student_s_temperature(scores):
    student, teacher = tensors(*scores)
    plain = kl_divergence(student, teacher, student_temperature=0.5)
    assert kl_divergence(student, teacher, student_temperature=0.5, rescale=True).item() == pytest.approx(
        plain.item() / 4
    )


def test_batch_divergence_is_over_all_documents():
    generator = np.random.default_rng(2)
    q, d, tq, td = (generator.normal(size=shape) for shape in ((3, 5), (4, 5), (3, 7), (4, 7)))

    def cosine(a, b):
        return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T

    rows = zip(cosine(q, d), cosine(tq, td), strict=True)
    expected = np.mean(
        [(np.exp(log_softmax(t / 0.2)) * (log_softmax(t / 0.2) - log_softmax(s / 0.1))).sum() for s, t in rows]
    )
    got = batch_kl(*tensors(q, d, tq, td), student_temperature=0.1, teacher_temperature=0.2)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_embedding_distances_equal_their_equations():
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=(2, 5, 4))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    expected = {
        "cosine": (1 - cosine).mean(),
        "mse": ((a - b) ** 2).mean(),
        "l2": np.linalg.norm(a - b, axis=1).mean(),
    }
    for distance, value in expected.items():
        assert embedding_distance(*tensors(a, b), distance=distance).item() == pytest.approx(value, abs=1e-12)


def test_a_projection_reaches_a_teacher_of_another_dimension():
    torch.manual_seed(0)
    student = torch.randn(64, 4)
    teacher = student @ torch.randn(4, 9)
    loss = EmbeddingDistillation(4, 9, distance="mse")
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    first = loss({"student": student, "teacher": teacher}).loss.item()
    for _ in range(200):
        optimizer.zero_grad()
        value = loss({"student": student, "teacher": teacher}).loss
        value.backward()
        optimizer.step()
    assert value.item() < 0.01 * first
    assert not list(EmbeddingDistillation(4).parameters())


@pytest.mark.parametrize("kind", ["kl", "list_net", "rank_net", "margin_mse", "mse"])
def test_losses_by_name(scores, kind):
    functions = {
        "kl": kl_divergence,
        "list_net": list_net,
        "rank_net": rank_net,
        "margin_mse": margin_mse,
        "mse": score_mse,
    }
    student, teacher = tensors(*scores)
    got = DistillationLoss(kind)({"student": student, "teacher": teacher}).loss
    assert torch.equal(got, functions[kind](student, teacher))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: kl_divergence(torch.ones(1, 2), torch.ones(1, 2), student_temperature=0.0),
            InputError,
            "student_temp",
        ),
        (lambda: list_net(torch.ones(1, 2), torch.ones(1, 2), teacher_temperature=-1.0), InputError, "teacher_temp"),
        (lambda: kl_divergence(torch.ones(2, 3), torch.ones(2, 2)), DimensionError, "teacher scores of shape"),
        (lambda: kl_divergence(torch.ones(2, 1), torch.ones(2, 1)), InputError, "fewer than two candidates"),
        (
            lambda: rank_net(torch.ones(2, 3), torch.ones(2, 3), mask=torch.tensor([[True] * 3, [True, False, False]])),
            InputError,
            r"rows \[1\]",
        ),
        (lambda: score_mse(torch.tensor([[1.0, torch.nan]]), torch.ones(1, 2)), NonFiniteError, "student scores"),
        (lambda: margin_mse(torch.ones(1, 2), torch.tensor([[1.0, torch.inf]])), NonFiniteError, "teacher scores"),
        (
            lambda: margin_mse(torch.ones(1, 3), torch.ones(1, 3), mask=torch.tensor([[False, True, True]])),
            InputError,
            "without the positive",
        ),
        (lambda: embedding_distance(torch.ones(2, 3), torch.ones(2, 4)), DimensionError, "teacher embeddings"),
        (lambda: embedding_distance(torch.ones(2, 3), torch.ones(2, 3), distance="dot"), InputError, "'cosine'"),
        (
            lambda: batch_kl(torch.ones(2, 3), torch.ones(2, 3), torch.ones(1, 3), torch.ones(2, 3)),
            DimensionError,
            "teacher_q",
        ),
        (lambda: DistillationLoss("kld"), InputError, "'list_net'"),
        (lambda: DistillationLoss("mse", student_temperature=1.0), InputError, "no temperature"),
        (lambda: DistillationLoss()({"student": torch.ones(1, 2)}), InputError, "without .'teacher'"),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
