"""``orthant bench ann``: indexes side by side, on a named set or on the user's own vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["register"]

_PEERS = "faiss,scann,usearch,hnswlib"


def register(bench: typer.Typer) -> None:
    """Add ``ann`` to ``bench``.

    Parameters
    ----------
    bench : typer.Typer
        The group of verbs.
    """
    import typer

    @bench.command("ann", help="Recall, queries per second, build and memory of nearest-neighbour indexes.")
    def ann(
        data: str = typer.Option(None, help="minilm_short_texts, mnist, newsgroups_chunks or token_vectors."),
        vectors: str = typer.Option(None, help="Vectors to index: .npy, file.npz:name, .fvecs or HDF5."),
        queries: str = typer.Option(None, help="Queries, in one of the same formats."),
        metric: str = typer.Option("cosine", help="cosine, dot or l2; for --vectors."),
        k: int = typer.Option(10, help="Neighbours."),
        recall: list[float] = typer.Option(None, help="Recall to ask for and to compare at; may be repeated."),
        peers: str = typer.Option(_PEERS, help="Libraries or engines, separated by commas; 'none' for none."),
        threads: int = typer.Option(1, help="Threads of a search."),
        repetitions: int = typer.Option(5, help="Timed passes; the median is reported."),
        budget_s: float = typer.Option(60.0, help="Seconds per engine for tuning."),
        limit: int = typer.Option(None, help="Index only this many vectors, drawn at random."),
        out: Path = typer.Option(None, help="Folder for ann.json, ann.html and ann.png."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.bench.inputs import open_inputs
        from orthant.cli.output import note, print_json
        from orthant.evaluation.ann.figures import check_plotting, write_figures
        from orthant.evaluation.ann.inputs import data_files_hash, truth_folder
        from orthant.evaluation.ann.run import run_ann

        if out is not None:
            check_plotting()
        with open_inputs(data, vectors, queries, metric, limit) as inputs:
            result = run_ann(
                inputs,
                k=k,
                peers=split_names(peers),
                threads=threads,
                targets=tuple(sorted({0.95, 0.99, *(recall or ())})),
                asked=tuple(recall) if recall else (0.9, 0.95, 0.99),
                repetitions=repetitions,
                budget_s=budget_s,
                truth_folder=truth_folder() if data is not None and limit is None else None,
                report=note,
            )
        result["context"]["data"]["files_sha256"] = None if data is None else data_files_hash(data)
        if out is not None:
            for path in write_figures(result, out):
                note(f"wrote {path}")
        if json:
            print_json(result)
        else:
            _show(result)


def split_names(text: str) -> list[str]:
    """Return the names in a list with commas; none for ``"none"``."""
    return [] if text.strip() == "none" else [name.strip() for name in text.split(",") if name.strip()]


def _show(result: Mapping[str, Any]) -> None:
    from orthant.cli.output import print_table

    data = result["context"]["data"]
    levels = list(dict.fromkeys(level for entry in result["results"] for level in entry["qps_at"]))
    for kind in data["queries"]:
        rows = []
        for entry in result["results"]:
            if entry["queries"] == kind:
                speeds = [_number(entry["qps_at"][level]) for level in levels]
                rows.append(
                    [entry["engine"], *speeds, f"{entry['build_cpu_s']:.1f}", _number(entry["bytes_per_vector"])]
                )
        columns = ["engine", *(f"queries/s at {level}#" for level in levels), "build CPU s#", "bytes/vector#"]
        title = f"{data['name']}: {data['vectors']:,} x {data['dim']}, {data['metric']}, queries {kind}"
        print_table(title, columns, rows, caption=_caption(result, kind))


def _caption(result: Mapping[str, Any], kind: str) -> str:
    lines = [
        f"{one['ratio']:.2f} x {one['best_peer']} at {one['recall']:.2f} ({one['ratio_min']:.2f} to "
        f"{one['ratio_max']:.2f}); build CPU {one['build_cpu_ratio']:.2f} x"
        for one in result["ratios"]
        if one["queries"] == kind and one["ratio"] is not None
    ]
    lines += [
        f"asked for recall {one['asked']:.2f}: {one['measured']:.4f}, at least {one['lower_95']:.4f} (95 %), "
        f"{one['qps']:,.0f} queries/s"
        for one in result["kept"]
        if one["queries"] == kind
    ]
    lines += [f"{one['engine']} is missing: {one['reason']}" for one in result["missing"]]
    lines.append("bytes/vector: anonymous memory, and codes that lie in mapped files")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:,.0f}"
