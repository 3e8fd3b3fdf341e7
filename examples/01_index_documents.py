"""Index a folder of documents, search it, show passages, and follow what changes.

Makes a small folder of notes, a page, a program and a mail in a temporary place. Run it with:

    python examples/01_index_documents.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import orthant
from orthant.datasets.documents import Chunking

DOCUMENTS = {
    "guide.md": """# Flying a kite

## Wind

A single-line kite wants a steady breeze. In gusts it dives, and in a calm it does not rise at all.

## Line

Use a line that holds three times the pull. A wet line is weaker than a dry one.
Wear gloves: a line that runs out burns.

## Storms

Never fly in a thunderstorm. Lightning finds a wet line.
""",
    "web/boats.html": """<html><head><title>Boats</title><script>track();</script></head><body>
<nav><a href="/">Home</a></nav><h1>Boats</h1><h2>Sails</h2><p>A torn sail is mended with tape at sea,
and with a needle ashore.</p><h2>Anchors</h2><p>Let out five times the depth in chain.</p></body></html>""",
    "tools/knots.py": '''"""Knots by what they are for."""


def bowline():
    """A loop that does not slip and can always be untied."""
    return "up through the hole, round the tree, back down the hole"


def clove_hitch():
    """Ties a rope to a post; it slips under a changing pull."""
    return "round, cross over, round again, tuck under"
''',
    "mail/repair.eml": """From: Ann <ann@harbour.example>
To: Ben <ben@harbour.example>
Subject: The engine
Date: Mon, 02 Mar 2020 10:00:00 +0100
Message-ID: <42@harbour.example>

The cooling pump leaks. I ordered a gasket; it comes on Friday.
""",
}


def main() -> None:
    """Run the journey."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "harbour"
        for name, text in DOCUMENTS.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (folder / "broken.txt").write_bytes(bytes(range(8)) * 100)

        with orthant.open(Path(place) / "harbour.orthant", encoder="static") as harbour:
            chunking = Chunking(by="headings", size=60)
            report = harbour.add_documents(folder, chunk=chunking, on_error="skip")
            print(f"{report.added} documents became {report.chunks_written} chunks.")
            for skipped in report.skipped:
                print(f"Skipped {skipped.source}: {skipped.reason}")

            for question in ("how strong must the line be", "a loop that can be untied", "when does the gasket arrive"):
                hit = harbour.search(question, k=1)[0]
                print(f"\n{question}?\n  {hit.metadata['source']} > {hit.metadata['heading'] or hit.metadata['title']}")
                print("  " + " ".join(hit.text.split()))

            best = harbour.search("torn sail", k=1)[0]
            passage = harbour.passage(best.id, after=1)
            print(f"\nWith the chunk behind it ({', '.join(passage.chunks)}):\n  " + " ".join(passage.text.split()))

            (folder / "guide.md").write_text(DOCUMENTS["guide.md"].replace("three times", "four times"))
            (folder / "mail" / "repair.eml").unlink()
            again = harbour.add_documents(folder, chunk=chunking, on_error="skip", prune=True)
            counts = f"{again.updated} document updated, {again.unchanged} unchanged, {again.removed} removed"
            print(f"\nA day later: {counts}.")
            print("  " + " ".join(harbour.search("how strong must the line be", k=1)[0].text.split()))


if __name__ == "__main__":
    main()
