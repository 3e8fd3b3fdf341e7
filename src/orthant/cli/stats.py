"""``orthant stats``: what a collection holds and costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.statistics import CollectionStats

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``stats``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("stats", help="Show counts, bytes, spaces and metadata fields of a collection.")
    def stats(
        collection: str = typer.Argument(help="The collection's folder."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json
        from orthant.collection.opening import open

        with open(collection, read_only=True) as opened:
            found = opened.stats()
        if json:
            print_json(found.to_dict())
            return
        _show(found)


def _show(found: CollectionStats) -> None:
    from orthant.cli.output import note, print_pairs, print_table, readable_bytes
    from orthant.encoders.fingerprint import short_fingerprint

    sizes = ", ".join(f"{name} {readable_bytes(count)}" for name, count in found.bytes.items() if name != "total")
    words = found.lexical
    pairs = [
        ("records", f"{found.records:,}"),
        ("commits", f"{found.generation:,}"),
        ("on disk", f"{readable_bytes(found.bytes['total'])}: {sizes}"),
        ("words", f"{words['terms']:,} terms, {words['words']:,} words, {words['average_length']:.1f} per text"),
    ]
    if found.spaces:
        pairs.append(("search", ", ".join(f"{name}: {space['plan']}" for name, space in found.spaces.items())))
    if found.fusion is not None:
        weights = ", ".join(f"{leg} {weight:.2f}" for leg, weight in found.fusion["weights"].items())
        pairs.append(("fusion", f"{found.fusion['fusion']}, {weights} ({found.fusion['source']})"))
    for name, adapter in found.adapters.items():
        use = "in use" if adapter["in_use"] else "passed over: it is for another encoder"
        pairs.append(("adapter", f"{name}: {adapter['kind']}, rank {adapter['rank']}, {use}"))
    if found.tail["added"]:
        pairs.append(("unsaved", f"{found.tail['added']:,} records that the next open reads again"))
    print_pairs(pairs, title=f"Collection {found.path}")
    spaces = [
        (name, s["dim"], s["metric"], f"{s['vectors']:,}", f"{s['without_vector']:,}", readable_bytes(s["bytes"]),
         f"{s['dead_share']:.0%}", short_fingerprint(s["fingerprint"] or "none: vectors given"))
        for name, s in found.spaces.items()
    ]  # fmt: skip
    columns = ("space", "dim#", "metric!", "vectors#", "without#", "bytes#", "dead#", "encoder")
    print_table("Vector spaces" if spaces else "No vector space: only words are searchable.", columns, spaces)
    _show_sparse(found)
    graphs = [
        (name, f"{g['rows']:,}", f"{g['tail']:,}", f"{g['dead']:,}", readable_bytes(g["bytes"]),
         _calibration(g["calibration"]))
        for name, g in ((name, s["graph"]) for name, s in found.spaces.items()) if g and "rows" in g
    ]  # fmt: skip
    if graphs:
        headings = ("space", "rows#", "tail#", "dead#", "bytes#", "recall@10 by effort")
        print_table("Graphs", headings, graphs, caption="Tail: newer rows, scanned until they are merged.")
    for name, s in found.spaces.items():
        if s["graph"] and s["graph"].get("problem"):
            note(f"space {name!r} is searched by a scan: {s['graph']['problem']}")
    fields = [
        (name, ", ".join(f"{kind} {count:,}" for kind, count in f["types"].items()), f"{f['distinct']:,}",
         _bound(f["min"]), _bound(f["max"]))
        for name, f in found.fields.items()
    ]  # fmt: skip
    titles = ("field", "types", "distinct#", "smallest!", "largest!")
    print_table("Metadata fields" if fields else "No metadata.", titles, fields)
    for repaired in found.repairs:
        note(f"repaired on opening: {repaired}")


def _show_sparse(found: CollectionStats) -> None:
    from orthant.cli.output import note, print_table, readable_bytes
    from orthant.encoders.fingerprint import short_fingerprint

    weighted = [
        (name, f"{s['dim']:,}", f"{s['vectors']:,}", f"{s['without_vector']:,}", f"{s['weights']:,}",
         readable_bytes(s["bytes"]), short_fingerprint(s["fingerprint"] or "none: weights given"))
        for name, s in found.sparse.items()
    ]  # fmt: skip
    if weighted:
        headings = ("space", "terms#", "vectors#", "without#", "weights#", "bytes#", "encoder")
        print_table("Sparse spaces", headings, weighted)
    for name, s in found.sparse.items():
        if s["problem"]:
            note(f"sparse space {name!r} cannot be searched: {s['problem']}")


def _calibration(measured: Any) -> str:
    """Effort and mean recall of up to four points for k=10, such as "32: 0.91, 64: 0.96"."""
    table = measured.get("table", {}) if isinstance(measured, Mapping) else {}
    points = table.get("10") or next(iter(table.values()), ())
    if not points:
        return "not measured"
    chosen = points if len(points) <= 4 else [points[i * (len(points) - 1) // 3] for i in range(4)]
    return ", ".join(f"{effort:,}: {recall:.3f}" for effort, recall, _ in chosen)


def _bound(value: Any) -> str:
    if value is None:
        return ""
    return _cut(f"{value:,.6g}" if isinstance(value, float) else str(value))


def _cut(text: str, *, width: int = 24) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
