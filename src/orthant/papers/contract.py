"""The rule of truth as a check: what a row may say about itself, given what is built and what was measured."""

from __future__ import annotations

import importlib
import importlib.util

from orthant.errors import MissingExtraError
from orthant.papers.decision import row_outcome, verdict
from orthant.papers.record import Claim, ClaimResult, Paper
from orthant.papers.results import Measurement

__all__ = ["violations"]

_OPTIONAL = ("torch", "transformers", "sentence_transformers")


def violations(row: Paper, measured: Measurement | None) -> list[str]:
    """Return what a row claims without cover; an empty list is what a release needs for every row.

    Parameters
    ----------
    row : Paper
        The row.
    measured : Measurement or None
        Its committed result.

    Returns
    -------
    list of str
        One sentence per violation. A planned row must have no result. Any other row needs its modules importable
        (those that stop for lack of torch are passed over where torch is absent), a claim, and a committed result of
        the same key, claims, margins and data kinds, on seeds the margins were not chosen on, whose outcomes follow
        from its own figures. ``shown`` needs a claim on real data that holds, ``shown-generated`` one on generated
        data, and neither may have a claim that fails.

    Examples
    --------
    >>> from orthant.papers.catalogue import paper
    >>> violations(paper("muvera"), None) if paper("muvera").status == "planned" else []
    []
    """
    if row.status == "planned":
        return [f"{row.key} is planned, yet a result is committed"] if measured is not None else []
    found = [f"{row.key} lives in {name}, which does not import: {why}" for name, why in _unimportable(row.lives_in)]
    if not row.lives_in:
        found.append(f"{row.key} is {row.status} and lives nowhere")
    if not row.claims:
        found.append(f"{row.key} is {row.status} without a claim")
    if measured is None:
        return [*found, f"{row.key} is {row.status} without a committed result"]
    if measured.key != row.key:
        found.append(f"{row.key} has the result of {measured.key}")
    found += _mismatches(row.claims, measured.claims)
    if measured.outcome != row_outcome(claim.outcome for claim in measured.claims):
        found.append(f"{row.key} is recorded as {measured.outcome!r}, which its claims do not come to")
    kind = {"shown": "real", "shown-generated": "generated"}.get(row.status)
    if kind and not any(claim.outcome == "holds" and claim.data == kind for claim in measured.claims):
        found.append(f"{row.key} is {row.status}, and no claim on {kind} data holds")
    if kind and any(claim.outcome == "fails" for claim in measured.claims):
        found.append(f"{row.key} is {row.status}, and a claim fails")
    return found


def _mismatches(claims: tuple[Claim, ...], results: tuple[ClaimResult, ...]) -> list[str]:
    by_name = {result.name: result for result in results}
    found = [f"result for {name!r}, which is not a claim" for name in sorted(set(by_name) - {c.name for c in claims})]
    for claim in claims:
        result = by_name.get(claim.name)
        if result is None:
            found.append(f"claim {claim.name!r} has no committed result")
            continue
        frozen = (claim.margin, claim.metric, claim.direction, claim.data)
        if frozen != (result.margin, result.metric, result.direction, result.data):
            found.append(f"claim {claim.name!r} changed its margin, metric, direction or data after it was measured")
        if (result.outcome, result.ablated_outcome) != verdict(result.gains, result.ablated_gains, result.margin):
            found.append(f"claim {claim.name!r} is recorded as {result.outcome!r}, which its gains do not come to")
        if len(set(result.seeds)) < len(claim.fresh_seeds) or len(result.gains) != len(result.seeds):
            found.append(f"claim {claim.name!r} was judged on fewer seeds than it asks for")
        if set(result.seeds) & set(claim.development_seeds):
            found.append(f"claim {claim.name!r} was judged on seeds it was developed on")
    return found


def _unimportable(modules: tuple[str, ...]) -> list[tuple[str, str]]:
    failed = []
    for name in modules:
        try:
            importlib.import_module(name)
        except MissingExtraError:
            continue
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in _OPTIONAL or importlib.util.find_spec(missing) is not None:
                failed.append((name, str(error)))
    return failed
