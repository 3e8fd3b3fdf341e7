from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, NotFoundError
from orthant.transforms import Network

torch = pytest.importorskip("torch")

from orthant.nn.heads import FixedPrototypeHead, ProjectionHead  # noqa: E402
from orthant.nn.prototypes import equiangular_prototypes, simplex_prototypes  # noqa: E402


def test_logits_are_scaled_cosines():
    rng = np.random.default_rng(0)
    table, x = rng.standard_normal((5, 3)) * 4, rng.standard_normal((6, 3)) * 0.1
    cosine = x @ table.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(table, axis=1)
    found = FixedPrototypeHead(table, scale=7)(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(found.numpy(), 7 * cosine, atol=1e-5)


def test_prototypes_are_never_trained():
    head = FixedPrototypeHead(simplex_prototypes(4))
    layer = torch.nn.Linear(5, 3)
    head.cross_entropy(layer(torch.randn(8, 5)), torch.arange(8) % 4).backward()
    assert layer.weight.grad.abs().sum() > 0 and head.prototypes.grad is None
    assert not list(head.parameters()) and "prototypes" in head.state_dict()


def _train(table, *, seed=0):
    """The accuracy of a linear layer trained against a table, on three blobs; plain gradient steps."""
    torch.manual_seed(seed)
    labels = torch.arange(90) % 3
    x = torch.randn(90, 6) * 0.3 + torch.eye(6)[labels] * 2
    layer, head = torch.nn.Linear(6, table.shape[1]), FixedPrototypeHead(table)
    for _ in range(40):
        slopes = torch.autograd.grad(head.cross_entropy(layer(x), labels), [*layer.parameters()])
        with torch.no_grad():
            for parameter, slope in zip(layer.parameters(), slopes, strict=True):
                parameter -= 0.3 * slope
    return (head(layer(x)).argmax(dim=1) == labels).float().mean().item()


def test_shuffled_prototypes_do_as_well_and_collapsed_ones_do_not_work():
    table = equiangular_prototypes(6, 4, 0.5)
    assert _train(table) > 0.95 and _train(table[[3, 0, 5, 1, 4, 2]]) > 0.95
    assert _train(np.repeat(table[:1], 6, axis=0)) < 0.5


def test_cross_entropy_is_that_of_the_logits():
    head = FixedPrototypeHead(simplex_prototypes(4))
    x, labels = torch.randn(7, 3), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    expected = -head(x).log_softmax(dim=1)[torch.arange(7), labels].mean()
    torch.testing.assert_close(head.cross_entropy(x, labels), expected)
    smooth = 0.9 * expected - 0.1 * head(x).log_softmax(dim=1).mean()
    torch.testing.assert_close(head.cross_entropy(x, labels, smoothing=0.1), smooth)


def test_saved_heads_load_equal(tmp_path):
    head = FixedPrototypeHead(equiangular_prototypes(6, 4, 0.5), scale=1 / 0.07, labels=["a", "b", "c"])
    head.save(tmp_path / "prototypes")
    again = FixedPrototypeHead.load(tmp_path / "prototypes")
    x = torch.randn(3, 4)
    torch.testing.assert_close(again(x), head(x), rtol=0, atol=1e-6)
    assert again.labels == ("a", "b", "c") and again.scale == head.scale
    arrays, config = read_artifact(tmp_path / "prototypes", kind="head.prototypes")
    assert arrays["prototypes"].shape == (6, 4) and config["labels"] == ["a", "b", "c"]
    for bias in (True, False):
        projection = ProjectionHead(4, 3, bias=bias, normalize=True)
        projection.save(tmp_path / "projection")
        torch.testing.assert_close(ProjectionHead.load(tmp_path / "projection")(x), projection(x))
    write_artifact(tmp_path / "other", kind="transform.x", arrays={"w": np.zeros(1)}, config={})
    with pytest.raises(InputError, match=r"transform\.x"):
        FixedPrototypeHead.load(tmp_path / "other")
    with pytest.raises(NotFoundError):
        ProjectionHead.load(tmp_path / "missing")


def test_projection_is_a_matrix_and_then_the_sphere():
    head = ProjectionHead(5, 3, bias=True)
    x = torch.randn(2, 4, 5)
    expected = x @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(x), expected)
    head.normalize = True
    torch.testing.assert_close(head(x), expected / expected.norm(dim=-1, keepdim=True))


def test_what_does_not_fit_is_refused():
    head = FixedPrototypeHead(simplex_prototypes(4))
    with pytest.raises(DimensionError, match=r"dimension 3.*last layer of width 3"):
        head(torch.randn(2, 5))
    with pytest.raises(DimensionError, match="a projection of dimension 5"):
        ProjectionHead(5, 3)(torch.randn(2, 4))
    for labels in ([0, 4], [-1, 0]):
        with pytest.raises(InputError, match="0 to 3"):
            head.cross_entropy(torch.randn(2, 3), torch.tensor(labels))
    with pytest.raises(InputError, match="5 labels for 4 prototypes"):
        FixedPrototypeHead(simplex_prototypes(4), labels=list("abcde"))
    with pytest.raises(InputError, match="distinct"):
        FixedPrototypeHead(simplex_prototypes(4), labels=["a", "a"])
    with pytest.raises(InputError, match="zero row"):
        FixedPrototypeHead(np.zeros((2, 2)))
    with pytest.raises(InputError, match="scale"):
        FixedPrototypeHead(simplex_prototypes(4), scale=0)
    with pytest.raises(InputError, match="dim_out=0"):
        ProjectionHead(4, 0)


@pytest.mark.parametrize(
    "head",
    [
        lambda: ProjectionHead(6, 3, bias=True, normalize=True),
        lambda: ProjectionHead(6, 3),
        lambda: FixedPrototypeHead(simplex_prototypes(7), scale=4.0),
    ],
)
def test_heads_are_served_by_numpy(head):
    module = head()
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    wanted = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(Network(module.network_layers()).transform(x), wanted, atol=1e-6)
