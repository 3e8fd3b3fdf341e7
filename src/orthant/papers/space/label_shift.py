"""The `label-shift` row of the catalogue: arXiv 2207.13179."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_ALPHA = 0.5
_CONDITION = 8.0
_LEAST = 0.3
_FEWEST = 20
_GROUPS = 30
_STARTS = 5


def _digits(seed: int) -> Trial:
    """Ten digits in twenty sources, by their pixels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return _found((pixels / 16).astype(np.float32), labels, k=10, r=20, seed=seed)


def _newsgroups(seed: int) -> Trial:
    """Eight newsgroups in sixteen sources, by the shipped word table in 64 dimensions."""
    from sklearn.decomposition import PCA

    from orthant.datasets.readers.labelled import newsgroups20
    from orthant.encoders.registry import load_encoder

    rng = np.random.default_rng(seed)
    messages = newsgroups20(duplicates="drop")
    groups = np.sort(rng.choice(len(messages.label_names), 8, replace=False))
    rows = rng.choice(np.flatnonzero(np.isin(messages.labels, groups)), 3_000, replace=False)
    vectors = load_encoder("static").encode([messages.texts[i][:1_500] for i in rows])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    reduced = PCA(64, random_state=0).fit_transform(vectors)
    return _found(
        (reduced / reduced.std()).astype(np.float32),
        np.searchsorted(groups, messages.labels[rows]),
        k=8,
        r=16,
        seed=seed,
    )


def _found(X: Array, y: Array, *, k: int, r: int, seed: int) -> Trial:
    """Accuracy of the classes found, matched to the true ones, on sources drawn with different mixes."""
    from orthant.transforms import LatentLabelShift

    X, y, source = _sources(X, y, k, r, np.random.default_rng(seed))
    model = LatentLabelShift(k, n_clusters=_GROUPS, seed=seed).fit(X, source)
    known = np.zeros((k, int(source.max()) + 1))
    np.add.at(known, (y, source), 1)
    own = _clusters(X, k, seed)
    # The discriminator's values cut into as many groups as there are classes: nothing is factorised.
    groups = _clusters(model.domain_proba_.astype(np.float32), k, seed)
    arms = {
        "k-means on the discriminator's values": groups,
        "a Gaussian mixture with a mix for each source": _mixture(X, source, own, k),
        "the largest class of each source, true mixes known": known.argmax(axis=0)[source],
    }
    figures: Mapping[str, Figures] = {name: {"accuracy": _matched(y, labels, k)} for name, labels in arms.items()}
    report = model.identifiability_report()
    return Trial(
        measured={
            "accuracy": _matched(y, model.labels_, k),
            "condition": report.condition,
            "sources": float(len(known[0])),
        },
        baseline={"accuracy": _matched(y, own, k)},
        alternatives=figures,
        ablated={"accuracy": _matched(y, groups, k)},
    )


def _sources(X: Array, y: Array, k: int, r: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Give every item a source, so that the mixes of the sources are Dirichlet draws that differ in every class."""
    while True:
        mixes = rng.dirichlet(np.full(k, _ALPHA / k), size=r).T
        if mixes.sum(axis=1).min() > _LEAST and np.linalg.cond(mixes) < _CONDITION:
            break
    share = mixes / mixes.sum(axis=1, keepdims=True)
    source = np.array([rng.choice(r, p=share[label]) for label in y])
    kept = np.isin(source, np.flatnonzero(np.bincount(source, minlength=r) >= _FEWEST))
    return X[kept], y[kept], np.unique(source[kept], return_inverse=True)[1]


def _clusters(X: Array, k: int, seed: int) -> Array:
    from orthant.kernels.clustering.kmeans import kmeans

    found = (kmeans(X, k, seed=_STARTS * seed + start, iterations=100) for start in range(_STARTS))
    return min(found, key=lambda one: one.inertia).labels


def _mixture(X: Array, source: Array, first: Array, k: int, steps: int = 60) -> Array:
    """Round Gaussians shared by all sources, with weights of each source's own, from the clusters of k-means."""
    shares = np.eye(k)[first]
    squares = (X.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
    for _ in range(steps):
        counts = shares.sum(axis=0) + 1e-9
        means = shares.T @ X / counts[:, None]
        off = np.maximum(squares - 2 * X @ means.T + (means**2).sum(axis=1), 0.0)
        variance = (shares * off).sum(axis=0) / (counts * X.shape[1]) + 1e-6
        mixes = np.zeros((int(source.max()) + 1, k))
        np.add.at(mixes, source, shares)
        mixes = (mixes + 1e-3) / (mixes + 1e-3).sum(axis=1, keepdims=True)
        logs = np.log(mixes[source]) - off / (2 * variance) - X.shape[1] / 2 * np.log(variance)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
    return shares.argmax(axis=1)


def _matched(truth: Array, found: Array, k: int) -> float:
    """Accuracy under the naming of the found classes that suits them best."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((k, k))
    np.add.at(table, (found, truth), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(truth))


def _claim(name: str, what: str, run: Any, needs: tuple[str, ...]) -> Claim:
    return Claim(
        name=name,
        sentence=(
            f"Share of {what} whose class is found without any label, in sources with drawn mixes: by latent label "
            "shift, by k-means, by a Gaussian mixture with a mix for each source, by the largest class of each source "
            "where true mixes are known, and without the factorisation (ablated)."
        ),
        data="real",
        run=run,
        metric="accuracy",
        margin=0.05,
        ablation="the discriminator's values cut into as many groups as there are classes; no factorisation",
        needs=needs,
    )


PAPER = Paper(
    key="label-shift",
    title="Unsupervised Learning under Latent Label Shift",
    arxiv="2207.13179",
    year=2022,
    wing="space",
    lives_in=("orthant.transforms.label_shift.latent", "orthant.transforms.label_shift.correction"),
    summary=(
        "Finds hidden classes in unlabelled data that comes from several sources: groups of points whose shares rise "
        "and fall together across sources belong together, even if they do not form clusters. Applies when the "
        "mixture differs by shop, month or site while each class looks alike everywhere; needs at least as many "
        "sources as classes. Its place in Orthant: an estimator over any embedding matrix plus a source column, "
        "returning class probabilities and each source's mix."
    ),
    keywords=(
        "unsupervised classification",
        "domain shift",
        "non-negative matrix factorization",
        "topic modelling",
        "class priors",
    ),
    status="shown",
    claims=(
        _claim("classes-of-digits", "handwritten digits", _digits, ()),
        _claim("classes-of-newsgroups", "messages of eight newsgroups", _newsgroups, ("newsgroups20",)),
    ),
)
