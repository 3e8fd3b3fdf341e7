"""An encoder that a test can hold up, so that a run is under way for as long as the test looks."""

from __future__ import annotations

import threading

from collection.fakes import FakeEncoder


class Slow(FakeEncoder):
    """An encoder whose every batch of stored texts waits until it is let go on."""

    def __init__(self, seed, *, calls=10_000):
        super().__init__(seed=seed)
        self.free = threading.Semaphore(calls)
        self.encoded = 0

    def encode(self, items, *, role="document", **about):
        # Not the canaries, nor what is written meanwhile.
        if items[0].endswith(" text"):
            assert self.free.acquire(timeout=60)
            self.encoded += len(items)
        return super().encode(items, role=role, **about)
