"""Run an upgrade until somebody kills this process; one line of output per batch."""

from __future__ import annotations

import sys

from collection.fakes import FakeEncoder
from collection.upgrade.encoders import Newer
from orthant.collection.collection import Collection


class Telling(Newer):
    """Says after each batch that it was asked for one."""

    def encode_with_report(self, items, **settings):
        print(len(items), flush=True)
        return super().encode_with_report(items, **settings)


if __name__ == "__main__":
    with Collection(sys.argv[1], encoder=FakeEncoder()) as collection:
        collection.upgrade(Telling(), using=sys.argv[2], pairs=64).run(1.0, batch_size=8, pause_s=0.005)
