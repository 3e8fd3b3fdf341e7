"""Filter by metadata and search by meaning and by words at once, and see what each of the two brought.

Run: python examples/12_filter_and_hybrid.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orthant

TICKETS = [
    ("t1", "The pump in hall 3 loses pressure during the night shift.", {"site": "Bremen", "year": 2024, "open": True}),
    ("t2", "Error E-4711: the pressure sensor answers too late.", {"site": "Bremen", "year": 2021, "open": False}),
    ("t3", "Water stands on the floor below the heat exchanger.", {"site": "Kiel", "year": 2024, "open": True}),
    ("t4", "The conveyor stops when parcels are too heavy.", {"site": "Kiel", "year": 2023, "open": True}),
    ("t5", "Error E-4711 again, this time after the update.", {"site": "Kiel", "year": 2024, "open": True}),
    ("t6", "A leak wets the ground near the boiler.", {"site": "Bremen", "year": 2024, "tags": ["safety"]}),
    ("t7", "The canteen's coffee machine is cold.", {"site": "Bremen", "year": 2024, "open": False}),
    ("t8", "Replace the seal of the pump before winter.", {"site": "Bremen", "year": 2022, "open": True}),
]


def show(title: str, hits: orthant.SearchResult) -> None:
    """Print hits with what each leg said of them."""
    print(f"\n{title}")
    for hit in hits:
        legs = ", ".join(f"{name} {'-' if leg.rank is None else leg.rank}" for name, leg in hit.legs.items())
        print(f"  {hit.id}  {hit.score:.3f}  ranks: {legs}  {hit.text}")


def main(folder: Path) -> None:
    """Filter, fuse, and state conditions on words."""
    with orthant.open(folder / "tickets.orthant", encoder="static") as tickets:
        ids, texts, rows = zip(*TICKETS, strict=True)
        tickets.upsert(ids, texts=texts, metadata=rows)

        question = "flooded ground"
        show("By words: only what shares one", tickets.search(question, k=3, mode="lexical"))
        show("By meaning: also the leak that is worded otherwise", tickets.search(question, k=3, mode="dense"))
        show("Both, fused", tickets.search(question, k=3))
        show("A code is found by its letters", tickets.search("what does E-4711 mean", k=2))

        recent = {"year": {"gte": 2023}, "site": {"in": ["Bremen"]}}
        hits = tickets.search(question, k=10, where=recent)
        show(f"In Bremen since 2023: {hits.plan.allowed} of {hits.plan.records} tickets pass, and only they", hits)

        nested = {"or": [{"tags": {"contains": "safety"}}, {"and": [{"open": True}, {"not": {"site": "Kiel"}}]}]}
        show("Safety, or open and not in Kiel", tickets.search("pump pressure", k=4, where=nested))
        show(
            "With a required word, whatever the vectors say", tickets.search("problem +pump", k=4, where={"open": True})
        )

        weights = {"dense": 0.8, "lexical": 0.2}
        hits = tickets.search(question, k=2, weights=weights, where=recent)
        show(f"More weight on meaning: {hits.plan.fusion['weights']}", hits)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
