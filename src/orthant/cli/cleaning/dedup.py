"""``orthant dedup``: near-duplicates of a collection, shown, marked, unmarked or deleted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.collection import Collection
    from orthant.collection.duplicates.report import DuplicateGroup, DuplicateReport

__all__ = ["register"]

_COPIES_SHOWN = 5
_JUDGEMENTS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def register(app: typer.Typer) -> None:
    """Add the verb ``dedup``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("dedup", help="Find near-duplicates; nothing is changed without --mark, --unmark or --delete.")
    def dedup(
        collection: str = typer.Argument(help="The collection's folder."),
        by: str = typer.Option("vectors", help="vectors, text (shingles of words), or both."),
        threshold: float = typer.Option(None, help="Minimum similarity; without it, a histogram helps to choose one."),
        text_threshold: float = typer.Option(None, help="With --by both: minimum similarity of texts."),
        labelled: str = typer.Option(None, help="TSV of id, id, 1 or 0: choose the threshold with the best F1."),
        space: str = typer.Option(None, help="Vector space; default: default."),
        where: str = typer.Option(None, help="Only records that match, as JSON."),
        exact: bool = typer.Option(False, "--exact", help="Compare every pair: slower, but misses none."),
        keep: str = typer.Option("oldest", help="Which record of a group to keep: oldest, newest or longest."),
        order_field: str = typer.Option(None, help="Metadata field that orders records by age."),
        show: int = typer.Option(10, min=0, help="Groups to show."),
        mark: bool = typer.Option(False, "--mark", help="Write the kept id into the metadata of each duplicate."),
        unmark: bool = typer.Option(False, "--unmark", help="Remove all marks; compares nothing."),
        delete: bool = typer.Option(False, "--delete", help="Delete the duplicates permanently."),
        field: str = typer.Option("duplicate_of", help="Metadata field to write the mark to."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import parse_json_object, print_json, require_collection
        from orthant.collection.opening import open

        action = _action(mark=mark, unmark=unmark, delete=delete)
        require_collection(collection)
        options: dict[str, Any] = {
            "by": by,
            "threshold": _thresholds(by, threshold, text_threshold),
            "labelled": None if labelled is None else _read_labelled(Path(labelled)),
            "space": space,
            "where": parse_json_object(where, name="--where"),
            "exact": exact,
            "keep": keep,
            "order_field": order_field,
        }
        _require_threshold(action, threshold, labelled)
        with open(collection, read_only=action is None) as opened:
            if action == "unmark":
                _unmarked(opened, options, field=field, json=json)
                return
            report = opened.duplicates(**options, progress=sys.stderr.isatty())
            done = _act(report, action, field)
            if json:
                print_json({**report.to_dict(), "action": action, "changed": done})
                return
            _show(opened, report, show)
        _conclude(report, action, done, field)


def _require_threshold(action: str | None, threshold: float | None, labelled: str | None) -> None:
    from orthant.errors import InputError, message

    # Said before everything is compared, not after it.
    if action in ("mark", "delete") and threshold is None and labelled is None:
        given = f"--{action} without a threshold"
        raise InputError(message(given, "--threshold or --labelled", "look at the histogram first, then choose"))


def _action(**given: bool) -> str | None:
    from orthant.errors import InputError, message

    chosen = [name for name, wanted in given.items() if wanted]
    if len(chosen) > 1:
        raise InputError(message(" and ".join(f"--{name}" for name in chosen), "one of them", "run one after another"))
    return chosen[0] if chosen else None


def _thresholds(by: str, threshold: float | None, text: float | None) -> Any:
    from orthant.errors import InputError, message

    if text is None:
        return threshold
    if by != "both" or threshold is None:
        raise InputError(
            message("--text-threshold", "--by both with --threshold for the vectors", "use --threshold alone")
        )
    return {"vectors": threshold, "text": text}


def _read_labelled(path: Path) -> list[tuple[str, str, bool]]:
    from orthant.errors import InputError, message

    out: list[tuple[str, str, bool]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(message(f"{path}, which is not UTF-8", "a TSV file in UTF-8", "convert it")) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 3 or cells[2].strip().lower() not in _JUDGEMENTS:
            raise InputError(
                message(f"{path}, line {number}: {line[:80]!r}", "id, id and 1 or 0, between tabs", "correct the line")
            )
        out.append((cells[0], cells[1], _JUDGEMENTS[cells[2].strip().lower()]))
    return out


def _unmarked(opened: Collection, options: dict[str, Any], *, field: str, json: bool) -> None:
    from orthant.cli.output import note, print_json
    from orthant.errors import InputError, message

    if options["threshold"] is not None or options["labelled"] is not None or options["where"] is not None:
        raise InputError(
            message("--unmark with a setting of the comparison", "--unmark and --field", "leave the others out")
        )
    changed = opened.unmark_duplicates(field=field)
    if json:
        print_json({"action": "unmark", "changed": changed})
    else:
        note(f"{changed:,} marks in {field!r} taken away")


def _act(report: DuplicateReport, action: str | None, field: str) -> int:
    if action == "mark":
        return report.mark(field=field)
    return report.delete() if action == "delete" else 0


def _show(opened: Collection, report: DuplicateReport, count: int) -> None:
    from orthant.cli.output import print_pairs, print_table

    pairs = [("compared", f"{report.records:,} records by {report.by} ({report.method})")]
    if report.left_out:
        pairs.append(("left out", f"{report.left_out:,} without what is compared"))
    if report.threshold is not None:
        pairs.append(("threshold", ", ".join(f"{name} {value:.3f}" for name, value in report.threshold.items())))
    if report.choice is not None:
        c = report.choice
        pairs.append(("chosen on", f"{c.pairs} judged pairs, 95 % between {c.low:.3f} and {c.high:.3f}"))
        unseen = "unknown" if c.f1_unseen is None else f"{c.f1_unseen:.3f}"
        pairs.append(("F1", f"{c.f1:.3f} on these pairs, {unseen} on unseen ones"))
    if report.recall is not None:
        r = report.recall
        share = "unknown" if r.share is None else f"{r.share:.3f}"
        pairs.append(("recall", f"{share} ({r.low:.3f} to {r.high:.3f})" if r.judged else share))
    if report.threshold is not None:
        pairs.append(("found", f"{len(report.pairs):,} pairs, {len(report.groups):,} groups, "
                               f"{len(report.duplicates):,} duplicates"))  # fmt: skip
    print_pairs(pairs, title="Near-duplicates")
    if report.histogram is not None:
        _show_histogram(report)
        return
    shown = report.groups[:count]
    rows = [row for group in shown for row in _group_rows(opened, group)]
    more = len(report.groups) - len(shown)
    print_table(
        "Groups" if rows else "", ("=", "id=", "text!"), rows, caption=f"{more:,} groups more" if more > 0 else ""
    )


def _group_rows(opened: Collection, group: DuplicateGroup) -> list[tuple[str, str, str]]:
    ids = [group.kept, *group.duplicates[:_COPIES_SHOWN]]
    roles = ["keep", *["copy"] * (len(ids) - 1)]
    rows = [
        (role, key, " ".join((record.text or "").split())[:400])
        for role, key, record in zip(roles, ids, opened.get(ids), strict=True)
        if record is not None
    ]
    left = len(group.duplicates) - _COPIES_SHOWN
    return [*rows, ("", f"{left:,} copies more", "")] if left > 0 else rows


def _show_histogram(report: DuplicateReport) -> None:
    from orthant.cli.output import note, print_table

    histogram = report.histogram
    if histogram is None:
        return
    largest, least = max(histogram.counts, default=0) or 1, histogram.sought_from
    bins = [
        (low, high, count)
        for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False)
        if count
    ]
    # Below that others were not sought, so the first bin holds all that have no nearer one.
    bins = [(low, least if low < least else high, count) for low, high, count in bins]
    rows = [(f"{low:.3f}", f"{high:.3f}", f"{count:,}", "#" * -(-40 * count // largest)) for low, high, count in bins]
    sampled = f", of a sample of {histogram.records:,}" if histogram.records < report.records else ""
    print_table(f"Similarity to the nearest other record{sampled}", ("from#", "to#", "records#", ""), rows)
    if histogram.valley is None:
        note("no valley below the near-copies: judge some pairs and pass them with --labelled")
    else:
        note(f"a valley lies near {histogram.valley:.3f}; look at pairs around it, then pass --threshold")


def _conclude(report: DuplicateReport, action: str | None, done: int, field: str) -> None:
    from orthant.cli.output import note

    if not report.records:
        note("no record was compared: look at --where and at the space")
    if report.chained:
        note(f"{report.chained:,} chains of records were split: their ends are less similar than the threshold")
    if action == "mark":
        note(f"{done:,} records marked in {field!r}; take it back with --unmark")
    elif action == "delete":
        note(f"{done:,} records deleted")
    elif report.duplicates:
        note("nothing was changed; --mark writes the kept id into each duplicate's metadata")
