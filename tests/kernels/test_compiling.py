from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from contracts.package import modules
from orthant.kernels import compile_cache, compiling
from orthant.kernels.compiling import Kernel, kernel, kernels_of

SOURCE = Path(compiling.__file__).parents[2]
CALLEE = """
    from orthant.kernels.compiling import intrinsic, kernel

    @intrinsic
    def plus(context, a, b):
        from numba import types
        return types.int64(types.int64, types.int64), lambda _, builder, signature, args: builder.add(*args)

    @kernel
    def shifted(x):
        return plus(x, 1)

    @kernel
    def halved(x):
        return x // 2
"""
CALLER = """
    import callee
    from orthant.kernels.compiling import kernel
    from callee import shifted

    @kernel
    def doubled(x):
        return shifted(x) * 2 + callee.halved(13)
"""
RUN = """
import sys, caller
assert not {"numba", "llvmlite"} & set(sys.modules)
print(caller.doubled(4))
stats = caller.doubled.compiled.stats
print(sum(stats.cache_hits.values()), stats.cache_path)
"""


def run(folder, cache, code=RUN, **more):
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{folder}", "ORTHANT_CACHE": str(cache), **more}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two modules of kernels and a cache that one process has filled."""
    place = tmp_path_factory.mktemp("built")
    for name, code in (("callee", CALLEE), ("caller", CALLER)):
        path = place / "sources" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(code))
    value, hits, folder = run(place / "sources", place / "cache")
    assert (value, hits) == ("16", "0")
    assert Path(folder).parent == place / "cache" / "kernels"
    return place


@pytest.fixture
def sources(built, tmp_path):
    # A copy elsewhere, with other times: the same sources all the same.
    shutil.copytree(built, tmp_path, dirs_exist_ok=True, copy_function=shutil.copy)
    return tmp_path / "sources"


def test_nested_kernels_are_kept_and_an_edit_in_the_callee_is_noticed(sources, tmp_path):
    value, hits, folder = run(sources, tmp_path / "cache")
    assert (value, hits) == ("16", "1")
    callee = sources / "callee.py"
    callee.write_text(callee.read_text().replace("plus(x, 1)", "plus(x, 2)"))
    value, hits, other = run(sources, tmp_path / "cache")
    assert (value, hits) == ("18", "0")
    assert other != folder


def test_w08_w53_kernels_release_the_lock_of_the_interpreter():
    """Searches of several threads run side by side: no kernel calls back into Python for a row."""
    held = []

    def other_thread_gets_on(values):
        for i in range(len(values)):
            values[i] += 1

    wrapped = kernel(other_thread_gets_on)
    wrapped(np.zeros(3))
    assert wrapped.compiled.targetoptions["nogil"] and wrapped.compiled.targetoptions["nopython"]
    for name, path in modules().items():
        if name.startswith("orthant.kernels"):
            held += re.findall(r"nogil\s*=\s*False|forceobj|objmode", path.read_text(encoding="utf-8"))
    assert not held


def test_torn_files_in_the_cache_are_compiled_anew(sources, tmp_path):
    files = list((tmp_path / "cache").rglob("*.nbc"))
    for path in files:
        path.write_bytes(path.read_bytes()[:20])
    assert run(sources, tmp_path / "cache")[:2] == ["16", "0"]
    assert len(files) == 3
    assert min(path.stat().st_size for path in files) > 20
    # A bit anywhere: what is in the file is executed.
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    assert run(sources, tmp_path / "cache")[:2] == ["16", "0"]
    assert run(sources, tmp_path / "cache")[:2] == ["16", "1"]


def test_a_signature_never_gets_the_code_of_another(tmp_path, monkeypatch):
    """Two processes compile one function at once, each for types of its own: arrays would go through the wrong code."""
    one, other = (compile_cache._file_class()(str(tmp_path), "first-1.py311", "stamp") for _ in range(2))
    dump = one._dump

    def meanwhile(data):
        other.save("floats", "code for floats")
        return dump(data)

    monkeypatch.setattr(one, "_dump", meanwhile)
    one.save("ints", "code for ints")
    for files in (one, other):
        assert [files.load(key) for key in ("ints", "floats", "others")] == ["code for ints", "code for floats", None]
    first, second = tmp_path.iterdir()
    data, more = first.read_bytes(), second.read_bytes()
    first.write_bytes(more)
    second.write_bytes(data)
    assert one.load("ints") is None and one.load("floats") is None
    one.flush()
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_made_costs_only_the_next_compilation(sources, tmp_path):
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where the folder should be")
    value, hits, folder = run(sources, occupied)
    assert (value, hits) == ("16", "0")
    assert "orthant-kernels-" in folder
    assert not Path(folder).exists(), "the temporary folder outlived its process"


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_what_others_may_write_to_is_not_executed(sources, tmp_path):
    (folder,) = (tmp_path / "cache" / "kernels").iterdir()
    folder.chmod(0o777)
    _, hits, other = run(sources, tmp_path / "cache")
    assert hits == "0"
    assert other != str(folder)


