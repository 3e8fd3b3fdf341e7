"""The `relative` row of the catalogue: arXiv 2209.15430."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_WIDTHS = (64, 64, 64, 32)
_TRAIN = 1_200
_ANCHORS = 100


def _stitching(seed: int) -> Trial:
    """Accuracy of a head trained on one encoder of digits and fed by another, over all twelve ordered pairs."""
    from orthant.transforms import LowRankMap, Procrustes, RelativeRepresentation

    spaces, labels, train, test = _digit_encoders(seed)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    heads = [_head(space[train], labels[train]) for space in spaces]

    def note(name: str, head: Any, rows: Array) -> None:
        found.setdefault(name, []).append(float(head.score(rows, labels[test])))

    for i, home in enumerate(spaces):
        for j, other in enumerate(spaces):
            if i == j:
                continue
            rows = rng.choice(train, _ANCHORS, replace=False)
            for name, seen in (("measured", rows), ("ablated", rng.permutation(rows))):
                # The twin's anchors are as many, but not the same items in the same order.
                shared = RelativeRepresentation(anchors=_ANCHORS, center=True).fit(home[rows], other[seen])
                head = _head(shared.transform(home[train]), labels[train])
                note(name, head, shared.transform_target(other[test]))
            width = min(home.shape[1], other.shape[1])
            cut = _head(home[train][:, :width], labels[train])
            note("baseline", cut, other[test][:, :width])
            note("same encoder", heads[i], home[test])
            maps: dict[str, Any] = {"Procrustes": Procrustes(), "regression": LowRankMap()}
            for name, fitted in maps.items():
                note(name, heads[i], fitted.fit(other[rows], home[rows]).transform(other[test]))
    figures: dict[str, Figures] = {
        name: {"accuracy": float(np.mean(values)), "worst_pair": min(values)} for name, values in found.items()
    }
    ceiling = figures.pop("same encoder")["accuracy"]
    measured = {**figures.pop("measured"), "same_encoder": ceiling}
    return Trial(
        measured=measured,
        baseline=figures.pop("baseline"),
        ablated=figures.pop("ablated"),
        alternatives={f"{name} from the same anchors": value for name, value in figures.items()},
    )


def _head(rows: Array, labels: Array) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500).fit(rows, labels)


def _digit_encoders(seed: int) -> tuple[list[Array], Array, Array, Array]:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels / 16
    order = np.random.default_rng(seed).permutation(len(pixels))
    train, test = order[:_TRAIN], order[_TRAIN:]
    spaces = []
    for number, width in enumerate(_WIDTHS):
        network = MLPClassifier((width,), activation="tanh", random_state=10 * seed + number, max_iter=60)
        network.fit(pixels[train], labels[train])
        spaces.append(np.tanh(pixels @ network.coefs_[0] + network.intercepts_[0]).astype(np.float32))
    return spaces, labels, train, test


PAPER = Paper(
    key="relative",
    title="Relative representations enable zero-shot latent space communication",
    arxiv="2209.15430",
    year=2022,
    wing="space",
    lives_in=("orthant.transforms.alignment.relative",),
    summary=(
        "Describes each item by its cosines to a chosen set of anchor items; since rotations and rescalings leave "
        "angles alone, two encoders that see the same anchors produce comparable coordinates. Lets a classifier or "
        "an index built with one encoder serve another without training, provided the anchors can be encoded by "
        "both; distances get coarser, so check quality first. Its place in Orthant: a transform with several ways to "
        "choose anchors, and a bridge in `upgrade`."
    ),
    keywords=("anchors", "model stitching", "latent space alignment", "cosine similarity", "zero-shot"),
    status="works",
    claims=(
        Claim(
            name="stitching-digits",
            sentence=(
                "Accuracy on held-out handwritten digits of a linear head trained on one of four small networks and "
                "fed by another, twelve pairs: by cosines to 100 shared anchors, with anchors that do not correspond "
                "(ablated), with vectors as they are, and with maps fitted on the same 100 anchors."
            ),
            data="real",
            run=_stitching,
            metric="accuracy",
        ),
    ),
)
