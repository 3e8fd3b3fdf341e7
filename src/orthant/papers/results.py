"""Committed results: where they are kept, what they hold, and how they are read.

One home: ``measured/KEY.json`` beside this module. It is package data, so an installed wheel and a source checkout read
the same file through the same path, and a row's "last measured" means the same in both. `write` also puts the
same bytes into ``benchmarks/results/papers/`` of a checkout, next to the other benchmark results, for readers of the
repository; nothing reads that copy, and a test holds both equal.

A file holds the outcome, every claim's figures with seeds and per-seed gains, the date, the machine and versions, a
hash of the code (the row's module and the modules it names) and a hash of each data set. A result whose code has
changed since is `stale`: still evidence, but about older code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthant.datasets.registry import folder_hash
from orthant.errors import StoreCorruptedError, StoreVersionError, message
from orthant.papers.record import ClaimOutcome, ClaimResult, Paper

__all__ = [
    "HOME",
    "Measurement",
    "absent_data",
    "code_sha256",
    "data_sha256",
    "last_measured",
    "module_sources",
    "parse",
    "read",
    "stale",
    "write",
]

HOME = Path(__file__).with_name("measured")
NOT_MEASURED = "not measured"
_FORMAT = 1
_TUPLES = ("seeds", "gains", "ablated_gains")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A committed result.

    Attributes
    ----------
    key : str
        Row it belongs to.
    outcome : {"holds", "reported", "fails"}
        Outcome of the row.
    claims : tuple of ClaimResult
        Figures of each claim.
    measured_on : str
        Date, ISO 8601.
    code_sha256 : str
        Hash of the code that was measured.
    data_sha256 : mapping of str to str
        Hash of each data set that was read.
    machine, versions : mapping of str to str
        Where and with what it ran.
    """

    key: str
    outcome: ClaimOutcome
    claims: tuple[ClaimResult, ...]
    measured_on: str
    code_sha256: str
    data_sha256: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def read(key: str, *, home: str | Path = HOME) -> Measurement | None:
    """Return the committed result of a row.

    Parameters
    ----------
    key : str
        Key of the row.
    home : str or Path
        Folder of the results; the package's own by default.

    Returns
    -------
    Measurement or None
        None when the row was never measured.

    Raises
    ------
    StoreCorruptedError
        The file is not a result, or belongs to another row.
    StoreVersionError
        The file needs a newer release.

    Examples
    --------
    >>> read("no-such-row") is None
    True
    """
    path = Path(home) / f"{key}.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = parse(text, name=path.name)
    if found.key != key:
        raise StoreCorruptedError(
            message(f"{path.name} with key {found.key!r}", f"key {key!r}", "measure the row again")
        )
    return found


def parse(text: str, *, name: str = "result") -> Measurement:
    """Return the result that a JSON text describes.

    Parameters
    ----------
    text : str
        What `write` wrote.
    name : str, default "result"
        How the text is called in an error.

    Returns
    -------
    Measurement
        The result.

    Raises
    ------
    StoreCorruptedError
        Not JSON, or fields are missing or unknown.
    StoreVersionError
        A format of a newer release.
    """
    try:
        raw = json.loads(text)
        version = raw.pop("format")
        if version > _FORMAT:
            raise StoreVersionError(message(f"{name} of format {version}", f"format {_FORMAT}", "upgrade orthant"))
        claims = tuple(_claim_result(claim) for claim in raw.pop("claims"))
        return Measurement(claims=claims, **raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorruptedError(
            message(f"{name} that is not a result ({error})", "a file written by `write`", "measure the row again")
        ) from error


def write(result: Measurement, *, homes: Iterable[str | Path] = (HOME,)) -> list[Path]:
    """Store a result, the same bytes in every home.

    Parameters
    ----------
    result : Measurement
        What was measured.
    homes : iterable of str or Path
        Folders, created if missing.

    Returns
    -------
    list of Path
        The files.
    """
    from orthant.artifact import write_bytes_atomically

    record: dict[str, Any] = {"format": _FORMAT, **vars(result), "claims": [claim.as_json() for claim in result.claims]}
    payload = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    paths = [Path(home) / f"{result.key}.json" for home in homes]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, payload)
    return paths


def last_measured(key: str, *, home: str | Path = HOME) -> str:
    """Return the last measured claim of a row in one line.

    Parameters
    ----------
    key : str
        Key of the row.
    home : str or Path
        Folder of the results.

    Returns
    -------
    str
        The row's headline claim (the first that decided the outcome), or ``"not measured"``.

    Examples
    --------
    >>> last_measured("no-such-row")
    'not measured'
    """
    found = read(key, home=home)
    if found is None or not found.claims:
        return NOT_MEASURED
    claim = next((c for c in found.claims if c.outcome == found.outcome), found.claims[0])
    rival = f" against {claim.strongest_alternative[claim.metric]:.4g} ({claim.alternative})"
    return (
        f"{claim.name} {claim.outcome}: {claim.metric} {claim.measured[claim.metric]:.4g}{rival}, {found.measured_on}"
    )


def stale(row: Paper, *, home: str | Path = HOME) -> bool:
    """Whether a row's code has changed since it was last measured.

    Parameters
    ----------
    row : Paper
        The row.
    home : str or Path
        Folder of the results.

    Returns
    -------
    bool
        False when it was never measured.
    """
    found = read(row.key, home=home)
    return found is not None and found.code_sha256 != code_sha256(row)


def code_sha256(row: Paper) -> str:
    """Hash the row's module and the source of every module it names; nothing is imported but parent packages.

    Parameters
    ----------
    row : Paper
        The row.

    Returns
    -------
    str
        SHA-256 in hexadecimal; a module that does not exist contributes its name only.
    """
    digest = hashlib.sha256()
    for name in (f"orthant.papers.{row.wing}.{row.key.replace('-', '_')}", *row.lives_in):
        digest.update(name.encode())
        for path in module_sources(name):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def data_sha256(needs: Iterable[str]) -> dict[str, str]:
    """Hash the files of data sets under ``ORTHANT_DATA``.

    Parameters
    ----------
    needs : iterable of str
        Folder names.

    Returns
    -------
    dict of str to str
        SHA-256 of relative names and contents, for each folder that exists. Cost: reads every byte once.
    """
    out = {}
    for need in sorted(set(needs)):
        folder = _data_folder(need)
        if folder is None:
            continue
        out[need] = folder_hash(folder)
    return out


def absent_data(needs: Iterable[str]) -> tuple[str, ...]:
    """Return the data sets that are not under ``ORTHANT_DATA``.

    Parameters
    ----------
    needs : iterable of str
        Folder names.

    Returns
    -------
    tuple of str
        Sorted names; all of them when ``ORTHANT_DATA`` is not set.
    """
    return tuple(sorted(need for need in set(needs) if _data_folder(need) is None))


def _claim_result(raw: dict[str, Any]) -> ClaimResult:
    return ClaimResult(**{**raw, **{name: tuple(raw[name]) for name in _TUPLES}})


def _data_folder(name: str) -> Path | None:
    root = os.environ.get("ORTHANT_DATA", "")
    folder = Path(root) / name
    return folder if root and folder.is_dir() else None


def module_sources(module: str) -> list[Path]:
    """Return the files of a module, without importing it.

    Parameters
    ----------
    module : str
        Dotted name.

    Returns
    -------
    list of Path
        One file, or every file of a package; empty where there is no such module.
    """
    import importlib.util

    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return []
    if spec is None or spec.origin is None:
        return []
    origin = Path(spec.origin)
    return sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
