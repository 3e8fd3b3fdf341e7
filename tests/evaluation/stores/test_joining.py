"""Reports of stores of which some were measured anew."""

from __future__ import annotations

import pytest

from orthant.errors import InputError
from orthant.evaluation.stores.joining import joined


def report(*stores: tuple[str, float], **changed):
    about = {"data": "set", "dim": 3, "machine": {"cores": 2}, "threads": 2, "code_sha256": "first"}
    settings = {"records": 10, "recall": 0.9}
    for name, value in changed.items():
        (settings if name in settings else about)[name] = value
    results = [{"store": name, "load": {"disk_bytes": size}} for name, size in stores]
    return {"results": results, "missing": [], "settings": settings, "context": about}


def test_one_store_is_replaced_and_places_follow():
    first = report(("ours", 5), ("theirs", 3), ("others", 4))
    assert joined(first, report(("ours", 4), code_sha256="second"))["places"]["disk"] == {
        "ours": 2, "theirs": 1, "others": 2,
    }  # fmt: skip
    later = joined(joined(first, report(("ours", 4), code_sha256="second")), report(("ours", 2), code_sha256="third"))
    assert later["places"]["disk"] == {"ours": 1, "theirs": 2, "others": 3}
    assert [entry["store"] for entry in later["results"]] == ["ours", "theirs", "others"]
    told = {name: context["code_sha256"] for name, context in later["measured"].items()}
    assert told == {"ours": "third", "theirs": "first", "others": "first"}


def test_what_was_missing_and_is_there_now_is_missing_no_more():
    first = report(("ours", 5)) | {"missing": [{"store": "theirs", "reason": "none"}, {"store": "more", "reason": "x"}]}
    later = joined(first, report(("theirs", 1)))
    assert [one["store"] for one in later["missing"]] == ["more"] and set(later["measured"]) == {"ours", "theirs"}


@pytest.mark.parametrize("changed", [{"records": 20}, {"machine": {"cores": 4}}, {"data": "other"}, {"threads": 1}])
def test_what_does_not_compare_is_not_joined(changed):
    (name,) = changed
    with pytest.raises(InputError, match=f"differ in {name}"):
        joined(report(("ours", 5)), report(("ours", 4), **changed))
