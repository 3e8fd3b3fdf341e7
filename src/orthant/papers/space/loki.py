"""The `loki` row of the catalogue: arXiv 2307.12226."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_ANGLES = 24
_SEEN_ANGLES = (6, 8, 12)
_TEMPERATURES = tuple(float(t) for t in np.geomspace(0.1, 4.0, 17))


def _animals(seed: int) -> Trial:
    return _taxonomy(seed, "animal", 60)


def _artifacts(seed: int) -> Trial:
    return _taxonomy(seed, "artifact", 120)


def _taxonomy(seed: int, root: str, least: int) -> Trial:
    """Squared hops from the answer to the truth, for definitions of things whose kind was seen or not."""
    from sklearn.linear_model import LogisticRegression

    X, y, hops, names = _definitions(root, least)
    rng = np.random.default_rng(seed)
    train, held, test = np.split(rng.permutation(len(y)), [len(y) // 2, int(0.65 * len(y))])
    seen = rng.choice(len(names), len(names) // 2, replace=False)
    train, held = (rows[np.isin(y[rows], seen)] for rows in (train, held))
    model = LogisticRegression(max_iter=200, C=10).fit(X[train], y[train])
    told = model.predict_proba(X[held]), model.predict_proba(X[test])
    nearest = (X[test] @ names.T).argmax(axis=1)
    return _trial(told, (y[held], y[test]), model.classes_, hops, {"the kind whose own definition is nearest": nearest})


def _trial(told: Any, truth: Any, seen: Array, D: Array, more: dict[str, Array]) -> Trial:
    """All arms from the same probabilities, each with a temperature chosen on the same held-out items."""
    from orthant.transforms import FrechetMeanPredictor

    def wrapped(exponent: int) -> Array:
        model = FrechetMeanPredictor(distances=D, observed=seen.tolist(), temperature=None, exponent=exponent)
        return model.fit(told[0], truth[0]).predict(told[1])

    def restricted(P: Array, temperature: float) -> Array:
        powers = P ** (1 / temperature)
        return seen[(powers / powers.sum(axis=1, keepdims=True) @ D[np.ix_(seen, seen)] ** 2).argmin(axis=1)]

    best = min(_TEMPERATURES, key=lambda t: (D[truth[0], restricted(told[0], t)] ** 2).mean())
    arms = {
        "measured": wrapped(2),
        "baseline": seen[told[1].argmax(axis=1)],
        "ablated": restricted(told[1], best),
        "the median instead of the mean": wrapped(1),
        **more,
    }
    new = ~np.isin(truth[1], seen)
    figures: dict[str, Figures] = {
        name: {
            "squared_distance": float((D[truth[1], labels] ** 2).mean()),
            "accuracy": float((labels == truth[1]).mean()),
            "accuracy_of_unseen": float((labels == truth[1])[new].mean()),
        }
        for name, labels in arms.items()
    }
    ours, base, twin = (figures.pop(name) for name in ("measured", "baseline", "ablated"))
    return Trial(measured=ours, baseline=base, ablated=twin, alternatives=figures)


@cache
def _definitions(root: str, least: int) -> tuple[Array, Array, Array, Array]:
    """Definitions below a noun as vectors, the smallest kind each belongs to, hops between kinds, and their vectors."""
    from orthant.datasets.readers.words import wordnet
    from orthant.encoders.registry import load_encoder
    from orthant.transforms import graph_label_distances

    net = wordnet()
    kind = net.relations.index("hypernym")
    parent: dict[int, int] = {}
    for source, relation, target in net.edges.tolist():
        if relation == kind and net.synsets[source].pos == "n":
            parent.setdefault(source, target)
    below: dict[int, list[int]] = {}
    for child, above in parent.items():
        below.setdefault(above, []).append(child)
    top = next(i for i, one in enumerate(net.synsets) if one.members[0] == root and one.lexfile == "noun.Tops")
    order, met = [top], {top}
    for one in order:
        fresh = [child for child in below.get(one, ()) if child not in met]
        met.update(fresh)
        order.extend(fresh)
    size = dict.fromkeys(order, 1)
    for one in reversed(order[1:]):
        size[parent[one]] += size[one]
    labels = [one for one in order if size[one] >= least]
    number = {one: i for i, one in enumerate(labels)}
    place = {top: 0}
    for one in order[1:]:
        place[one] = number[one] if one in number else place[parent[one]]
    edges = np.array([(number[one], number[parent[one]]) for one in labels[1:]])
    encoder = load_encoder("static")
    vectors = encoder.encode([net.synsets[one].definition for one in order])
    known = vectors.any(axis=1)
    vectors = vectors[known] / np.linalg.norm(vectors[known], axis=1, keepdims=True)
    names = encoder.encode([f"{net.synsets[one].members[0]}: {net.synsets[one].definition}" for one in labels])
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    return vectors, np.array([place[one] for one in order])[known], graph_label_distances(edges, len(labels)), names


def _turned(seed: int) -> Trial:
    """Squared steps on a ring of 24 angles for turned digits, over classifiers that saw 6, 8 or 12 of them."""
    from sklearn.linear_model import LogisticRegression

    from orthant.transforms import ring_label_distances

    X, y, digit = _turned_digits(seed)
    D = ring_label_distances(_ANGLES)
    rng = np.random.default_rng(seed)
    part = rng.random(int(digit.max()) + 1)[digit]
    trials = []
    for count in _SEEN_ANGLES:
        seen = np.arange(0, _ANGLES, _ANGLES // count)
        own = np.isin(y, seen)
        model = LogisticRegression(max_iter=60).fit(X[own & (part < 0.5)], y[own & (part < 0.5)])
        held, test = own & (part >= 0.5) & (part < 0.6), part >= 0.6
        told = model.predict_proba(X[held]), model.predict_proba(X[test])
        trials.append(_trial(told, (y[held], y[test]), seen, D, {}))

    def mean(arms: list[Any]) -> Figures:
        return {name: float(np.mean([one[name] for one in arms])) for name in arms[0]}

    return Trial(
        measured=mean([one.measured for one in trials]),
        baseline=mean([one.baseline for one in trials]),
        ablated=mean([one.ablated for one in trials]),
        alternatives={name: mean([one.alternatives[name] for one in trials]) for name in trials[0].alternatives},
    )


def _turned_digits(seed: int) -> tuple[Array, Array, Array]:
    """Sevens, fours and twos, enlarged twice, at 24 angles; the image that each is of."""
    from scipy.ndimage import rotate, zoom
    from sklearn.datasets import load_digits

    found = load_digits()
    images = found.images[np.isin(found.target, (2, 4, 7))]
    images = images[np.random.default_rng(seed).permutation(len(images))[:240]] / 16
    large = zoom(images, (1, 2, 2), order=1)
    X = np.concatenate(
        [rotate(large, 360 * step / _ANGLES, axes=(2, 1), reshape=False, order=1) for step in range(_ANGLES)]
    )
    y = np.repeat(np.arange(_ANGLES), len(images))
    return X.reshape(len(X), -1).astype(np.float32), y, np.tile(np.arange(len(images)), _ANGLES)


def _claim(name: str, what: str, run: Any, needs: tuple[str, ...]) -> Claim:
    return Claim(
        name=name,
        sentence=(
            f"Mean squared distance between answer and truth {what}: the label of least expected squared distance "
            "among all, the most probable one, the least expected squared distance among labels that were seen "
            "(ablated), and the median."
        ),
        data="real",
        run=run,
        metric="squared_distance",
        direction="lower",
        margin=0.1,
        ablation="only labels that were seen may be answered",
        needs=needs,
    )


PAPER = Paper(
    key="loki",
    title="Geometry-Aware Adaptation for Pretrained Models",
    arxiv="2307.12226",
    year=2023,
    wing="space",
    lives_in=("orthant.transforms.geometry.predictor", "orthant.transforms.geometry.locus"),
    summary=(
        "Lets a classifier answer with classes it never saw: given distances between labels, from a taxonomy for "
        "instance, it returns the label with the least expected squared distance under the predicted probabilities. "
        "Costs one matrix product and no training; pays off when the label distances are meaningful and "
        "probabilities are calibrated. Its place in Orthant: a predictor to wrap around any `predict_proba`, "
        "including neighbour votes over a taxonomy."
    ),
    keywords=(
        "Fréchet mean",
        "label hierarchy",
        "zero-shot classification",
        "taxonomy",
        "calibration",
        "unseen classes",
    ),
    status="works",
    claims=(
        _claim("wordnet-animals", "for definitions of animals, half of 53 kinds seen", _animals, ("wordnet",)),
        _claim("wordnet-artifacts", "for definitions of artifacts, half of 47 kinds seen", _artifacts, ("wordnet",)),
        Claim(
            name="turned-digits",
            sentence=(
                "Mean squared steps between answer and truth for digits at 24 angles of which 6, 8 or 12 were seen, "
                "by the same arms."
            ),
            data="generated",
            run=_turned,
            metric="squared_distance",
            direction="lower",
        ),
    ),
)
