"""The wheel and what it needs: one for every system, small, without a compiler, torch or pinned dependencies."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from contracts.package import ROOT, modules, public_names, tree

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MOST_BYTES = 12_000_000
# Parts of the standard library that not every system has.
OF_ONE_SYSTEM = {"fcntl", "grp", "msvcrt", "pwd", "resource", "termios", "winreg", "_winapi"}


def _name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the source."""
    pytest.importorskip("setuptools", reason="building the wheel needs setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder / name)
    code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next((folder / "dist").glob("*.whl"))


def test_w42_w43_w47_one_wheel_serves_every_system_and_holds_nothing_compiled(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    kinds = {Path(name).suffix for name in zipfile.ZipFile(wheel).namelist()}
    assert not kinds & {".so", ".pyd", ".dll", ".dylib", ".c", ".cpp", ".pyx", ".cu", ".a", ".o"}, kinds


def test_w42_what_only_one_system_has_is_not_imported_at_load():
    found = []
    for name in modules():
        for node in tree(name).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                named = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                found += [f"{name}:{node.lineno}"] if named & OF_ONE_SYSTEM else []
    assert not found, found


def test_w41_the_wheel_is_small_with_its_encoder_and_types(wheel):
    assert wheel.stat().st_size < MOST_BYTES
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"orthant/py.typed", "orthant/encoders/static_minilm/arrays.safetensors"} <= names


def _core():
    """Installed distributions that the core needs, with what those need."""
    requirements = pytest.importorskip("packaging.requirements")
    wanted, found = [requirements.Requirement(line) for line in PROJECT["project"]["dependencies"]], {}
    while wanted:
        name = wanted.pop().name.lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        needs = [requirements.Requirement(line) for line in found[name].requires or []]
        wanted += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


JOURNEY = """
import importlib.util, sys
import orthant
from orthant.cli.main import main
assert all(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "faiss", "pytest"))
with orthant.open(sys.argv[1], encoder="static") as books:
    books.upsert(["a", "b"], texts=["a keeper of the lighthouse", "a recipe for bread"], metadata=[{"n": 1}, {"n": 2}])
    assert books.search("diary of a man who tends a beacon at sea", k=1, mode="hybrid").ids == ["a"]
    assert books.search("lighthouse", where={"n": 2}, mode="dense").ids == ["b"]
main(["search", sys.argv[1], "bread", "--json"])
"""


def test_w41_w43_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    # Nothing is downloaded: the environment holds the wheel and links to the core's dependencies as installed here.
    core = _core()
    assert not set(core) & {"torch", "nvidia-cublas-cu12", "tensorflow", "transformers", "onnxruntime"}
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    for distribution in core.values():
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__", "orthant"}:
            target = Path(str(distribution.locate_file(top))).resolve()
            if not (site / top).exists():
                (site / top).symlink_to(target)
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{JOURNEY}"
    # Neither the user's packages nor those of this environment: -I and -S.
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "books.orthant")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, env=kept, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"hits"' in done.stdout


def test_w46_dependencies_have_lower_bounds_only():
    optional = PROJECT["project"]["optional-dependencies"]
    # Linters are pinned because another release has other opinions; nobody depends on them.
    groups = {"core": PROJECT["project"]["dependencies"], **{k: v for k, v in optional.items() if k != "lint"}}
    for group, requirements in groups.items():
        for requirement in requirements:
            bare = requirement.split(";")[0].strip()
            assert re.fullmatch(r"[\w.-]+(\[[\w,]+\])?(>=[\d.]+)?", bare), f"{group}: {requirement}"
            assert group != "core" or ">=" in bare, f"{group}: {requirement}"


def test_w46_the_oldest_releases_that_are_tried_are_the_lower_bounds():
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    tried = dict(line.split("==") for line in lines if "==" in line)
    stated = dict(requirement.split(">=") for requirement in PROJECT["project"]["dependencies"])
    assert {name: version.removesuffix(".*") for name, version in tried.items()} == {
        name: f"{version}.0" if version.isdigit() else version for name, version in stated.items()
    }
    assert "-r tests/oldest.txt" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_w47_torch_is_an_extra_and_no_wheel_belongs_to_a_version_of_it():
    assert "torch" not in {_name(line) for line in PROJECT["project"]["dependencies"]}
    assert "ext-modules" not in PROJECT.get("tool", {}).get("setuptools", {})
    assert not [path for path in (ROOT / "src").rglob("*") if path.suffix in {".pyx", ".c", ".cpp", ".cu", ".so"}]


@pytest.mark.parametrize("name", sorted(n for n in modules() if public_names(n)))
def test_w57_public_functions_are_typed(name):
    wanted = set(public_names(name))
    for node in tree(name).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name not in wanted:
            continue
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in inner:
            if isinstance(function, ast.FunctionDef) and (function is node or not function.name.startswith("_")):
                given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
                given += [each for each in (function.args.vararg, function.args.kwarg) if each]
                bare = [each.arg for each in given if each.annotation is None and each.arg not in ("self", "cls")]
                assert not bare and function.returns is not None, f"{name}.{function.name}: {bare}"


def test_w57_types_are_checked_and_shipped():
    settings = PROJECT["tool"]["mypy"]
    assert settings["disallow_untyped_defs"] and settings["check_untyped_defs"]
    assert settings["files"] == ["src/orthant"]
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["orthant"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^lint:.*\n(\t.*\n)*\t\$\(BIN\)/mypy$", makefile, re.MULTILINE)
