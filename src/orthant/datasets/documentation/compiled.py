"""Documentation that has no Python source: the interpreter's compiled modules, NumPy's, and the language topics.

Only the interpreter's own modules and NumPy, which is loaded anyway, are looked at in memory.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CompiledItem", "compiled_items", "language_topics"]

# module, kind, public name, parameters, docstring, line (0: there is none)
CompiledItem = tuple[str, str, str, str, str, int]

# Documented modules of the standard library that are written in C, wholly or in part.
_INTERPRETER = (
    "array", "atexit", "binascii", "builtins", "cmath", "collections", "contextvars", "datetime", "decimal", "errno",
    "faulthandler", "fcntl", "functools", "gc", "grp", "hashlib", "io", "itertools", "json", "marshal", "math", "mmap",
    "operator", "os", "pwd", "pyexpat", "queue", "random", "re", "resource", "select", "signal", "socket", "sqlite3",
    "ssl", "struct", "sys", "termios", "threading", "time", "types", "unicodedata", "weakref", "zlib",
)  # fmt: skip
_NUMPY = ("numpy", "numpy.random")
_FEWEST_WORDS = 3
_PRINTERS = ("_sitebuiltins", "site")
_FUNCTIONS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.ClassMethodDescriptorType)
_HIDDEN_SELF = re.compile(r"^\(\$\w+\s*(?:,\s*/)?\s*(?:,\s*)?")


def compiled_items(package: str) -> list[CompiledItem]:
    """Return the compiled, documented objects of ``"stdlib"`` or ``"numpy"``; nothing for other packages.

    Parameters
    ----------
    package : str
        The package asked for.

    Returns
    -------
    list of tuple
        Module, kind, public name, parameters, docstring and line 0.
    """
    if package == "stdlib":
        return [item for name in _INTERPRETER for item in _of_module(name)]
    if package == "numpy":
        return [item for name in _NUMPY for item in _of_module(name)]
    return []


def _of_module(name: str) -> Iterator[CompiledItem]:
    try:
        module = importlib.import_module(name)
    except ImportError:
        # Not built on this platform, such as termios on Windows.
        return
    prefix = "" if name == "builtins" else f"{name}."
    for attribute, value in sorted(vars(module).items()):
        if attribute.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if isinstance(value, type):
            if not value.__flags__ & (1 << 9) and _belongs(value, name):  # bit 9: made by a class statement
                yield from _of_class(name, prefix + attribute, value)
        elif _is_compiled_function(value, name) and _belongs(value, name):
            yield from _item(name, "function", prefix + attribute, value)


def _is_compiled_function(value: Any, module: str) -> bool:
    kind = type(value).__name__
    if module == "numpy.random":
        return kind in ("builtin_function_or_method", "cython_function_or_method", "method")
    return isinstance(value, _FUNCTIONS) or kind in ("ufunc", "_ArrayFunctionDispatcher")


def _belongs(value: Any, module: str) -> bool:
    """Tell whether an object is the module's own rather than something it imported for itself."""
    home = getattr(value, "__module__", None)
    if not isinstance(home, str):
        return True
    if home in _PRINTERS:
        return False
    if module.startswith("numpy"):
        return home.split(".")[0] == "numpy"
    return home == module or home.startswith("_") or (module == "os" and home in ("posix", "nt"))


def _of_class(module: str, full: str, cls: type) -> Iterator[CompiledItem]:
    yield from _item(module, "class", full, cls)
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, (types.GetSetDescriptorType, types.MemberDescriptorType)):
            yield from _item(module, "attribute", f"{full}.{name}", member)
        elif callable(member) or isinstance(member, (staticmethod, classmethod)):
            yield from _item(module, "method", f"{full}.{name}", member)


def _item(module: str, kind: str, full: str, value: Any) -> Iterator[CompiledItem]:
    doc = getattr(value, "__doc__", None)
    if not isinstance(doc, str) or (kind != "class" and doc is type(value).__doc__):
        return
    text = inspect.cleandoc(doc).strip()
    if len(text.split(None, _FEWEST_WORDS)) < _FEWEST_WORDS:
        return
    shown = getattr(value, "__text_signature__", None)
    parameters = _HIDDEN_SELF.sub("(", shown) if isinstance(shown, str) else ""
    yield module, kind, full, parameters, text, 0


def language_topics() -> list[CompiledItem]:
    """Return the language reference's topics (``with``, ``operator precedence`` ...) that ``help()`` shows.

    Returns
    -------
    list of tuple
        As ``compiled_items``; kind ``"topic"``, name ``"python:<topic>"``. Empty where the file is not installed.
    """
    path = Path(sysconfig.get_paths().get("stdlib", "")) / "pydoc_data" / "topics.py"
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found: list[CompiledItem] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                name, text = _text(key), _text(value)
                if name and text:
                    module = "pydoc_data.topics"
                    found.append((module, "topic", f"python:{name}", "", inspect.cleandoc(text).strip(), value.lineno))
    return found


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
