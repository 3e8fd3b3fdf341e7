"""No group and no copied text on two sides; leaks are found and named."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.learn.conversion.builders import medquad_pairs, papers_pairs, pydocs_pairs
from orthant.learn.conversion.splitting import check_leakage, deduplicate, find_leaks, split_by_group
from orthant.learn.conversion.tables import PairTable


def _table(seed=0, groups=200):
    rng = np.random.default_rng(seed)
    rows = [{"anchor": f"a {i}", "positive": f"p {i}", "group": f"g{rng.integers(groups)}"} for i in range(1000)]
    for i in range(0, 1000, 50):  # copies under another group, with another punctuation
        rows[i]["positive"] = f"P: {(i + 501) % 1000}!"
    return PairTable("toy", rows, {"empty": 3})


def test_groups_and_copies_stay_together_and_shares_are_met():
    table = _table()
    parts = split_by_group(table, seed=5)
    assert find_leaks(parts) == []
    assert [len(p) for p in parts.values()] == pytest.approx([800, 100, 100], abs=12)
    assert sorted(r["anchor"] for p in parts.values() for r in p) == sorted(r["anchor"] for r in table)
    assert all(p.dropped == {"empty": 3} for p in parts.values())
    # Without the texts the copies do straddle: they are what holds groups together.
    loose = split_by_group(table, seed=5, texts=())
    assert {leak.kind for leak in find_leaks(loose)} == {"text"}


def test_split_is_decided_by_the_seed():
    table = _table()
    first, again, other = (split_by_group(table, seed=s)["test"].rows for s in (1, 1, 2))
    assert first == again != other
    test = {r["group"] for r in first}
    assert len(test) > 5 and {r["group"] for r in other} != test


def test_one_large_group_leaves_something_for_every_split():
    rows = [{"anchor": f"a{i}", "positive": f"p{i}", "group": "big" if i < 90 else i} for i in range(92)]
    parts = split_by_group(PairTable("toy", rows))
    assert [len(p) for p in parts.values()] == [90, 1, 1]


def test_leaks_are_named():
    train = PairTable("train", [{"anchor": "What is gout?", "positive": "x", "group": "a"}] * 2)
    test = PairTable("test", [{"anchor": "y", "positive": "what is GOUT", "group": "a"}])
    leaks = find_leaks({"train": train, "test": test})
    assert [(leak.kind, leak.key, leak.splits, leak.rows) for leak in leaks] == [
        ("group", "a", ("train", "test"), 3),
        ("text", "What is gout?", ("train", "test"), 3),
    ]
    with pytest.raises(InputError, match="share 2 things: group 'a' in train and test; text 'What is gout"):
        check_leakage({"train": train, "test": test})
    check_leakage({"train": train, "test": PairTable("t", [{"anchor": "y", "positive": "z", "group": "b"}])})


def test_deduplication_counts_copies_and_self_pairs():
    rows = [
        {"anchor": "Hi!", "positive": "Good day."},
        {"anchor": "hi", "positive": "good  day"},
        {"anchor": "hi", "positive": "good night"},
        {"anchor": "same", "positive": "Same."},
    ]
    table = deduplicate(PairTable("toy", rows, {"repeated": 1}))
    assert table.rows == [rows[0], rows[2]] and table.dropped == {"repeated": 2, "equal texts": 1}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shares": {"a": 0.5, "b": 0.4}}, "sum to 1"),
        ({"shares": {"a": 1.0, "b": 0.0}}, "sum to 1"),
        ({"group": "module"}, "row 0 without 'module'"),
        ({"texts": ("body",)}, "row 0 with body=None"),
        ({"shares": {str(i): 1 / 1001 for i in range(1001)}}, "separate groups for 1001 splits"),
    ],
)
def test_bad_splits_are_refused(options, text):
    with pytest.raises(InputError, match=text):
        split_by_group(_table(), **options)


@pytest.mark.parametrize(
    ("build", "rows"),
    [pytest.param(medquad_pairs, 16_354, marks=pytest.mark.slow), (papers_pairs, 10_159)],
    ids=["medquad", "papers"],
)
def test_real_documents_stand_on_one_side(build, rows, data_root):
    parts = build(root=data_root)
    check_leakage(parts)
    total = sum(map(len, parts.values()))
    assert total == rows
    assert len(parts["test"]) / total == pytest.approx(0.1, abs=0.005)
    first = parts["test"].rows[0]
    assert set(first) == {"anchor", "positive", "id", "group"} and len(first["positive"]) > len(first["anchor"])


def test_pydocs_keep_modules_apart():
    parts = pydocs_pairs(["json", "logging", "asyncio", "email", "xml"], processes=1, minimum_words=(3, 6))
    check_leakage(parts)
    rows = [row for part in parts.values() for row in part]
    assert len(rows) > 60
    by_id = {row["id"]: row for row in rows}
    found = by_id["json.dump"]
    assert found["anchor"].startswith("Serialize ``obj`` as a JSON formatted stream to ``fp``")
    assert "skipkeys" in found["positive"] and not found["positive"].startswith("json.dump")
    assert all(len(row["anchor"].split()) >= 3 and len(row["positive"].split()) >= 6 for row in rows)
