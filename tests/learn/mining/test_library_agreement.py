"""The negatives of real questions equal those that sentence-transformers mines under the same settings."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.encoders.static import StaticEncoder
from orthant.index import Flat
from orthant.learn.conversion.builders import medquad_pairs
from orthant.learn.mining.negatives import mine_negatives
from orthant.learn.mining.rules import MiningRules

pytest.importorskip("sentence_transformers")
pytest.importorskip("datasets")


class _Model:
    """What the miner of sentence-transformers asks of a model, with the vectors of ours."""

    def __init__(self, encoder):
        import torch

        self._encoder, self.device = encoder, torch.device("cpu")

    def _unit(self, texts, role):
        X = self._encoder.encode(texts, role=role).astype(np.float64)
        return X / np.linalg.norm(X, axis=1, keepdims=True)

    def encode_document(self, texts, **options):
        return self._unit(texts, "document")

    def encode_query(self, texts, **options):
        return self._unit(texts, "query")

    @staticmethod
    def similarity(a, b):
        import torch

        return torch.as_tensor(a) @ torch.as_tensor(b).T

    @staticmethod
    def similarity_pairwise(a, b):
        import torch

        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(dim=1)


@pytest.fixture(scope="module")
def pairs(data_root):
    rows = medquad_pairs(root=data_root)["train"].rows
    rows = list({row["anchor"].lower(): row for row in rows}.values())
    return list({row["positive"].lower(): row for row in rows}.values())[:400]


# A first rank above 0 is counted before the margins here and after them there, so the two are not combined.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"range_max": 50}),
        ({"ranks": (10, 40), "num_negatives": 5}, {"range_min": 10, "range_max": 40, "num_negatives": 5}),
        ({"absolute_margin": 0.1}, {"absolute_margin": 0.1, "range_max": 50}),
        ({"relative_margin": 0.05, "num_negatives": 7}, {"relative_margin": 0.05, "range_max": 50, "num_negatives": 7}),
        (
            {"relative_margin": 0.2, "max_score": 0.7, "min_score": 0.3},
            {"relative_margin": 0.2, "max_score": 0.7, "min_score": 0.3, "range_max": 50},
        ),
    ],
    ids=["top", "ranks", "absolute", "relative", "scores"],
)
def test_same_negatives_as_sentence_transformers(pairs, ours, theirs):
    from sentence_transformers.util import mine_hard_negatives

    from datasets import Dataset

    encoder = StaticEncoder.load()
    questions, answers = [row["anchor"] for row in pairs], [row["positive"] for row in pairs]
    table = Dataset.from_dict({"anchor": questions, "positive": answers})
    expected = mine_hard_negatives(table, _Model(encoder), output_scores=True, verbose=False, **theirs)
    index = Flat(encoder.dim)
    index.add(encoder.encode(answers))
    mined = mine_negatives(questions, range(400), answers, index=index, encoder=encoder, rules=MiningRules(**ours))
    rows = mined.to_rows(scores=True)
    assert [(r["anchor"], r["positive"], r["negative"]) for r in rows] == [
        (r["anchor"], r["positive"], r["negative"]) for r in expected
    ]
    np.testing.assert_allclose([r["scores"] for r in rows], expected["scores"], atol=2e-6)
    assert len(rows) > 200
