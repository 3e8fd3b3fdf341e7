"""A feed over a collection: newest, trending, and saved searches whose new matches go out as a digest.

A collection, clicks and saved searches enter; entries in an order and e-mails leave.
Never writes to the collection: what it must remember lies in a small database beside it.
Start with `entries.Feed`, then `digest.run_digest`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "DigestReport": "orthant.feed.digest",
    "Entry": "orthant.feed.entries",
    "Feed": "orthant.feed.entries",
    "FeedDatabase": "orthant.feed.database",
    "FolderDelivery": "orthant.feed.delivery",
    "SmtpDelivery": "orthant.feed.smtp",
    "Subscription": "orthant.feed.subscriptions",
    "Subscriptions": "orthant.feed.subscriptions",
    "heat": "orthant.feed.trending",
    "run_digest": "orthant.feed.digest",
}

__all__ = [
    "DigestReport",
    "Entry",
    "Feed",
    "FeedDatabase",
    "FolderDelivery",
    "SmtpDelivery",
    "Subscription",
    "Subscriptions",
    "heat",
    "run_digest",
]

if TYPE_CHECKING:
    from orthant.feed.database import FeedDatabase
    from orthant.feed.delivery import FolderDelivery
    from orthant.feed.digest import DigestReport, run_digest
    from orthant.feed.entries import Entry, Feed
    from orthant.feed.smtp import SmtpDelivery
    from orthant.feed.subscriptions import Subscription, Subscriptions
    from orthant.feed.trending import heat


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.feed' has no attribute {name!r}")
