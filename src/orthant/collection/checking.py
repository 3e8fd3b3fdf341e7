"""Verifying a collection and mending what can be mended.

Records cannot be rebuilt from anything, so damage to them is only reported. Vectors are encoded again from texts;
derived files are rebuilt from records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from orthant.collection.records.items import items_of
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.sparse.checking import check_space
from orthant.collection.storage import derived, graphs, maintenance, merging, tables
from orthant.collection.storage.generation import Generation, SpaceState
from orthant.collection.storage.segments import BLOCK_BYTES, SegmentState
from orthant.collection.storage.store import Store
from orthant.collection.storage.texts import dictionaries
from orthant.errors import StoreCorruptedError
from orthant.kernels import bitmaps
from orthant.types import Encoder, TokenEncoder

__all__ = ["CheckReport", "Problem", "check"]


@dataclass(frozen=True)
class Problem:
    """One thing found wrong.

    Attributes
    ----------
    where : str
        The file, relative to the collection, or the table.
    what : str
        What is wrong.
    repairable : bool
        Whether ``repair`` can mend it.
    repaired : bool
        Whether it was mended.
    """

    where: str
    what: str
    repairable: bool
    repaired: bool = False


@dataclass
class CheckReport:
    """The outcome of a check.

    Attributes
    ----------
    records : int
        Records verified.
    vectors : int
        Live vectors verified.
    problems : list of Problem
        What was found; empty when sound.
    notes : list of str
        What is worth knowing and not wrong, such as vectors that could not be encoded again if they were lost.
    """

    records: int = 0
    vectors: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(problem.repaired for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            With ``ok``.
        """
        return {"ok": self.ok, **asdict(self)}


def check(store: Store, encoder_of: Callable[[str], Encoder] | None, *, repair: bool) -> CheckReport:
    """Verify a collection.

    Parameters
    ----------
    store : Store
        The opened store.
    encoder_of : callable, optional
        Gives the encoder of a space, for repairs.
    repair : bool
        Mend what can be mended.

    Returns
    -------
    CheckReport
        What was found.
    """
    if repair:
        with store.writer():
            return _check(store, encoder_of, repair=True)
    while True:
        began = store.refreshed().number
        report = _check(store, None, repair=False)
        # What looks wrong while somebody writes may only have moved on.
        if not report.problems or store.refreshed().number == began:
            return report


def _check(store: Store, encoder_of: Callable[[str], Encoder] | None, *, repair: bool) -> CheckReport:
    report = CheckReport()
    for line in store.database.integrity_problems():
        report.problems.append(Problem("store.sqlite", line, repairable=False))
    _check_dictionaries(store, report, repair=repair)
    rows, generation = _check_records(store, report)
    if rows is not None:
        _check_rows(store, generation, rows, report, repair=repair)
    _check_derived(store, report, repair=repair)
    for name, space in store.generation.spaces.items():
        _check_space(store, name, space, report, encoder_of)
    _check_graphs(store, report, repair=repair)
    for name in store.generation.sparse if rows is not None else ():
        _check_sparse(store, name, rows, report, encoder_of)
    return report


def _check_dictionaries(store: Store, report: CheckReport, *, repair: bool) -> None:
    """Verify both copies of what packed records share."""
    try:
        with store.database.reading() as connection:
            found = dictionaries.damaged(connection)
        if repair and found:
            with store.database.writing() as connection:
                dictionaries.repair(connection)
    except StoreCorruptedError as error:
        report.problems.append(Problem("store.sqlite", str(error), repairable=False))
        return
    for number, copies, data in found:
        what = f"{len(copies)} of 2 copies of dictionary {number} fail their checksum"
        held = data is not None
        report.problems.append(Problem("store.sqlite", what, repairable=held, repaired=repair and held))


def _check_records(store: Store, report: CheckReport) -> tuple[np.ndarray | None, Generation]:
    found: list[np.ndarray] = []
    with store.view() as (connection, generation):
        try:
            tables.read_meta(connection, store.database)
            for rows, _, _ in tables.records_from(connection, store.database, 0):
                found.append(rows)
        except StoreCorruptedError as error:
            report.problems.append(Problem("store.sqlite", str(error), repairable=False))
            return None, generation
    rows = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
    report.records = len(rows)
    return rows, generation


def _check_rows(store: Store, generation: Generation, rows: np.ndarray, report: CheckReport, *, repair: bool) -> None:
    live = bitmaps.to_rows(generation.live)
    if np.array_equal(live, rows):
        return
    what = f"{len(live)} rows are indexed where {len(rows)} records exist"
    if repair:
        store.rebuild()
    mended = repair and np.array_equal(bitmaps.to_rows(store.generation.live), rows)
    report.problems.append(Problem("derived", what, repairable=True, repaired=mended))


def _check_derived(store: Store, report: CheckReport, *, repair: bool) -> None:
    damaged = derived.damaged_folders(store.path)
    if damaged and repair:
        store.rebuild()
    still = {folder for folder, _ in derived.damaged_folders(store.path)} if repair else set()
    for folder, what in damaged:
        name = f"derived/{folder.name}"
        report.problems.append(Problem(name, what, repairable=True, repaired=repair and folder not in still))


