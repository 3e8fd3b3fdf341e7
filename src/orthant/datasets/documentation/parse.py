"""What one Python source file documents, exports and imports, found by parsing, never by importing.

Standard library only: `orthant.datasets.pydocs` also starts this file as a script in a second process (paths on
stdin, findings on stdout, both JSON), which is safe beside threads and in programs without a main guard.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

__all__ = ["Finding", "Item", "Job", "parse_file", "parse_files"]

# kind, name inside the module ("Class.method"), parameters, docstring, line
Item = tuple[str, str, str, str, int]
# path, dotted module, whether it is a package
Job = tuple[str, str, bool]


class Finding(TypedDict):
    """What one file holds; ``error`` is set, and the rest empty, when it could not be parsed."""

    module: str
    package: bool
    items: list[Item]
    imports: list[tuple[str, str, str]]
    exports: list[str] | None
    made: dict[str, str]
    bases: dict[str, list[str]]
    error: str


_PARAMETERS_SHOWN = 400
_FEWEST_WORDS = 3
_SELF = re.compile(r"^\(\s*(?:self|cls)\s*(?:,\s*(?:/\s*,?\s*)?|(?=\)))")
# Templates that a package fills in at import time; unfilled they say nothing.
_PLACEHOLDER = re.compile(r"^[ \t]*(?:%\(\w+\)s|\$\{?\w+\}?)[ \t]*\n?", re.MULTILINE)
_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parse_files(jobs: Iterable[Job]) -> list[Finding]:
    """Parse many files; the garbage collector rests meanwhile, since syntax trees hold no cycles.

    Parameters
    ----------
    jobs : iterable of (str, str, bool)
        Path, dotted module name, and whether the file is a package's ``__init__``.

    Returns
    -------
    list of Finding
        One per job, in order.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [parse_file(job) for job in jobs]
    finally:
        if collecting:
            gc.enable()


def parse_file(job: Job) -> Finding:
    """Return what one file documents; an unreadable file is reported in ``error``.

    Parameters
    ----------
    job : (str, str, bool)
        Path, dotted module name, and whether the file is a package's ``__init__``.

    Returns
    -------
    Finding
        Documented items, imports and exports.
    """
    path, module, package = job
    found: Finding = {
        "module": module,
        "package": package,
        "items": [],
        "imports": [],
        "exports": None,
        "made": {},
        "bases": {},
        "error": "",
    }
    try:
        with open(path, "rb") as handle:
            source = handle.read()
        if not package and b'"""' not in source and b"'''" not in source and b"import *" not in source:
            return found
        tree = ast.parse(source, filename=path)
        text = source.decode("utf-8-sig")
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        found["error"] = f"{path}: {type(error).__name__}: {error}"
        return found
    _module(tree, text.splitlines(keepends=True), found)
    return found


