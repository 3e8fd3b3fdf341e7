from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learn.losses.metric.batches import assert_same, batch  # noqa: E402
from orthant.errors import DimensionError, DtypeError, InputError  # noqa: E402
from orthant.learn.losses.metric import AnglELoss, CoSENTLoss, Triplets  # noqa: E402

SCORES = torch.tensor([0.1, 0.5, 0.5, 0.9, 1.0, 0.0, 0.1, 0.7], dtype=torch.float64)


@pytest.mark.parametrize("dim", [8, 7])
@pytest.mark.parametrize("scale", [20.0, 5.0])
def test_values_and_gradients_equal_sentence_transformers(dim, scale):
    peers = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    embeddings, _ = batch(rows=16, dim=dim)
    for mine, other in (
        (CoSENTLoss(scale=scale), peers.CoSENTLoss(None, scale)),
        (AnglELoss(scale=scale), peers.AnglELoss(None, scale)),
    ):
        assert_same(
            lambda: mine(embeddings, SCORES),  # noqa: B023
            lambda: other.compute_loss_from_embeddings([embeddings[::2], embeddings[1::2]], SCORES),  # noqa: B023
            embeddings,
        )


def test_w59_cosent_equals_the_formula():
    embeddings, _ = batch(rows=16)
    rows = embeddings.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = (rows[::2] * rows[1::2]).sum(axis=1)
    total = 1.0
    for i in range(8):
        for j in range(8):
            if SCORES[i] > SCORES[j]:
                total += np.exp(20 * (found[j] - found[i]))
    assert CoSENTLoss()(embeddings, SCORES).loss.item() == pytest.approx(np.log(total), rel=1e-10)


def test_angle_similarity_is_that_of_complex_numbers():
    embeddings, _ = batch(rows=4)
    rows = embeddings.detach().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    z = rows[:, :4] + 1j * rows[:, 4:]
    products = [(z[0] * z[1].conj()).sum(), (z[2] * z[3].conj()).sum()]
    found = [abs(product.real + product.imag) for product in products]
    wanted = np.log1p(np.exp(3 * (found[1] - found[0])))
    loss = AnglELoss(scale=3.0)(embeddings, torch.tensor([1.0, 0.0], dtype=torch.float64)).loss
    assert loss.item() == pytest.approx(wanted, rel=1e-10)


def test_pairs_say_which_rows_a_score_is_about():
    embeddings, _ = batch(rows=16)
    rows = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    moved = embeddings.detach()[rows]
    places = torch.argsort(rows).reshape(-1, 2)
    assert CoSENTLoss()(moved, SCORES, pairs=places).loss.item() == pytest.approx(
        CoSENTLoss()(embeddings, SCORES).loss.item()
    )
    # One row may stand in several pairs.
    shared = torch.tensor([[0, 1], [0, 2], [0, 3]])
    assert CoSENTLoss()(embeddings, SCORES[:3], pairs=shared).loss.item() > 0


@pytest.mark.parametrize("loss", [CoSENTLoss(), AnglELoss()], ids=lambda loss: type(loss).__name__)
def test_bad_input_is_refused(loss):
    rows = torch.eye(4)
    with pytest.raises(InputError, match=r"2 pair\(s\) with one score"):
        loss(rows, torch.tensor([0.5, 0.5]))
    with pytest.raises(InputError, match="3 rows"):
        loss(rows[:3], torch.tensor([0.5]))
    with pytest.raises(DimensionError, match="scores of shape"):
        loss(rows, torch.tensor([0.5, 0.1, 0.2]))
    with pytest.raises(InputError, match="no labels"):
        loss(rows)
    with pytest.raises(DtypeError, match="pairs of type Triplets"):
        loss(rows, torch.tensor([0.5, 0.1]), pairs=Triplets(torch.tensor([[0, 1, 2]])))
    with pytest.raises(InputError, match="row 4 in pairs"):
        loss(rows, torch.tensor([0.5, 0.1]), pairs=torch.tensor([[0, 1], [2, 4]]))
    with pytest.raises(InputError, match="scale=0"):
        type(loss)(scale=0)
