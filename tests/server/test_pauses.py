"""A serving process sets aside what survives long collections, and gives all back at the end."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref

import pytest

from orthant.server import pauses


@pytest.fixture
def before():
    state = gc.get_freeze_count(), len(gc.callbacks), sys.getswitchinterval()
    yield state
    assert (gc.get_freeze_count(), len(gc.callbacks), sys.getswitchinterval()) == state


def test_survivors_of_a_long_collection_are_not_visited_again(before, monkeypatch):
    monkeypatch.setattr(pauses, "_LONG_S", 0.0)
    with pauses.short_pauses(), pauses.short_pauses():
        gc.collect()
        assert gc.get_freeze_count() > before[0]
        assert sys.getswitchinterval() <= 0.001
        assert len(gc.callbacks) == before[1] + 1


def test_short_collections_leave_everything_as_it_is(before, monkeypatch):
    monkeypatch.setattr(pauses, "_LONG_S", 1e9)
    with pauses.short_pauses():
        gc.collect(0)
        gc.collect()
        assert gc.get_freeze_count() == before[0]


def test_cycles_that_died_while_set_aside_are_freed_in_time(before, monkeypatch):
    class Held:
        pass

    monkeypatch.setattr(pauses, "_LONG_S", 0.0)
    monkeypatch.setattr(pauses, "_THAW_S", 0.0)
    held = Held()
    held.itself = held
    seen = weakref.ref(held)
    with pauses.short_pauses():
        gc.collect()
        assert gc.get_freeze_count() > before[0]
        del held
        gc.collect()
        assert seen() is not None
        gc.collect()
        assert seen() is None


_HEAPS = """
import contextlib, ctypes, os, re, sys, tempfile, threading
from orthant.server.pauses import short_pauses

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
meet = threading.Barrier(12)

def work():
    library.malloc(20_000)
    meet.wait()

with short_pauses() if sys.argv[1] == "serving" else contextlib.nullcontext():
    threads = [threading.Thread(target=work) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with tempfile.NamedTemporaryFile() as file:
        library.fopen.restype = ctypes.c_void_p
        stream = library.fopen(file.name.encode(), b"w")
        library.malloc_info(0, ctypes.c_void_p(stream))
        library.fclose(ctypes.c_void_p(stream))
        print(len(re.findall("<heap ", open(file.name).read())))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps of glibc")
def test_threads_of_a_server_share_few_heaps():
    def heaps(how):
        found = subprocess.run([sys.executable, "-c", _HEAPS, how], capture_output=True, text=True, check=True)
        return int(found.stdout)

    assert heaps("serving") <= 2 < heaps("plain")
