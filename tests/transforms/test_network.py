"""Networks of arrays: each layer against its formula in float64, what is refused, saving and loading."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, StoreCorruptedError
from orthant.transforms.layers import LAYER_KINDS, Layer
from orthant.transforms.network import Network

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6)).astype(np.float32) * 3
W, B = RNG.standard_normal((6, 6)), RNG.standard_normal(6)
V = RNG.random(6) + 0.1
MEAN, VAR = X.astype(np.float64).mean(axis=1, keepdims=True), X.astype(np.float64).var(axis=1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS = {
    "linear": (Layer("linear", {"weight": W, "bias": B}), lambda x: x @ W.T + B),
    "linear without bias": (Layer("linear", {"weight": W[:2]}), lambda x: x @ W[:2].T),
    "relu": (Layer("relu"), lambda x: np.where(x > 0, x, 0)),
    "gelu": (Layer("gelu"), lambda x: x * norm.cdf(x)),
    "gelu tanh": (
        Layer("gelu", settings={"approximate": True}),
        lambda x: x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)),
    ),
    "silu": (Layer("silu"), lambda x: x * sigmoid(x)),
    "tanh": (Layer("tanh"), np.tanh),
    "sigmoid": (Layer("sigmoid"), sigmoid),
    "elu": (Layer("elu", settings={"alpha": 0.5}), lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    "leaky_relu": (Layer("leaky_relu", settings={"slope": 0.2}), lambda x: np.maximum(x, 0.2 * x)),
    "prelu": (Layer("prelu", {"weight": V}), lambda x: np.where(x > 0, x, V * x)),
    "prelu of one": (Layer("prelu", {"weight": [0.25]}), lambda x: np.where(x > 0, x, 0.25 * x)),
    "layer_norm": (
        Layer("layer_norm", {"weight": V, "bias": B}, {"epsilon": 1e-3}),
        lambda x: (x - MEAN) / np.sqrt(VAR + 1e-3) * V + B,
    ),
    "layer_norm plain": (Layer("layer_norm"), lambda x: (x - MEAN) / np.sqrt(VAR + 1e-5)),
    "batch_norm": (
        Layer("batch_norm", {"mean": B, "variance": V, "weight": V[::-1], "bias": B}, {"epsilon": 1e-2}),
        lambda x: (x - B) / np.sqrt(V + 1e-2) * V[::-1] + B,
    ),
    "normalize": (Layer("normalize"), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)),
    "residual": (
        Layer("residual", inner=[Layer("linear", {"weight": W}), Layer("tanh")]),
        lambda x: x + np.tanh(x @ W.T),
    ),
    "residual projected": (
        Layer("residual", {"projection": W[:3]}, inner=[Layer("linear", {"weight": W[3:]})]),
        lambda x: x @ W[3:].T + x @ W[:3].T,
    ),
    "flatten": (Layer("flatten"), lambda x: x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_layer_equals_its_formula(name):
    layer, formula = FORMULAS[name]
    wanted = formula(X.astype(np.float64))
    out = Network([layer]).transform(X)
    assert out.dtype == np.float32 and out.flags.c_contiguous and not np.shares_memory(out, X)
    np.testing.assert_allclose(out, wanted, rtol=2e-6, atol=2e-6 * max(1, np.abs(wanted).max()))


def test_every_kind_has_a_formula():
    assert {layer.kind for layer, _ in FORMULAS.values()} | {"embedding"} == set(LAYER_KINDS)


def test_zero_rows_stay_zero_when_normalised():
    np.testing.assert_array_equal(Network([Layer("normalize")]).transform(np.zeros((1, 3))), np.zeros((1, 3)))


def test_tables_are_looked_up():
    table = RNG.standard_normal((5, 3)).astype(np.float32)
    network = Network([Layer("embedding", {"weight": table}), Layer("tanh")])
    assert network.takes_ids and network.dim == 3
    np.testing.assert_allclose(network.transform([4, 0, 4]), np.tanh(table[[4, 0, 4]]), rtol=1e-6)
    assert network.transform([[1, 2], [3, 4]]).shape == (2, 2, 3) and network.transform([]).shape == (0, 3)
    flat = Network([Layer("embedding", {"weight": table}), Layer("flatten")])
    np.testing.assert_array_equal(flat.transform([[1, 2]]), table[[1, 2]].reshape(1, 6))
    for wrong, error in (([5], InputError), ([-1], InputError), ([0.5], DtypeError), ([[[1]]], DimensionError)):
        with pytest.raises(error):
            network.transform(wrong)


def test_many_rows_are_computed_in_parts():
    network = Network([Layer("linear", {"weight": W, "bias": B}), Layer("gelu"), Layer("normalize")])
    rows = RNG.standard_normal((40_000, 6)).astype(np.float32)
    out = network.transform(rows)
    np.testing.assert_allclose(out[[0, 20_000, 39_999]], network.transform(rows[[0, 20_000, 39_999]]), atol=1e-6)


def test_widths_are_known():
    network = Network([Layer("relu"), Layer("residual", inner=[Layer("linear", {"weight": W})]), *[Layer("tanh")] * 2])
    assert (network.dim_in, network.dim) == (6, 6) and repr(network) == "Network(6 -> 6: relu, residual, tanh, tanh)"
    assert network.transform(np.zeros((0, 6))).shape == (0, 6)
    assert Network([]).dim_in is None and Network([Layer("relu")]).transform(X[:, :2]).shape == (40, 2)


def test_scikit_learn_can_use_it():
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline

    from orthant.transforms import Reduction

    network = Network([Layer("linear", {"weight": W[:, :2]}), Layer("tanh")])
    pipe = make_pipeline(Reduction(dim=2), clone(network)).fit(X)
    np.testing.assert_array_equal(pipe.transform(X), network.transform(Reduction(dim=2).fit(X).transform(X)))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Layer("convolution"), InputError, "convolution"),
        (lambda: Layer("linear"), InputError, "weight"),
        (lambda: Layer("relu", {"weight": B}), InputError, "weight"),
        (lambda: Layer("relu", settings={"slope": 1}), InputError, "slope"),
        (lambda: Layer("tanh", inner=[Layer("relu")]), InputError, "tanh"),
        (lambda: Layer("linear", {"weight": B}), DimensionError, "2 axes"),
        (lambda: Layer("linear", {"weight": W, "bias": B[:2]}), DimensionError, "bias"),
        (lambda: Layer("batch_norm", {"mean": B, "variance": V[:2]}), DimensionError, "variance"),
        (lambda: Network([Layer("linear", {"weight": W[:2]}), Layer("layer_norm", {"weight": V})]), DimensionError,
         r"layer 1 \(layer_norm\)"),
        (lambda: Network([Layer("residual", inner=[Layer("linear", {"weight": W[:2]})])]), DimensionError,
         "projection"),
        (lambda: Network([Layer("relu"), Layer("embedding", {"weight": W})]), InputError, "embedding"),
        (lambda: Network([Layer("linear", {"weight": W})]).transform(X[:, :5]), DimensionError, "5 columns"),
        (lambda: Network([Layer("linear", {"weight": W})]).fit(X[:, :5]), DimensionError, "5 columns"),
        (lambda: Network([Layer("relu")]).transform([[np.nan]]), NonFiniteError, "NaN"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_saved_and_loaded_equal(tmp_path):
    network = Network(
        [layer for layer, _ in FORMULAS.values() if layer.kind != "linear" or layer.arrays.get("bias") is not None][:-2]
    )
    network.save(tmp_path / "net")
    again = Network.load(tmp_path / "net")
    np.testing.assert_array_equal(again.transform(X), network.transform(X))
    assert repr(again) == repr(network)
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    assert config["kind"] == "transform.network"
    for damage in ({"layers": [{"kind": "linear"}]}, {"layers": 3}, {"layers": [dict(config["layers"][0], kind="x")]}):
        (tmp_path / "net" / "config.json").write_text(json.dumps({**config, **damage}))
        with pytest.raises(StoreCorruptedError):
            Network.load(tmp_path / "net")
