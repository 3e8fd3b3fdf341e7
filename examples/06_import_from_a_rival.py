"""Move a Chroma folder and an hnswlib file into one collection, see what was carried, and search it.

Run it as ``python examples/06_import_from_a_rival.py``. The two sources are small ones that chromadb 1.5.9 and hnswlib
wrote; neither package is needed to read them.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import orthant
from orthant.collection.importers.report import ForeignReport
from orthant.errors import EncoderMismatchError, InputError

SOURCES = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "foreign"


def told(report: ForeignReport) -> None:
    """Print what came along and what did not."""
    print(f"{report.kind} {report.table}: {report.records} of {report.found} records, vectors {report.vectors}")
    for reason, count in report.converted.items():
        print(f"  changed: {reason}: {count}")
    for reason, count in report.lost.items():
        print(f"  not carried: {reason}: {count} (such as {', '.join(report.examples[reason])})")


def main(folder: Path) -> None:
    """Move a Chroma folder and an hnswlib file in."""
    chroma = folder / "chroma"
    with zipfile.ZipFile(SOURCES / "chroma.zip") as archive:
        archive.extractall(chroma)
    with orthant.open(folder / "notes.orthant", encoder="static") as notes:
        # The folder has vectors of some other model; they cannot join a space that has its own encoder.
        try:
            notes.import_foreign(chroma, table="notes")
        except (EncoderMismatchError, InputError) as error:
            print(f"refused: {error}\n")
        # Kept apart, they come along, and the texts are encoded anew beside them.
        told(notes.import_foreign(chroma, table="notes", space="chroma"))

        # An hnswlib file has numbers only; what belongs to them lies elsewhere.
        records = [{"id": f"card-{i}", "text": f"Card {i} of the catalogue.", "drawer": i // 4} for i in range(109)]
        records[105]["scan"] = b"\x89PNG"
        try:
            notes.import_foreign(SOURCES / "nine.hnsw", records=records, space="cards", metric="l2")
        except InputError as error:
            print(f"\nrefused: {error}\n")
        told(
            notes.import_foreign(
                SOURCES / "nine.hnsw", records=records, space="cards", metric="l2", on_unknown="report", vectors=True
            )
        )
        again = notes.import_foreign(chroma, table="notes", space="chroma", existing="skip")
        print(f"the same call again: {again.records} written, {again.skipped} there already")

        print(f"\n{len(notes)} records in spaces {', '.join(sorted(notes.spaces))}")
        for hit in notes.search("music", k=3):
            print(f"  {hit.score:.3f}  {hit.id:8} {hit.text}")
        found = notes.find({"drawer": 26})
        print(f"in drawer 26: {', '.join(record.id for record in found)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
