"""``orthant demo``: the main job on real input: two collections built, searched and explained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.collection import Collection

__all__ = ["build_documentation", "build_papers", "register"]

_BATCH = 4096


class _Stages:
    """Seconds per stage, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, str] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def _fresh(path: Path) -> Path:
    import shutil

    from orthant.collection.storage.store import DATABASE_NAME

    # Only what an earlier demonstration made is deleted; anything else makes `open` refuse.
    if (path / DATABASE_NAME).exists():
        shutil.rmtree(path)
    return path


def build_documentation(folder: Path, stages: Any, *, quiet: bool = False) -> Path:
    """Index the documentation of Python, NumPy, SciPy and scikit-learn as installed here.

    Parameters
    ----------
    folder : Path
        Where the collection goes.
    stages : object with ``measure(name)``
        Collects seconds per stage.
    quiet : bool, default False
        No progress on stderr.

    Returns
    -------
    Path
        The collection.
    """
    from orthant.cli.output import progress_bar
    from orthant.collection.opening import open
    from orthant.datasets.pydocs import read_python_documentation

    with stages.measure("read documentation"):
        found = read_python_documentation(progress=not quiet)
    target = _fresh(folder / "docs.orthant")
    stages.notes["read documentation"] = f"{found.files:,} source files, {len(found):,} records"
    with open(target, encoder="static") as collection:
        with progress_bar("indexing documentation", len(found), quiet=quiet) as advance:
            for begin in range(0, len(found), _BATCH):
                part = found.documents[begin : begin + _BATCH]
                report = collection.upsert(
                    [d.id for d in part],
                    texts=[d.content for d in part],
                    metadata=[dict(d.metadata) for d in part],
                )
                for stage, seconds in report.seconds.items():
                    stages.seconds[stage] = stages.seconds.get(stage, 0.0) + seconds
                advance(len(part))
        with stages.measure("save index"):
            collection.close()
    stages.notes["encode"] = "static encoder, one vector per record"
    stages.notes["commit"] = "SQLite, segments, columns, postings; durable after every 4,096 records"
    return target


def build_papers(folder: Path, stages: Any) -> Path:
    """Index the research papers that Orthant is built from.

    Parameters
    ----------
    folder : Path
        Where the collection goes.
    stages : object with ``measure(name)``
        Collects seconds per stage.

    Returns
    -------
    Path
        The collection.
    """
    from orthant.collection.opening import open
    from orthant.papers.catalogue import documents

    target = _fresh(folder / "papers.orthant")
    with stages.measure("papers"), open(target, encoder="static") as collection:
        records = documents()
        collection.upsert(
            [r["id"] for r in records], texts=[r["text"] for r in records], metadata=[r["metadata"] for r in records]
        )
    stages.notes["papers"] = f"{len(records)} papers, read, encoded and stored"
    return target


def _searches(docs: Collection, papers: Collection) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    shown = ("package", "kind", "version")
    query = "decompose a matrix into orthogonal and triangular factors"
    yield f"Dense: {query!r}", docs.search(query, k=4, mode="dense", explain=True), shown
    query = "read a csv file line by line"
    yield f"Hybrid: {query!r}", docs.search(query, k=4, mode="hybrid", explain=True), shown
    where = {"package": {"in": ["scipy", "sklearn"]}, "kind": "function"}
    query = "distance between two probability distributions"
    yield f"Filtered: {query!r}", docs.search(query, k=4, where=where, explain=True), shown
    query = "faster vector search with compressed codes"
    fields = ("lives_in", "status", "last_measured", "reproduce")
    yield f"Papers: {query!r}", papers.search(query, k=3, explain=True), fields


def register(app: typer.Typer) -> None:
    """Add the verb ``demo``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("demo", help="Index Python's own documentation and the papers; search both, explained.")
    def demo(
        folder: str = typer.Option("demo", help="Where the two collections go."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_hits, print_json, print_table
        from orthant.collection.opening import open

        began = time.perf_counter()
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        stages = _Stages()
        docs = build_documentation(home, stages, quiet=json)
        papers = build_papers(home, stages)
        with (
            stages.measure("open and search"),
            open(docs, read_only=True) as left,
            open(papers, read_only=True) as right,
        ):
            found = list(_searches(left, right))
            stages.notes["open and search"] = f"{len(left):,} + {len(right)} records, four queries"
        total = time.perf_counter() - began
        if json:
            searches = [{"title": title, **result.to_dict()} for title, result, _ in found]
            print_json({"folder": folder, "seconds": {**stages.seconds, "total": total}, "searches": searches})
            return
        for title, result, fields in found:
            print_hits(title, result, fields=fields)
        rows = [(name, f"{seconds:.2f}", stages.notes.get(name, "")) for name, seconds in stages.seconds.items()]
        print_table("Where the time went", ("stage", "seconds#", "what"), [*rows, ("total", f"{total:.2f}", "")])
        print("Try next:")
        print(f'  orthant search {docs} "parse command line arguments" -k 5')
        print(f'  orthant search {docs} "sort an array" --where \'{{"package": "numpy"}}\' --explain')
        print(f'  orthant search {papers} "replace a model without re-indexing"')
        print("  orthant papers")
