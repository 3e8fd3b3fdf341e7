from __future__ import annotations

import threading
import time

import pytest

from orthant.errors import InputError
from orthant.threads import default_threads, map_ranges, map_tasks, resolve_threads, run_both


def test_ranges_cover_every_row_once_and_in_order():
    for count in (0, 1, 7, 1000):
        parts = map_ranges(lambda a, b: list(range(a, b)), count, threads=3)
        assert [i for part in parts for i in part] == list(range(count))


def test_w55_small_work_stays_on_one_thread():
    assert resolve_threads(8, work=10, minimum_work=100) == 1
    assert resolve_threads(8, work=1000, minimum_work=100) == 8


def test_tasks_keep_their_order_and_may_nest():
    nested = map_tasks(lambda i: sum(map_tasks(lambda j: i * j, range(4), threads=2)), range(6), threads=2)
    assert nested == [i * 6 for i in range(6)]


def test_run_both_waits_for_the_other_before_it_raises():
    ended = threading.Event()

    def slow():
        time.sleep(0.05)
        ended.set()

    def broken():
        raise InputError("no")

    with pytest.raises(InputError):
        run_both(slow, broken, threads=2)
    assert ended.is_set()
    with pytest.raises(InputError):
        run_both(broken, lambda: 1, threads=2)
    assert run_both(lambda: 1, lambda: 2) == (1, 2)
    assert run_both(lambda: 1, lambda: 2, threads=1) == (1, 2)


def test_the_environment_sets_the_default(monkeypatch):
    monkeypatch.setenv("ORTHANT_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.setenv("ORTHANT_THREADS", "many")
    with pytest.raises(InputError, match="ORTHANT_THREADS"):
        default_threads()
