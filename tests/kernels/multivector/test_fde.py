"""Folding against its definition, set by set and token by token, kernel and NumPy alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orthant.kernels.multivector import fde as module
from orthant.kernels.multivector.fde import Folding, cell_numbers, fold_sets
from orthant.transforms.random_matrices import RandomMatrices


def folding(dim, *, repetitions=3, bits=2, inner=None, final=None, dense=False, seed=0):
    source = RandomMatrices(seed)
    inner = inner or dim
    projection = None if inner == dim else source.signs("p", (dim, repetitions * inner)) / np.float32(inner**0.5)
    width = repetitions * inner << bits
    targets, signs = (None, None) if final is None else source.count_sketch("f", width, final)
    if dense:
        targets, signs = None, source.signs("s", (width, final)) / np.float32(final**0.5)
    planes = source.gaussian("g", (dim, repetitions * bits))
    return Folding(repetitions, bits, inner, planes, projection, targets, signs, final or width)


def definition(values, offsets, how, *, mean, fill):
    """One loop for each sentence of the definition, in float64."""
    rows = []
    for a, b in itertools.pairwise(offsets):
        tokens, blocks = values[a:b].astype(np.float64), []
        for r in range(how.repetitions):
            planes = how.planes[:, r * how.bits : (r + 1) * how.bits]
            cells = [(x @ planes > 0) @ (1 << np.arange(how.bits)) if how.bits else 0 for x in tokens]
            part = tokens
            if how.projection is not None:
                part = tokens @ how.projection[:, r * how.inner : (r + 1) * how.inner].astype(np.float64)
            for cell in range(1 << how.bits):
                inside = [x for x, c in zip(part, cells, strict=True) if c == cell]
                if inside:
                    blocks.append(np.mean(inside, axis=0) if mean else np.sum(inside, axis=0))
                elif fill and how.bits:
                    blocks.append(part[int(np.argmin([int(c ^ cell).bit_count() for c in cells]))])
                else:
                    blocks.append(np.zeros(how.inner))
        rows.append(np.concatenate(blocks))
    out = np.array(rows)
    if how.signs is None:
        return out
    if how.targets is None:
        return out @ how.signs
    final = np.zeros((len(out), how.final))
    np.add.at(final.T, how.targets, (out * how.signs).T)
    return final


def sets(dim, lengths, seed=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.random.default_rng(seed).standard_normal((offsets[-1], dim)).astype(np.float32), offsets


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "shape",
    [{}, {"inner": 2}, {"bits": 0}, {"bits": 5}, {"final": 7}, {"final": 7, "dense": True}, {"repetitions": 1}],
    ids=str,
)
def test_both_twins_follow_the_definition(compiled, shape):
    values, offsets = sets(6, [1, 5, 9, 2, 30])
    how = folding(6, **shape)
    for mean, fill in ((True, True), (True, False), (False, False)):
        wanted = definition(values, offsets, how, mean=mean, fill=fill)
        found = fold_sets(values, offsets, how, mean=mean, fill=fill, compiled=compiled)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_every_dimension(compiled):
    for dim in (*range(1, 131, 7), 96, 128):
        values, offsets = sets(dim, [2, 3], seed=dim)
        how = folding(dim, repetitions=2, inner=min(dim, 3))
        wanted = definition(values, offsets, how, mean=True, fill=True)
        found = fold_sets(values, offsets, how, mean=True, fill=True, compiled=compiled)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("compiled", [True, False])
def test_chunks_threads_and_offsets_that_begin_late_change_nothing(compiled, monkeypatch):
    values, offsets = sets(8, np.random.default_rng(1).integers(1, 12, 60))
    how = folding(8, inner=4)
    whole = fold_sets(values, offsets, how, mean=True, fill=True, compiled=compiled, threads=1)
    part = fold_sets(values, offsets[20:], how, mean=True, fill=True, compiled=compiled)
    np.testing.assert_allclose(part, whole[20:], atol=1e-6)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(module, "_PART_VALUES", 1)
    again = fold_sets(values, offsets, how, mean=True, fill=True, compiled=compiled, threads=5)
    np.testing.assert_allclose(again, whole, atol=1e-6)


def test_cells_are_signs():
    planes = np.array([[1, 0], [0, -1]], dtype=np.float32)
    values = np.array([[1, 1], [1, -1], [-1, -1], [0, 0]], dtype=np.float32)
    assert cell_numbers(values, planes, 2)[:, 0].tolist() == [1, 3, 2, 0]
