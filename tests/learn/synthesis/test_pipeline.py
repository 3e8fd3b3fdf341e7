"""Synthesis: rows and reasons, resuming after a kill, votes, round trips."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from orthant.datasets import Document
from orthant.encoders.callable import CallableEncoder
from orthant.encoders.static import StaticEncoder
from orthant.errors import InputError, NonFiniteError, NotFoundError, StoreCorruptedError, StoreVersionError
from orthant.index import Flat
from orthant.learn.conversion.builders import pydocs_pairs
from orthant.learn.mining.scorers import BM25Scorer, DenseScorer
from orthant.learn.synthesis.committee import RetrievalCommittee
from orthant.learn.synthesis.filters import (
    Candidate,
    CopyFilter,
    LengthFilter,
    RoundTripFilter,
    SimilarityFilter,
)
from orthant.learn.synthesis.generator import Generated, GenerationError
from orthant.learn.synthesis.pipeline import SynthesisInterrupted, synthesize
from orthant.learn.synthesis.prompts import HARD_NEGATIVES, PARAPHRASES, QUERIES, THOUGHTS, SynthesisTemplate
from orthant.learn.synthesis.rule_based import RuleBased

TEXTS = {
    "gout": "Gout is a form of arthritis with sudden pain in a joint. It comes from uric acid crystals.",
    "lamp": "A lighthouse lamp warns ships of rocks. Its keeper cleans the lens every morning.",
    "bread": "Sourdough bread rises with wild yeast. The starter needs flour and water each day.",
}
RECORDS = [{"id": key, "text": text, "query": f"about {key}"} for key, text in TEXTS.items()]


class _Scripted:
    """Answers each prompt with the texts of a script, by the words of the prompt."""

    fingerprint = "scripted"

    def __init__(self, script, fail_after=None):
        self.script, self.calls, self._left = script, [], fail_after

    def generate(self, prompts, *, seed=0, **options):
        out = []
        for prompt in prompts:
            if self._left == 0:
                raise GenerationError("The endpoint is down.", out)
            self._left = None if self._left is None else self._left - 1
            self.calls.append(prompt)
            key = next(key for key, text in TEXTS.items() if text in prompt)
            answer = self.script[key]
            answer = answer[seed] if isinstance(answer, list) else answer
            out.append(answer if isinstance(answer, Generated) else Generated(answer))
        return out


def test_rows_and_reasons():
    script = {"gout": "what causes gout", "lamp": Generated("who keeps the", "length"), "bread": "  "}
    found = synthesize(RECORDS, _Scripted(script), QUERIES)
    assert found.table.rows == [{"anchor": "what causes gout", "positive": TEXTS["gout"], "id": "gout"}]
    assert [(r["id"], r["reason"]) for r in found.rejected] == [("lamp", "cut at max_tokens"), ("bread", "empty")]
    assert found.table.dropped == {"cut at max_tokens": 1, "empty": 1} and found.records == 3


def test_copies_of_earlier_texts_and_of_the_source_are_rejected():
    script = {"gout": "Daily care", "lamp": "daily care!", "bread": TEXTS["bread"].upper()}
    found = synthesize(RECORDS, _Scripted(script), QUERIES)
    assert [(r["id"], r["reason"]) for r in found.rejected] == [
        ("lamp", "repeats an earlier text"),
        ("bread", "equals its source"),
    ]


def test_columns_of_each_template():
    script = dict.fromkeys(TEXTS, "x")
    documents = [Document("gout", "T", TEXTS["gout"], {"query": "q"})]
    for template, expected in (
        (QUERIES, {"anchor": "x", "positive": TEXTS["gout"]}),
        (PARAPHRASES, {"anchor": TEXTS["gout"], "positive": "x"}),
        (HARD_NEGATIVES, {"anchor": "q", "positive": TEXTS["gout"], "negative": "x"}),
    ):
        assert synthesize(documents, _Scripted(script), template).table.rows == [{**expected, "id": "gout"}]

    class Echo:
        fingerprint = "echo"

        def generate(self, prompts, **options):
            assert "about gout" in prompts[0] and TEXTS["gout"] not in prompts[0]
            return [Generated("a guess", "length")]

    thought = synthesize(RECORDS[:1], Echo(), THOUGHTS).table.rows[0]
    assert thought == {"anchor": "about gout", "positive": TEXTS["gout"], "thought": "a guess", "id": "gout"}


def test_answers_are_read_as_lines_or_json():
    lines = SynthesisTemplate("{text}", answer="lines")
    found = synthesize(RECORDS[:1], _Scripted({"gout": "1. one  query\n\n- two\n"}), lines)
    assert [r["anchor"] for r in found.table] == ["one query", "two"]
    template = SynthesisTemplate("{text}", answer="json")
    script = {"gout": '```json\n{"texts": ["a b", "c"]}\n```', "lamp": "{oops", "bread": '{"texts": [1]}'}
    found = synthesize(RECORDS, _Scripted(script), template)
    assert [r["anchor"] for r in found.table] == ["a b", "c"]
    assert found.table.dropped == {"not the JSON asked for": 2}
    assert template.read('"one"') == ["one"] and template.read('["x", " "]') == ["x"]


def test_braces_in_a_record_stay():
    template = SynthesisTemplate("Use {{json}} for {text}")
    assert template.fill({"text": "f({x})"}) == "Use {json} for f({x})"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"prompt": "no field"}, "at least one field"),
        ({"prompt": "{text"}, "a format string"),
        ({"prompt": "{text!r}"}, "field {text}"),
        ({"prompt": "{text.upper}"}, "field {text.upper}"),
        ({"prompt": "{text}", "column": "label"}, "column"),
        ({"prompt": "{text}", "answer": "xml"}, "answer"),
        ({"prompt": "{text}", "column": "negative"}, "fields for anchor and positive"),
        ({"prompt": "{text}", "keep": {"anchor": "a", "positive": "b"}}, "kept and generated"),
    ],
)
def test_bad_templates_are_refused(options, text):
    with pytest.raises(InputError, match=text.replace("{", r"\{").replace("}", r"\}")):
        SynthesisTemplate(**options)


@pytest.mark.parametrize(
    ("records", "options", "text"),
    [
        (RECORDS, {"template": SynthesisTemplate("{title}")}, "record 'gout' without text in 'title'"),
        ([{"id": "a", "text": " "}], {}, "record 'a' without text in 'text'"),
        ([{"text": "x"}], {}, "record 0 without 'id'"),
        ([*RECORDS, RECORDS[0]], {}, "a second record with id 'gout'"),
        (RECORDS, {"candidates": 2}, "candidates=2 at temperature 0"),
        (RECORDS, {"max_tokens": 0}, "max_tokens"),
        (RECORDS, {"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(records, options, text):
    generator = _Scripted({})
    with pytest.raises(InputError, match=text):
        synthesize(records, generator, options.pop("template", QUERIES), **options)
    assert generator.calls == []


SCRIPT = {"gout": "joint pain query", "lamp": "ships at night", "bread": "wild yeast query"}


def test_an_endpoint_that_goes_down_keeps_results_and_continues(tmp_path):
    whole = synthesize(RECORDS, _Scripted(SCRIPT), QUERIES)
    path = tmp_path / "run" / "queries.jsonl"
    with pytest.raises(SynthesisInterrupted, match="2 of 3 records are finished; they are in") as caught:
        synthesize(RECORDS, _Scripted(SCRIPT, fail_after=2), QUERIES, path=path)
    assert caught.value.result.table.rows == whole.table.rows[:2]
    again = _Scripted(SCRIPT)
    found = synthesize(RECORDS, again, QUERIES, path=path)
    assert len(again.calls) == 1 and found.reused == 2
    assert found.table == whole.table and found.rejected == whole.rejected
    with pytest.raises(SynthesisInterrupted, match="their rows are in result"):
        synthesize(RECORDS, _Scripted(SCRIPT, fail_after=0), QUERIES)


def test_a_line_cut_by_a_kill_is_written_again(tmp_path):
    path = tmp_path / "run.jsonl"
    whole = synthesize(RECORDS, _Scripted(SCRIPT), QUERIES, path=path, batch_size=1)
    data = path.read_bytes()
    for cut in (len(data) - 1, len(data) - 40, data.index(b"\n") - 5, 0):
        path.write_bytes(data[:cut])
        assert synthesize(RECORDS, _Scripted(SCRIPT), QUERIES, path=path).table == whole.table
        assert sorted(path.read_bytes().splitlines()) == sorted(data.splitlines())


def test_duplicates_are_found_across_a_restart(tmp_path):
    script = {"gout": "same words", "lamp": "Same words.", "bread": "x y"}
    path = tmp_path / "run.jsonl"
    synthesize(RECORDS[:1], _Scripted(script), QUERIES, path=path)
    found = synthesize(RECORDS, _Scripted(script), QUERIES, path=path)
    assert found.table.dropped == {"repeats an earlier text": 1}


def test_a_run_with_other_settings_or_records_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    synthesize(RECORDS, _Scripted(SCRIPT), QUERIES, path=path)
    for options, text in (
        ({"seed": 1}, "another seed"),
        ({"max_tokens": 5}, "another max_tokens"),
        ({"filters": [LengthFilter()]}, "another filters"),
        ({"template": PARAPHRASES}, "another template"),
        ({"generator": RuleBased()}, "another generator"),
    ):
        generator = options.pop("generator", _Scripted(SCRIPT))
        with pytest.raises(InputError, match=text):
            synthesize(RECORDS, generator, options.pop("template", QUERIES), path=path, **options)
    changed = [{**RECORDS[0], "text": TEXTS["gout"] + " New."}, *RECORDS[1:]]
    with pytest.raises(InputError, match="record 'gout', changed since"):
        synthesize(changed, _Scripted(SCRIPT), QUERIES, path=path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + lines[2])
    with pytest.raises(StoreCorruptedError, match="line 2"):
        synthesize(RECORDS, _Scripted(SCRIPT), QUERIES, path=path)
    path.write_text(json.dumps({"kind": "orthant.synthesis", "format": 9, "settings": {}}) + "\n")
    with pytest.raises(StoreVersionError):
        synthesize(RECORDS, _Scripted(SCRIPT), QUERIES, path=path)
    path.write_text(json.dumps({"id": "a", "source": "", "rows": [], "rejected": []}) + "\n")
    with pytest.raises(StoreCorruptedError, match="without a header"):
        synthesize(RECORDS, _Scripted(SCRIPT), QUERIES, path=path)


_KILLED = """
import sys, time
from orthant.learn.synthesis.pipeline import synthesize
from orthant.learn.synthesis.prompts import QUERIES
from orthant.learn.synthesis.rule_based import RuleBased
class Slow(RuleBased):
    def generate(self, prompts, **options):
        time.sleep(0.02)
        return super().generate(prompts, **options)
