"""Distillation into an inverted file: what is served was trained, and only its teacher makes it help."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DimensionError, InputError  # noqa: E402
from orthant.learn.distillation.vq import LOSSES, _Coded, distill_vq  # noqa: E402
from orthant.quantization import IVFCodec, ProductQuantizer, ResidualQuantizer  # noqa: E402

DIM = 24


def vectors(n, seed, noise=0.6):
    """Vectors in clusters that are the same for every seed."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, DIM))
    return (centres[rng.integers(0, 40, n)] + noise * rng.standard_normal((n, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def scene():
    X = vectors(1500, 1)
    # Queries see a third of the directions well, two in every part of the codes.
    tilt = np.where(np.arange(DIM) % 3 == 0, 1.0, 0.15).astype(np.float32)
    train, judged = vectors(500, 2) * tilt, vectors(200, 3) * tilt
    start = IVFCodec.train(X, lists=20, quantizer=ProductQuantizer(m=4, bits=4), metric="dot")
    return X, train, judged, start


def recall(codec, X, Q):
    truth = np.argsort(-(Q @ X.T), axis=1)[:, :10]
    scores = codec.score(Q, *codec.encode(X))
    found = np.argsort(-scores, axis=1)[:, :10]
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])


def trained(scene, **settings):
    X, train, _, start = scene
    given = {
        "temperature": 2.0,
        "epochs": 20,
        "soft": True,
        "batch_size": 64,
        "top_k": 50,
        "drawn": 10,
        "sampled": 200,
        **settings,
    }
    return distill_vq(X, train, codec=start, learning_rate=1e-2, **given)


def test_rankings_are_learned_from_the_teacher_and_from_nothing_else(scene):
    X, train, judged, start = scene
    before, after = recall(start, X, judged), recall(trained(scene), X, judged)
    assert after > before + 0.04
    assert recall(trained(scene, loss="reconstruction"), X, judged) < after - 0.03
    mixed = np.random.default_rng(0).permutation(train)
    assert recall(trained(scene, teacher=mixed), X, judged) < before


def test_documents_stay_in_their_lists(scene):
    X, _, _, start = scene
    moved = trained(scene, epochs=1)
    np.testing.assert_array_equal(moved.assign(X), start.assign(X))
    np.testing.assert_array_equal(moved.keys_, start.centroids_)
    assert (moved.centroids_ != start.centroids_).any()
    still = trained(scene, epochs=1, lists_weight=0.0, centroid_rate=1e-6, weight_decay=0.0)
    np.testing.assert_allclose(still.centroids_, start.centroids_, atol=1e-4)


@pytest.mark.parametrize("rotation", [None, "opq"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_what_is_served_scores_as_the_student_does(metric, rotation):
    X, Q = vectors(400, 1), vectors(20, 2)
    quantizer = ProductQuantizer(m=6, bits=4, rotation=rotation, iterations=4)
    start = IVFCodec.train(X, lists=6, quantizer=quantizer, metric=metric)
    seen = start.prepare(X)
    module = _Coded(start, seen, rate=2.0, soft=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        module.shift += 0.05 * torch.randn(module.shift.shape, generator=generator)
        module.books.keys += 0.05 * torch.randn(module.books.keys.shape, generator=generator)
    served = module.codec()
    _, _, coded = module(torch.arange(len(X)))
    asked = module.turned(start.prepare(Q))
    scores = torch.from_numpy(asked) @ coded.T
    if metric == "l2":
        scores = 2 * scores - coded.square().sum(1) - torch.from_numpy(asked).square().sum(1, keepdim=True)
    np.testing.assert_allclose(served.score(Q, *served.encode(X)), scores.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_moves_the_books(scene, loss):
    moved = trained(scene, loss=loss, epochs=0.2, drawn=4, sampled=20)
    assert (moved.quantizer_.codebooks_ != scene[3].quantizer_.codebooks_).any()
    assert np.isfinite(moved.quantizer_.codebooks_).all()


def test_a_soft_choice_has_a_slope_for_codewords_that_were_not_chosen(scene):
    X, _, _, start = scene
    few = X[:3]
    for soft, wanted in ((False, 3), (True, 16)):
        module = _Coded(start, few, rate=1.0, soft=soft)
        module(torch.arange(3))[2].square().sum().backward()
        moved = (module.books.keys.grad[0] != 0).any(dim=1).sum()
        assert moved <= wanted and (moved > 3) == soft


def test_equal_seeds_give_equal_books(scene):
    one, two = (trained(scene, epochs=0.3) for _ in range(2))
    np.testing.assert_array_equal(one.quantizer_.codebooks_, two.quantizer_.codebooks_)
    np.testing.assert_array_equal(one.centroids_, two.centroids_)


def test_what_does_not_fit_is_refused(scene):
    X, train, _, start = scene
    residual = IVFCodec.train(X, lists=4, quantizer=ResidualQuantizer(levels=2, bits=4, iterations=2))
    for settings in (
        {"codec": residual},
        {"codec": None},
        {"loss": "infonce"},
        {"temperature": 0.0},
        {"top_k": len(X) + 1},
        {"top_k": 5, "drawn": 6},
        {"batch_size": len(train) + 1},
        {"batch_size": 1},
    ):
        with pytest.raises(InputError):
            distill_vq(X, train, **{"codec": start, **settings})
    with pytest.raises(DimensionError):
        distill_vq(X, train[:, :4], codec=start)
    with pytest.raises(DimensionError, match="as many"):
        distill_vq(X, train, codec=start, teacher=train[:5])
