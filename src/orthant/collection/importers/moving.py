"""Moving in: look through the whole source, refuse or go on, then write batch by batch."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from orthant.collection.adding import Rehearsal, given_vectors
from orthant.collection.importers.report import ForeignReport, Tally
from orthant.collection.importers.sorting import Sorter, Target
from orthant.collection.importers.spool import Spool
from orthant.collection.records.items import items_of
from orthant.collection.spaces import require_dense
from orthant.datasets.foreign.contents import ForeignSource
from orthant.datasets.foreign.opening import ForeignKind, open_foreign
from orthant.datasets.record_batches import Records
from orthant.encoders.fingerprint import short_fingerprint
from orthant.errors import DimensionError, EncoderMismatchError, InputError, message
from orthant.types import Metric
from orthant.validate import check_choice, check_count, check_metric

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["import_foreign"]

_SAMPLE = 8
# The same model in another runtime or precision stays far above; another model falls far below.
_SAME_ENCODER = 0.98


def import_foreign(
    collection: Collection,
    source: str | Path,
    *,
    kind: ForeignKind | None,
    reading: Mapping[str, Any],
    space: str | Mapping[str, str],
    vectors: bool,
    metric: Metric | None,
    on_unknown: Literal["raise", "report"],
    existing: Literal["replace", "skip"],
    batch_size: int,
    advance: Callable[[int], None] | None,
) -> ForeignReport:
    """Write another project's records into a collection; see ``Collection.import_foreign`` for the settings.

    Parameters
    ----------
    collection : Collection
        Where to.
    source : str or Path
        As for ``orthant.datasets.foreign.opening.open_foreign``.
    kind, reading
        Settings of ``open_foreign``.
    space, vectors, metric, on_unknown, existing, batch_size, advance
        As for ``Collection.import_foreign``.

    Returns
    -------
    ForeignReport
        What was carried and what was not.
    """
    check_choice(on_unknown, ("raise", "report"), name="on_unknown")
    check_choice(existing, ("replace", "skip"), name="existing")
    check_count(batch_size, name="batch_size")
    if metric is not None:
        check_metric(metric)
    began = time.perf_counter()
    opened = open_foreign(source, kind=kind, **reading)
    try:
        targets = _targets(collection, opened, space, metric) if vectors else {}
        with Spool() as spool:
            sorter = Sorter(targets)
            _look(collection, opened, sorter, spool if opened.remote else None, batch_size)
            if sorter.tally.lost and on_unknown == "raise":
                raise _refusal(source, opened, sorter.tally)
            looked = time.perf_counter()
            _make_spaces(collection, targets)
            again: Iterable[Records] = spool if opened.remote else _sorted(opened, Sorter(targets), batch_size)
            written = _write(collection, again, targets, vectors=vectors, existing=existing, advance=advance)
        ended = time.perf_counter()
    finally:
        opened.close()
    tally = sorter.tally
    held = collection.spaces
    return ForeignReport(
        source=_without_password(source),
        kind=opened.kind,
        table=opened.name,
        found=tally.found,
        **written,
        metrics={
            target.space: {"source": opened.vectors[name].metric, "space": held[target.space].metric}
            for name, target in targets.items()
            if target.space in held
        },
        without_text=tally.without_text,
        without_vector=tally.without_vector,
        lost=dict(tally.lost),
        examples=tally.examples,
        converted=dict(tally.converted),
        seconds={"look": looked - began, "write": ended - looked},
    )


def _targets(
    collection: Collection, opened: ForeignSource, space: str | Mapping[str, str], metric: Metric | None
) -> dict[str, Target]:
    """Pair the source's vector fields with spaces."""
    if isinstance(space, Mapping):
        unknown = [name for name in space if name not in opened.vectors]
        if unknown or len(set(space.values())) != len(space):
            known = ", ".join(repr(name) for name in opened.vectors) or "none"
            raise InputError(
                message(f"space={dict(space)!r}", f"its vector fields ({known}) to different spaces", "correct it")
            )
        chosen = dict(space)
    elif len(opened.vectors) > 1:
        pairs = {name: name for name in opened.vectors}
        raise InputError(
            message(
                f"{opened.name!r} with {len(opened.vectors)} vectors per record",
                "a space for each",
                f"pass space={pairs}",
            )
        )
    else:
        chosen = dict.fromkeys(opened.vectors, space)
    held = collection.spaces
    fresh = {definition.name: definition for definition, _ in collection._missing_space({})}
    out = {}
    for name, wanted in chosen.items():
        declared = opened.vectors[name]
        definition = held.get(wanted) or fresh.get(wanted)
        if definition is not None:
            require_dense(definition)
        if definition is None:
            out[name] = Target(wanted, declared.dim, metric or collection._metric or declared.metric or "cosine")
            continue
        if metric not in (None, definition.metric):
            given = f"metric={metric!r} for space {wanted!r}, which has {definition.metric!r}"
            raise InputError(message(given, "the stored metric", "leave metric out, or name another space"))
        if declared.dim not in (None, definition.dim):
            # All of them, so it is the space that is wrong, not a record.
            given = f"vectors of {declared.dim} dimensions for space {wanted!r}"
            remedy = "pass space='imported' to keep them apart, or vectors=False to encode the texts anew"
            raise DimensionError(message(given, f"its {definition.dim}", remedy))
        out[name] = Target(wanted, definition.dim, definition.metric)
    for name in opened.vectors:
        if name not in chosen:
            # Left out on purpose: told, but no reason to refuse.
            opened.notes[f"vector field {name!r}, left out by space="] = opened.count or 1
    return out


