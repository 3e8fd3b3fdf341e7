"""Unmarked answers among real texts: plain mining takes them for negatives, a relative margin does not."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.readers.known_item import medquad_documents
from orthant.encoders.static import StaticEncoder
from orthant.index import Flat
from orthant.learn.mining.negatives import mine_negatives
from orthant.learn.mining.rules import MiningRules

COPIES = 300


def _rewritten(text, rng):
    """Another order of sentences, and 15 % of the words gone."""
    sentences = text.split(". ")
    words = ". ".join(sentences[i] for i in rng.permutation(len(sentences))).split()
    return " ".join(word for word in words if rng.uniform() > 0.15) or text


@pytest.fixture(scope="module")
def scene(data_root):
    rows = {d.metadata["question"]: d.text for d in medquad_documents(root=data_root).documents}
    questions, answers = list(rows)[:3000], list(rows.values())[:3000]
    rng = np.random.default_rng(0)
    marked = rng.choice(len(answers), COPIES, replace=False)
    corpus = [*answers, *(_rewritten(answers[i], rng) for i in marked)]
    encoder = StaticEncoder.load()
    index = Flat(encoder.dim)
    index.add(encoder.encode(corpus))
    return [questions[i] for i in marked], marked.tolist(), corpus, index, encoder


def _shares(scene, **margins):
    """Shares of copies taken as negatives, of copies that a margin rejects, and of other candidates it keeps."""
    queries, positives, corpus, index, encoder = scene
    rules = MiningRules(num_negatives=5, **margins)
    mined = mine_negatives(queries, positives, corpus, index=index, encoder=encoder, rules=rules)
    own = len(corpus) - COPIES + np.arange(COPIES)
    taken = np.mean([copy in ids for copy, ids in zip(own, mined.ids, strict=True)])
    rejected = list(mined.rejections())
    by_margin = [r for r in rejected if r["reason"].endswith("margin")]
    on_copies = sum(r["id"] == own[r["query"]] for r in by_margin)
    found = sum(int((mined.candidate_ids[row] == own[row]).sum()) for row in range(COPIES))
    others = sum(r["reason"] == "not sampled" for r in rejected) + sum(map(len, mined.ids))
    return taken, on_copies / found, others / (others + len(by_margin) - on_copies)


def test_a_relative_margin_keeps_unmarked_answers_out(scene):
    taken, _, _ = _shares(scene)
    assert taken >= 0.6
    taken, rejected, kept = _shares(scene, relative_margin=0.1)
    assert rejected >= 0.9 and kept >= 0.7 and taken <= 0.1