records = [{"id": str(i), "text": f"Sentence number{i} about topic{i}. More of it."} for i in range(500)]
synthesize(records, Slow("keywords"), QUERIES, path=sys.argv[1], batch_size=4)
"""


def test_a_killed_run_continues_to_the_same_result(tmp_path):
    path = tmp_path / "run.jsonl"
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], env={**os.environ})
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    records = [{"id": str(i), "text": f"Sentence number{i} about topic{i}. More of it."} for i in range(500)]
    found = synthesize(records, RuleBased("keywords"), QUERIES, path=path, batch_size=4)
    whole = synthesize(records, RuleBased("keywords"), QUERIES)
    assert 19 <= found.reused < 500 and found.table == whole.table and found.rejected == whole.rejected


def test_filters_give_reasons_in_order():
    script = {"gout": "pain", "lamp": TEXTS["lamp"][2:60], "bread": "how does dough rise"}
    filters = [LengthFilter(2, 20), CopyFilter(4)]
    found = synthesize(RECORDS, _Scripted(script), QUERIES, filters=filters)
    assert found.table.dropped == {"fewer than 2 words": 1, "copies 5 words in a row": 1}
    assert [r["id"] for r in found.table] == ["bread"]
    assert LengthFilter(1, 2).reject([Candidate("", "", "a b c")]) == ["more than 2 words"]
    # Only whole words count as copied.
    assert CopyFilter(1).reject([Candidate("", "abc def", "bc de")]) == [None]


def test_similarity_filter_bounds_both_sides():
    encoder = CallableEncoder(lambda items: [[float(len(t)), 10.0] for t in items], dim=2, name="lengths")
    scorer = DenseScorer(encoder)
    items = [Candidate("", "x" * 10, "y" * n) for n in (1, 10, 400)]
    cosines = [float(scorer.score(c.source, [c.text])[0]) for c in items]
    assert cosines[1] > 0.99 > 0.9 > cosines[0]
    assert SimilarityFilter(scorer, minimum=0.9).reject(items) == [
        "too far from its source",
        None,
        "too far from its source",
    ]
    assert SimilarityFilter(scorer, maximum=0.9).reject(items) == [None, "too near to its source", None]
    for bad in ({}, {"minimum": 1.0, "maximum": 0.0}):
        with pytest.raises(InputError):
            SimilarityFilter(scorer, **bad)


def test_round_trip_keeps_queries_that_lead_back():
    encoder = StaticEncoder.load()
    index = Flat(encoder.dim)
    ids = {key: 10 + i for i, key in enumerate(TEXTS)}
    index.add(encoder.encode(list(TEXTS.values())), np.array(list(ids.values())))
    script = {"gout": "uric acid crystals in joints", "lamp": "wild yeast and flour", "bread": "wild yeast starter"}
    found = synthesize(RECORDS, _Scripted(script), QUERIES, filters=[RoundTripFilter(index, encoder, ids, k=1)])
    assert [r["id"] for r in found.table] == ["gout", "bread"]
    assert found.table.dropped == {"does not find its document among 1": 1}
    loose = RoundTripFilter(index, encoder, ids, k=3)
    assert loose.reject([Candidate("lamp", "", "wild yeast"), Candidate("lamp", "", " ")])[0] is None
    with pytest.raises(NotFoundError, match="record 'x'"):
        loose.reject([Candidate("x", "", "q")])


def test_a_committee_chooses_among_candidates():
    script = {"gout": ["bread and yeast", "gout and uric acid", "x"], "lamp": ["a", "b", "c"], "bread": ["z", "z", "z"]}
    committee = RetrievalCommittee({"words": BM25Scorer()})
    found = synthesize(RECORDS, _Scripted(script), QUERIES, candidates=3, temperature=1.0, choose=committee)
    assert found.table.rows[0]["anchor"] == "gout and uric acid"
    assert Counter((r["id"], r["reason"]) for r in found.rejected) == {
        ("gout", "not chosen"): 2,
        ("lamp", "not chosen"): 2,
        ("bread", "repeats an earlier text"): 2,
    }


class _Fixed:
    def __init__(self, scores):
        self._scores = scores

    def score(self, query, records):
        return np.array(self._scores)


def test_soft_and_hard_votes():
    members = {"a": _Fixed([1.0, 0.9, 0.0]), "b": _Fixed([0.0, 5.0, 0.0]), "c": _Fixed([0.3, 0.1, 0.2])}
    scores = np.array([m.score("", []) for m in members.values()])
    soft = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).sum(axis=0)
    vote = RetrievalCommittee(members).vote("d", ["x", "y", "z"])
    np.testing.assert_allclose(vote.shares, soft, atol=1e-6)
    assert vote.winner == 1 and vote.choices == {"a": 0, "b": 1, "c": 0}
    hard = RetrievalCommittee(members, mode="hard").vote("d", ["x", "y", "z"])
    assert hard.winner == 0 and hard.shares.tolist() == [2, 1, 0]
    tie = RetrievalCommittee({"a": _Fixed([0, 1]), "b": _Fixed([1, 0])}, mode="hard").vote("d", ["x", "y"])
    assert tie.winner == 0
    for members, candidates, error in (
        ({}, ["x", "y"], InputError),
        ({"a": _Fixed([1])}, ["x"], InputError),
        ({"a": _Fixed([1])}, ["x", "y"], InputError),
        ({"a": _Fixed([1, np.nan])}, ["x", "y"], NonFiniteError),
    ):
        with pytest.raises(error):
            RetrievalCommittee(members).vote("d", candidates)


def test_the_committee_finds_the_own_summary_of_documented_objects():
    """Candidates are the own, a neighbour's and a random summary of real documentation."""
    rows = [
        row
        for part in pydocs_pairs(["json", "logging", "asyncio", "email", "xml"], processes=1).values()
        for row in part
    ]
    members = {
        "dense": DenseScorer(StaticEncoder.load(), scale=100.0),
        "words": BM25Scorer([r["positive"] for r in rows]),
    }
    rng = np.random.default_rng(0)
    places = rng.choice(len(rows) - 1, min(100, len(rows) - 1), replace=False)
    votes = []
    for i in places:
        candidates = [rows[i]["anchor"], rows[i + 1]["anchor"], rows[rng.integers(len(rows))]["anchor"]]
        votes.append(RetrievalCommittee(members).vote(rows[i]["positive"], candidates))
    right = np.mean([vote.winner == 0 for vote in votes])
    worst = min(np.mean([vote.choices[name] == 0 for vote in votes]) for name in members)
    assert right >= worst and right > 0.6
