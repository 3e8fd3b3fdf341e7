"""Figures computed from arrays: ranking metrics, significance tests, the shape of spaces, compatibility of models.

Rankings, judgements and score arrays enter; numbers leave.
Never encodes, searches or reads a collection.
Start with `ranking`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AspectFigure": "aspects",
    "Capacity": "capacity",
    "Comparison": "significance",
    "DriftStatistics": "compatibility",
    "GainRecovered": "compatibility",
    "Hubness": "shape",
    "Isotropy": "shape",
    "LabelSets": "aspects",
    "RankingScores": "ranking",
    "SignificanceReport": "significance",
    "average_compatibility": "compatibility",
    "average_multimodel_accuracy": "compatibility",
    "average_precision": "ranking",
    "bootstrap_interval": "intervals",
    "bpref": "ranking",
    "capacity_bound": "capacity",
    "check_metric_name": "ranking",
    "compare_arms": "significance",
    "counterpart_ranks": "compatibility",
    "cross_test": "compatibility",
    "drift_statistics": "compatibility",
    "effect_size": "significance",
    "gain_recovered": "compatibility",
    "holm": "significance",
    "hubness": "shape",
    "inequality_rates": "compatibility",
    "isotropy": "shape",
    "judge_aspects": "aspects",
    "kendall": "correlation",
    "label_sets": "aspects",
    "local_dimension": "intrinsic",
    "ndcg": "ranking",
    "paired_bootstrap": "significance",
    "paired_randomisation": "significance",
    "pearson": "correlation",
    "precision": "ranking",
    "recall": "ranking",
    "recall_at_k": "neighbours",
    "recall_per_query": "neighbours",
    "reciprocal_rank": "ranking",
    "run_from_arrays": "runs",
    "score_run": "ranking",
    "spearman": "correlation",
    "success": "ranking",
    "two_nn_dimension": "intrinsic",
    "wilson_interval": "intervals",
}

__all__ = [
    "AspectFigure",
    "Capacity",
    "Comparison",
    "DriftStatistics",
    "GainRecovered",
    "Hubness",
    "Isotropy",
    "LabelSets",
    "RankingScores",
    "SignificanceReport",
    "average_compatibility",
    "average_multimodel_accuracy",
    "average_precision",
    "bootstrap_interval",
    "bpref",
    "capacity_bound",
    "check_metric_name",
    "compare_arms",
    "counterpart_ranks",
    "cross_test",
    "drift_statistics",
    "effect_size",
    "gain_recovered",
    "holm",
    "hubness",
    "inequality_rates",
    "isotropy",
    "judge_aspects",
    "kendall",
    "label_sets",
    "local_dimension",
    "ndcg",
    "paired_bootstrap",
    "paired_randomisation",
    "pearson",
    "precision",
    "recall",
    "recall_at_k",
    "recall_per_query",
    "reciprocal_rank",
    "run_from_arrays",
    "score_run",
    "spearman",
    "success",
    "two_nn_dimension",
    "wilson_interval",
]

if TYPE_CHECKING:
    from orthant.measures.aspects import AspectFigure, LabelSets, judge_aspects, label_sets
    from orthant.measures.capacity import Capacity, capacity_bound
    from orthant.measures.compatibility import (
        DriftStatistics,
        GainRecovered,
        average_compatibility,
        average_multimodel_accuracy,
        counterpart_ranks,
        cross_test,
        drift_statistics,
        gain_recovered,
        inequality_rates,
    )
    from orthant.measures.correlation import kendall, pearson, spearman
    from orthant.measures.intervals import bootstrap_interval, wilson_interval
    from orthant.measures.intrinsic import local_dimension, two_nn_dimension
    from orthant.measures.neighbours import recall_at_k, recall_per_query
    from orthant.measures.ranking import (
        RankingScores,
        average_precision,
        bpref,
        check_metric_name,
        ndcg,
        precision,
        recall,
        reciprocal_rank,
        score_run,
        success,
    )
    from orthant.measures.runs import run_from_arrays
    from orthant.measures.shape import Hubness, Isotropy, hubness, isotropy
    from orthant.measures.significance import (
        Comparison,
        SignificanceReport,
        compare_arms,
        effect_size,
        holm,
        paired_bootstrap,
        paired_randomisation,
    )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
