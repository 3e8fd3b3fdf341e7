"""MaxSim scores against loops, and the losses over them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.losses import (  # noqa: E402
    ContrastiveLoss,
    ContrastiveSettings,
    DistillationLoss,
    MaxSimContrastiveLoss,
    TextDistillationLoss,
    TextMaxSimLoss,
    kl_divergence,
    maxsim_distillation,
    maxsim_scores,
)

B, M, T, U, D = 4, 2, 3, 5, 6


def tokens(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, D, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.rand(*shape, generator=generator) < 0.7
    mask[..., 0] = True
    return values, mask


def loops(q, q_mask, d, d_mask):
    return np.array(
        [
            [
                sum(max(float(x @ y) for y in b[m]) for x in a[n])
                for b, m in zip(d.detach().numpy(), d_mask.numpy(), strict=True)
            ]
            for a, n in zip(q.detach().numpy(), q_mask.numpy(), strict=True)
        ]
    )


def test_w59_scores_are_sums_of_largest_products():
    (q, q_mask), (d, d_mask) = tokens(B, T, seed=0), tokens(7, U, seed=1)
    expected = loops(q, q_mask, d, d_mask)
    np.testing.assert_allclose(maxsim_scores(q, q_mask, d, d_mask).detach(), expected, atol=1e-12)
    mean = maxsim_scores(q, q_mask, d, d_mask, normalize=True).detach().numpy()
    np.testing.assert_allclose(mean, expected / q_mask.sum(1, keepdim=True).numpy(), atol=1e-12)


def test_padding_changes_nothing_even_where_products_are_negative():
    q, d = torch.ones(1, 1, 2), -torch.ones(1, 2, 2)
    padded = torch.cat([d, torch.zeros(1, 3, 2)], 1)
    mask = torch.tensor([[True, True, False, False, False]])
    assert maxsim_scores(q, None, padded, mask).item() == maxsim_scores(q, None, d, None).item() == -2.0


def test_gradient_goes_to_the_tokens_that_won():
    (q, q_mask), (d, d_mask) = tokens(2, T, seed=2), tokens(3, U, seed=3)
    assert torch.autograd.gradcheck(lambda a, b: maxsim_scores(a, q_mask, b, d_mask), (q, d), fast_mode=True)
    maxsim_scores(q, q_mask, d, d_mask).sum().backward()
    assert q.grad[~q_mask].abs().sum() == 0 and d.grad[~d_mask].abs().sum() == 0


def batch():
    (q, qm), (p, pm), (n, nm) = tokens(B, T, seed=4), tokens(B, U, seed=5), tokens(B, M, U + 1, seed=6)
    return {
        "queries": q,
        "query_mask": qm,
        "positives": p,
        "positive_mask": pm,
        "negatives": n,
        "negative_token_mask": nm,
    }


def test_w59_loss_is_the_softmax_over_maxsim():
    f = batch()
    against = loops(f["queries"], f["query_mask"], f["positives"], f["positive_mask"])
    flat = f["negatives"].flatten(0, 1), f["negative_token_mask"].flatten(0, 1)
    logits = np.concatenate([against, loops(f["queries"], f["query_mask"], *flat)], 1) / 2.0
    expected = np.mean(np.log(np.exp(logits).sum(1)) - np.diag(against) / 2.0)
    settings = ContrastiveSettings(temperature=2.0, similarity="dot")
    assert MaxSimContrastiveLoss(settings)(f).loss.item() == pytest.approx(expected, abs=1e-12)
    own = np.stack(
        [
            loops(
                f["queries"][i : i + 1],
                f["query_mask"][i : i + 1],
                flat[0][2 * i : 2 * i + 2],
                flat[1][2 * i : 2 * i + 2],
            )[0]
            for i in range(B)
        ]
    )
    logits = np.concatenate([np.diag(against)[:, None], own], 1) / 2.0
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[:, 0])
    settings = ContrastiveSettings(temperature=2.0, similarity="dot", in_batch=False)
    assert MaxSimContrastiveLoss(settings)(f).loss.item() == pytest.approx(expected, abs=1e-12)


def test_one_token_per_item_is_the_dense_loss():
    (q, _), (p, _), (n, _) = tokens(B, 1, seed=7), tokens(B, 1, seed=8), tokens(B, M, 1, seed=9)
    settings = ContrastiveSettings(symmetric=True, hardness=2.0, row_chunk=3)
    several = MaxSimContrastiveLoss(settings)({"queries": q, "positives": p, "negatives": n}).loss
    dense = ContrastiveLoss(settings)({"queries": q[:, 0], "positives": p[:, 0], "negatives": n[:, :, 0]}).loss
    assert several.item() == pytest.approx(dense.item(), abs=1e-12)


def test_absent_negatives_need_no_tokens_and_change_nothing():
    f = batch()
    there = torch.ones(B, M, dtype=torch.bool)
    there[1, 1] = False
    f["negative_token_mask"][1, 1] = False
    f["negative_mask"] = there
    output = MaxSimContrastiveLoss()(f)
    output.loss.backward()
    assert torch.isfinite(f["negatives"].grad).all()
    assert f["negatives"].grad[1, 1].abs().sum() == 0
    with torch.no_grad():
        f["negatives"][1, 1] = 1e3
    assert MaxSimContrastiveLoss()(f).loss.item() == output.loss.item()
    f["negative_mask"] = torch.ones(B, M, dtype=torch.bool)
    with pytest.raises(InputError, match=r"negative_token_mask without any token in rows \[1\]"):
        MaxSimContrastiveLoss()(f)


def test_distillation_is_over_each_query_s_candidates():
    (q, qm), (d, dm) = tokens(B, T, seed=10), tokens(B, 3, U, seed=11)
    teacher = torch.randn(B, 3, dtype=torch.float64)
    rows = np.stack([loops(q[i : i + 1], qm[i : i + 1], d[i], dm[i])[0] for i in range(B)])
    expected = kl_divergence(torch.from_numpy(rows), teacher)
    assert maxsim_distillation(q, qm, d, dm, teacher).item() == pytest.approx(expected.item(), abs=1e-12)
    margin = DistillationLoss("margin_mse")
    got = maxsim_distillation(q, None, d, None, teacher, loss=margin, normalize=True)
    ones = torch.ones(B, T, dtype=torch.bool), torch.ones(B, 3, U, dtype=torch.bool)
    rows = np.stack([loops(q[i : i + 1], ones[0][i : i + 1], d[i], ones[1][i])[0] for i in range(B)]) / T
    expected = margin({"student": torch.from_numpy(rows), "teacher": teacher}).loss
    assert got.item() == pytest.approx(expected.item(), abs=1e-12)


class Tokens(torch.nn.Module):
    """Stands for a multi-vector encoder: one vector per token, the first token of a document does not count."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(30, D, padding_idx=0).double()

    def forward(self, features, task=None):
        mask = features["attention_mask"].clone()
        if task == "document":
            mask[:, 0] = 0
        return {
            "token_embeddings": torch.nn.functional.normalize(self.table(features["input_ids"]), dim=-1),
            "attention_mask": mask,
        }


