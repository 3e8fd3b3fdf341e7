"""Edges have the weights of their equation, and places follow the edges."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.layout.edges import neighbour_edges
from orthant.kernels.layout.forces import place


def test_edges_have_the_weights_of_the_equation():
    neighbours = np.array([[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]])
    distances = np.array([[1.0, 2.0, 3.0], [1.0, 1.5, 4.0], [1.5, 2.0, 2.5], [2.5, 4.0, 3.0]])
    distances.sort(axis=1)
    heads, tails, weights = neighbour_edges(neighbours, distances)
    directed = np.zeros((4, 4))
    for i in range(4):
        above = distances[i] - distances[i, 0]
        low, high = 1e-9, 1e3
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if np.exp(-above / middle).sum() < np.log2(3) else (low, middle)
        directed[i, neighbours[i]] = np.exp(-above / low)
    expected = directed + directed.T - directed * directed.T
    assert (heads < tails).all()
    for head, tail, weight in zip(heads, tails, weights, strict=True):
        assert weight == pytest.approx(expected[head, tail], rel=1e-4)
    assert len(heads) == np.count_nonzero(np.triu(expected > 1e-4, 1))


def test_padding_makes_no_edge():
    neighbours = np.array([[1, -1, -1], [0, 2, -1], [0, 1, -1]])
    heads, tails, _ = neighbour_edges(neighbours, np.array([[1.0, 0, 0], [1.0, 1.1, 0], [1.0, 1.2, 0]]))
    assert (heads >= 0).all()
    assert set(zip(heads.tolist(), tails.tolist(), strict=True)) == {(0, 1), (0, 2), (1, 2)}


def test_equal_points_have_edges_of_finite_weight():
    _, _, weights = neighbour_edges(np.array([[1, 2], [0, 2], [0, 1]]), np.zeros((3, 2)))
    assert np.isfinite(weights).all() and (weights > 0).all()


def test_edges_pull_and_others_are_pushed():
    rng = np.random.default_rng(0)
    P = rng.normal(size=(60, 2)).astype(np.float32)
    # Two groups that begin on one heap, each tied together.
    edges = [(i, j) for group in (range(30), range(30, 60)) for i in group for j in group if i < j and (i + j) % 5 == 0]
    heads, tails = (np.array(ends, dtype=np.int64) for ends in zip(*edges, strict=True))
    moved = place(P, heads, tails, np.ones(len(heads), np.float32), epochs=100, seed=1)
    within = np.linalg.norm(moved[heads] - moved[tails], axis=1).mean()
    between = np.linalg.norm(moved[:30].mean(axis=0) - moved[30:].mean(axis=0))
    before = np.linalg.norm(P[:30].mean(axis=0) - P[30:].mean(axis=0))
    assert between > 3 * within and between > 4 * before
    again = place(P, heads, tails, np.ones(len(heads), np.float32), epochs=100, seed=1)
    assert np.array_equal(moved, again)
    assert not np.array_equal(moved, place(P, heads, tails, np.ones(len(heads), np.float32), epochs=100, seed=2))
    assert np.array_equal(place(P, heads, tails, np.ones(len(heads), np.float32), epochs=0, seed=1), P)


def test_progress_reaches_the_end():
    told = []
    P = np.zeros((3, 2), np.float32)
    place(P, np.array([0]), np.array([1]), np.ones(1, np.float32), epochs=25, seed=0, progress=told.append)
    assert told == [0.4, 0.8, 1.0]
