from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError, NonFiniteError

torch = pytest.importorskip("torch")

from orthant.learn.losses import HigherOrderCompatibilityLoss  # noqa: E402


def batch(n=9, d=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    new, old = (torch.tensor(rng.standard_normal((n, d)), dtype=torch.float64) for _ in range(2))
    return {"features": new.requires_grad_(), "previous": old, "labels": torch.tensor(np.arange(n) % classes)}


def by_hand(given, scale, legacy=False):
    h, old = (x.detach().numpy() for x in (given["features"], given["previous"]))
    h, old = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (h, old))
    y, rows = given["labels"].numpy(), []
    for i in range(len(y)):
        others = [np.exp(scale * old[i] @ h[j]) for j in range(len(y)) if y[j] != y[i]]
        extra = sum(y == y[i]) if legacy else 0
        rows.append(-scale * old[i] @ h[i] + np.log(sum(others) + extra))
    return np.mean(rows)


@pytest.mark.parametrize("legacy", [False, True])
def test_it_is_the_sum_written_out(legacy):
    given = batch()
    found = HigherOrderCompatibilityLoss(scale=7.0, legacy_mask=legacy)(given)
    assert found.loss.item() == pytest.approx(by_hand(given, 7.0, legacy))


def test_items_of_the_own_class_do_not_push():
    given = batch(n=6, classes=3)
    loss = HigherOrderCompatibilityLoss()(given).loss
    moved = {**given, "features": given["features"].detach().clone().requires_grad_()}
    # Rows 0 and 3 share a class: only through its own positive does row 3 depend on its feature, not through row 0.
    row = HigherOrderCompatibilityLoss()({k: v[[0, 3]] for k, v in moved.items()} | {"labels": torch.tensor([0, 1])})
    assert torch.isfinite(loss) and torch.isfinite(row.loss)
    loss.backward()
    assert torch.isfinite(given["features"].grad).all() and given["previous"].grad is None


def test_a_batch_of_one_class_has_the_positive_term_only():
    given = batch(classes=1)
    with pytest.warns(UserWarning, match="single class"):
        found = HigherOrderCompatibilityLoss(scale=5.0)(given)
    cosines = torch.nn.functional.cosine_similarity(given["features"], given["previous"])
    assert found.loss.item() == pytest.approx(-5 * cosines.mean().item())
    assert found.parts["rows_without_negatives"] == 9
    found.loss.backward()
    assert torch.isfinite(given["features"].grad).all()


def test_what_does_not_fit_is_refused():
    loss, given = HigherOrderCompatibilityLoss(), batch()
    with pytest.raises(InputError, match="previous"):
        loss({"features": given["features"], "labels": given["labels"]})
    with pytest.raises(DimensionError, match="previous"):
        loss({**given, "previous": given["previous"][:, :2]})
    with pytest.raises(NonFiniteError):
        loss({**given, "previous": given["previous"] * torch.nan})
    with pytest.raises(InputError, match="scale=0"):
        HigherOrderCompatibilityLoss(scale=0)
