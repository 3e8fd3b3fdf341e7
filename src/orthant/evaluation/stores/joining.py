"""Figures of stores that were measured anew, put in the place of earlier ones of the same question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orthant.errors import InputError, message
from orthant.evaluation.stores.places import places

__all__ = ["joined"]

_SAME = ("data", "dim", "machine", "threads")


def joined(earlier: Mapping[str, Any], anew: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with some stores measured anew and the others as they were.

    Parameters
    ----------
    earlier : mapping
        A report of ``run_stores``, or one that was joined already.
    anew : mapping
        A later one of some of its stores, or of others.

    Returns
    -------
    dict
        A report of all of them, places included. ``measured`` says by store under which context its figures came to
        be; ``context`` is the later one.

    Raises
    ------
    InputError
        Other settings, data or another machine: then the figures do not compare.

    Examples
    --------
    >>> about = {"data": "d", "dim": 2, "machine": {}, "threads": 1}
    >>> row = {"store": "a", "load": {"disk_bytes": 2}}
    >>> one = {"results": [row], "missing": [], "settings": {"recall": 0.9}, "context": about}
    >>> other = {**one, "results": [{"store": "b", "load": {"disk_bytes": 1}}]}
    >>> joined(one, other)["places"]["disk"]
    {'a': 2, 'b': 1}
    """
    differs = [key for key in _SAME if earlier["context"].get(key) != anew["context"].get(key)]
    differs += [key for key, value in anew["settings"].items() if earlier["settings"].get(key) != value]
    if differs:
        raise InputError(
            message(f"reports that differ in {', '.join(differs)}", "the same question on one machine", "measure all")
        )
    contexts = dict(earlier.get("measured", {}))
    for entry in earlier["results"]:
        contexts.setdefault(entry["store"], earlier["context"])
    fresh = {entry["store"]: entry for entry in anew["results"]}
    contexts |= dict.fromkeys(fresh, anew["context"])
    results = [fresh.pop(entry["store"], entry) for entry in earlier["results"]] + list(fresh.values())
    names = {entry["store"] for entry in anew["results"]}
    missing = [one for one in earlier["missing"] if one["store"] not in names] + list(anew["missing"])
    return {
        **anew,
        "results": results,
        "missing": missing,
        "places": places(results, anew["settings"]["recall"]),
        "measured": {entry["store"]: contexts[entry["store"]] for entry in results},
    }
