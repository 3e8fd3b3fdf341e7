"""Figures of the vectors alone: intrinsic dimension, hubs, directions, lengths, duplicates, room for combinations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.diagnosis.report import Bin, Estimate, Histogram
from orthant.collection.diagnosis.sampling import Sample, without
from orthant.index.flat import Flat
from orthant.measures.capacity import FITTED_DIMENSIONS, capacity_bound
from orthant.measures.intervals import bootstrap_interval, wilson_interval
from orthant.measures.intrinsic import local_dimension, two_nn_dimension
from orthant.measures.shape import hubness, isotropy
from orthant.types import FloatArray, Metric

__all__ = ["between_groups", "dimension_figures", "duplicate_figures", "group_figures", "histogram", "room", "share"]

Float64Array = npt.NDArray[np.float64]

_LISTS = 10
_COSINES = (0.9, 0.95, 0.99, 0.999)
_BINS = 30
# Two-sided 95 % points of Student's t with 1 to 3 degrees of freedom.
_STUDENT = {1: 12.706, 2: 4.303, 3: 3.182}


def histogram(values: npt.ArrayLike, bins: int = _BINS) -> Histogram:
    """Count finite values between equal steps.

    Parameters
    ----------
    values : array-like of shape (n,)
        Values; those that are not finite are left out.
    bins : int, default 30
        Steps.

    Returns
    -------
    Histogram
        From the least to the greatest value.
    """
    given = np.asarray(values, dtype=np.float64)
    counts, edges = np.histogram(given[np.isfinite(given)], bins=bins)
    return Histogram(edges.tolist(), counts.tolist())


def share(hits: npt.NDArray[np.bool_]) -> Estimate:
    """Return a share with Wilson's interval.

    Parameters
    ----------
    hits : ndarray of shape (n,), bool
        One per observation, at least one.

    Returns
    -------
    Estimate
        The share of True.
    """
    value = float(np.mean(hits))
    return Estimate(value, *wilson_interval(value, len(hits)), len(hits))


def between_groups(values: list[float], size: int) -> Estimate:
    """Return the mean of a figure over disjoint groups, with the interval that their spread gives.

    Parameters
    ----------
    values : list of float
        One per group, two to four.
    size : int
        Observations of all groups together.

    Returns
    -------
    Estimate
        Student's interval of the mean.
    """
    half = _STUDENT[len(values) - 1] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    mean = float(np.mean(values))
    return Estimate(mean, mean - half, mean + half, size)


def dimension_figures(sample: Sample, seed: int) -> tuple[dict[str, Estimate], Float64Array]:
    """Estimate the intrinsic dimension around the sampled rows.

    Parameters
    ----------
    sample : Sample
        Rows with neighbours.
    seed : int
        Of the bootstrap.

    Returns
    -------
    figures : dict of str to Estimate
        Median and tenth and ninetieth percentile of the local dimension, and the one of two neighbours.
    local : ndarray of shape (m,), float64
        Local dimension of every row; NaN or infinity where it has none.
    """
    local = local_dimension(sample.distances)
    finite = local[np.isfinite(local)]
    figures = {}
    for name, percent in (("local_dimension", 50), ("local_dimension_p10", 10), ("local_dimension_p90", 90)):
        if len(finite) >= 20:
            ends = bootstrap_interval(finite, lambda rows, p=percent: float(np.percentile(rows, p)), seed=seed)  # type: ignore[misc]
            figures[name] = Estimate(float(np.percentile(finite, percent)), *ends, len(finite))
    pairs = sample.distances[:, :2]
    pairs = pairs[pairs[:, 0] > 0]
    if len(pairs) >= 50:
        ends = bootstrap_interval(pairs, two_nn_dimension, seed=seed)
        figures["two_neighbour_dimension"] = Estimate(two_nn_dimension(pairs), *ends, len(pairs))
    return figures, local


def group_figures(groups: list[FloatArray], metric: Metric) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Measure hubs and directions in disjoint groups of rows.

    Parameters
    ----------
    groups : list of ndarray of shape (g, dim), float32
        Two to four groups of equal size, of rows that are not zero.
    metric : {"cosine", "dot", "l2"}
        How neighbours are found within a group.

    Returns
    -------
    figures : dict of str to Estimate
        Skewness of how often a row is a neighbour, share of rows that never are, mean cosine, evenness, effective
        dimension.
    facts : dict
        The size of the groups, which hubness depends on, and how often rows of the first group are neighbours.
    """
    hubs, shapes, counts = [], [], None
    for X in groups:
        index = Flat(X.shape[1], metric)
        index.add(X)
        k = min(_LISTS, len(X) - 1)
        lists, _ = without(index.search(X, k + 1).ids, np.arange(len(X)))
        hubs.append(hubness(lists))
        shapes.append(isotropy(X))
        counts = np.bincount(lists[lists >= 0].ravel(), minlength=len(X)) if counts is None else counts
    size = sum(len(X) for X in groups)
    figures = {
        "hubness_skewness": between_groups([h.skewness for h in hubs], size),
        "never_a_neighbour": between_groups([h.antihubs for h in hubs], size),
        "mean_cosine": between_groups([s.mean_cosine for s in shapes], size),
        "evenness_of_directions": between_groups([s.partition_ratio for s in shapes], size),
        "effective_dimension": between_groups([s.effective_dimension for s in shapes], size),
    }
    facts = {"group_size": len(groups[0]), "groups": len(groups), "largest_hub": max(h.largest for h in hubs)}
    return figures, {**facts, "times_a_neighbour": counts}


def duplicate_figures(cosines: Float64Array) -> tuple[dict[str, Estimate], list[Bin]]:
    """Return how many rows have a near-duplicate.

    Parameters
    ----------
    cosines : ndarray of shape (m,), float64
        Cosine of every sampled row with its most similar other row.

    Returns
    -------
    figures : dict of str to Estimate
        Share of rows with an equal one.
    bins : list of Bin
        Share of rows whose most similar one reaches several cosines; which of them means "duplicate" depends on the
        encoder.
    """
    equal = {"equal_to_another": share(cosines >= 1 - 1e-6)}
    return equal, [Bin(f"cosine of {cosine} or more", share(cosines >= cosine)) for cosine in _COSINES]


def room(dim: int, records: int, effective: float | None) -> dict[str, Any]:
    """Compare the number of records with a published curve of how many documents free vectors could serve.

    Parameters
    ----------
    dim : int
        Dimensions of the space.
    records : int
        Records in it.
    effective : float or None
        Dimensions that hold the variance.

    Returns
    -------
    dict
        The curve at both dimensions, whether it is extrapolated there, and whether the records exceed it.
    """
    found = capacity_bound(dim)
    out: dict[str, Any] = {
        "documents_at_this_dimension": found.documents,
        "extrapolated": found.extrapolated,
        "fitted_on_dimensions": list(FITTED_DIMENSIONS),
        "records_exceed_it": records > found.documents,
    }
    if effective is not None:
        out["documents_at_the_effective_dimension"] = capacity_bound(max(1, round(effective))).documents
    return out
