from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orthant import threads
from orthant.errors import InputError
from orthant.threads import (
    ReadersWriterLock,
    default_threads,
    map_ranges,
    map_tasks,
    map_waiting,
    resolve_threads,
    run_both,
)


def test_ranges_cover_every_row_once_and_in_order():
    for count in (0, 1, 7, 1000):
        parts = map_ranges(lambda a, b: list(range(a, b)), count, threads=3)
        assert [i for part in parts for i in part] == list(range(count))


def test_threads_work_at_once_and_parts_are_taken_as_they_come():
    both, counts = threading.Barrier(2, timeout=60), {}

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
    holders = [threading.Thread(target=map_tasks, args=(lambda _: go.wait(60), range(2))) for _ in range(8)]
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
    began, ended = threading.Event(), threading.Event()

    def slow():
        began.set()
        time.sleep(0.05)
        ended.set()

    def broken():
        raise InputError("no")

    def broken_meanwhile():
        assert began.wait(60)
        broken()

    with pytest.raises(InputError):
        run_both(slow, broken_meanwhile, threads=2)
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
    together = threading.Barrier(8, timeout=60)
    map_waiting(lambda _: together.wait(), range(8), workers=8)
    done = []
    map_waiting(done.append, range(5), workers=1)
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        map_waiting(lambda i: 1 // (i - 3), range(8), workers=4)


posix = pytest.mark.skipif(os.name != "posix", reason="signals and copies of processes are POSIX's")


def _interrupted(run):
    """Run something in the main thread and interrupt it soon after it calls the function that it is given."""

    def interrupt():
        # A signal ends also what waits for a lock.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    # Whoever starts the tests in the background may have let the signal be ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(lambda: threading.Timer(0.05, interrupt).start())
    finally:
        signal.signal(signal.SIGINT, before)


@posix
def test_an_interrupt_is_raised_once_no_worker_reads_what_it_was_lent():
    at_work = threading.Semaphore(0)
    busy = []

    def part(interrupt, main):
        if threading.current_thread() is main:
            assert at_work.acquire(timeout=60)
            interrupt()
            return
        busy.append(1)
        at_work.release()
        time.sleep(0.3)
        busy.pop()

    for run in (
        lambda f: map_ranges(lambda a, b: f(), 2, threads=2),
        lambda f: map_tasks(lambda i: f(), range(2), threads=2),
        lambda f: map_waiting(lambda i: f(), range(2), workers=2),
        lambda f: run_both(f, f, threads=2),
    ):
        main = threading.current_thread()
        _interrupted(lambda interrupt, run=run, main=main: run(lambda: part(interrupt, main)))
        assert not busy


def test_without_threads_to_be_had_the_caller_does_it_all(monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_pool", None)
    monkeypatch.setattr(threads, "_waiters", None)
    monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", refused)
    assert [sum(map_ranges(lambda a, b: b - a, 100, threads=4)), map_tasks(abs, [-1, 2], threads=2)] == [100, [1, 2]]
    done = []
    map_waiting(done.append, range(4), workers=4)
    assert done == [0, 1, 2, 3] and run_both(lambda: 1, lambda: 2, threads=2) == (1, 2)


@posix
def test_a_writer_that_was_interrupted_while_it_waited_keeps_nobody_waiting():
    lock, reading = ReadersWriterLock(), threading.Event()
    done = threading.Event()

    def read():
        with lock.reading():
            reading.set()
            done.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(60)

    def write(interrupt):
        interrupt()
        with lock.writing():
            raise AssertionError

    _interrupted(write)
    later = threading.Thread(target=lambda: lock.reading().__enter__(), daemon=True)
    later.start()
    later.join(60)
    done.set()
    reader.join(60)
    assert not later.is_alive()


def test_an_interrupt_on_the_way_out_leaves_no_lock_taken(monkeypatch):
    lock = ReadersWriterLock()
    notify, raised = lock._turn.notify_all, []

    def interrupted():
        if not raised:
            raised.append(1)
            raise KeyboardInterrupt
        notify()

    monkeypatch.setattr(lock._turn, "notify_all", interrupted)
    with pytest.raises(KeyboardInterrupt), lock.reading():
        pass
    raised.clear()
    with pytest.raises(KeyboardInterrupt), lock.writing():
        pass
    with lock.writing():
        pass
    assert not lock._readers and not lock._writers and lock._writing is None


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_copied_process_does_not_wait_for_a_thread_that_it_does_not_have():
    with threads._lock:
        child = os.fork()
        if not child:
            signal.alarm(10)
            os._exit(map_ranges(lambda a, b: b - a, 100, threads=2) == [])
    assert os.waitpid(child, 0)[1] == 0
