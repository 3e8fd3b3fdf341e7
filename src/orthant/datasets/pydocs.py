"""The documentation of Python and of installed packages, read from their sources: a corpus on every machine.

Package names enter; documents with public names leave. Sources are parsed, never imported; the compiled modules of
the interpreter, and of NumPy, have no source and are read from their docstrings in memory.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orthant.datasets.documentation import parse
from orthant.datasets.documentation.compiled import compiled_items, language_topics
from orthant.datasets.documentation.names import PublicNames, is_public
from orthant.datasets.documentation.parse import Finding, Job
from orthant.datasets.kinds import Document
from orthant.errors import InputError, message, warn
from orthant.validate import as_texts, check_count

__all__ = ["DocumentationSet", "read_python_documentation"]

_CHARACTERS = 8000
_PARSE_LIMIT_S = 300
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "PyYAML", "cv2": "opencv-python"}
# os.path is one of two modules, and both take half of their functions from a third.
_SHARED_PATHS = "genericpath"
_RENAMED = {os.path.__name__: "os.path", _SHARED_PATHS: "os.path"}
_SKIPPED_FOLDERS = frozenset(
    {
        "__pycache__", "_pyrepl", "_vendor", "_vendored_packages", "dist-packages", "encodings", "ensurepip",
        "externals",
        "idlelib", "lib2to3", "msilib", "pydoc_data", "site-packages", "test", "tests", "turtledemo",
    }
)  # fmt: skip
_SKIPPED_FILES = frozenset({"__main__", "antigravity", "conftest", "setup", "this"})


@dataclass(frozen=True)
class DocumentationSet:
    """Documentation records of the interpreter and of packages.

    Attributes
    ----------
    documents : list of Document
        Ids are public names (``"numpy.linalg.svd"``), unique and the same on every run. Metadata: ``package``,
        ``module`` (where it is defined), ``kind`` (module, class, function, method, attribute, object or topic),
        ``name``, ``version`` of the package or interpreter, ``line`` (0 where compiled), ``truncated``.
    missing : tuple of str
        Packages asked for that are not installed.
    unreadable : tuple of str
        Files that could not be parsed, with the reason.
    files : int
        Source files read.
    seconds : float
        Wall-clock seconds.
    """

    documents: list[Document]
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]
    files: int
    seconds: float

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents)


@dataclass(frozen=True)
class _Record:
    package: str
    module: str
    kind: str
    id: str
    parameters: str
    doc: str
    line: int


def read_python_documentation(
    packages: Sequence[str] = ("stdlib", "numpy", "scipy", "sklearn"), *, processes: int = 2, progress: bool = False
) -> DocumentationSet:
    """Read the docstrings of Python and of installed packages: a real corpus that needs no download.

    Use it for demonstrations, first searches and load tests. What is installed differs between machines, so no
    published figure may rest on it.

    Parameters
    ----------
    packages : sequence of str, default ("stdlib", "numpy", "scipy", "sklearn")
        ``"stdlib"`` or names of top-level packages; one that is not installed is listed in ``missing``.
    processes : int, default 2
        From 1. More than the cores there are does not help; 1 starts no second process.
    progress : bool, default False
        Write a line per stage to standard error.

    Returns
    -------
    DocumentationSet
        About 11,600 documents and 10 million characters for the default packages. A document's text is its signature,
        an empty line and its docstring, cut at 8,000 characters.

    Raises
    ------
    InputError
        No package, a name that is not an identifier, or a process count below 1.

    Notes
    -----
    Public modules, classes, functions, methods and properties; private definitions only under the public name that
    re-exports them. Tests, vendored copies, ``encodings`` and ``idlelib`` are left out. Methods that repeat an
    inherited docstring word for word are kept once. Compiled parts of other packages than NumPy are not covered,
    except where the package documents them in an ``add_newdoc`` file.

    Examples
    --------
    >>> found = read_python_documentation(["json"], processes=1)
    >>> [d.text.splitlines()[0] for d in found.documents if d.id == "json.JSONDecoder.decode"]
    ['json.JSONDecoder.decode(s, _w=WHITESPACE.match)']
    """
    started = time.perf_counter()
    names = list(dict.fromkeys(as_texts(packages, name="packages")))
    processes = check_count(processes, name="processes")
    for name in names:
        if not name.isidentifier():
            raise InputError(
                message(f"package {name!r}", "top-level names such as 'numpy'", "leave dots and paths out")
            )
    if not names:
        raise InputError(message("no packages", "at least one", "name a package, such as 'stdlib'"))
    homes = {name: _locate(name) for name in names}
    missing = tuple(name for name, home in homes.items() if home is None)
    jobs = {name: _jobs(name, home) for name, home in homes.items() if home is not None}
    _say(progress, f"reading {sum(map(len, jobs.values()))} source files of {', '.join(jobs) or 'no package'}")
    findings = _parse([job for listed in jobs.values() for job in listed], processes)
    unreadable = tuple(f["error"] for f in findings if f["error"])
    if unreadable:
        warn(f"{len(unreadable)} source files could not be parsed: {unreadable[0]}")
    by_module = {f["module"]: f for f in findings}
    documents: list[Document] = []
    for name, listed in jobs.items():
        records = _records(name, [by_module[module] for _, module, _ in listed])
        documents.extend(_documents(records, _version(name)))
        _say(progress, f"{name}: {len(records)} records")
    seconds = time.perf_counter() - started
    return DocumentationSet(_unique(documents), missing, unreadable, len(findings), seconds)


def _say(progress: bool, text: str) -> None:
    if progress:
        sys.stderr.write(f"documentation: {text}\n")
        sys.stderr.flush()


def _locate(name: str) -> Path | None:
    """Return a package's folder, or a module's file; nothing is imported for a top-level name."""
    if name == "stdlib":
        folder = sysconfig.get_paths().get("stdlib", "")
        return Path(folder) if folder and Path(folder).is_dir() else None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return next((Path(p) for p in places if p and os.path.exists(p)), None)


def _version(name: str) -> str:
    if name == "stdlib" or name in sys.stdlib_module_names:
        return platform.python_version()
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return ""


def _jobs(name: str, home: Path) -> list[Job]:
    """List a package's source files with their dotted module names, in a stable order."""
    if home.is_file():
        return [(str(home), name, False)] if home.suffix == ".py" else []
    prefix = [] if name == "stdlib" else [name]
    jobs: list[Job] = []
    for folder, children, files in os.walk(home):
        children[:] = sorted(c for c in children if c.isidentifier() and c not in _SKIPPED_FOLDERS)
        below = Path(folder).relative_to(home).parts
        if name == "stdlib" and below and "__init__.py" not in files:
            children[:] = []
            continue
        for file in sorted(files):
            stem, dot, suffix = file.partition(".")
            if suffix != "py" or not dot or not stem.isidentifier() or stem in _SKIPPED_FILES:
                continue
            package = stem == "__init__"
            parts = [*prefix, *below] if package else [*prefix, *below, stem]
            jobs.append((os.path.join(folder, file), ".".join(parts), package))
    return jobs


