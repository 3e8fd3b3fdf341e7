"""``orthant demo``: the main job on real input: three collections built, searched and explained."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from orthant.collection.collection import Collection
    from orthant.collection.results import SearchResult
    from orthant.datasets.pydocs import DocumentationSet

__all__ = ["MARKER", "Stages", "build_documentation", "build_papers", "build_passages", "prepare_folder", "register"]

MARKER = "orthant-demo.txt"
"""Lies in a folder that ``orthant demo`` made; only what it names is ever replaced."""

_DOCS, _PASSAGES, _PAPERS = "docs.orthant", "passages.orthant", "papers.orthant"
_ALL = (_DOCS, _PASSAGES, _PAPERS)
_BATCH = 4096
_PASSAGE_WORDS, _PASSAGES_MOST = 40, 30_000


class Stages:
    """Seconds and a remark per stage, in order.

    Attributes
    ----------
    seconds : dict of str to float
        Wall-clock seconds.
    notes : dict of str to str
        What was done.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.notes: dict[str, str] = {}

    def count(self, name: str, seconds: float) -> None:
        """Add seconds to a stage.

        Parameters
        ----------
        name : str
            The stage.
        seconds : float
            Wall-clock seconds.
        """
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to a stage.

        Parameters
        ----------
        name : str
            The stage.

        Yields
        ------
        None
            Nothing.
        """
        started = time.perf_counter()
        yield
        self.count(name, time.perf_counter() - started)


def prepare_folder(folder: Path) -> None:
    """Make the demonstration's folder, and remove from it what an earlier demonstration made.

    Parameters
    ----------
    folder : Path
        New, or with any files of others.

    Raises
    ------
    InputError
        Something there has the name of a demonstration's collection, and no demonstration made it.
    StoreLockedError
        Another process writes to a collection of the earlier demonstration.
    """
    from orthant.collection.storage.lock import WriterLock
    from orthant.errors import InputError, message

    marker = folder / MARKER
    own = marker.read_text(encoding="utf-8", errors="replace").splitlines() if marker.is_file() else []
    for name in _ALL:
        path = folder / name
        if path.is_symlink() or (path.exists() and (name not in own or not _is_collection(path))):
            raise InputError(
                message(
                    f"{path}, which no demonstration made",
                    "a folder without it",
                    "choose another with --folder, or move it away",
                )
            )
    old = [folder / name for name in _ALL if (folder / name).exists()]
    for path in old:
        lock = WriterLock(path / "writer.lock")
        lock.acquire()
        lock.release()
    for path in old:
        shutil.rmtree(path)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text("".join(f"{name}\n" for name in _ALL), encoding="utf-8")


def _is_collection(path: Path) -> bool:
    """Whether a folder holds nothing but what a collection consists of."""
    from orthant.collection.storage.store import DATABASE_NAME

    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {""}
    return all(
        name.startswith(DATABASE_NAME) or name in {"vectors", "derived", "head", "writer.lock"} for name in names
    )


def build_documentation(target: Path, found: DocumentationSet, stages: Stages) -> int:
    """Index the documentation of Python, NumPy, SciPy and scikit-learn as installed here.

    Parameters
    ----------
    target : Path
        The collection to make.
    found : DocumentationSet
        What was read.
    stages : Stages
        Collects seconds per stage.

    Returns
    -------
    int
        Records.
    """
    from orthant.cli.output import progress_bar
    from orthant.collection.opening import open

    with stages.measure("open"):
        collection = open(target, encoder="static")
    with collection, progress_bar("indexing documentation", len(found)) as advance:
        for begin in range(0, len(found), _BATCH):
            part = found.documents[begin : begin + _BATCH]
            report = collection.upsert(
                [d.id for d in part], texts=[d.content for d in part], metadata=[dict(d.metadata) for d in part]
            )
            for stage, seconds in report.seconds.items():
                stages.count(stage, seconds)
            advance(len(part))
        with stages.measure("save"):
            collection.close()
    stages.notes |= {
        "open": "new collection, static encoder loaded",
        "check": "ids, texts and metadata, before anything is written",
        "encode": "static encoder, one vector per record",
        "commit": f"records, vectors, postings, columns; durable after every {_BATCH:,} records",
        "graph": "none: so few vectors are compared one by one",
        "save": "postings and columns, for a quick start next time",
    }
    return len(found)


def build_passages(target: Path, found: DocumentationSet, stages: Stages) -> int:
    """Index the documentation once more, cut into passages: enough of them for a graph.

    Parameters
    ----------
    target : Path
        The collection to make.
    found : DocumentationSet
        What was read.
    stages : Stages
        Collects seconds per stage.

    Returns
    -------
    int
        Passages: at most 30,000, evenly chosen.
    """
    from orthant.cli.output import progress_bar
    from orthant.collection.opening import open

    with stages.measure("passages"):
        pieces = list(_passages(found))
        kept = min(len(pieces), _PASSAGES_MOST)
        pieces = [pieces[i * len(pieces) // kept] for i in range(kept)]
        with open(target, encoder="static") as collection, collection.bulk():
            with progress_bar("indexing passages", len(pieces)) as advance:
                for begin in range(0, len(pieces), _BATCH):
                    ids, texts, metadata = zip(*pieces[begin : begin + _BATCH], strict=True)
                    collection.upsert(ids, texts=texts, metadata=metadata)
                    advance(len(ids))
            with progress_bar("building the graph", None), stages.measure("passage graph"):
                collection.finish()
    stages.seconds["passages"] -= stages.seconds["passage graph"]
    words = f"pieces of {_PASSAGE_WORDS} words"
    stages.notes["passages"] = f"{kept:,} {words}, read, encoded and stored"
    stages.notes["passage graph"] = "graph over all passages, built and calibrated"
    return kept


def _passages(found: DocumentationSet) -> Iterator[tuple[str, str, dict[str, str]]]:
    for document in found.documents:
        words = document.content.split()
        told = {name: str(document.metadata[name]) for name in ("package", "kind") if name in document.metadata}
        for number, begin in enumerate(range(0, len(words), _PASSAGE_WORDS)):
            text = " ".join(words[begin : begin + _PASSAGE_WORDS])
            # The last few words of a record say nothing by themselves.
            if number == 0 or len(words) - begin >= _PASSAGE_WORDS // 4:
                yield f"{document.id}#{number}", text, told | {"record": document.id}


def _read(stages: Stages) -> DocumentationSet:
    with stages.measure("read documentation"):
        found = _read_documentation()
    stages.notes["read documentation"] = f"{found.files:,} source files, {len(found):,} records"
    return found


def _read_documentation() -> DocumentationSet:
    from orthant.cli.output import progress_bar
    from orthant.datasets.pydocs import read_python_documentation

    # A terminal gets a moving bar, a log file a line per package.
    with progress_bar("reading documentation", None):
        return read_python_documentation(progress=not sys.stderr.isatty())


def build_papers(target: Path, stages: Stages) -> int:
    """Index the research papers that Orthant is built from.

    Parameters
    ----------
    target : Path
        The collection to make.
    stages : Stages
        Collects seconds per stage.

    Returns
    -------
    int
        Records.
    """
    from orthant.collection.opening import open
    from orthant.papers.catalogue import documents

    with stages.measure("papers"), open(target, encoder="static") as collection:
        records = documents()
        collection.upsert(
            [r["id"] for r in records], texts=[r["text"] for r in records], metadata=[r["metadata"] for r in records]
        )
    stages.notes["papers"] = f"{len(records)} papers, read, encoded and stored"
    return len(records)


def _searches(
    docs: Collection, passages: Collection, papers: Collection
) -> Iterator[tuple[str, str, SearchResult, Sequence[str]]]:
    """Yield what a search shows, the query, its result, and the metadata fields to print."""
    fields: tuple[str, ...] = ("package", "kind", "version")
    query = "decompose a matrix into orthogonal and triangular factors"
    yield "By meaning alone", query, docs.search(query, k=4, mode="dense", explain=True), fields
    query = "read a csv file line by line"
    yield "By meaning and words", query, docs.search(query, k=4, mode="hybrid", explain=True), fields
    where = {"package": {"in": ["scipy", "sklearn"]}, "kind": "function"}
    query = "distance between two probability distributions"
    yield (
        "Filtered to functions of SciPy and scikit-learn",
        query,
        docs.search(query, k=4, where=where, explain=True),
        fields,
    )
    query = "wait until a child process has ended and get its exit code"
    yield (
        "Through the graph, among passages",
        query,
        passages.search(query, k=4, mode="dense", explain=True),
        ("record",),
    )
    fields = ("lives_in", "status", "last_measured", "reproduce")
    query = "faster vector search with compressed codes"
    yield "Among the papers", query, papers.search(query, k=3, explain=True), fields


def register(app: typer.Typer) -> None:
    """Add the verb ``demo``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("demo", help="Index Python's own documentation and the papers, and show explained searches.")
    def demo(
        folder: str = typer.Option("demo", help="Folder for the three collections."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.hits import print_hits
        from orthant.cli.output import print_json
        from orthant.collection.opening import open

        began = time.perf_counter()
        home = Path(folder)
        prepare_folder(home)
        stages = Stages()
        documentation = _read(stages)
        records = {
            _DOCS: build_documentation(home / _DOCS, documentation, stages),
            _PASSAGES: build_passages(home / _PASSAGES, documentation, stages),
            _PAPERS: build_papers(home / _PAPERS, stages),
        }
        with stages.measure("search"), ExitStack() as opened:
            found = list(_searches(*(opened.enter_context(open(home / name, read_only=True)) for name in _ALL)))
        stages.notes["search"] = f"the collections opened anew, {len(found)} queries"
        total = time.perf_counter() - began
        stages.count("other", max(0.0, total - sum(stages.seconds.values())))
        stages.notes["other"] = "loading modules, making the folder"
        if json:
            searches = [{"title": title, "query": query, **result.to_dict()} for title, query, result, _ in found]
            seconds = {**stages.seconds, "total": total}
            print_json({"folder": folder, "records": records, "seconds": seconds, "searches": searches})
            return
        for title, query, result, fields in found:
            print_hits(f"{title}: {query!r}", result, fields=fields)
        _close(home, stages, total)


def _close(home: Path, stages: Stages, total: float) -> None:
    from orthant.cli.output import print_table

    rows = [(name, f"{seconds:.2f}", stages.notes.get(name, "")) for name, seconds in stages.seconds.items()]
    print_table("Where the time went", ("stage!", "seconds#", "what"), [*rows, ("total", f"{total:.2f}", "")])
    docs, passages, papers = (shlex.quote(str(home / name)) for name in _ALL)
    # The environment that `make demo` fills need not be the active one.
    called = Path(sys.argv[0])
    here = called.name.startswith("orthant") and not shutil.which("orthant")
    verb = shlex.quote(os.path.relpath(called)) if here else "orthant"
    print("Try next:")
    print(f'  {verb} search {docs} "parse command line arguments"')
    print(f'  {verb} search {docs} "sort an array" --where \'{{"package": "numpy"}}\' --explain')
    print(f'  {verb} search {papers} "replace a model without re-indexing"')
    print(f'  {verb} search {passages} "open a file for writing" --mode dense --recall 0.99')
    print(f"  {verb} stats {passages}")
    print(f"  {verb} papers")