def _definitions(now: Generation) -> list[SpaceDefinition]:
    return [space.definition for space in now.spaces.values()]


def _check_graphs(store: Store, report: CheckReport, *, repair: bool) -> None:
    """Verify graph files and what they hold; a graph is mended by building it anew, so this comes after its vectors."""
    now = store.generation
    found = {
        space.name: (f"derived/{folder.name}", what)
        for space, folder, what in graphs.damaged(store.path, _definitions(now))
    }
    for name, space in now.spaces.items():
        if space.graph is None or name in found:
            continue
        try:
            index = space.attached_graph()
        except StoreCorruptedError:
            # Its segments are damaged, which is reported as such.
            continue
        wrong = [space.graph.problem or "it cannot be used"] if index is None else index.check()
        if wrong:
            found[name] = (f"derived/{space.graph.folder.name}", "; ".join(wrong))
    for name, (where, what) in found.items():
        if repair:
            merging.drop(store, name)
            merging.settle(store)
        mended = repair and not [
            space for space, *_ in graphs.damaged(store.path, _definitions(now)) if space.name == name
        ]
        report.problems.append(Problem(where, what, repairable=True, repaired=mended))
    if repair:
        # One that the writer dropped on opening, since not even its manifest could be read.
        merging.settle(store)


def _check_space(
    store: Store,
    name: str,
    space: SpaceState,
    report: CheckReport,
    encoder_of: Callable[[str], Encoder] | None,
) -> None:
    live = store.generation.live
    report.vectors += space.live_count(live)
    for view in space.segments:
        path = space.folder.path(view.state.number)
        try:
            damaged = space.folder.verify(view.state, again=True)
        except StoreCorruptedError as error:
            damaged = list(range(len(view.state.crcs)))
            what = str(error)
        else:
            what = f"blocks {damaged} fail their checksum" if damaged else ""
        if not damaged:
            continue
        rows = view.rows[_slots_of(damaged, view.state, space.folder.stride)]
        rows = np.unique(rows[bitmaps.contains_rows(live, rows)])
        mended, advice = _encode_again(store, name, rows, encoder_of)
        if mended:
            maintenance.replace_vectors(store, name, view.state.number, mended)
        report.problems.append(
            Problem(
                str(path.relative_to(store.path)),
                f"{what}; {len(rows)} live vectors concerned{advice}",
                repairable=space.definition.fingerprint is not None,
                repaired=bool(mended),
            )
        )
    if space.definition.fingerprint is None and space.slots:
        report.notes.append(
            f"space {name!r} holds vectors brought by the user: if a segment were damaged they could not be made again"
        )


def _check_sparse(
    store: Store, name: str, rows: Any, report: CheckReport, encoder_of: Callable[[str], Any] | None
) -> None:
    vectors, finding = check_space(store, name, rows, encoder_of)
    report.vectors += vectors
    if finding is not None:
        where = f"sparse vectors of space {name!r} in store.sqlite"
        report.problems.append(Problem(where, finding.what, finding.repairable, finding.repaired))
    if store.generation.sparse[name].definition.fingerprint is None and vectors:
        report.notes.append(
            f"sparse space {name!r} holds weights brought by the user: damaged ones could not be made again"
        )


def _slots_of(blocks: list[int], state: SegmentState, stride: int) -> np.ndarray:
    hit = np.zeros(state.slots, dtype=bool)
    for block in blocks:
        hit[block * BLOCK_BYTES // stride : -(-(block + 1) * BLOCK_BYTES // stride)] = True
    return hit


def _encode_again(
    store: Store, name: str, rows: np.ndarray, encoder_of: Callable[[str], Any] | None
) -> tuple[dict[int, np.ndarray], str]:
    if encoder_of is None:
        return {}, ""
    if store.generation.spaces[name].definition.fingerprint is None:
        return {}, "; they were brought by the user: write these records again"
    with store.view() as (connection, _):
        found = tables.fetch_records(connection, store.database, rows.tolist())
    if not len(rows):
        return {}, ""
    encoder, held = encoder_of(name), rows.tolist()
    space = store.generation.spaces[name]
    texts, metadata = [found[row][1] for row in held], [found[row][2] for row in held]
    tokens = space.definition.kind == "tokens"
    items = [text or None for text in texts] if tokens else items_of(encoder, texts, metadata)
    lost = [found[row][0] for row, item in zip(held, items, strict=True) if item is None]
    if lost:
        return {}, f"; {len(lost)} of them have no text (first: {lost[0]!r}): write these records again"
    if tokens:
        return _tokens_again(space, dict(zip(held, items, strict=True)), encoder)
    X = encoder.encode(items, role="document")
    return dict(zip(held, X, strict=True)), ", encoded again"


def _tokens_again(space: SpaceState, texts: dict[int, Any], encoder: TokenEncoder) -> tuple[dict[int, np.ndarray], str]:
    tokens = encoder.encode_tokens(list(texts.values()), role="document")
    counts = sum(np.isin(view.rows, list(texts)).sum() for view in space.segments)
    if len(tokens) != len(texts) or len(tokens.values) != counts:
        return {}, "; the encoder gives another number of tokens now: write these records again"
    return {row: tokens[i] for i, row in enumerate(texts)}, ", encoded again"
