from __future__ import annotations

import platform

import pytest

from orthant.errors import InputError
from orthant.kernels import cpu

VNNI = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx2", "fma", "f16c"})


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("ORTHANT_SIMD", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    cpu.simd_level.cache_clear()
    yield
    cpu.simd_level.cache_clear()


def having(monkeypatch, found):
    monkeypatch.setattr(cpu, "features", lambda: frozenset(found))


def test_the_host_is_asked():
    assert cpu.features()
    assert all(isinstance(feature, str) for feature in cpu.features())


@pytest.mark.parametrize(
    ("found", "level"),
    [(VNNI, "avx512"), (VNNI - {"avx512vnni"}, "avx2"), (VNNI - {"avx2", "avx512vnni"}, "portable"), ((), "portable")],
)
def test_the_best_form_that_the_processor_has(monkeypatch, found, level):
    having(monkeypatch, found)
    assert cpu.simd_level() == level


def test_other_machines_are_portable(monkeypatch):
    having(monkeypatch, VNNI)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cpu.simd_level() == "portable"


@pytest.mark.parametrize("asked", ["portable", "avx2", "avx512"])
def test_w72_a_form_can_be_forced(monkeypatch, asked):
    having(monkeypatch, VNNI)
    monkeypatch.setenv("ORTHANT_SIMD", asked)
    assert cpu.simd_level() == asked
    assert "forced by ORTHANT_SIMD" in cpu.describe()


@pytest.mark.parametrize("asked", ["avx512", "sse9"])
def test_what_the_processor_lacks_is_refused(monkeypatch, asked):
    having(monkeypatch, VNNI - {"avx512vnni"})
    monkeypatch.setenv("ORTHANT_SIMD", asked)
    with pytest.raises(InputError, match="avx2, portable"):
        cpu.simd_level()
