"""Sizes, folders, openings, and things that must not appear in the source."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter

import pytest

from contracts.package import ROOT, SOURCE, modules, tree

MAX_LINES = 600
MAX_FUNCTION_LINES = 50
MAX_KERNEL_LINES = 80
MAX_MODULES = 14
# Folders that hold one small file per paper.
MANY_FILES = {"papers", "papers/search", "papers/space", "papers/text", "papers/recommend", "papers/vision"}


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_module_is_too_long(name):
    lines = modules()[name].read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{name} has {lines} lines; split it by what its parts are for"


def _own_lines(node):
    first = node.body[0]
    begin = first.end_lineno if ast.get_docstring(node) is not None else first.lineno - 1
    return node.end_lineno - begin


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_function_is_too_long(name):
    limit = MAX_KERNEL_LINES if name.startswith("orthant.kernels.") else MAX_FUNCTION_LINES
    functions = (n for n in ast.walk(tree(name)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    long = {n.name: _own_lines(n) for n in functions if _own_lines(n) > limit}
    if name.startswith("orthant.cli."):
        # A verb declares its options in the signature of a function nested in `register`.
        long.pop("register", None)
    assert not long, f"{name}: {long}"


def test_no_folder_holds_too_many_modules():
    folders = (path.parent.relative_to(SOURCE).as_posix() for path in modules().values() if path.stem != "__init__")
    too_many = {f: n for f, n in Counter(folders).items() if n > MAX_MODULES + 2 and f not in MANY_FILES}
    assert not too_many


@pytest.mark.parametrize(
    "folder", sorted({p.parent for p in modules().values() if p.parent != SOURCE}), ids=lambda path: path.name
)
def test_folders_open_with_four_lines(folder):
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert len([line for line in text.splitlines() if line.strip()]) >= 4, f"{folder.name}: {text!r}"
    for word in ("enter", "leave", "ever "):
        assert word in text, f"{folder.name}: say what enters, what leaves, what it never does, where to start"


FORBIDDEN = {
    "pickle": r"\bimport (c?pickle|joblib|dill)\b|pickle\.load|allow_pickle\s*=\s*True",
    "parallel kernels": r"parallel\s*=\s*True",
    "bare except": r"except\s*:",
    "assert": r"^\s*assert\b",
    # Catching what a library raises is fine; raising it ourselves is a stub.
    "stub": r"\bTODO\b|\bFIXME\b|^(?!\s*except\b).*NotImplementedError",
}


def test_w44_kernels_are_compiled_by_our_decorator():
    # Numba's own would load it at import, and keep code that an edit in a called function has made stale.
    direct = re.compile(r"\b(numba|nb)\.(n?jit|vectorize|guvectorize|stencil)\b|from numba import .*jit|generated_jit")
    found = [
        f"{name}:{number}"
        for name, path in modules().items()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if direct.search(line) and "``" not in line
    ]
    assert [place.split(":")[0] for place in found] == ["orthant.kernels.compiling"], found


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_w29_w50_w56_forbidden_constructs(what):
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for name, path in modules().items():
        strings = {
            line
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for line in range(node.lineno, node.end_lineno + 1)
        }
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if number not in strings and pattern.search(line.split("#", 1)[0]):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, found


def test_no_path_of_a_machine_is_committed():
    try:
        listed = (
            subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\n")
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    found = []
    for name in listed:
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".toml", ".json", ".txt", ""}
            and path.is_file()
            and path.name != "test_modules.py"
        ):
            text = path.read_text(encoding="utf-8", errors="replace")
            if re.search(r"(?<![\w.])/(work|root|Users)/\w", text):
                found.append(name)
    assert not found, found