def _sorted(opened: ForeignSource, sorter: Sorter, batch_size: int) -> Iterator[Records]:
    for batch in opened.batches(batch_size):
        yield sorter.sort(batch)


def _look(collection: Collection, opened: ForeignSource, sorter: Sorter, spool: Spool | None, batch_size: int) -> None:
    """Read everything once; after this only the disk can fail."""
    tally, rehearsal, sampled = sorter.tally, Rehearsal(collection), False
    for batch in _sorted(opened, sorter, batch_size):
        # Vectors were checked against their spaces; those may not exist yet.
        rehearsal.check(Records(batch.ids, batch.texts, batch.metadata))
        if not sampled:
            sampled = _compare(collection, batch)
            _require_encoders(collection, batch, sorter.targets)
        if spool is not None:
            spool.append(batch)
    for reason, count in opened.losses.items():
        tally.lost[reason] += count
    for reason, count in opened.notes.items():
        tally.converted[reason] += count


def _compare(collection: Collection, batch: Records) -> bool:
    """Refuse vectors for a space whose own encoder gives other ones; return whether anything could be compared."""
    compared = False
    for name in batch.vectors or {}:
        given = collection._encoders.given(name)
        if given is None and not (name in collection.spaces and collection._encoders.at_hand(name)):
            continue
        has = batch.has_vector(name)
        encoder = given if given is not None else collection._encoders.require(name)
        items = items_of(encoder, batch.texts, batch.metadata)
        rows = [i for i, item in enumerate(items) if item is not None and has[i]][:_SAMPLE]
        if not rows:
            continue
        ours = np.asarray(encoder.encode([items[i] for i in rows], role="document"), dtype=np.float64)
        theirs = (batch.vectors or {})[name][rows].astype(np.float64)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = float(np.median(np.einsum("ij,ij->i", ours, theirs) / np.where(norms > 0, norms, 1.0)))
        if cosine < _SAME_ENCODER:
            raise EncoderMismatchError(
                message(
                    f"vectors for space {name!r} whose median cosine with its encoder's is {cosine:.2f}",
                    "vectors of the same encoder",
                    "pass space='imported' to keep them apart, or vectors=False to encode the texts anew",
                )
            )
        compared = True
    return compared


def _require_encoders(collection: Collection, batch: Records, targets: Mapping[str, Target]) -> None:
    aimed = {target.space for target in targets.values()}
    if not any(batch.texts):
        return
    for name, definition in collection.spaces.items():
        if definition.fingerprint is not None and name not in aimed and not collection._encoders.at_hand(name):
            maker = short_fingerprint(definition.fingerprint)
            raise InputError(
                message(
                    f"texts for space {name!r}, whose encoder {maker} is not at hand",
                    "that encoder",
                    "open the collection with encoder=...",
                )
            )


def _make_spaces(collection: Collection, targets: Mapping[str, Target]) -> None:
    held = {*collection.spaces, *(definition.name for definition, _ in collection._missing_space({}))}
    for target in targets.values():
        if target.dim is not None and target.space not in held:
            collection.add_space(target.space, dim=target.dim, metric=target.metric)


def _write(
    collection: Collection,
    batches: Iterable[Records],
    targets: Mapping[str, Target],
    *,
    vectors: bool,
    existing: str,
    advance: Callable[[int], None] | None,
) -> dict[str, Any]:
    records = replaced = skipped = 0
    counts: dict[str, int] = {}
    with collection.bulk():
        for found in batches:
            batch = found if existing == "replace" else _new_ones(collection, found)
            skipped += len(found) - len(batch)
            given = (given_vectors(batch) or {}) if vectors else {}
            # A record without a vector in the source must not be encoded into that space beside the others.
            spaces = {t.space for t in targets.values() if t.dim is not None}
            given |= {name: [None] * len(batch) for name in spaces if name not in given}
            if len(batch):
                report = collection.upsert(batch.ids, texts=batch.texts, metadata=batch.metadata, vectors=given or None)
                records, replaced = records + report.records, replaced + report.replaced
                for name, count in report.vectors.items():
                    counts[name] = counts.get(name, 0) + count
            if advance is not None:
                advance(len(found))
    return {"records": records, "replaced": replaced, "skipped": skipped, "vectors": counts}


def _new_ones(collection: Collection, batch: Records) -> Records:
    there = collection.get(batch.ids) if len(batch) else []
    rows = [i for i, record in enumerate(there) if record is None]
    return Records(
        [batch.ids[i] for i in rows],
        [batch.texts[i] for i in rows],
        [batch.metadata[i] for i in rows],
        {name: X[rows] for name, X in batch.vectors.items()} if batch.vectors else None,
    )


def _refusal(source: str | Path, opened: ForeignSource, tally: Tally) -> InputError:
    return InputError(
        message(
            f"{_without_password(source)} ({opened.kind}) with what cannot be carried: {tally.told()}",
            "records that a collection can hold whole",
            "pass on_unknown='report' to import the rest and have this counted; nothing was written",
        )
    )


def _without_password(source: str | Path) -> str:
    text = str(source)
    if "://" not in text:
        return text
    parts = urllib.parse.urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
