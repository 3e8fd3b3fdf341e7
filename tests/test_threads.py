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


def test_threads_work_at_once_and_parts_are_taken_as_they_come():
    both, counts = threading.Barrier(2, timeout=20), {}

    def part(start, stop):
        name = threading.current_thread().name
        if name not in counts:
            both.wait()
        counts[name] = counts.get(name, 0) + stop - start

    map_ranges(part, 64, threads=2)
    assert len(counts) == 2
    assert sum(counts.values()) == 64
    assert threading.current_thread().name in counts


def test_ranges_do_not_wait_for_a_pool_that_is_busy_for_others():
    go = threading.Event()
    holders = [threading.Thread(target=map_tasks, args=(lambda _: go.wait(20), range(2))) for _ in range(8)]
    for holder in holders:
        holder.start()
    try:
        assert sum(map_ranges(lambda a, b: b - a, 100, threads=2)) == 100
        assert not go.is_set()
    finally:
        go.set()
        for holder in holders:
            holder.join()


def test_an_error_in_one_range_is_raised_once_the_others_have_ended():
    running = []

    def part(start, stop):
        if start == 0:
            raise InputError("no")
        running.append(start)
        time.sleep(0.02)
        running.remove(start)

    with pytest.raises(InputError):
        map_ranges(part, 64, threads=3)
    assert not running


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


def test_waiting_calls_overlap_and_errors_reach_the_caller():
    from orthant.threads import map_waiting

    together = threading.Barrier(8, timeout=10)
    map_waiting(lambda _: together.wait(), range(8), workers=8)
    done = []
    map_waiting(done.append, range(5), workers=1)
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        map_waiting(lambda i: 1 // (i - 3), range(8), workers=4)
