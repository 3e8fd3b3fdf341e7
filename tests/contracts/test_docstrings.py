"""Every public name is documented: a sentence, every parameter, shapes for arrays, what comes back; examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import re

import pytest

from contracts.package import modules, public_names, tree

ARRAY = re.compile(r"\b(FloatArray|IdArray|BitmapArray|CodeArray|NDArray|ndarray|ArrayLike)\b")
SHAPED = re.compile(r"shape|bitmap|length|mask|uint64|array of int|sequence|As (in|for)", re.IGNORECASE)


def _public_definitions(name):
    wanted = set(public_names(name))
    for node in tree(name).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in wanted:
            yield node.name, node
            if isinstance(node, ast.ClassDef) and "Protocol" not in {ast.unparse(base) for base in node.bases}:
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                        yield f"{node.name}.{member.name}", member


def _parameters(node):
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    # Numba passes its typing context to the function behind an intrinsic; whoever calls one does not.
    hidden = {"self", "cls"} | ({"typing"} if "intrinsic" in map(ast.unparse, node.decorator_list) else set())
    return [argument for argument in arguments if argument.arg not in hidden]


def _entry(text, parameter):
    """The lines of a numpydoc entry: its own line, alone or in a list of names, and what is indented below."""
    found = re.search(
        rf"^(?:\*{{0,2}}\w+, )*\*{{0,2}}{parameter}\b(?:, \w+)*(?: :.*)?$(?:\n[ ]+.*|\n(?=\n    ))*", text, re.M
    )
    return found.group(0) if found else None


def _problems(name):
    for label, node in _public_definitions(name):
        decorators = {ast.unparse(d) for d in node.decorator_list}
        if "overload" in decorators:
            continue
        text = ast.get_docstring(node)
        if not text:
            yield f"{label}: no docstring"
            continue
        if not text.split("\n\n")[0].rstrip().endswith((".", "?", ":", ")")):
            yield f"{label}: the first paragraph is not a sentence"
        if isinstance(node, ast.ClassDef) or decorators & {"property", "cached_property"}:
            continue
        for argument in _parameters(node):
            entry = _entry(text, argument.arg)
            if entry is None:
                yield f"{label}: parameter {argument.arg} is not documented"
            elif argument.annotation and ARRAY.search(ast.unparse(argument.annotation)) and not SHAPED.search(entry):
                yield f"{label}: array parameter {argument.arg} has no shape"
        returns = ast.unparse(node.returns) if node.returns else "None"
        simple = not _parameters(node) and "\n\n" not in text
        if returns != "None" and not simple and not re.search(r"^(Returns|Yields)\n-+$", text, re.MULTILINE):
            yield f"{label}: returns {returns} without saying what"


@pytest.mark.parametrize("name", sorted(n for n in modules() if public_names(n)))
def test_w57_w58_public_names_are_documented(name):
    problems = list(_problems(name))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", sorted(n for n, p in modules().items() if ">>>" in p.read_text(encoding="utf-8")))
def test_w58_examples_run(name):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


@pytest.mark.parametrize("name", sorted(n for n in modules() if public_names(n)))
def test_public_names_exist(name):
    module = importlib.import_module(name)
    assert not [public for public in public_names(name) if not hasattr(module, public)]
