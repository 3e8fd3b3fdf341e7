from __future__ import annotations

import json
import time

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.quantization import ITQ, LVQ, SQ8, CompressionReport, report
from quantization.vectors import real, real_queries


def data(n: int = 1200, dim: int = 64, rank: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim))).astype(np.float32)


@pytest.fixture(scope="module")
def found() -> CompressionReport:
    return report(data(), budget_bytes=40)


def test_w71_report_measures_bytes_recall_and_latency(found):
    names = [c.name for c in found.candidates]
    assert {"float32", "sq8", "lvq8", "lvq4", "lvq4x4", "leanvec32+lvq8", "leanvec16+lvq4"} <= set(names)
    sizes = [c.bytes_per_vector for c in found.candidates]
    assert sizes == sorted(sizes) and found["lvq4"].bytes_per_vector == 36 and found["sq8"].bytes_per_vector == 64
    for c in found.candidates:
        assert 0 < c.recall <= c.recall_rescored <= 1 and c.latency_ms > 0 and c.latency_rescored_ms > 0
    assert found["float32"].recall == 1 and found["lvq4"].recall < found["lvq8"].recall < 1.0001
    assert found["lvq4"].recall_rescored > found["lvq4"].recall
    assert found.rows == 1080 and found.queries == 120 and found.k == 10


def test_w71_recommendation_keeps_a_byte_constraint(found):
    fitting = [c for c in found.candidates if c.bytes_per_vector <= 40]
    assert found[found.recommended] in fitting and "40 bytes" in found.reason
    assert found[found.recommended].recall_rescored >= max(c.recall_rescored for c in fitting) - 0.002
    alone = report(data(), budget_bytes=40, rescoring=False)
    assert not alone.rescore and alone[alone.recommended].recall >= max(c.recall for c in fitting) - 0.01
    small = report(data(), budget_bytes=15, candidates={"sq8": SQ8()})
    assert small.recommended is None and "relax" in small.reason


def test_w71_recommendation_keeps_a_recall_constraint():
    X = data(700, rank=64)
    found = report(X, recall=0.9)
    chosen = found[found.recommended]
    reached = chosen.recall_rescored if found.rescore else chosen.recall
    assert reached >= 0.9
    for c in found.candidates:
        if c.bytes_per_vector < chosen.bytes_per_vector:
            assert max(c.recall, c.recall_rescored) < 0.9
    assert report(X, recall=1.0, budget_bytes=8).recommended is None


def test_own_candidates_and_queries():
    X = data()
    found = report(X, X[:20] * 2, candidates={"coarse": LVQ(bits=4), "fine": SQ8()}, metric="l2", k=5, rescored_rows=5)
    assert [c.name for c in found.candidates] == ["coarse", "fine", "float32"]
    assert found.queries == 20 and not found.notes
    assert found["fine"].recall == pytest.approx(found["fine"].recall_rescored), "five rows rescored are the same five"
    with pytest.raises(InputError, match="coarse"):
        found["other"]


def test_codes_of_other_bits_share_what_is_slow_to_learn(monkeypatch):
    X, learned, fit = data(1500), [], ITQ.fit

    def counted(self, rows, y=None, **settings):
        learned.append(self.dim)
        return fit(self, rows, y, **settings)

    monkeypatch.setattr(ITQ, "fit", counted)
    names = ["recurrent1d64", "recurrent2d64", "recurrent2d32", "recurrent4d64"]
    together = report(X, candidates=names)
    assert learned == [64, 32]
    for name in names:
        alone = report(X, candidates=[name])[name]
        assert (alone.recall, alone.recall_rescored) == (together[name].recall, together[name].recall_rescored)


def test_it_prints_and_becomes_json(found):
    text = str(found)
    assert repr(found) == text and "lvq4x4" in text and found.reason in text and "held-out" in text
    assert json.loads(json.dumps(found.to_dict()))["recommended"] == found.recommended


def test_samples_are_bounded_and_said():
    found = report(data(), sample_rows=300, sample_queries=10, candidates={"sq8": SQ8()})
    assert found.rows == 300 and found.queries == 10 and any("300 of 1200" in note for note in found.notes)


@pytest.mark.parametrize(
    "settings",
    [{"k": 0}, {"rescored_rows": 3}, {"recall": 2}, {"budget_bytes": 0}, {"metric": "x"}, {"sample_rows": 0}],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        report(data(100), **settings)
    with pytest.raises(InputError):
        report(data(8))
    with pytest.raises(InputError):
        report(data(100), np.zeros((0, 64)))
    for nothing in ([], {}):
        with pytest.raises(InputError, match="no candidates"):
            report(data(100), candidates=nothing)


@pytest.mark.slow
def test_w71_twenty_thousand_vectors_take_less_than_a_minute(data_root):
    begun = time.perf_counter()
    found = report(real(data_root, 20_000), real_queries(data_root), recall=0.95)
    assert time.perf_counter() - begun < 60
    assert found[found.recommended].bytes_per_vector <= 200


def test_each_candidate_tells_its_share_of_the_work():
    told = []
    report(data(), candidates=["sq8", "lvq4"], advance=told.append)
    assert told == [0.5, 0.5]
