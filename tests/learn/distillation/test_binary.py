"""Training of recurrent codes: each term of the loss does what it is for, and NumPy serves what torch made."""

from __future__ import annotations

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant import load_artifact  # noqa: E402
from orthant.errors import DimensionError, InputError  # noqa: E402
from orthant.learn import train_recurrent_binary  # noqa: E402
from orthant.nn import RecurrentBinarizer  # noqa: E402
from orthant.quantization import RecurrentBinary  # noqa: E402


def pairs(n=600, seed=0):
    """Two views of things, whose loudest directions are noise of their own."""
    rng = np.random.default_rng(seed)
    loud, meaning = np.random.default_rng(9).standard_normal((2, 8, 24))
    things = rng.standard_normal((n, 8)) @ meaning
    views = [things + 1.3 * rng.standard_normal((n, 8)) @ loud for _ in range(2)]
    return [(view / np.linalg.norm(view, axis=1, keepdims=True)).astype(np.float32) for view in views]


def found(made, left, right):
    scores = made.symmetric_scores(made.encode(left), made.encode(right))
    return float((scores.argmax(axis=1) == np.arange(len(left))).mean())


def test_pairs_teach_what_matters():
    settings = {"dim": 16, "similarity_weight": 0.0, "batch_size": 100, "threads": 1}
    left, right = pairs()
    held = pairs(200, seed=1)
    untrained = found(RecurrentBinary(dim=16, unit=True).fit(left), *held)
    through_a_map = train_recurrent_binary(left, right, map_epochs=4, epochs=1, **settings)
    alone = train_recurrent_binary(
        left, right, map_epochs=0, epochs=4, learning_rate=2e-2, queue_size=100, hardest=50, **settings
    )
    assert found(through_a_map, *held) > untrained + 0.1
    assert found(alone, *held) > untrained + 0.05


def test_numpy_serves_what_torch_computes(tmp_path):
    left, right = pairs(200)
    made = train_recurrent_binary(left, right, dim=16, bits=4, hidden=16, epochs=1, batch_size=50, threads=1)
    made.save(tmp_path)
    assert (load_artifact(tmp_path).encode(left) == made.encode(left)).all()
    again = train_recurrent_binary(left, right, dim=16, bits=4, hidden=16, epochs=1, batch_size=50, threads=1)
    assert (again.encode(left) == made.encode(left)).all()


def test_the_module_begins_at_the_closed_form():
    left, _ = pairs(300)
    start = RecurrentBinary(dim=12, bits=2, unit=True).fit(left)
    module = RecurrentBinarizer(start, left, hidden=8).eval()
    codes = module(torch.from_numpy(left)).detach().numpy()
    assert ((codes * 2 + 3) / 2 == start.levels(left)).mean() > 0.999


def test_old_codes_are_met():
    left, _ = pairs()
    turned = (left @ np.linalg.qr(np.random.default_rng(2).standard_normal((24, 24)))[0]).astype(np.float32)
    older = RecurrentBinary(dim=16, unit=True).fit(left)
    settings = {"dim": 16, "hidden": 0, "epochs": 4, "batch_size": 100, "learning_rate": 1e-3, "threads": 1}
    newer = train_recurrent_binary(turned, compatible_with=older, old_documents=left, **settings)
    alone = train_recurrent_binary(turned, **settings)
    codes = older.encode(left)

    def share(made):
        return float((made.symmetric_scores(made.encode(turned), codes).argmax(axis=1) == np.arange(600)).mean())

    assert share(newer) > share(alone) + 0.3
    assert newer.compatible_with_ == (older.fingerprint,)


def test_settings_that_contradict_each_other_are_refused():
    left, right = pairs(64)
    older = RecurrentBinary(dim=8, unit=True).fit(left)
    refused = (
        {"pair_weight": 1.0},
        {"queue_size": 8},
        {"similarity_weight": 0.0},
        {"old_documents": left},
        {"batch_size": 4},
        {"batch_size": 65},
    )
    for settings in refused:
        with pytest.raises(InputError):
            train_recurrent_binary(left, dim=8, **{"batch_size": 32, **settings})
    with pytest.raises(DimensionError, match="8 dimensions"):
        train_recurrent_binary(left, dim=16, batch_size=32, compatible_with=older)
    with pytest.raises(DimensionError, match="as many"):
        train_recurrent_binary(left, right[:60], dim=8, batch_size=32)


def test_serving_needs_no_torch(tmp_path):
    import subprocess

    left, _ = pairs(100)
    RecurrentBinary(dim=8, unit=True).fit(left).save(tmp_path)
    code = (
        "import sys, numpy as np, orthant; made = orthant.load_artifact(sys.argv[1]); "
        "made.encode(np.ones((2, 24), np.float32)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
