"""scikit-learn's own checks over our estimators, with what we answer otherwise and why."""

from __future__ import annotations

from functools import cache

import pytest

from orthant.quantization import LVQ, SQ8, ProductQuantizer, ResidualQuantizer
from orthant.transforms import LeanVec, LowRankMap, Procrustes, Reduction, RelativeRepresentation

WORDS = "refused with an InputError, in our words and not in scikit-learn's"
SCORE = "score of a quantizer compares queries with codes and needs a metric; scikit-learn's score judges a model"
EVERYWHERE = {
    "check_complex_data": WORDS,
    "check_estimators_empty_data_messages": WORDS,
    "check_n_features_in_after_fitting": WORDS,
    "check_dtype_object": "arrays of objects are refused everywhere, even when they hold numbers",
}
REDUCTIONS = {
    **EVERYWHERE,
    "check_fit2d_predict1d": WORDS,
    "check_transformer_preserve_dtypes": "results are float32 whatever comes in",
}
QUANTIZERS = {**EVERYWHERE, "check_fit_score_takes_y": SCORE, "check_pipeline_consistency": SCORE}
# MeanShift, DriftCompensator, GapAlignment and ResidualAdapter need both sides of one width, which scikit-learn's
# targets do not have.
# FrechetMeanPredictor, LabelShiftCorrection and LatentLabelShift take probabilities, distances or sources, which it
# does not make; FixedPrototypeClassifier trains with torch.
LABELS = "one label per row is no row of another space; targets are matrices"
MAPS = {**REDUCTIONS, "check_transformer_general": LABELS, "check_transformer_data_not_an_array": LABELS}
CASES = [
    (Reduction(dim=1), REDUCTIONS),
    (Reduction(dim=1, center=False), REDUCTIONS),
    (LeanVec(dim=1), REDUCTIONS),
    (LeanVec(dim=1, metric="l2", center=True), REDUCTIONS),
    (Procrustes(), MAPS),
    (LowRankMap(), MAPS),
    (RelativeRepresentation(center=True), MAPS),
    (SQ8(), QUANTIZERS),
    (LVQ(), QUANTIZERS),
    (ProductQuantizer(m=1, bits=4), QUANTIZERS),
    (ResidualQuantizer(levels=2, bits=4), QUANTIZERS),
]


@cache
def failures(number: int) -> dict[str, Exception]:
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(CASES[number][0], on_fail=None)
    assert len(results) > 30
    return {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: repr(CASES[i][0]))
def test_scikit_learn_accepts(number):
    assert not failures(number).keys() - CASES[number][1].keys(), failures(number)


@pytest.mark.filterwarnings("ignore")
def test_exemptions_are_needed():
    for table in (REDUCTIONS, MAPS, QUANTIZERS):
        numbers = [i for i, case in enumerate(CASES) if case[1] is table]
        assert set(table) == {name for i in numbers for name in failures(i)}