def columns():
    generator = torch.Generator().manual_seed(1)
    out = []
    for width in (4, 6, 5, 7):
        ids = torch.randint(1, 30, (5, width), generator=generator)
        lengths = torch.randint(2, width + 1, (5,), generator=generator)
        mask = (torch.arange(width) < lengths[:, None]).long()
        out.append({"input_ids": ids * mask, "attention_mask": mask})
    return out


def step(loss, model, *arguments):
    model.zero_grad()
    value = loss(columns(), *arguments)
    value.backward()
    return value.item(), model.table.weight.grad.clone()


def test_equals_sentence_transformers_over_token_vectors():
    theirs = pytest.importorskip("sentence_transformers.multi_vector_encoder.losses")
    model = Tokens()
    settings = ContrastiveSettings(temperature=0.5, similarity="dot")
    reference = step(theirs.MultiVectorMultipleNegativesRankingLoss(model, scale=2.0), model)
    cached = step(theirs.CachedMultiVectorMultipleNegativesRankingLoss(model, scale=2.0, mini_batch_size=2), model)
    # Their scores are float32 whatever the vectors are.
    assert cached[0] == pytest.approx(reference[0], abs=1e-6)
    for size in (None, 2):
        value, gradient = step(TextMaxSimLoss(model, settings, mini_batch_size=size, same_texts=False), model)
        assert value == pytest.approx(reference[0], abs=1e-6)
        torch.testing.assert_close(gradient, reference[1], rtol=0, atol=1e-6)
    labels = torch.randn(5, 3, dtype=torch.float64)
    value, gradient = step(TextDistillationLoss(model, late_interaction=True), model, labels)
    reference = step(theirs.MultiVectorDistillKLDivLoss(model), model, labels)
    assert value == pytest.approx(reference[0], abs=1e-6)
    torch.testing.assert_close(gradient, reference[1], rtol=0, atol=1e-6)


def test_mini_batches_give_the_gradient_of_the_whole():
    model = Tokens()
    settings = ContrastiveSettings(temperature=0.5, similarity="dot", learn_temperature=True)
    losses = [TextMaxSimLoss(model, settings, mini_batch_size=size).double() for size in (None, 2)]
    (whole, gradient), (parts, again) = (step(loss, model) for loss in losses)
    assert parts == pytest.approx(whole, abs=1e-12)
    torch.testing.assert_close(again, gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(*(loss.contrastive.log_scale.grad for loss in losses))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda q, d: maxsim_scores(q, torch.zeros(2, 3), d, None), InputError, "query rows without any token"),
        (lambda q, d: maxsim_scores(q, None, d, torch.zeros(2, 3)), InputError, "document rows without any token"),
        (lambda q, d: maxsim_scores(q, None, d[..., :2], None), DimensionError, "documents of shape"),
        (lambda q, d: maxsim_scores(q, None, d[0], None), DimensionError, "documents of shape"),
        (lambda q, d: maxsim_scores(q, torch.ones(2, 2), d, None), DimensionError, "query_mask of shape"),
        (lambda q, d: maxsim_scores(q * torch.nan, None, d, None), NonFiniteError, "queries with NaN"),
        (
            lambda q, d: maxsim_distillation(q, torch.zeros(2, 3), d[:, None], None, torch.ones(2, 1)),
            InputError,
            "query rows",
        ),
        (lambda q, d: maxsim_distillation(q, None, d[:, None], None, torch.ones(2, 1)), InputError, "fewer than two"),
        (
            lambda q, d: MaxSimContrastiveLoss()({"queries": q, "positives": d, "positive_mask": torch.zeros(2, 3)}),
            InputError,
            "positive_mask without any token",
        ),
        (lambda q, d: MaxSimContrastiveLoss(ContrastiveSettings(mix="pair")), InputError, "mix.* with MaxSim"),
        (lambda q, d: MaxSimContrastiveLoss(ContrastiveSettings(queue_size=3)), InputError, "queue_size.* with MaxSim"),
        (
            lambda q, d: ContrastiveLoss()({"queries": q[:, 0], "positives": d[:, 0], "query_mask": q}),
            InputError,
            "query_mask",
        ),
    ],
)
def test_bad_input_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(torch.ones(2, 3, 4), torch.ones(2, 3, 4))
