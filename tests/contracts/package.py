"""The package as source: modules, their imports at run time, and their public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "orthant"


@dataclass(frozen=True)
class Import:
    """One import: what, where, and whether it runs when the module is loaded."""

    module: str
    line: int
    at_load: bool


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by dotted name."""
    out = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE.parent).with_suffix("").parts)
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def imports(name: str) -> tuple[Import, ...]:
    """Every absolute import of a module; those for type checkers only are left out."""
    return tuple(_walk(tree(name).body, at_load=True))


def _walk(body: list[ast.stmt], *, at_load: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(full if full in modules() else node.module, node.lineno, at_load)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        else:
            inside = at_load and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for part in ("body", "orelse", "finalbody"):
                yield from _walk(getattr(node, part, []), at_load=inside)
            for handler in getattr(node, "handlers", []):
                yield from _walk(handler.body, at_load=inside)


def wing(name: str) -> str:
    """The first folder or module below the package: ``orthant.index.flat`` -> ``index``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "orthant"


@cache
def public_names(name: str) -> tuple[str, ...]:
    """What a module lists in ``__all__``."""
    for node in tree(name).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            try:
                return tuple(ast.literal_eval(node.value))
            except ValueError:
                return ()
    return ()
