"""A cleaning job that goes wrong, and the way back: snapshot, mistake, comparison, restore, archive.

Run ``python examples/07_snapshot_and_restore.py``; it works in a temporary folder and needs no network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import orthant

TOPICS = {
    "sea": "whales, tides, lighthouses and the people who keep them",
    "kitchen": "bread, ovens, dough and long Sunday meals",
    "sky": "kites, storms, balloons and the weather of next week",
    "rails": "trams, timetables, stations and night trains",
}


def records() -> tuple[list[str], list[str], list[dict]]:
    """Forty short notes of each topic."""
    ids, texts, metadata = [], [], []
    for topic, words in TOPICS.items():
        for i in range(40):
            ids.append(f"{topic}-{i}")
            texts.append(f"Note {i} about {words}.")
            metadata.append({"topic": topic, "number": i})
    return ids, texts, metadata


def main() -> None:
    """Tell the story."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.orthant"
        with orthant.open(path, encoder="static") as notes:
            ids, texts, metadata = records()
            notes.upsert(ids, texts=texts, metadata=metadata)
            info = notes.snapshot("before-cleaning")
            print(f"snapshot: {info.records} records, {info.bytes:,} bytes, of which {info.own_bytes:,} are its own")

            # The mistake: "remove old kitchen notes" was meant.
            removed = notes.delete(where={"number": {"lt": 30}})
            print(f"cleaning removed {removed} records; {len(notes)} are left")

            # Look at both states side by side before deciding.
            with orthant.open(path, snapshot="before-cleaning") as kept:
                question = "who looks after a lighthouse?"
                print(f"before: {kept.search(question, k=3).ids}")
                print(f"now:    {notes.search(question, k=3).ids}")

            report = notes.restore("before-cleaning")
            print(f"restored: {report.brought_back} records came back, {report.removed} went")
            print(f"checked: {len(notes)} records, {'sound' if notes.check().ok else 'damaged'}")

            notes.delete(where={"number": {"lt": 30}, "topic": "kitchen"})
            print(f"cleaned as it was meant: {len(notes)} records")
            archive = Path(folder) / "notes.orthant.zip"
            notes.export(archive)

        with orthant.open(Path(folder) / "copy.orthant") as copy:
            report = copy.import_from(archive)
            print(f"archive of {archive.stat().st_size:,} bytes read back: {report.records} records, {report.vectors}")


if __name__ == "__main__":
    main()
