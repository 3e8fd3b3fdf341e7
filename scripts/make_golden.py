"""Write the golden collection of the current format into ``tests/golden``; run once per format, then never again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import orthant
from orthant.collection.storage.database import DATABASE_FORMAT
from orthant.collection.storage.texts import dictionaries


def main() -> None:
    folder = Path(__file__).parents[1] / "tests" / "golden" / f"collection-{DATABASE_FORMAT}"
    if folder.exists():
        sys.exit(f"{folder} exists: a golden file is never made again")
    # So few records are packed by nobody else.
    dictionaries._LEAST_RECORDS = 1
    shared = b'{"year":1999,"tags":[]} A red kite over the dunes. A blue boat in the other space.'
    dictionaries.train = lambda sample: shared
    with orthant.open(folder, metric="l2") as collection:
        collection.upsert(
            ["a", "b", "c", "d"],
            texts=["A red kite over the dunes.", "A blue boat.", None, "Grüße aus Köln"],
            metadata=[
                {"year": 1999, "tags": ["sky"]},
                {"year": 2001.5, "tags": []},
                {},
                {"note": None, "deep": {"x": True}},
            ],
            vectors=[[1.0, 0.0], [0.0, 1.0], None, [3.0, 4.0]],
        )
        collection.add_space("other", dim=3, metric="dot")
        collection.upsert(["e"], texts=["A boat in the other space."], vectors={"other": np.array([[1.0, 2.0, 3.0]])})
        collection.delete(["b"])
    for leftover in ("writer.lock",):
        (folder / leftover).unlink()


if __name__ == "__main__":
    main()
