"""One graph for the tests that only read, built once."""

from __future__ import annotations

import pytest

from index.graph_data import clustered, flat_of
from orthant.index import Graph
from orthant.kernels.warmup import wait


@pytest.fixture(scope="session")
def compiled():
    """Kernels of graphs; searches scan until they are compiled."""
    wait("graph")
    wait("build")


@pytest.fixture(scope="session")
def vectors():
    """Rows and queries of the shared graph, drawn from the same clusters."""
    X, _ = clustered(6000, seed=1)
    Q, _ = clustered(300, seed=2)
    return X, Q


@pytest.fixture(scope="session")
def oracle(vectors):
    return flat_of(vectors[0])


@pytest.fixture(scope="session")
def graph(compiled, vectors):
    """The shared graph; tests must not change it."""
    out = Graph(48, degree=16, beam=48)
    out.add(vectors[0])
    return out
