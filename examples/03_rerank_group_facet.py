"""Retrieve in stages: passages grouped by document, reranked by freshness, diverse, counted, and more like a good one.

Run it with ``python examples/03_rerank_group_facet.py``; it needs no network and leaves nothing behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import orthant
from orthant.collection.stages import FunctionReranker

TOPICS = {
    "backup": "Copy the database to another disk every night and test that the copy can be restored.",
    "index": "An index makes a query on the database quick, and every write a little slower.",
    "lock": "A lock keeps two writers from changing the same row of the database at once.",
    "network": "Check the cable and the address when a machine in the network does not answer.",
    "password": "Choose a long password and keep it in a manager rather than on paper.",
}
REMARKS = (
    "This is the short version.",
    "Ask the team before the change.",
    "See the appendix for the commands.",
    "Measure before and after.",
)


def records() -> tuple[list[str], list[str], list[dict]]:
    """Make passages of handbooks of several years: each repeats its topic with another remark."""
    ids, texts, rows = [], [], []
    for book, (topic, sentence) in enumerate(TOPICS.items()):
        for year in range(2015, 2025):
            for part, remark in enumerate(REMARKS):
                ids.append(f"{topic}-{year}-{part}")
                texts.append(f"{sentence} {remark}")
                month = 1 + (3 * book + year + part) % 12
                rows.append(
                    {"handbook": f"{topic} {year}", "topic": topic, "year": year, "day": f"{year}-{month:02}-10"}
                )
    return ids, texts, rows


def show(title: str, lines: list[str]) -> None:
    """Print a heading and what was found."""
    print(f"\n{title}")
    for line in lines:
        print(f"  {line}")


def main() -> None:
    """Walk through the stages."""
    query = "how do I keep the database safe"
    with tempfile.TemporaryDirectory() as folder, orthant.open(Path(folder) / "handbooks", encoder="static") as books:
        ids, texts, rows = records()
        books.upsert(ids, texts=texts, metadata=rows)
        print(f"{len(books)} passages; query: {query!r}")

        plain = books.search(query, k=4)
        show("Plain: four times the same", [f"{hit.id}: {hit.text}" for hit in plain])

        varied = books.search(query, k=4, diversity=0.5)
        show("With diversity=0.5", [f"{hit.id}: {hit.text}" for hit in varied])

        newest = FunctionReranker(lambda _, record: record.metadata["year"])
        fresh = books.search(query, k=4, rerank=newest, rerank_depth=40)
        show(
            "Reranked by year, the rank before still told",
            [f"{hit.id}: year {hit.score:.0f}, was {hit.stages['retrieve'].rank}" for hit in fresh],
        )

        grouped = books.search(query, k=3, group_by="handbook", per_group=2, facets=["topic", "year"], explain=True)
        show(
            "Grouped by handbook",
            [f"{g.value}: {[hit.id for hit in g.hits]} of {g.count}, best {g.score:.3f}" for g in grouped.groups],
        )
        show("Facets over all that match", [f"{value}: {count}" for value, count in grouped.facets["topic"].values])
        show("Years", [f"{b.low} to below {b.high}: {b.count}" for b in grouped.facets["year"].buckets[:3]])

        pages = [books.search(query, k=5, offset=offset, rerank=newest).ids for offset in range(0, 50, 5)]
        unique = {key for page in pages for key in page}
        show("Pages", [f"{len(pages)} pages of {sum(map(len, pages))} hits, {len(unique)} of them distinct"])

        like = books.similar(["backup-2020-0"], negative=["index-2020-0"], k=3, where={"year": {"gt": 2020}})
        show("More like backup-2020-0, not like index-2020-0, after 2020", [f"{hit.id}: {hit.text}" for hit in like])
        stages = ", ".join(f"{stage.name} {stage.seconds * 1e3:.1f} ms" for stage in grouped.plan.stages)
        show("What the stages cost", [stages])


if __name__ == "__main__":
    main()
