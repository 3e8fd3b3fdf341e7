"""Arms of the cells that other libraries bring: hnswlib with its own filter, and stores told the filter in words."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.evaluation.ann.inputs import AnnInputs
from orthant.evaluation.ann.process import EngineFailedError
from orthant.evaluation.context import versions
from orthant.evaluation.filtered.arms import Arm
from orthant.evaluation.filtered.cells import Cell, Group, Wanted
from orthant.evaluation.filtered.peers import PeerTable, write_columns
from orthant.evaluation.filtered.rivals import STORES, HnswlibFilter, why_missing
from orthant.types import FloatArray, IdArray

__all__ = ["OTHERS", "Others", "check_others", "column_name", "make_others"]

OTHERS = ("hnswlib-filter", *STORES)
"""Arms that are asked for by name, since their builds and answers take long."""

_HNSWLIB_NOTE = "M 16, construction 200, full vectors; its filter argument calls a Python function per row met"


@dataclass
class Others:
    """What could be built.

    Attributes
    ----------
    arms : list of Arm
        Ready.
    missing : dict of str to str
        Reason by name.
    about : dict of str to dict
        How each was built, and for how long.
    """

    arms: list[Arm] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)


class _Hnswlib:
    name = "hnswlib-filter"

    def __init__(self, index: HnswlibFilter) -> None:
        self._index = index

    def settings(self, cell: Cell, k: int) -> list[dict[str, Any]]:
        return [{"ef": ef} for ef in self._index.settings()]

    def ready(self, cell: Cell) -> None:
        """Nothing: the function looks into the mask."""

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        return self._index.ask(q, k, cell, setting["ef"])[0][None], ""


class _Store:
    def __init__(self, table: PeerTable) -> None:
        self.name, self._table = table.store, table

    @property
    def took_s(self) -> float:
        return self._table.took_s

    def settings(self, cell: Cell, k: int) -> list[dict[str, Any]]:
        share = len(cell.rows) / max(1, len(cell.mask))
        return [one for one in self._table.efforts() if share <= one.get("up_to", 1.0)]

    def ready(self, cell: Cell) -> None:
        """Nothing: it is told the filter with every query, as its users tell it."""

    def search(self, q: FloatArray, k: int, cell: Cell, setting: dict[str, Any]) -> tuple[IdArray, str]:
        if cell.wanted is None:
            raise InputError(message("a cell of rows alone", "a filter in words", "give wanted= to Cell.of"))
        return self._table.ask(q, k, cell.wanted.where(len(cell.mask)), setting)[None], ""


def column_name(relation: str, i: int) -> str:
    """Return the name of the attribute of a group.

    Parameters
    ----------
    relation : str
        Of the group.
    i : int
        Its place among those of the relation.

    Returns
    -------
    str
        With no minus sign in it, as SQL wants.

    Examples
    --------
    >>> column_name("anti-correlated", 1)
    'anti_correlated_1'
    """
    return f"{relation.replace('-', '_')}_{i}"


def check_others(names: Sequence[str]) -> None:
    """Refuse names of no rival, before anything is built.

    Parameters
    ----------
    names : sequence of str
        Of ``OTHERS``.

    Raises
    ------
    InputError
        Another one.
    """
    unknown = [name for name in names if name not in OTHERS]
    if unknown:
        raise InputError(message(f"rivals {unknown}", f"some of {', '.join(OTHERS)}", "check the spelling"))


def make_others(
    names: Sequence[str],
    inputs: AnnInputs,
    groups: Mapping[str, Sequence[Group]],
    wanted: Sequence[Wanted],
    *,
    python: str | None,
    cache: Path | None,
    threads: int,
    held: ExitStack,
) -> Others:
    """Build arms of other libraries.

    Parameters
    ----------
    names : sequence of str
        Of ``OTHERS``.
    inputs : AnnInputs
        Vectors.
    groups : mapping of str to sequence of Group
        By relation; their attributes become columns.
    wanted : sequence of Wanted
        Every filter that will be asked.
    python : str or None
        Interpreter that has the stores; None for this one.
    cache : Path or None
        Where they are kept for later runs.
    threads : int
        Threads for building, where the library takes a number.
    held : ExitStack
        Ends their processes.

    Returns
    -------
    Others
        Arms, and reasons for those that are missing.

    Raises
    ------
    InputError
        Unknown names.
    """
    check_others(names)
    made = Others(missing={name: reason for name in names if (reason := why_missing(name, python)) is not None})
    ranks = {column_name(one, i): group.rank for one, some in groups.items() for i, group in enumerate(some)}
    folder = cache or Path(held.enter_context(TemporaryDirectory()))
    for name in names:
        if name in made.missing:
            continue
        if name not in STORES:
            arm, made.about[name] = _hnswlib(inputs, folder / name, threads)
            made.arms.append(arm)
            continue
        try:
            table = _table(name, inputs, ranks, wanted, folder, python)
            # Opened here, so that one that was kept and has lost rows since is missing rather than wrong in every cell.
            table.efforts()
        except EngineFailedError as error:
            made.missing[name] = str(error)
            continue
        held.callback(table.close)
        made.arms.append(_Store(table))
        made.about[name] = table.about
    return made


def _hnswlib(inputs: AnnInputs, folder: Path, threads: int) -> tuple[_Hnswlib, dict[str, Any]]:
    file = folder / f"{inputs.data_sha256[:16]}.bin"
    told = file.with_suffix(".json")
    begin, cpu = time.perf_counter(), time.process_time()
    arm = _Hnswlib(HnswlibFilter(inputs.base, inputs.metric, threads, file))
    if not told.is_file():
        spent = {"build_s": time.perf_counter() - begin, "build_cpu_s": time.process_time() - cpu}
        about = {"versions": {"hnswlib": versions(["hnswlib"])["hnswlib"]}, "note": _HNSWLIB_NOTE}
        told.write_text(json.dumps(about | {key: round(value, 1) for key, value in spent.items()}), encoding="utf-8")
    return arm, json.loads(told.read_text(encoding="utf-8"))


def _table(
    name: str,
    inputs: AnnInputs,
    ranks: Mapping[str, IdArray],
    wanted: Sequence[Wanted],
    folder: Path,
    python: str | None,
) -> PeerTable:
    columns: dict[str, Any] = {}
    for one in wanted:
        columns |= one.columns(ranks[one.column])
    key = hashlib.sha256(inputs.data_sha256.encode())
    for label, values in sorted(columns.items()):
        key.update(label.encode() + np.ascontiguousarray(values).tobytes())
    place = folder / name / key.hexdigest()[:16]
    if not (place / "table" / "built.json").is_file():
        write_columns(place / "columns", columns)
    return PeerTable(
        name,
        folder=place / "table",
        base=inputs.base_path,
        columns=place / "columns",
        metric=inputs.metric,
        python=python,
    )
