"""The `gap-alignment` row of the catalogue: arXiv 2406.02601."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_PAIRS = 2_000


def _mixed_index(name: str, seed: int) -> Trial:
    """Mean reciprocal rank of a question's own code among all code and all other questions, on held-out pairs."""
    from orthant.transforms import GapAlignment, LowRankMap, MeanShift, Procrustes

    code, asked = _pairs(name, seed)
    half = len(code) // 2
    train, judged = (code[:half], asked[:half]), (code[half:], asked[half:])

    def aligned(strength: float | None) -> Figures:
        gap = GapAlignment(strength=strength).fit(*train)
        moved = gap.transform(judged[0]), gap.transform_target(judged[1])
        distance = float(np.linalg.norm(moved[0].mean(axis=0) - moved[1].mean(axis=0)))
        return {**_found(*moved), "distance_of_means": distance, "strength": gap.strength_}

    centred = [MeanShift(unit="both").fit(side) for side in train]
    maps: list[Any] = [Procrustes(), LowRankMap()]
    mapped = [_found(judged[0], fitted.fit(train[1], train[0]).transform(judged[1])) for fitted in maps]
    return Trial(
        measured=aligned(None),
        baseline=aligned(0.0),
        ablated=aligned(-1.0),
        alternatives={
            "each kind about its own mean": _found(
                *(m.transform(side) for m, side in zip(centred, judged, strict=True))
            ),
            "Procrustes from the same pairs": mapped[0],
            "regression from the same pairs": mapped[1],
        },
    )


def _found(code: Array, asked: Array) -> Figures:
    from orthant.measures import counterpart_ranks

    return {
        "mrr": float((1 / counterpart_ranks(asked, code, mixed=True)).mean()),
        "mrr_of_one_kind": float((1 / counterpart_ranks(asked, code)).mean()),
    }


def _pairs(name: str, seed: int) -> tuple[Array, Array]:
    """Code and questions by the shipped table, at length 1, one pair for each piece of code."""
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    judged: Any = load(name)
    content = {document.id: document.content for document in judged.corpus}
    best = {max(grades, key=grades.get): query for query, grades in judged.qrels.items() if grades}
    chosen = np.random.default_rng(seed).permutation(len(best))[:_PAIRS]
    pairs = [list(best.items())[i] for i in chosen]
    encoder = load_encoder("static")
    code = encoder.encode([content[document] for document, _ in pairs])
    asked = encoder.encode([judged.queries[query] for _, query in pairs], role="query")
    known = code.any(axis=1) & asked.any(axis=1)
    return code[known], asked[known]


def _cosqa(seed: int) -> Trial:
    return _mixed_index("cosqa", seed)


def _nl2code(seed: int) -> Trial:
    return _mixed_index("nl2code", seed)


def _claim(name: str, words: str, run: Any) -> Claim:
    return Claim(
        name=f"mixed-index-{name}",
        sentence=(
            f"Mean reciprocal rank at which {words} find their own code in an index of code and other questions, on "
            "held-out pairs by the shipped word table: the gap closed as far as suits the training pairs, left as it "
            "is, widened, each kind about its own mean, and maps from the same pairs."
        ),
        data="real",
        run=run,
        metric="mrr",
        needs=(name,),
        trained=False,
        fresh_seeds=(101, 102, 103),
    )


PAPER = Paper(
    key="gap-alignment",
    title=(
        "Multimodal Deep Learning for Low-Resource Settings: A Vector Embedding Alignment Approach for Healthcare "
        "Applications"
    ),
    arxiv="2406.02601",
    year=2024,
    wing="space",
    lives_in=("orthant.transforms.alignment.gap", "orthant.transforms.alignment.mean_shift"),
    summary=(
        "Moves image vectors and text vectors of a joint model towards each other along the line between their two "
        "means, by a chosen fraction, before small heads combine them. A cheap first step for teams with stored "
        "vectors and only processors, when the two kinds of input occupy separate regions; measure it, since closing "
        "that distance does not always help. Its place in Orthant: the modality-gap aligner among the alignment "
        "transforms, fitted on training rows only."
    ),
    keywords=("modality gap", "image-text alignment", "healthcare", "CPU", "fusion", "mean shift"),
    status="works",
    claims=(_claim("cosqa", "web queries", _cosqa), _claim("nl2code", "descriptions", _nl2code)),
)
