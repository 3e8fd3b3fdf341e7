"""``orthant bench collection``: a collection beside other embedded stores, on the same records and queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["HOME", "register", "store_table"]

HOME = "orthant.cli.bench.orthant_store:OrthantStore"


def register(bench: typer.Typer) -> None:
    """Add ``collection`` to ``bench``.

    Parameters
    ----------
    bench : typer.Typer
        The group of verbs.
    """
    import typer

    @bench.command("collection", help="Ingest, latency, recall, memory, disk, churn and crashes of embedded stores.")
    def collection(
        records: int = typer.Option(100_000, help="Chunks of newsgroup messages to load."),
        rivals: str = typer.Option(
            "chroma,lancedb,milvus-lite,txtai", help="Stores, separated by commas; 'none' for none."
        ),
        python: str = typer.Option(None, help="Python interpreter of an environment that has them; default: this one."),
        rounds: int = typer.Option(50, help="Rounds of deleting and adding one record in a hundred."),
        kills: int = typer.Option(3, help="How many times to kill a writing process."),
        judge: int = typer.Option(500, help="Queries per mode."),
        mode_budget_s: float = typer.Option(6.0, help="Time limit for the queries of one mode, in seconds."),
        churn_budget_s: float = typer.Option(45.0, help="Time limit for the rounds, in seconds."),
        out: Path = typer.Option(None, help="Folder for collection_rivals.json."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.bench.filtered import write_result
        from orthant.cli.output import note, print_json
        from orthant.evaluation.stores.inputs import newsgroup_corpus
        from orthant.evaluation.stores.run import StoreSettings, run_stores

        chosen = _chosen(rivals)
        settings = StoreSettings(
            records=records,
            rounds=rounds,
            per_round=max(1, records // 100),
            kills=kills,
            judge=judge,
            mode_budget_s=mode_budget_s,
            churn_budget_s=churn_budget_s,
        )
        result = run_stores(
            newsgroup_corpus(records, spare=max(1, records // 2)),
            stores={"orthant": HOME, **chosen},
            pythons=dict.fromkeys(chosen, python) if python else None,
            settings=settings,
            report=note,
        )
        if out is not None:
            write_result(result, out, "collection_rivals.json")
        if json:
            print_json(result)
        else:
            _show(result)


def _chosen(text: str) -> dict[str, str]:
    from orthant.cli.bench.ann import split_names
    from orthant.errors import InputError, message
    from orthant.evaluation.stores.store import STORES

    names = split_names(text)
    unknown = sorted(set(names) - set(STORES))
    if unknown:
        raise InputError(message(f"the store {unknown[0]!r}", f"some of {', '.join(STORES)}", "check the spelling"))
    return {name: STORES[name].home for name in names}


def store_table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a report as lines of a table, one per question.

    Parameters
    ----------
    result : mapping
        From `orthant.evaluation.stores.run.run_stores`.

    Returns
    -------
    tuple of list
        Heads and lines: the question, a figure per store, and the place of Orthant among those that offer it.
    """
    from orthant.evaluation.stores.places import COLUMNS

    names = [entry["store"] for entry in result["results"]]
    lines = []
    for column in COLUMNS:
        values = [column.read(entry) for entry in result["results"]]
        ranked = result["places"][column.key]
        place = f"{ranked['orthant']} of {len(ranked)}" if "orthant" in ranked else ""
        shown = [_figure(value, column.unit) for value in values]
        lines.append([f"{column.title} ({column.unit})".replace(" (share)", ""), *shown, place])
    return ["", *names, "place"], lines


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "not offered"
    if unit == "share":
        return f"{value:.3f}"
    if unit == "MB":
        return f"{value / 1e6:,.0f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _show(result: Mapping[str, Any]) -> None:
    from orthant.cli.output import print_table

    heads, lines = store_table(result)
    notes = [f"{one['store']} is missing: {one['reason']}" for one in result["missing"]]
    notes += [f"{entry['store']}: {'; '.join(entry['notes'])}" for entry in result["results"]]
    data, settings = result["context"], result["settings"]
    title = f"{settings['records']:,} records x {data['dim']}, {data['data']}, k={settings['k']}"
    print_table(title, tuple(heads), lines, caption="\n".join(notes))