def _parse(jobs: list[Job], processes: int) -> list[Finding]:
    """Parse the files, the largest shares in other interpreters; fall back to this one if they cannot start."""
    script = Path(parse.__file__ or "")
    processes = min(processes, 1 + len(jobs) // 40)
    if processes == 1 or not sys.executable or getattr(sys, "frozen", False) or not script.is_file():
        return parse.parse_files(jobs)
    shares: list[list[Job]] = [[] for _ in range(processes)]
    loads = [0] * processes
    sized = sorted(((os.path.getsize(job[0]), job) for job in jobs), key=lambda pair: (-pair[0], pair[1]))
    for size, job in sized:
        lightest = loads.index(min(loads))
        shares[lightest].append(job)
        loads[lightest] += size
    workers = [(_start(script), share) for share in shares[1:]]
    findings = _overlapped(workers, shares[0])
    order = {job[1]: i for i, job in enumerate(jobs)}
    return sorted(findings, key=lambda f: order[f["module"]])


def _start(script: Path) -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-I", "-S", "-W", "ignore", str(script)]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def _overlapped(workers: list[tuple[subprocess.Popen[bytes] | None, list[Job]]], own: list[Job]) -> list[Finding]:
    """Hand out the shares, parse our own, then collect; a share whose worker failed is parsed here."""
    for worker, share in workers:
        if worker is not None and worker.stdin is not None:
            try:
                worker.stdin.write(json.dumps(share).encode())
                worker.stdin.close()
            except OSError:
                worker.kill()
            worker.stdin = None
    try:
        findings = parse.parse_files(own)
        for worker, share in workers:
            findings.extend(_collect(worker, share))
    finally:
        for worker, _ in workers:
            if worker is not None and worker.poll() is None:
                worker.kill()
                worker.wait()
    return findings


def _collect(worker: subprocess.Popen[bytes] | None, share: list[Job]) -> list[Finding]:
    if worker is not None:
        try:
            output, _ = worker.communicate(timeout=_PARSE_LIMIT_S)
            findings = json.loads(output)
            if worker.returncode == 0 and [f["module"] for f in findings] == [job[1] for job in share]:
                return findings
        except (OSError, ValueError, TypeError, KeyError, subprocess.TimeoutExpired):
            worker.kill()
            worker.wait()
    return parse.parse_files(share)


def _records(package: str, findings: list[Finding]) -> list[_Record]:
    """Give every documented item its public name; drop what users cannot reach, and repeated docstrings."""
    public = PublicNames(findings)
    records = [record for finding in findings for record in _of_file(package, finding, public)]
    taken = {record.id for record in records}
    records += [r for finding in findings for r in _inherited(package, finding, public, taken)]
    taken.update(record.id for record in records)
    records += [_Record(package, *item) for item in compiled_items(package) if item[2] not in taken]
    if package == "stdlib":
        records += [_Record(package, *item) for item in language_topics()]
    # The shallowest of equal docstrings is kept: the module's function rather than the method behind it; of two
    # records with one name, the definition comes before what was added for compiled code.
    records.sort(key=lambda r: (r.id.count("."), r.id, r.kind == "module", not r.parameters))
    kept: list[_Record] = []
    seen: set[tuple[str, str]] = set()
    for record in records:
        key = (record.id.rpartition(".")[2], record.doc)
        if record.kind in ("module", "topic") or key not in seen:
            seen.add(key)
            kept.append(record)
    return sorted(kept, key=lambda r: (r.id, r.kind == "module"))


def _of_file(package: str, finding: Finding, public: PublicNames) -> Iterator[_Record]:
    """Yield what a file documents under names that users can reach."""
    module, made = finding["module"], finding["made"]
    templates = {template for template in made.values() if _is_template(template)}
    for kind, name, parameters, doc, line in finding["items"]:
        if kind == "module":
            if is_public(module) and module != _SHARED_PATHS:
                yield _Record(package, module, kind, _renamed(module), "", doc, line)
            continue
        owner, _, member = name.partition(".")
        if member or owner in templates:
            # What users import is the object or its method: scipy.stats.norm, random.shuffle.
            aliases = (public.resolve(module, alias) for alias, source in made.items() if source == name)
            for alias in filter(None, aliases):
                yield _Record(package, module, "function" if member else "object", alias, parameters, doc, line)
        place = _added(module, owner, public) if kind.startswith("added") else public.resolve(module, owner)
        if place and (member or owner not in templates):
            full = _renamed(f"{place}.{member}" if member else place)
            yield _Record(package, module, kind.removeprefix("added "), full, parameters, doc, line)


def _inherited(package: str, finding: Finding, public: PublicNames, taken: set[str]) -> Iterator[_Record]:
    """Yield the methods of private base classes, each under the first public class that inherits it."""
    module = finding["module"]
    for kind, name, parameters, doc, line in finding["items"]:
        owner, _, member = name.partition(".")
        if kind not in ("method", "attribute") or public.resolve(module, owner):
            continue
        heir = next((h for h in public.heirs(module, owner) if f"{h}.{member}" not in taken), None)
        if heir is not None:
            yield _Record(package, module, kind, f"{heir}.{member}", parameters, doc, line)


def _renamed(name: str) -> str:
    """Return the documented place of a module that is reached under another name only."""
    home, _, last = name.rpartition(".")
    if name in _RENAMED:
        return _RENAMED[name]
    return f"{_RENAMED[home]}.{last}" if home in _RENAMED else name


def _is_template(name: str) -> bool:
    return name.startswith("_") or name.endswith("_gen")


def _added(module: str, name: str, public: PublicNames) -> str:
    """Return the public name of a compiled object that an ``add_newdoc`` file describes."""
    home = module.rpartition(".")[0]
    if not name.startswith("_") and is_public(home):
        return f"{home}.{name}"
    return public.resolve(module, name, mentioned=True)


def _documents(records: list[_Record], version: str) -> Iterator[Document]:
    for record in records:
        text = f"{_signature(record)}\n\n{record.doc}".strip()
        metadata = {
            "package": record.package,
            "module": record.module,
            "kind": record.kind,
            "name": record.id,
            "version": version,
            "line": record.line,
            "truncated": len(text) > _CHARACTERS,
        }
        title = record.doc.partition("\n")[0] if record.kind == "topic" else record.id
        yield Document(record.id, title, text[:_CHARACTERS], metadata)


def _signature(record: _Record) -> str:
    """Return the first line of a text: the call, or the name; a topic starts with its own heading."""
    if record.kind == "topic":
        return ""
    if record.kind in ("class", "module"):
        return f"{record.kind} {record.id}{record.parameters}"
    return f"{record.id}{record.parameters}"


def _unique(documents: list[Document]) -> list[Document]:
    """Give the second of two documents with one id another id; a module beside a function of its name, mostly."""
    taken: dict[str, str] = {}
    kept: list[Document] = []
    for document in documents:
        key, kind = document.id, document.metadata["kind"]
        if key in taken and kind == "module" != taken[key]:
            key = f"{key} (module)"
        if key in taken:
            continue
        taken[key] = kind
        kept.append(Document(key, document.title, document.text, document.metadata))
    return kept