def _module(tree: ast.Module, lines: list[str], found: Finding) -> None:
    doc = _docstring(tree)
    if doc:
        found["items"].append(("module", "", "", doc, 1))
    newdocs: list[ast.Call] = []
    for node in _statements(tree.body):
        if isinstance(node, _DOCUMENTED):
            _definition(node, lines, found)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, found["module"], found["package"])
            found["imports"].extend((source, alias.name, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            _assignment(node, found)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) == "add_newdoc":
            newdocs.append(node.value)
    if newdocs:
        _added_docs(newdocs, found)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements of a module, also inside ``if``, ``try`` and ``with``."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
        else:
            yield node


def _docstring(node: ast.Module | _Definition) -> str:
    if not node.body or not isinstance(node.body[0], ast.Expr):
        return ""
    value = node.body[0].value
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        return ""
    return _clean(value.value)


def _clean(text: str) -> str:
    doc = inspect.cleandoc(text)
    if "%(" in doc or "$" in doc:
        doc = _PLACEHOLDER.sub("", doc)
    doc = doc.strip()
    return doc if len(doc.split(None, _FEWEST_WORDS)) >= _FEWEST_WORDS else ""


def _definition(node: _Definition, lines: list[str], found: Finding) -> None:
    if node.name.startswith("__"):
        return
    items = found["items"]
    if not isinstance(node, ast.ClassDef):
        doc = _docstring(node)
        if doc:
            items.append(("function", node.name, _parameters(node, lines), doc, node.lineno))
        return
    found["bases"][node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    doc, parameters = _docstring(node), ""
    members: list[Item] = []
    for child in node.body:
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if child.name == "__init__":
            parameters = _SELF.sub("(", _parameters(child, lines))
            start = _docstring(child)
            doc = f"{doc}\n\n{start}" if doc and start else doc or start
        elif not child.name.startswith("_"):
            said = _docstring(child)
            if said:
                kind = "attribute" if _is_property(child) else "method"
                shown = "" if kind == "attribute" else _SELF.sub("(", _parameters(child, lines))
                members.append((kind, f"{node.name}.{child.name}", shown, said, child.lineno))
    if doc:
        items.append(("class", node.name, parameters, doc, node.lineno))
    items.extend(members)


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    for decorator in node.decorator_list:
        name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
        if name in ("property", "cached_property"):
            return True
    return False


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """Return ``(a, b=1) -> c`` as the source has it, on one line; far cheaper than unparsing the tree."""
    first, last = node.lineno - 1, node.body[0].lineno - 1
    header = "".join(lines[first:last]) if last > first else _before(lines[first], node.body[0].col_offset)
    if "#" in header:
        header = f"def {node.name}({ast.unparse(node.args)}):"
    start = header.find("(")
    shown = " ".join(header[start:].split()).rstrip(": ").replace("( ", "(").replace(", )", ")").replace(" )", ")")
    return shown if len(shown) <= _PARAMETERS_SHOWN else shown[:_PARAMETERS_SHOWN] + " ..."


def _before(line: str, column: int) -> str:
    """Cut a line at a syntax-tree column, which counts UTF-8 bytes."""
    return line.encode()[:column].decode(errors="ignore")


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join([*parts, node.module] if node.module else parts)


def _assignment(node: ast.Assign | ast.AugAssign | ast.AnnAssign, found: Finding) -> None:
    """Note ``__all__``, objects made from a class (``norm = norm_gen(...)``) and their methods (``f = norm.pdf``)."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name):
        return
    name, value = targets[0].id, node.value
    if name == "__all__":
        listed = _strings(value)
        if isinstance(node, ast.AugAssign):
            before = found["exports"]
            found["exports"] = None if listed is None or before is None else before + listed
        else:
            found["exports"] = listed
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        found["made"][name] = value.func.id
    elif isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id in found["made"]:
        found["made"][name] = f"{found['made'][value.value.id]}.{value.attr}"


def _strings(node: ast.expr | None) -> list[str] | None:
    """Return a literal list or tuple of strings, or None when it is computed."""
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    values = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
    return values if len(values) == len(node.elts) else None


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _added_docs(calls: list[ast.Call], found: Finding) -> None:
    """Read ``add_newdoc(place, name, doc)`` and ``add_newdoc(name, doc)``: documentation of compiled objects."""
    documented: list[tuple[str, str, int]] = []
    owners: set[str] = set()
    for call in calls:
        leading = [a.value for a in call.args[:-1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if not call.args or len(leading) != len(call.args) - 1 or not leading:
            continue
        name, last = leading[-1], call.args[-1]
        pairs = last.elts if isinstance(last, ast.List) else [last]
        for pair in pairs:
            if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
                owners.add(name)
                documented.append((f"{name}.{_longest(pair.elts[0])}", _longest(pair.elts[1]), call.lineno))
            else:
                documented.append((name, _longest(pair), call.lineno))
    for name, text, line in documented:
        doc = _clean(text)
        member = name.rpartition(".")[2]
        if not doc or member.startswith("_"):
            continue
        callable_ = re.match(rf"(?:\w+\.)?{re.escape(member)}\(", doc) is not None
        kind = ("method" if callable_ else "attribute") if "." in name else "class" if name in owners else "function"
        found["items"].append((f"added {kind}", name, "", doc, line))


def _longest(node: ast.AST) -> str:
    """Return the longest string constant of an expression such as ``\"\"\"...\"\"\".replace(...)``."""
    texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return max(texts, key=len, default="")


def main() -> int:
    """Read jobs as JSON from stdin, write findings as JSON to stdout."""
    jobs: list[Any] = json.load(sys.stdin.buffer)
    sys.stdout.buffer.write(json.dumps(parse_files(jobs)).encode())
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