def test_the_users_setting_of_numba_is_neither_used_nor_changed(sources, tmp_path):
    code = RUN + "from numba import config; print(config.CACHE_DIR)"
    theirs = tmp_path / "theirs"
    _, hits, _, setting = run(sources, tmp_path / "cache", code, NUMBA_CACHE_DIR=str(theirs))
    assert (hits, setting) == ("1", str(theirs))
    assert not theirs.exists()


def test_without_a_compiler_kernels_are_python(sources, tmp_path):
    code = "import callee; print(callee.halved(5))"
    assert run(sources, tmp_path, code, NUMBA_DISABLE_JIT="1") == ["2"]


TABLE = np.arange(4)


@kernel
def looked_up(i):
    return TABLE[i] + 1


def test_kernels_may_name_arrays():
    # Looking for a kernel among its own globals must not ask an array whether it equals one.
    assert looked_up(2) == 3


def test_recursion_is_refused_because_a_cached_one_ends_the_process():
    with pytest.raises(TypeError, match="which calls itself"):
        countdown(3)


@kernel
def countdown(n):
    return countdown(n - 1) if n else 0


def test_w29_first_calls_at_once_compile_once():
    @kernel
    def busy(x):
        return x.sum() + 1.0

    gate = Barrier(8)

    def call(_):
        gate.wait()
        return busy(np.ones(3)), busy.compiled

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(call, range(8)))
    assert {value for value, _ in results} == {4.0}
    assert len({id(made) for _, made in results}) == 1
    assert len(busy.compiled.overloads) == 1


def test_a_kernel_becomes_its_dispatcher():
    @kernel
    def nothing(x):
        return 0

    assert not nothing.ready()
    nothing(1)
    assert nothing.ready()
    assert isinstance(nothing, Kernel)
    # A frame of Python between caller and compiled code would cost more than many a kernel.
    assert type(nothing).__call__ is nothing.compiled


def test_examples_compile_without_running():
    @kernel(group="test-examples", examples=lambda: [(np.zeros(2, np.float32), 0), (np.zeros(2), 0)])
    def write(x, i):
        x[i] = 1.0 / 0.0 if i else x[i]

    assert [k.__name__ for k in kernels_of("test-examples")] == ["write"]
    write.prepare()
    compiled = len(write.compiled.overloads)
    write(np.zeros(4, np.float32), 1)
    assert (compiled, len(write.compiled.overloads)) == (2, 2)
    compiling._groups.pop("test-examples")


def test_the_key_names_the_processor_and_the_settings(monkeypatch):
    before = compile_cache.cache_key()
    assert before == compile_cache.cache_key()
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    bounds = compile_cache.cache_key()
    monkeypatch.setattr(compile_cache.cpu, "features", lambda: frozenset({"avx2"}))
    features = compile_cache.cache_key()
    monkeypatch.setattr(compile_cache.cpu, "simd_level", lambda: "other")
    level = compile_cache.cache_key()
    monkeypatch.setattr(compile_cache, "version", lambda name: "0")
    assert len({before, bounds, features, level, compile_cache.cache_key()}) == 5


def test_unused_folders_are_removed_after_thirty_days(tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    day = 86_400
    for name, age in (("old", 31 * day), ("recent", 29 * day)):
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True)
        (folder / "used").touch()
        os.utime(folder / "used", (time.time() - age,) * 2)
    (tmp_path / "kernels" / "not ours").mkdir()
    current = compile_cache.folder_for()
    assert {path.name for path in (tmp_path / "kernels").iterdir()} == {"recent", "not ours", current.name}


def test_every_module_of_kernels_counts(tmp_path, monkeypatch):
    deep = tmp_path / "graph" / "search.py"
    deep.parent.mkdir()
    deep.write_text("beam = 64")
    elsewhere = compile_cache.source_hash(tmp_path)
    monkeypatch.setattr(compile_cache, "KERNELS", tmp_path)
    before = compile_cache.source_hash(tmp_path)
    deep.write_text("beam = 65")
    assert len({elsewhere, before, compile_cache.source_hash(tmp_path)}) == 3
    deep.rename(deep.with_name("renamed.py"))
    assert before != compile_cache.source_hash(tmp_path)
