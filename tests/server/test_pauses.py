"""A serving process sets aside what survives long collections, and gives all back at the end."""

from __future__ import annotations

import gc
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
