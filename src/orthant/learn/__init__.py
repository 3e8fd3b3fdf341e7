"""Training with torch: makes better encoders, transforms, quantizers and tables.

Rows, texts or vectors enter; artefacts in safetensors and JSON, or sentence-transformers folders, leave.
Never needed to serve what it made: that runs on NumPy, Numba or onnxruntime.
Start with `training`: a `Curriculum` of `Stage`s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES: dict[str, str] = {
    "BM25Scorer": "orthant.learn.mining.scorers",
    "CopyFilter": "orthant.learn.synthesis.filters",
    "DenseScorer": "orthant.learn.mining.scorers",
    "FusedTeacher": "orthant.learn.mining.scorers",
    "Generated": "orthant.learn.synthesis.generator",
    "GenerationCost": "orthant.learn.synthesis.endpoint",
    "GenerationError": "orthant.learn.synthesis.generator",
    "HARD_NEGATIVES": "orthant.learn.synthesis.prompts",
    "HuggingFaceLocal": "orthant.learn.synthesis.local_model",
    "InContextPrompt": "orthant.learn.conversion.templates",
    "InstructionTemplate": "orthant.learn.conversion.templates",
    "LengthFilter": "orthant.learn.synthesis.filters",
    "MinedNegatives": "orthant.learn.mining.mined",
    "MiningReport": "orthant.learn.mining.mined",
    "MiningRules": "orthant.learn.mining.rules",
    "OpenAICompatible": "orthant.learn.synthesis.endpoint",
    "PARAPHRASES": "orthant.learn.synthesis.prompts",
    "PairTable": "orthant.learn.conversion.tables",
    "QUERIES": "orthant.learn.synthesis.prompts",
    "Reason": "orthant.learn.mining.rules",
    "RetrievalCommittee": "orthant.learn.synthesis.committee",
    "RoundTripFilter": "orthant.learn.synthesis.filters",
    "RuleBased": "orthant.learn.synthesis.rule_based",
    "SimilarityFilter": "orthant.learn.synthesis.filters",
    "Synthesis": "orthant.learn.synthesis.pipeline",
    "SynthesisFilter": "orthant.learn.synthesis.filters",
    "SynthesisInterrupted": "orthant.learn.synthesis.pipeline",
    "SynthesisTemplate": "orthant.learn.synthesis.prompts",
    "THOUGHTS": "orthant.learn.synthesis.prompts",
    "TextGenerator": "orthant.learn.synthesis.generator",
    "check_leakage": "orthant.learn.conversion.splitting",
    "deduplicate": "orthant.learn.conversion.splitting",
    "find_leaks": "orthant.learn.conversion.splitting",
    "fuse_scores": "orthant.learn.mining.scorers",
    "graded_from_nli": "orthant.learn.conversion.labelled",
    "graded_pairs": "orthant.learn.conversion.pairs",
    "medquad_pairs": "orthant.learn.conversion.builders",
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
    "pydocs_pairs": "orthant.learn.conversion.builders",
    "read_tables": "orthant.learn.conversion.tables",
    "soft_labels": "orthant.learn.mining.soft_labels",
    "split_by_group": "orthant.learn.conversion.splitting",
    "synthesize": "orthant.learn.synthesis.pipeline",
    "teacher_distribution": "orthant.learn.mining.soft_labels",
    "write_tables": "orthant.learn.conversion.tables",
}

__all__ = [
    "BM25Scorer",
    "CopyFilter",
    "DenseScorer",
    "FusedTeacher",
    "Generated",
    "GenerationCost",
    "GenerationError",
    "HARD_NEGATIVES",
    "HuggingFaceLocal",
    "InContextPrompt",
    "InstructionTemplate",
    "LengthFilter",
    "MinedNegatives",
    "MiningReport",
    "MiningRules",
    "OpenAICompatible",
    "PARAPHRASES",
    "PairTable",
    "QUERIES",
    "Reason",
    "RetrievalCommittee",
    "RoundTripFilter",
    "RuleBased",
    "SimilarityFilter",
    "Synthesis",
    "SynthesisFilter",
    "SynthesisInterrupted",
    "SynthesisTemplate",
    "THOUGHTS",
    "TextGenerator",
    "check_leakage",
    "deduplicate",
    "find_leaks",
    "fuse_scores",
    "graded_from_nli",
    "graded_pairs",
    "medquad_pairs",
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
    "pydocs_pairs",
    "read_tables",
    "soft_labels",
    "split_by_group",
    "synthesize",
    "teacher_distribution",
    "write_tables",
]

if TYPE_CHECKING:
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
    from orthant.learn.mining.mined import MinedNegatives, MiningReport
    from orthant.learn.mining.negatives import mine_negatives
    from orthant.learn.mining.rules import MiningRules, Reason
    from orthant.learn.mining.scorers import BM25Scorer, DenseScorer, FusedTeacher, fuse_scores
    from orthant.learn.mining.soft_labels import soft_labels, teacher_distribution
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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
