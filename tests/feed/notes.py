"""A small collection with dates, and a clock that stands until it is moved."""

from __future__ import annotations

import orthant
from orthant.feed import Feed, FeedDatabase

DAY = 86_400.0
START = 19_800 * DAY  # 2024-03-18

TEXTS = {
    "sea": ("A lighthouse keeper watches the sea and the storm", "2024-03-01"),
    "ship": ("The ship sailed through waves into the harbour", "2024-03-10"),
    "soup": ("A recipe for onion soup with bread and cheese", "2024-02-01"),
    "cake": ("Bake a chocolate cake with butter and sugar", "2024-03-15"),
    "code": ("Write a python function that sorts a list", None),
}


class Clock:
    """Seconds since 1970 that only `move` changes."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def move(self, days):
        self.now += days * DAY


def fill(collection, texts=TEXTS):
    """Write texts, each with its date where it has one."""
    collection.upsert(
        list(texts),
        texts=[text for text, _ in texts.values()],
        metadata=[{} if date is None else {"date": date, "kind": key[0]} for key, (_, date) in texts.items()],
    )


def make(path, *, encoder="static"):
    """An open collection with the texts."""
    collection = orthant.open(path, encoder=encoder)
    fill(collection)
    return collection


def feed_of(collection, clock):
    """The feed of a collection with the database beside it."""
    return Feed(collection, FeedDatabase(FeedDatabase.beside(collection.path), clock=clock))
