"""Run a row's claims and report what they came to.

Exit codes: 0 they hold, 3 figures are only reported (also for a row without claims), 1 a claim fails, 4 data is
missing. An unknown key, and a claim that stops, raise an `OrthantError`, which the command line turns into exit code 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from orthant.errors import InputError, MissingExtraError, NotFoundError, message
from orthant.papers.decision import agrees, judge, row_outcome
from orthant.papers.record import Claim, ClaimError, ClaimResult, Paper, Status, Trial
from orthant.papers.results import Measurement, absent_data, code_sha256, data_sha256, read
from orthant.validate import check_count

__all__ = ["EXIT_CODES", "ReproduceReport", "measurement", "reproduce", "run"]

RowOutcome = Literal["holds", "reported", "fails", "missing"]
Progress = Callable[[str], None]
EXIT_CODES: dict[RowOutcome, int] = {"holds": 0, "fails": 1, "reported": 3, "missing": 4}


@dataclass(frozen=True, kw_only=True)
class ReproduceReport:
    """What reproducing a row came to.

    Attributes
    ----------
    key : str
        Key of the row.
    outcome : {"holds", "reported", "fails", "missing"}
        Outcome over all claims; ``"missing"`` when data was absent and nothing ran.
    status : str
        Status of the row, as recorded.
    claims : tuple of ClaimResult
        What each claim came to; empty when none exists or nothing ran.
    missing : tuple of str
        Data sets that were absent.
    """

    key: str
    outcome: RowOutcome
    status: Status
    claims: tuple[ClaimResult, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 holds, 3 reported, 1 fails, 4 data missing."""
        return EXIT_CODES[self.outcome]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values.

        Returns
        -------
        dict
            ``key``, ``outcome``, ``status``, ``claims`` and ``missing``.
        """
        return {
            "key": self.key,
            "outcome": self.outcome,
            "status": self.status,
            "claims": [claim.as_json() for claim in self.claims],
            "missing": list(self.missing),
        }


def reproduce(
    key: str, *, seed: int | None = None, quick: bool = False, progress: Progress | None = None
) -> ReproduceReport:
    """Run the claims of a row and judge them; use ``quick`` to check a committed result at a fraction of the time.

    Parameters
    ----------
    key : str
        Key of the row, as listed by ``orthant papers``.
    seed : int, optional
        First seed; as many consecutive seeds run as the claim judges on, or one when ``quick``. Left out, the claim's
        own fresh seeds run, or one that was never used before when ``quick``.
    quick : bool, default False
        Run one seed and compare it with the committed result instead of judging anew.
    progress : callable of str, optional
        Called with one line before each trial.

    Returns
    -------
    ReproduceReport
        Outcome, figures and exit code.

    Raises
    ------
    NotFoundError
        Unknown key; or ``quick`` for a claim without a committed result.
    InputError
        A negative seed, or one on which the claim's margin was chosen.
    ClaimError
        A claim stopped or returned figures that cannot be judged.
    MissingExtraError
        A claim needs an optional dependency that is not installed.

    Examples
    --------
    >>> report = reproduce("fastrp", quick=True)  # doctest: +SKIP
    >>> report.outcome  # doctest: +SKIP
    'holds'
    """
    from orthant.papers.catalogue import paper

    row = paper(key)
    return run(row, seed=seed, quick=quick, committed=read(row.key), progress=progress)


def run(
    row: Paper,
    *,
    seed: int | None = None,
    quick: bool = False,
    committed: Measurement | None = None,
    progress: Progress | None = None,
) -> ReproduceReport:
    """Run the claims of a given row; `reproduce` looks the row up first.

    Parameters
    ----------
    row : Paper
        The row.
    seed, quick, progress
        As in `reproduce`.
    committed : Measurement, optional
        What ``quick`` compares with.

    Returns
    -------
    ReproduceReport
        Nothing runs when any claim's data is absent: the outcome is then ``"missing"``.

    Raises
    ------
    NotFoundError, InputError, ClaimError, MissingExtraError
        As in `reproduce`.

    Examples
    --------
    >>> from orthant.papers.record import Claim, Paper, Trial
    >>> def measure(seed: int) -> Trial:
    ...     return Trial(
    ...         measured={"recall@10": 0.83},
    ...         baseline={"recall@10": 0.60},
    ...         alternatives={"mean pooling": {"recall@10": 0.75}},
    ...         ablated={"recall@10": 0.70},
    ...     )
    >>> claim = Claim(
    ...     name="finds-more", sentence="It finds more of the exact neighbours than pooling.", data="generated",
    ...     run=measure, metric="recall@10", margin=0.05, ablation="one cell instead of sixteen",
    ... )
    >>> row = Paper(
    ...     key="example", title="An example", arxiv="0000.00000", year=2000, wing="search",
    ...     lives_in=("orthant.index.multivector",), summary="...", keywords=(), claims=(claim,),
    ... )
    >>> report = run(row)
    >>> report.outcome, report.claims[0].alternative, report.claims[0].ablated_outcome
    ('holds', 'mean pooling', 'fails')
    """
    if seed is not None:
        check_count(seed, name="seed", minimum=0)
    absent = absent_data(need for claim in row.claims for need in claim.needs)
    if absent:
        return ReproduceReport(key=row.key, outcome="missing", status=row.status, missing=absent)
    recorded = {claim.name: claim for claim in committed.claims} if committed else {}
    results = []
    plans = [
        (claim, _seeds(row, claim, seed=seed, quick=quick, recorded=recorded.get(claim.name))) for claim in row.claims
    ]
    for claim, seeds in plans:
        before = recorded.get(claim.name) if quick else None
        results.append(_measure(row, claim, seeds, before=before, progress=progress))
    outcome = row_outcome(result.outcome for result in results)
    return ReproduceReport(key=row.key, outcome=outcome, status=row.status, claims=tuple(results))


def measurement(row: Paper, report: ReproduceReport) -> Measurement:
    """Turn a full report into the result that is committed.

    Parameters
    ----------
    row : Paper
        The row that ran.
    report : ReproduceReport
        What `reproduce` returned, not ``quick``.

    Returns
    -------
    Measurement
        With date, machine, versions and hashes of code and data.

    Raises
    ------
    InputError
        The report has no claims, or its data was missing.
    """
    if report.outcome == "missing" or not report.claims:
        raise InputError(message(f"a report of {row.key!r} without results", "measured claims", "run it with its data"))
    return Measurement(
        key=row.key,
        outcome=report.outcome,
        claims=report.claims,
        measured_on=time.strftime("%Y-%m-%d", time.gmtime()),
        code_sha256=code_sha256(row),
        data_sha256=data_sha256(need for claim in row.claims for need in claim.needs),
        machine=_machine(),
        versions=_versions(),
    )


def _seeds(row: Paper, claim: Claim, *, seed: int | None, quick: bool, recorded: ClaimResult | None) -> tuple[int, ...]:
    if quick and recorded is None:
        raise NotFoundError(
            message(
                f"quick for claim {claim.name!r} of {row.key!r}, which has no committed result",
                "a result to compare with",
                f"run `orthant reproduce {row.key}` without --quick",
            )
        )
    if seed is None:
        used = {*claim.development_seeds, *claim.fresh_seeds, *(recorded.seeds if recorded else ())}
        return (max(used) + 1,) if quick else claim.fresh_seeds
    chosen = tuple(range(seed, seed + (1 if quick else len(claim.fresh_seeds))))
    seen = sorted(set(chosen) & set(claim.development_seeds))
    if seen:
        raise InputError(
            message(
                f"seed={seed}, which runs seeds {seen} that claim {claim.name!r} was developed on",
                "fresh seeds",
                f"pass a seed above {max(claim.development_seeds)}",
            )
        )
    return chosen


def _measure(
    row: Paper, claim: Claim, seeds: Iterable[int], *, before: ClaimResult | None, progress: Progress | None
) -> ClaimResult:
    start = time.perf_counter()
    trials = {}
    for seed in seeds:
        if progress is not None:
            progress(f"{row.key}: {claim.name}, seed {seed}")
        trials[seed] = _trial(row, claim, seed)
    seconds = time.perf_counter() - start
    if before is None:
        return judge(claim, trials, seconds=seconds)
    result = judge(claim, trials, seconds=seconds, alternative=before.alternative or None)
    same, words = agrees(result, before)
    return replace(result, outcome=before.outcome if same else "fails", note=f"quick: {words}")


def _trial(row: Paper, claim: Claim, seed: int) -> Trial:
    try:
        return claim.run(seed)
    except (ClaimError, MissingExtraError):
        raise
    except Exception as error:
        raise ClaimError(
            message(
                f"{type(error).__name__} ({error}) from claim {claim.name!r} of {row.key!r} under seed {seed}",
                "figures",
                "report it as a defect; the claim neither holds nor fails",
            )
        ) from error


def _machine() -> dict[str, str]:
    import os
    import platform

    return {"system": platform.system(), "machine": platform.machine(), "cores": str(os.cpu_count())}


def _versions() -> dict[str, str]:
    import platform
    from importlib import metadata

    import orthant

    out = {"python": platform.python_version(), "orthant": orthant.__version__}
    for name in ("numpy", "scipy", "numba", "scikit-learn", "torch"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out
