"""``orthant bench filtered``: search under filters of many kinds, against exact scans and FAISS's selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["register", "write_result"]


def register(bench: typer.Typer) -> None:
    """Add ``filtered`` to ``bench``.

    Parameters
    ----------
    bench : typer.Typer
        The group of verbs.
    """
    import typer

    @bench.command("filtered", help="Recall and latency under filters, by selectivity and relation to the query.")
    def filtered(
        data: str = typer.Option(None, help="A named set; token_vectors unless --vectors is given."),
        vectors: str = typer.Option(None, help="Vectors to index: .npy, file.npz:name, .fvecs or HDF5."),
        queries: str = typer.Option(None, help="Queries, in one of the same formats."),
        metric: str = typer.Option("cosine", help="cosine, dot or l2; for --vectors."),
        k: int = typer.Option(10, help="Neighbours."),
        recall: float = typer.Option(0.95, help="Recall that every method should reach."),
        selectivity: list[float] = typer.Option(
            [0.001, 0.01, 0.1, 0.5], help="Share of the rows that pass the filter; may be repeated."
        ),
        cell_budget_s: float = typer.Option(1.0, help="Time limit per method and cell, in seconds."),
        limit: int = typer.Option(None, help="Index only this many vectors, drawn at random."),
        study: str = typer.Option(
            None, help="Sweep every method over real filters instead: a folder like arxiv-for-fanns, or short_texts."
        ),
        count: int = typer.Option(200, help="Queries per kind of filter; for --study."),
        attribute: list[str] = typer.Option(
            None, help="equality, range or set, = and the attribute that such queries ask for; for --study FOLDER."
        ),
        rival: list[str] = typer.Option(
            None, help="Further methods: hnswlib-filter, lancedb or milvus-lite; may be repeated. --study takes all."
        ),
        rivals_python: str = typer.Option(
            None, help="Python interpreter that has LanceDB and milvus-lite; default: this one."
        ),
        out: Path = typer.Option(None, help="Folder for filtered.json."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.bench.inputs import open_inputs
        from orthant.cli.output import note, print_json
        from orthant.errors import InputError, message
        from orthant.evaluation.ann.inputs import data_files_hash
        from orthant.evaluation.filtered.run import run_filtered

        if study is not None:
            if data is not None or vectors is not None or queries is not None:
                raise InputError(message("--study with other data", "one of the two", "leave --data and --vectors out"))
            result = _study(study, _columns(study, attribute or ()), k, count, limit, rivals_python)
            if out is not None:
                write_result(result, out, "filtered_study.json")
            print_json(result) if json else _show_study(result, recall)
            return
        if attribute:
            raise InputError(message("--attribute without --study", "both or none", "name the folder of a study"))
        name = "token_vectors" if data is None and vectors is None and queries is None else data
        with open_inputs(name, vectors, queries, metric, limit) as inputs:
            result = run_filtered(
                inputs,
                k=k,
                recall=recall,
                selectivities=selectivity,
                cell_budget_s=cell_budget_s,
                rivals=rival or (),
                rivals_python=rivals_python,
                report=note,
            )
        result["context"]["data"]["files_sha256"] = None if name is None else data_files_hash(name)
        if out is not None:
            write_result(result, out, "filtered.json")
        if json:
            print_json(result)
        else:
            _show(result)


def _columns(study: str, given: Sequence[str]) -> dict[Any, str]:
    """Return the attribute of each kind from ``KIND=NAME``; the reader refuses unknown kinds."""
    from orthant.errors import InputError, message

    if given and study == "short_texts":
        raise InputError(message("--attribute with short_texts", "it for a folder", "leave it out"))
    columns = {}
    for one in given:
        kind, equals, name = one.partition("=")
        if not equals or not name or kind in columns:
            raise InputError(message(f"--attribute {one}", "each kind once, as KIND=NAME", "such as range=year"))
        columns[kind] = name
    return columns


def _study(
    name: str, columns: Mapping[Any, str], k: int, count: int, limit: int | None, python: str | None
) -> dict[str, Any]:
    from orthant.cli.output import note
    from orthant.datasets.readers.filtered import read_fanns, short_text_filters
    from orthant.evaluation.filtered.study import run_study

    data = short_text_filters() if name == "short_texts" else read_fanns(name, columns=columns)
    return run_study(data, k=k, queries=count, limit=limit, rivals_python=python, report=note)


def _show_study(result: Mapping[str, Any], recall: float) -> None:
    from orthant.cli.output import print_table
    from orthant.evaluation.filtered.study import cheapest

    data, rows = result["context"]["data"], []
    for entry in result["kinds"]:
        compared, speeds = cheapest(entry, recall), cheapest(entry, recall, by="qps")
        for bucket, cell in sorted(compared.items()):
            for arm, spent in cell.items():
                speed = speeds[bucket][arm]
                shown = "-" if spent is None else f"{spent:,.0f}"
                rows.append([entry["kind"], bucket, arm, shown, "missed" if speed is None else f"{speed:,.0f}"])
    lines = [f"{one['arm']} is missing: {one['reason']}" for one in result["missing"]]
    title = f"{data['name']}: {data['vectors']:,} x {data['dim']}, {data['metric']}; cheapest with recall {recall}"
    print_table(title, ("filter", "allowed#", "method", "compared#", "queries/s#"), rows, caption="\n".join(lines))


def write_result(result: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write a report as JSON and say where.

    Parameters
    ----------
    result : mapping
        The report; no NaN in it.
    folder : Path
        Made where it is missing.
    name : str
        Of the file; one that exists is replaced.
    """
    import json

    from orthant.artifact import write_bytes_atomically
    from orthant.cli.output import note

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    write_bytes_atomically(path, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
    note(f"wrote {path}")


def _show(result: Mapping[str, Any]) -> None:
    from orthant.cli.output import print_table

    data = result["context"]["data"]
    rows = []
    for cell in result["cells"]:
        mine, best = cell["arms"]["orthant"], cell["best_rival"]
        rival = "none" if best is None else f"{best} {cell['arms'][best]['p50_ms']:.2f} ms"
        speed = "missing" if cell["speedup"] is None else f"{cell['speedup']:.2f}"
        about = [cell["relation"], cell["predicate"], f"{cell['selectivity']:.1%}"]
        rows.append([*about, f"{mine['recall']:.3f}", f"{mine['p50_ms']:.2f}", ", ".join(mine["plans"]), rival, speed])
    columns = ("relation", "predicate", "allowed#", "recall#", "p50 ms#", "plan", "best rival", "speed-up#")
    unlike = sum(not one["identical"] for one in result["equivalent"])
    lines = [f"{one['arm']} is missing: {one['reason']}" for one in result["missing"]]
    lines.append(f"equivalent predicates answered unlike in {unlike} of {len(result['equivalent'])} cells")
    title = f"{data['name']}: {data['vectors']:,} x {data['dim']}, {data['metric']}, queries {data['queries']}"
    print_table(title, columns, rows, caption="\n".join(lines))
