"""The documentation parser: names, kinds, texts, determinism, and what happens with files it cannot read."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings

import pytest

from orthant.datasets import pydocs
from orthant.datasets.documentation import compiled, parse
from orthant.datasets.pydocs import read_python_documentation
from orthant.errors import InputError

FILES = {
    "__init__.py": '''
        """A package for testing the reader."""
        from ._core import solve, _hidden as shown
        from ._star import *
        from .tool import Open
        from . import tool
        ''',
    "_core.py": '''
        """Private module."""
        def solve(a, b=1, *, mode="x"):  # a comment, with (brackets
            """Solve the system of equations."""
        def _hidden(x):
            """Reached under another name only."""
        def unreachable(x):
            """Never exported by the package."""
        class _Grandparent:
            def handed_down(self):
                """Do what was always done."""
        class _Parent(_Grandparent):
            def inherited(self, key):
                """Do what all children do."""
        ''',
    "_star.py": '''
        """Private module."""
        __all__ = ["listed", "normal", "shuffle"]
        def listed(): "single quotes do not count but triple ones do"
        def listed(): \'\'\'Listed in the names of the module.\'\'\'
        def unlisted():
            """Left out of the names of the module."""
        class normal_gen:
            """A normal random variable.

            %(before_notes)s
            """
            def draw(self, size=1):
                """Draw a few random numbers."""
        normal = normal_gen(name="normal")
        shuffle = normal.draw
        ''',
    "tool.py": '''
        """Tools for opening things.

        More about them.
        """
        import os
        from ._core import _Parent, solve
        class Open(_Parent):
            """Open a thing by name."""
            def __init__(self, name, depth=3):
                """Remember the name and depth."""
            def read(self, n: int = -1) -> bytes:
                """Read at most n bytes."""
            @property
            def size(self):
                """Number of bytes in it."""
            def _private(self):
                """Nobody should see this."""
            def short(self):
                """Too short."""
        class Again(Open):
            """Another way to open a thing."""
            def read(self, n=-1):
                """Read at most n bytes."""
        if os.name:
            def guarded(x):
                """Defined under a condition."""
        ''',
    "aside.py": """
        '''Another module that exports what it did not define.'''
        from .below.deep import nested
        __all__ = ["nested"]
        """,
    "below/__init__.py": '"""A package below the first."""\n',
    "below/deep.py": '''
        def nested(x):
            """Defined two levels down."""
        ''',
    "tests/__init__.py": '"""Tests are left out of the corpus."""\n',
    "broken.py": '"""A file that does not parse."""\ndef (:\n',
    "_add_newdocs.py": '''
        def add_newdoc(*args):
            """Attach a docstring to a compiled object."""
        add_newdoc("pkg_under_test._core", "solve", """solve(a)

        Solve it in compiled code.""")
        add_newdoc("pkg_under_test._core", "shown", ("turn", """a.turn(axis=0)

        Turn the array around.""".replace("x", "y")))
        add_newdoc("fast", """fast(x)

        A fast compiled function.""")
        add_newdoc("pkg_under_test", "_secret", """A private compiled function.""")
        ''',
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    import textwrap

    folder = tmp_path / "pkg_under_test"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def read(processes=1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_python_documentation(["pkg_under_test"], processes=processes)


def test_public_names_kinds_and_texts(package):
    found = {d.id: d for d in read().documents}
    kinds = {key.removeprefix("pkg_under_test."): d.metadata["kind"] for key, d in found.items()}
    assert kinds == {
        "pkg_under_test": "module",
        "tool": "module",
        "aside": "module",
        "below": "module",
        "below.deep.nested": "function",
        "solve": "function",
        "shown": "function",
        "shown.turn": "method",
        "fast": "function",
        "listed": "function",
        "normal": "object",
        "shuffle": "function",
        "Open": "class",
        "Open.inherited": "method",
        "Open.handed_down": "method",
        "Open.read": "method",
        "Open.size": "attribute",
        "tool.Again": "class",
        "tool.guarded": "function",
    }
    assert found["pkg_under_test.solve"].text == (
        "pkg_under_test.solve(a, b=1, *, mode='x')\n\nSolve the system of equations."
    )
    assert found["pkg_under_test.Open"].text.startswith("class pkg_under_test.Open(name, depth=3)\n\nOpen a thing")
    assert "Remember the name" in found["pkg_under_test.Open"].text
    assert found["pkg_under_test.Open.read"].text.startswith("pkg_under_test.Open.read(n: int = -1) -> bytes\n")
    assert found["pkg_under_test.normal"].text == "pkg_under_test.normal\n\nA normal random variable."
    assert "Turn the array around." in found["pkg_under_test.shown.turn"].text


def test_metadata_says_where_a_record_comes_from(package):
    found = {d.id: d for d in read().documents}
    metadata = found["pkg_under_test.shown"].metadata
    assert metadata == {
        "package": "pkg_under_test",
        "module": "pkg_under_test._core",
        "kind": "function",
        "name": "pkg_under_test.shown",
        "version": "",
        "line": 4,
        "truncated": False,
    }


def test_the_package_is_never_imported_and_a_broken_file_is_reported(package):
    (package / "__init__.py").write_text('"""Importing this fails at once."""\nraise SystemExit(3)\n', encoding="utf-8")
    with pytest.warns(UserWarning, match="1 source files could not be parsed"):
        found = read_python_documentation(["pkg_under_test"], processes=1)
    assert "pkg_under_test" not in sys.modules
    assert len(found.unreadable) == 1
    assert "broken.py: SyntaxError" in found.unreadable[0]
    assert found.files == len(FILES) - 1
    assert found.seconds > 0


def test_two_processes_find_what_one_finds(package):
    for i in range(90):
        (package / f"extra{i}.py").write_text(f'"""Extra module number {i}."""\n' + "x = 1\n" * i, encoding="utf-8")
    alone, together = read(1), read(2)
    assert alone.documents == together.documents
    assert len(alone) > 100
    assert alone.unreadable == together.unreadable


def test_a_worker_that_cannot_start_or_answers_nonsense_is_replaced(package, monkeypatch):
    for i in range(90):
        (package / f"extra{i}.py").write_text(f'"""Extra module number {i}."""\n', encoding="utf-8")
    expected = read(1).documents
    monkeypatch.setattr(pydocs.sys, "executable", "/nowhere/python")
    assert read(2).documents == expected

    def silent(script):
        return subprocess.Popen(
            [REAL, "-c", "import sys; sys.stdin.read(); print('[]')"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    monkeypatch.setattr(pydocs, "_start", silent)
    assert read(2).documents == expected


REAL = sys.executable


def test_a_missing_package_is_listed_and_bad_arguments_are_refused():
    found = read_python_documentation(["no_such_package_here"], processes=1)
    assert (found.missing, len(found)) == (("no_such_package_here",), 0)
    for packages in ([], ["a.b"], ["../x"], "numpy", [3]):
        with pytest.raises(InputError):
            read_python_documentation(packages)
    with pytest.raises(InputError, match="processes"):
        read_python_documentation(["json"], processes=0)


def test_long_docstrings_are_cut_and_say_so(tmp_path, monkeypatch):
    (tmp_path / "one_long_module.py").write_text(f'"""{"word " * 3000}"""\n', encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (document,) = read_python_documentation(["one_long_module"], processes=1).documents
    assert len(document.text) == 8000
    assert document.metadata["truncated"]


def test_part_of_the_standard_library():
    found = read_python_documentation(["json", "asyncio", "unittest"], processes=1)
    ids = {d.id: d for d in found.documents}
    assert {"json", "json.dumps", "json.JSONDecoder", "asyncio.Queue", "asyncio.Queue.put", "unittest.TestCase"} <= set(
        ids
    )
    assert "asyncio.queues.Queue" not in ids
    assert ids["json.dumps"].metadata["version"] == ".".join(map(str, sys.version_info[:3]))
    assert len(ids) == len(found)
    assert list(ids) == [
        d.id for d in read_python_documentation(["json", "asyncio", "unittest"], processes=2).documents
    ]


def test_compiled_objects_of_numpy_are_found():
    found = read_python_documentation(["numpy"], processes=1)
    ids = {d.id: d for d in found.documents}
    wanted = ["dot", "array", "ndarray.sort", "sin", "linalg.svd", "median", "random.Generator.normal", "fft.fft"]
    wanted += ["sum", "strings.find", "require", "errstate"]
    assert [w for w in wanted if f"numpy.{w}" not in ids] == []
    assert ids["numpy.linalg.svd"].metadata["module"] == "numpy.linalg._linalg"
    assert not [i for i in ids if any(part.startswith("_") for part in i.split("."))]
    assert not [i for i in ids if ".tests." in i]


def test_compiled_modules_and_topics_of_the_interpreter():
    items = {item[2]: item for item in compiled.compiled_items("stdlib")}
    assert items["math.sqrt"][1:4] == ("function", "math.sqrt", "(x, /)")
    assert items["str.split"][3].startswith("(sep=None")
    assert {"len", "ValueError", "itertools.chain", "time.sleep", "dict.get"} <= set(items)
    assert compiled.compiled_items("scipy") == []
    topics = compiled.language_topics()
    assert "python:with" in {t[2] for t in topics}


def test_paths_are_documented_where_users_import_them():
    import os

    assert pydocs._renamed(f"{os.path.__name__}.join") == pydocs._renamed("genericpath.join") == "os.path.join"
    assert pydocs._renamed("json.dumps") == "json.dumps"


def test_a_package_named_twice_or_within_another_is_kept_once(package):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice = read_python_documentation(["pkg_under_test", "pkg_under_test", "json"], processes=1)
    ids = [d.id for d in twice.documents]
    assert len(ids) == len(set(ids))
    first, other = twice.documents[0], twice.documents[-1]
    assert [d.id for d in pydocs._unique([first, first, other])] == [first.id, other.id]


def test_a_module_beside_a_function_of_its_name_keeps_another_id(package):
    (package / "__init__.py").write_text('"""A package with a twin."""\nfrom .twin import twin\n', encoding="utf-8")
    (package / "twin.py").write_text(
        '"""Module of that very name."""\ndef twin():\n    """Function of that name."""\n', encoding="utf-8"
    )
    kinds = {d.id: d.metadata["kind"] for d in read().documents}
    assert kinds["pkg_under_test.twin"] == "function"
    assert kinds["pkg_under_test.twin (module)"] == "module"


def test_the_script_speaks_json(package, monkeypatch):
    job = [str(package / "tool.py"), "pkg_under_test.tool", False]
    command = [sys.executable, "-I", "-S", parse.__file__]
    done = subprocess.run(command, input=json.dumps([job]).encode(), capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == json.loads(json.dumps(parse.parse_files([tuple(job)])))
    assert not [n for n in ("numpy", "orthant") if n.encode() in done.stderr]


def test_progress_goes_to_standard_error(package, monkeypatch):
    captured = io.StringIO()
    monkeypatch.setattr(pydocs.sys, "stderr", captured)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_python_documentation(["pkg_under_test"], processes=1, progress=True)
    assert "reading" in captured.getvalue()
