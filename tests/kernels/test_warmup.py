from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.kernels import compiling, warmup
from orthant.kernels.compiling import kernel

SOURCE = Path(warmup.__file__).parents[2]


@pytest.fixture
def group():
    name = "test-group"

    @kernel(group=name, examples=lambda: [(np.zeros(1),), (np.zeros(1, np.float32),)])
    def total(x):
        return x.sum()

    yield name
    compiling._groups.pop(name, None)
    warmup._ready.pop(name, None)
    warmup._failed.pop(name, None)


def fresh(code, tmp_path):
    """Run code in a process of its own, with an empty cache; return its output and the seconds it took to end."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "ORTHANT_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment, timeout=280
    )
    ended = time.time()
    assert done.returncode == 0, done.stderr
    return done.stdout, ended


def test_a_thread_compiles_the_group_and_says_when_it_is_ready(group):
    assert not warmup.is_ready(group)
    warmup.ensure_compiling(group, after_s=0.0)
    warmup.ensure_compiling(group, after_s=0.0)
    assert warmup._queue.count(group) <= 1
    assert warmup.pending() in ([group], [])
    thread = warmup._compiler
    assert thread is None or not thread.daemon
    deadline = time.monotonic() + 60
    while not warmup.is_ready(group) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert warmup.is_ready(group)
    assert len(compiling.kernels_of(group)[0].compiled.overloads) == 2
    while warmup.pending():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_kernel_that_joins_makes_its_group_unready(group):
    warmup.wait(group)
    assert warmup.is_ready(group)

    @kernel(group=group, examples=lambda: [(1,)])
    def late(x):
        return x + 1

    assert not warmup.is_ready(group)
    warmup.wait(group)
    assert warmup.is_ready(group)
    assert late.ready()


def test_waiting_takes_turns_with_the_thread(group):
    warmup.ensure_compiling(group, after_s=0.0)
    waiters = [Thread(target=warmup.wait, args=(group,)) for _ in range(4)]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join(60)
    assert warmup.is_ready(group)
    assert len(compiling.kernels_of(group)[0].compiled.overloads) == 2


def test_a_kernel_that_cannot_be_compiled_is_said_once_and_raised_to_who_waits(group, monkeypatch):
    @kernel(group=group, examples=lambda: [("text",)])
    def broken(x):
        return x.no_such_method()

    # Recorders of warnings belong to the whole process: one that numba ends in another thread would end ours too.
    told = []
    monkeypatch.setattr(warmup.warnings, "warn", lambda text, category, level: told.append((category, text)))
    warmup.ensure_compiling(group, after_s=0.0)
    while warmup._compiler is not None:
        time.sleep(0.01)
    assert [category for category, text in told if f"{group!r} cannot be compiled" in text] == [RuntimeWarning]
    assert not warmup.is_ready(group)
    warmup.ensure_compiling(group, after_s=0.0)
    assert warmup._compiler is None
    with pytest.raises(Exception, match="no_such_method"):
        warmup.wait(group)


def test_unknown_groups_are_refused():
    for call in (warmup.ensure_compiling, warmup.wait, lambda name: warmup.warm([name])):
        with pytest.raises(InputError, match="Import the module"):
            call("no-such-group")
    assert not warmup.is_ready("no-such-group")


@pytest.mark.parametrize("groups", [["encode", "scan"], pytest.param(None, marks=pytest.mark.slow)])
def test_warming_compiles_groups_and_the_next_process_loads_them(tmp_path, groups):
    code = f"""
        from orthant.kernels import warmup
        told = []
        done = warmup.warm({groups}, progress=told.append)
        assert told == done and all(warmup.is_ready(w.group) for w in done)
        assert {{"encode", "scan"}} <= {{w.group for w in done}}
        print(sum(w.compiled for w in done), sum(w.loaded for w in done))
    """
    compiled, loaded = map(int, fresh(code, tmp_path)[0].split())
    assert compiled >= 3 and loaded == 0
    assert fresh(code, tmp_path)[0].split() == ["0", str(compiled)]


def test_a_process_that_answers_once_never_starts_a_compiler(tmp_path):
    code = """
        import sys, time, atexit
        from orthant.kernels import row_products, warmup
        atexit.register(lambda: print("numba" in sys.modules, time.time()))
        warmup.ensure_compiling(row_products.GROUP, after_s=30.0)
        print(time.time())
    """
    output, _ = fresh(code, tmp_path)
    asked, loaded, left = output.split()
    assert loaded == "False"
    assert float(left) - float(asked) < 5.0


def test_a_process_that_ends_stops_the_compiler_within_a_kernel(tmp_path):
    # Sixty passes of the compiler at a second and a half each would hold the process up for a minute and a half.
    code = """
        import atexit, threading, time
        from numba.core import event
        from orthant.kernels import row_products, warmup
        started, passes = threading.Event(), []
        class Slow(event.Listener):
            def on_start(self, _):
                passes.append(0)
                started.set()
                time.sleep(1.5)
            def on_end(self, _):
                pass
        event.register("numba:run_pass", Slow())
        atexit.register(lambda: print(len(passes)))
        warmup.ensure_compiling(row_products.GROUP, after_s=0.0)
        started.wait()
    """
    assert int(fresh(code, tmp_path)[0]) <= 3


def test_w29_threads_that_load_the_compiler_at_once_all_get_it_whole(tmp_path):
    # Two threads that import parts of one package with cycles see it half-made, unless both ask for the whole first.
    code = """
        import threading, time
        from orthant.kernels import cpu, row_products, warmup
        from orthant.kernels.compiling import kernel

        warmup.ensure_compiling(row_products.GROUP, after_s=0.0)
        failures = []

        def call(number):
            time.sleep(0.02 * number)
            try:
                cpu.features() if number % 2 else warmup.wait(row_products.GROUP)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(failures or warmup.is_ready(row_products.GROUP))
    """
    assert fresh(code, tmp_path)[0] == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system copies no processes")
def test_a_process_copied_while_kernels_are_compiled_compiles_them_itself(tmp_path):
    out, _ = fresh(
        """
        import os, signal, sys, time, warnings
        import numpy as np
        from orthant.kernels import warmup
        from orthant.kernels.compiling import kernel

        warnings.simplefilter("ignore")

        def examples():
            return [(np.zeros((1, 1), kind),) for kind in (float, np.float32, int)]

        @kernel(group="copied", examples=examples)
        def summed(x):
            total = 0.0
            for i in range(x.shape[0]):
                for j in range(x.shape[1]):
                    total += np.sqrt(x[i, j]) + np.float64(x[i, :].sum())
            return total

        import numba.core.compiler_lock as compiler
        warmup.ensure_compiling("copied", after_s=0.0)
        children = []
        for _ in range(2):
            while not warmup.is_ready("copied"):
                if not compiler.global_compiler_lock._lock.acquire(blocking=False):
                    break
                compiler.global_compiler_lock._lock.release()
                time.sleep(0.002)
            child = os.fork()
            if not child:
                signal.alarm(120)
                warmup.ensure_compiling("copied", after_s=0.0)
                warmup.wait("copied")
                os._exit(int(summed(np.ones((2, 2))) != 12.0))
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
        warmup.wait("copied")
        print(summed(np.ones((2, 2))))
        """,
        tmp_path,
    )
    assert out.split() == ["[0,", "0]", "12.0"]
