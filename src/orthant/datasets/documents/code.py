"""Programs to documents: functions and classes of Python as headed sections, other languages by their blank lines."""

from __future__ import annotations

import ast
import warnings

from orthant.datasets.documents.kinds import DocumentText, Mark, tidy
from orthant.datasets.documents.texts import decode

__all__ = ["read_code", "read_python"]


def read_code(data: bytes) -> DocumentText:
    """Read a program of any language; the chunker divides it at blank lines before lines without indentation.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    DocumentText
        Without marks.

    Raises
    ------
    InputError
        No text.
    """
    text, encoding = decode(data)
    return DocumentText(tidy(text, code=True), "code", encoding=encoding)


def read_python(data: bytes) -> DocumentText:
    r"""Read a Python module: every function, class and method begins a section named after it.

    Decorators and the comment lines right above belong to what they stand above. A file that does not parse is read
    as any other program.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    DocumentText
        Its title is empty; its marks are such as ``class Kite`` at level 1 and ``def rise`` at level 2.

    Raises
    ------
    InputError
        No text.

    Examples
    --------
    >>> [mark.title for mark in read_python(b"class Kite:\n    def rise(self):\n        pass\n").marks]
    ['class Kite', 'def rise']
    """
    decoded, encoding = decode(data)
    text = tidy(decoded, code=True)
    try:
        with warnings.catch_warnings():
            # A bad escape in somebody's file is not the caller's business.
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return DocumentText(text, "code", encoding=encoding)
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    marks = []
    for number, level, title in sorted(_sections(tree)):
        first = number
        while first > 0 and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        marks.append(Mark(starts[first], level, title))
    return DocumentText(text, "python", "", tuple(marks), encoding=encoding)


def _sections(tree: ast.Module) -> list[tuple[int, int, str]]:
    """Line (from 0), level and title of functions, classes and methods; functions inside functions stay in them."""
    found = []
    waiting: list[tuple[ast.AST, int]] = [(node, 1) for node in tree.body]
    while waiting:
        node, level = waiting.pop()
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        is_class = isinstance(node, ast.ClassDef)
        found.append((line, level, f"{'class' if is_class else 'def'} {node.name}"))
        if is_class:
            waiting += [(inner, level + 1) for inner in node.body]
    return found
