"""Training with torch: makes better encoders, transforms, quantizers and tables.

Rows, texts or vectors enter; artefacts in safetensors and JSON, or sentence-transformers folders, leave.
Never needed to serve what it made: that runs on NumPy, Numba or onnxruntime.
Start with `training`: a `Curriculum` of `Stage`s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES: dict[str, str] = {
    "Alignment": "orthant.learn.losses.regularisers.spread",
    "AnglELoss": "orthant.learn.losses.metric.graded",
    "ArcFaceLoss": "orthant.learn.losses.metric.proxies",
    "BM25Scorer": "orthant.learn.mining.scorers",
    "BalancedMix": "orthant.learn.samplers.mixtures",
    "BinomialDevianceLoss": "orthant.learn.losses.metric.pairs",
    "Brownian": "orthant.learn.losses.regularisers.dispersion",
    "ByLabel": "orthant.learn.samplers.labels",
    "Callback": "orthant.learn.training.callbacks",
    "CircleLoss": "orthant.learn.losses.metric.pairs",
    "CoSENTLoss": "orthant.learn.losses.metric.graded",
    "CompatibilityReport": "orthant.learn.continual.generations",
    "ContinualTrainer": "orthant.learn.continual.trainer",
    "ContrastiveLoss": "orthant.learn.losses.contrastive",
    "ContrastiveSettings": "orthant.learn.losses.settings",
    "CopyFilter": "orthant.learn.synthesis.filters",
    "CosFaceLoss": "orthant.learn.losses.metric.proxies",
    "Curriculum": "orthant.learn.training.curriculum",
    "DenseScorer": "orthant.learn.mining.scorers",
    "DistanceWeightedMiner": "orthant.learn.losses.metric.mining",
    "DistillationLoss": "orthant.learn.losses.distillation",
    "EMATeacher": "orthant.learn.training.ema",
    "EmbeddingDistillation": "orthant.learn.losses.distillation",
    "EnergyConfusion": "orthant.learn.losses.regularisers.confusion",
    "EntropyCost": "orthant.learn.losses.regularisers.weights",
    "ExportReport": "orthant.learn.export.report",
    "FixedPrototypeClassifier": "orthant.learn.continual.classifier",
    "FusedTeacher": "orthant.learn.mining.scorers",
    "Generated": "orthant.learn.synthesis.generator",
    "Generation": "orthant.learn.continual.generations",
    "GenerationCost": "orthant.learn.synthesis.endpoint",
    "GenerationError": "orthant.learn.synthesis.generator",
    "GlyphWords": "orthant.learn.text.glyphs",
    "GradCache": "orthant.learn.gradcache",
    "GradientConflict": "orthant.learn.analysis.conflict",
    "GradientStatistics": "orthant.learn.analysis.gradients",
    "HARD_NEGATIVES": "orthant.learn.synthesis.prompts",
    "HardMiner": "orthant.learn.losses.metric.mining",
    "HigherOrderCompatibilityLoss": "orthant.learn.losses.compatibility",
    "History": "orthant.learn.training.history",
    "HuggingFaceLocal": "orthant.learn.synthesis.local_model",
    "InContextPrompt": "orthant.learn.conversion.templates",
    "InitialDistance": "orthant.learn.losses.regularisers.weights",
    "InstructionTemplate": "orthant.learn.conversion.templates",
    "Interleaved": "orthant.learn.samplers.tasks",
    "KoLeo": "orthant.learn.losses.regularisers.spread",
    "LearnedMerge": "orthant.learn.merging.functional",
    "LengthFilter": "orthant.learn.synthesis.filters",
    "LiftedStructureLoss": "orthant.learn.losses.metric.pairs",
    "LoRA": "orthant.learn.training.lora",
    "LocalityCentric": "orthant.learn.samplers.locality",
    "LossOutput": "orthant.learn.losses.protocol",
    "MarginContrastiveLoss": "orthant.learn.losses.metric.pairs",
    "MarginMiner": "orthant.learn.losses.metric.mining",
    "MaxSimContrastiveLoss": "orthant.learn.losses.late_interaction",
    "MetricLoss": "orthant.learn.losses.metric.interface",
    "MetricObjective": "orthant.learn.losses.metric.objective",
    "MinedNegatives": "orthant.learn.mining.mined",
    "MiningReport": "orthant.learn.mining.mined",
    "MiningRules": "orthant.learn.mining.rules",
    "Mixture": "orthant.learn.samplers.protocol",
    "MultiSimilarityLoss": "orthant.learn.losses.metric.pairs",
    "MultiSimilarityMiner": "orthant.learn.losses.metric.mining",
    "NPairLoss": "orthant.learn.losses.metric.triplets",
    "NoDuplicates": "orthant.learn.samplers.duplicates",
    "NormFaceLoss": "orthant.learn.losses.metric.proxies",
    "OpenAICompatible": "orthant.learn.synthesis.endpoint",
    "Orthogonality": "orthant.learn.losses.regularisers.weights",
    "PARAPHRASES": "orthant.learn.synthesis.prompts",
    "PairTable": "orthant.learn.conversion.tables",
    "Pairs": "orthant.learn.losses.metric.tuples",
    "Proportional": "orthant.learn.samplers.mixtures",
    "ProxyAnchorLoss": "orthant.learn.losses.metric.proxies",
    "ProxyNCALoss": "orthant.learn.losses.metric.proxies",
    "PxK": "orthant.learn.samplers.labels",
    "QUERIES": "orthant.learn.synthesis.prompts",
    "Reason": "orthant.learn.mining.rules",
    "Regulariser": "orthant.learn.losses.regularisers.interface",
    "RehearsalMemory": "orthant.learn.continual.memory",
    "RetrievalCommittee": "orthant.learn.synthesis.committee",
    "RoundRobin": "orthant.learn.samplers.mixtures",
    "RoundTripFilter": "orthant.learn.synthesis.filters",
    "RowNorm": "orthant.learn.losses.regularisers.weights",
    "RuleBased": "orthant.learn.synthesis.rule_based",
    "Sampler": "orthant.learn.samplers.protocol",
    "SemiHomogeneous": "orthant.learn.samplers.tasks",
    "Sequential": "orthant.learn.samplers.rows",
    "Shuffled": "orthant.learn.samplers.rows",
    "SimilarityFilter": "orthant.learn.synthesis.filters",
    "SingularValue": "orthant.learn.losses.regularisers.dispersion",
    "SpreadOut": "orthant.learn.losses.regularisers.spread",
    "Stage": "orthant.learn.training.stage",
    "Synthesis": "orthant.learn.synthesis.pipeline",
    "SynthesisFilter": "orthant.learn.synthesis.filters",
    "SynthesisInterrupted": "orthant.learn.synthesis.pipeline",
    "SynthesisTemplate": "orthant.learn.synthesis.prompts",
    "THOUGHTS": "orthant.learn.synthesis.prompts",
    "TaskVector": "orthant.learn.merging.task_vectors",
    "TextContrastiveLoss": "orthant.learn.losses.text",
    "TextDistillationLoss": "orthant.learn.losses.text",
    "TextGenerator": "orthant.learn.synthesis.generator",
    "TextMaxSimLoss": "orthant.learn.losses.text",
    "TextMetricLoss": "orthant.learn.losses.metric.objective",
    "TorchLoop": "orthant.learn.training.loop",
    "TrainingRun": "orthant.learn.training.run",
    "TripletLoss": "orthant.learn.losses.metric.triplets",
    "Triplets": "orthant.learn.losses.metric.tuples",
    "Uniformity": "orthant.learn.losses.regularisers.spread",
    "Validation": "orthant.learn.training.validation",
    "VarianceCovariance": "orthant.learn.losses.regularisers.dispersion",
    "WeightDifference": "orthant.learn.analysis.weights",
    "WithRegularisers": "orthant.learn.losses.regularisers.interface",
    "apply_decor": "orthant.learn.generative.decor",
    "check_leakage": "orthant.learn.conversion.splitting",
    "collect_gradients": "orthant.learn.analysis.gradients",
    "count_batches": "orthant.learn.samplers.protocol",
    "count_mixed_batches": "orthant.learn.samplers.protocol",
    "deduplicate": "orthant.learn.conversion.splitting",
    "distill_vq": "orthant.learn.distillation.vq",
    "export_encoder": "orthant.learn.export.encoder",
    "export_network": "orthant.learn.export.networks",
    "find_leaks": "orthant.learn.conversion.splitting",
    "fisher_diagonal": "orthant.learn.analysis.gradients",
    "fuse_scores": "orthant.learn.mining.scorers",
    "graded_from_nli": "orthant.learn.conversion.labelled",
    "graded_pairs": "orthant.learn.conversion.pairs",
    "gradient_conflict": "orthant.learn.analysis.conflict",
    "greedy_soup": "orthant.learn.merging.merge",
    "linear_cka": "orthant.learn.analysis.representations",
    "maxsim_scores": "orthant.learn.losses.late_interaction",
    "medquad_pairs": "orthant.learn.conversion.builders",
    "merge_models": "orthant.learn.merging.merge",
    "merged_state": "orthant.learn.merging.merge",
    "mine_negatives": "orthant.learn.mining.negatives",
    "pairs_from_classes": "orthant.learn.conversion.labelled",
    "pairs_from_definitions": "orthant.learn.conversion.pairs",
    "pairs_from_headings": "orthant.learn.conversion.records",
    "pairs_from_labels": "orthant.learn.conversion.labelled",
    "pairs_from_nli": "orthant.learn.conversion.labelled",
    "pairs_from_records": "orthant.learn.conversion.records",
    "pairs_from_retrieval": "orthant.learn.conversion.pairs",
    "pairs_from_scores": "orthant.learn.conversion.pairs",
    "pairs_from_triplets": "orthant.learn.conversion.pairs",
    "papers_pairs": "orthant.learn.conversion.builders",
    "prune_folder": "orthant.learn.pruning.folders",
    "pydocs_pairs": "orthant.learn.conversion.builders",
    "read_tables": "orthant.learn.conversion.tables",
    "shard": "orthant.learn.samplers.protocol",
    "soft_labels": "orthant.learn.mining.soft_labels",
    "split_by_group": "orthant.learn.conversion.splitting",
    "structured_masks": "orthant.learn.pruning.masks",
    "synthesize": "orthant.learn.synthesis.pipeline",
    "teacher_distribution": "orthant.learn.mining.soft_labels",
    "train_aspect_encoder": "orthant.learn.text.aspects.encoder",
    "train_aspect_heads": "orthant.learn.text.aspects.heads",
    "train_concepts": "orthant.learn.text.explicit.training",
    "train_picture_text": "orthant.learn.multimodal.picture_text",
    "train_recurrent_binary": "orthant.learn.distillation.binary",
    "train_word_reading": "orthant.learn.text.glyphs",
    "unstructured_masks": "orthant.learn.pruning.masks",
    "weight_difference": "orthant.learn.analysis.weights",
    "write_tables": "orthant.learn.conversion.tables",
}

__all__ = [
    "Alignment",
    "AnglELoss",
    "ArcFaceLoss",
    "BM25Scorer",
    "BalancedMix",
    "BinomialDevianceLoss",
    "Brownian",
    "ByLabel",
    "Callback",
    "CircleLoss",
    "CoSENTLoss",
    "CompatibilityReport",
    "ContinualTrainer",
    "ContrastiveLoss",
    "ContrastiveSettings",
    "CopyFilter",
    "CosFaceLoss",
    "Curriculum",
    "DenseScorer",
    "DistanceWeightedMiner",
    "DistillationLoss",
    "EMATeacher",
    "EmbeddingDistillation",
    "EnergyConfusion",
    "EntropyCost",
    "ExportReport",
    "FixedPrototypeClassifier",
    "FusedTeacher",
    "Generated",
    "Generation",
    "GenerationCost",
    "GenerationError",
    "GlyphWords",
    "GradCache",
    "GradientConflict",
    "GradientStatistics",
    "HARD_NEGATIVES",
    "HardMiner",
    "HigherOrderCompatibilityLoss",
    "History",
    "HuggingFaceLocal",
    "InContextPrompt",
    "InitialDistance",
    "InstructionTemplate",
    "Interleaved",
    "KoLeo",
    "LearnedMerge",
    "LengthFilter",
    "LiftedStructureLoss",
    "LoRA",
    "LocalityCentric",
    "LossOutput",
    "MarginContrastiveLoss",
    "MarginMiner",
    "MaxSimContrastiveLoss",
    "MetricLoss",
    "MetricObjective",
    "MinedNegatives",
    "MiningReport",
    "MiningRules",
    "Mixture",
    "MultiSimilarityLoss",
    "MultiSimilarityMiner",
    "NPairLoss",
    "NoDuplicates",
    "NormFaceLoss",
    "OpenAICompatible",
    "Orthogonality",
    "PARAPHRASES",
    "PairTable",
    "Pairs",
    "Proportional",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "PxK",
    "QUERIES",
    "Reason",
    "Regulariser",
    "RehearsalMemory",
    "RetrievalCommittee",
    "RoundRobin",
    "RoundTripFilter",
    "RowNorm",
    "RuleBased",
    "Sampler",
    "SemiHomogeneous",
    "Sequential",
    "Shuffled",
    "SimilarityFilter",
    "SingularValue",
    "SpreadOut",
    "Stage",
    "Synthesis",
    "SynthesisFilter",
    "SynthesisInterrupted",
    "SynthesisTemplate",
    "THOUGHTS",
    "TaskVector",
    "TextContrastiveLoss",
    "TextDistillationLoss",
    "TextGenerator",
    "TextMaxSimLoss",
    "TextMetricLoss",
    "TorchLoop",
    "TrainingRun",
    "TripletLoss",
    "Triplets",
    "Uniformity",
    "Validation",
    "VarianceCovariance",
    "WeightDifference",
    "WithRegularisers",
    "apply_decor",
    "check_leakage",
    "collect_gradients",
    "count_batches",
    "count_mixed_batches",
    "deduplicate",
    "distill_vq",
    "export_encoder",
    "export_network",
    "find_leaks",
    "fisher_diagonal",
    "fuse_scores",
    "graded_from_nli",
    "graded_pairs",
    "gradient_conflict",
    "greedy_soup",
    "linear_cka",
    "maxsim_scores",
    "medquad_pairs",
    "merge_models",
    "merged_state",
    "mine_negatives",
    "pairs_from_classes",
    "pairs_from_definitions",
    "pairs_from_headings",
    "pairs_from_labels",
    "pairs_from_nli",
    "pairs_from_records",
    "pairs_from_retrieval",
    "pairs_from_scores",
    "pairs_from_triplets",
    "papers_pairs",
    "prune_folder",
    "pydocs_pairs",
    "read_tables",
    "shard",
    "soft_labels",
    "split_by_group",
    "structured_masks",
    "synthesize",
    "teacher_distribution",
    "train_aspect_encoder",
    "train_aspect_heads",
    "train_concepts",
    "train_picture_text",
    "train_recurrent_binary",
    "train_word_reading",
    "unstructured_masks",
    "weight_difference",
    "write_tables",
]

if TYPE_CHECKING:
    from orthant.learn.analysis.conflict import GradientConflict, gradient_conflict
    from orthant.learn.analysis.gradients import GradientStatistics, collect_gradients, fisher_diagonal
    from orthant.learn.analysis.representations import linear_cka
    from orthant.learn.analysis.weights import WeightDifference, weight_difference
    from orthant.learn.continual.classifier import FixedPrototypeClassifier
    from orthant.learn.continual.generations import CompatibilityReport, Generation
    from orthant.learn.continual.memory import RehearsalMemory
    from orthant.learn.continual.trainer import ContinualTrainer
    from orthant.learn.conversion.builders import medquad_pairs, papers_pairs, pydocs_pairs
    from orthant.learn.conversion.labelled import graded_from_nli, pairs_from_classes, pairs_from_labels, pairs_from_nli
    from orthant.learn.conversion.pairs import (
        graded_pairs,
        pairs_from_definitions,
        pairs_from_retrieval,
        pairs_from_scores,
        pairs_from_triplets,
    )
    from orthant.learn.conversion.records import pairs_from_headings, pairs_from_records
    from orthant.learn.conversion.splitting import check_leakage, deduplicate, find_leaks, split_by_group
    from orthant.learn.conversion.tables import PairTable, read_tables, write_tables
    from orthant.learn.conversion.templates import InContextPrompt, InstructionTemplate
    from orthant.learn.distillation.binary import train_recurrent_binary
    from orthant.learn.distillation.vq import distill_vq
    from orthant.learn.export.encoder import export_encoder
    from orthant.learn.export.networks import export_network
    from orthant.learn.export.report import ExportReport
    from orthant.learn.generative.decor import apply_decor
    from orthant.learn.gradcache import GradCache
    from orthant.learn.losses.compatibility import HigherOrderCompatibilityLoss
    from orthant.learn.losses.contrastive import ContrastiveLoss
    from orthant.learn.losses.distillation import DistillationLoss, EmbeddingDistillation
    from orthant.learn.losses.late_interaction import MaxSimContrastiveLoss, maxsim_scores
    from orthant.learn.losses.metric.graded import AnglELoss, CoSENTLoss
    from orthant.learn.losses.metric.interface import MetricLoss
    from orthant.learn.losses.metric.mining import DistanceWeightedMiner, HardMiner, MarginMiner, MultiSimilarityMiner
    from orthant.learn.losses.metric.objective import MetricObjective, TextMetricLoss
    from orthant.learn.losses.metric.pairs import (
        BinomialDevianceLoss,
        CircleLoss,
        LiftedStructureLoss,
        MarginContrastiveLoss,
        MultiSimilarityLoss,
    )
    from orthant.learn.losses.metric.proxies import (
        ArcFaceLoss,
        CosFaceLoss,
        NormFaceLoss,
        ProxyAnchorLoss,
        ProxyNCALoss,
    )
    from orthant.learn.losses.metric.triplets import NPairLoss, TripletLoss
    from orthant.learn.losses.metric.tuples import Pairs, Triplets
    from orthant.learn.losses.protocol import LossOutput
    from orthant.learn.losses.regularisers.confusion import EnergyConfusion
    from orthant.learn.losses.regularisers.dispersion import Brownian, SingularValue, VarianceCovariance
    from orthant.learn.losses.regularisers.interface import Regulariser, WithRegularisers
    from orthant.learn.losses.regularisers.spread import Alignment, KoLeo, SpreadOut, Uniformity
    from orthant.learn.losses.regularisers.weights import EntropyCost, InitialDistance, Orthogonality, RowNorm
    from orthant.learn.losses.settings import ContrastiveSettings
    from orthant.learn.losses.text import TextContrastiveLoss, TextDistillationLoss, TextMaxSimLoss
    from orthant.learn.merging.functional import LearnedMerge
    from orthant.learn.merging.merge import greedy_soup, merge_models, merged_state
    from orthant.learn.merging.task_vectors import TaskVector
    from orthant.learn.mining.mined import MinedNegatives, MiningReport
    from orthant.learn.mining.negatives import mine_negatives
    from orthant.learn.mining.rules import MiningRules, Reason
    from orthant.learn.mining.scorers import BM25Scorer, DenseScorer, FusedTeacher, fuse_scores
    from orthant.learn.mining.soft_labels import soft_labels, teacher_distribution
    from orthant.learn.multimodal.picture_text import train_picture_text
    from orthant.learn.pruning.folders import prune_folder
    from orthant.learn.pruning.masks import structured_masks, unstructured_masks
    from orthant.learn.samplers.duplicates import NoDuplicates
    from orthant.learn.samplers.labels import ByLabel, PxK
    from orthant.learn.samplers.locality import LocalityCentric
    from orthant.learn.samplers.mixtures import BalancedMix, Proportional, RoundRobin
    from orthant.learn.samplers.protocol import Mixture, Sampler, count_batches, count_mixed_batches, shard
    from orthant.learn.samplers.rows import Sequential, Shuffled
    from orthant.learn.samplers.tasks import Interleaved, SemiHomogeneous
    from orthant.learn.synthesis.committee import RetrievalCommittee
    from orthant.learn.synthesis.endpoint import GenerationCost, OpenAICompatible
    from orthant.learn.synthesis.filters import (
        CopyFilter,
        LengthFilter,
        RoundTripFilter,
        SimilarityFilter,
        SynthesisFilter,
    )
    from orthant.learn.synthesis.generator import Generated, GenerationError, TextGenerator
    from orthant.learn.synthesis.local_model import HuggingFaceLocal
    from orthant.learn.synthesis.pipeline import Synthesis, SynthesisInterrupted, synthesize
    from orthant.learn.synthesis.prompts import HARD_NEGATIVES, PARAPHRASES, QUERIES, THOUGHTS, SynthesisTemplate
    from orthant.learn.synthesis.rule_based import RuleBased
    from orthant.learn.text.aspects.encoder import train_aspect_encoder
    from orthant.learn.text.aspects.heads import train_aspect_heads
    from orthant.learn.text.explicit.training import train_concepts
    from orthant.learn.text.glyphs import GlyphWords, train_word_reading
    from orthant.learn.training.callbacks import Callback
    from orthant.learn.training.curriculum import Curriculum
    from orthant.learn.training.ema import EMATeacher
    from orthant.learn.training.history import History
    from orthant.learn.training.loop import TorchLoop
    from orthant.learn.training.lora import LoRA
    from orthant.learn.training.run import TrainingRun
    from orthant.learn.training.stage import Stage
    from orthant.learn.training.validation import Validation


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
