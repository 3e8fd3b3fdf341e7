"""``orthant compress``: what codes cost on a collection's own vectors, and searching by them on consent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from orthant.collection.compression.outcome import CompressionOutcome

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``compress``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("compress", help="Measure the recall of compressed vectors; --apply switches to the best codes.")
    def compress(
        collection: str = typer.Argument(help="The collection's folder."),
        budget_bytes: int = typer.Option(None, help="Maximum bytes per vector."),
        recall: float = typer.Option(None, help="Recall wanted, from 0 to 1; default 0.95 without a budget."),
        space: str = typer.Option("default", help="Space of vectors."),
        queries: str = typer.Option(
            None, help="Real queries: queries.jsonl (_id, text), a .txt file with one per line, or vectors as .npy."
        ),
        k: int = typer.Option(10, help="Neighbours that recall is measured for."),
        rescored_rows: int = typer.Option(50, help="Rows to rescore with the full vectors."),
        codes: list[str] = typer.Option(None, help="Codes to consider, such as lvq4 or opq48; repeatable."),
        seed: int = typer.Option(0, help="Random seed of the samples."),
        plot: str = typer.Option(None, help="Plot bytes against recall to FILE.html, FILE.png or FILE.json."),
        encoder: str = typer.Option(None, help="Needed for text queries if the encoder came from a folder."),
        apply: bool = typer.Option(False, "--apply", help="Encode every vector and search by the codes."),
        undo: bool = typer.Option(False, "--undo", help="Go back to full vectors; measures nothing."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, require_collection
        from orthant.cli.spaces.opening import opened_with
        from orthant.cli.tuning.queries import sample_queries
        from orthant.errors import InputError, message

        require_collection(collection)
        if undo and plot:
            raise InputError(message("--undo beside --plot", "one of them", "nothing is measured by --undo"))
        if plot:
            from orthant.evaluation.rate_distortion import check_plot, write_plot

            check_plot(plot)
        asked = None if queries is None else sample_queries(queries)
        with opened_with(collection, space=space, encoder=encoder, read_only=not (apply or undo)) as opened:
            outcome = opened.compress(
                budget_bytes=budget_bytes,
                recall=recall,
                space=space,
                queries=asked,
                k=k,
                rescored_rows=rescored_rows,
                candidates=codes or None,
                apply=apply,
                undo=undo,
                seed=seed,
                progress=sys.stderr.isatty(),
            )
        if plot and outcome.report is not None:
            write_plot(outcome.report, plot)
        print_json(outcome.to_dict()) if json else _show(outcome)


def _show(outcome: CompressionOutcome) -> None:
    from orthant.cli.output import note, print_table

    if outcome.report is None:
        note(str(outcome))
        return
    found = outcome.report
    rows = [
        (c.name + (" *" if c.name == found.recommended else ""), f"{c.bytes_per_vector:,}",
         f"{c.recall:.3f} ± {c.recall_halfwidth:.3f}", f"{c.recall_rescored:.3f}", f"{c.latency_ms:.2f}",
         f"{c.latency_rescored_ms:.2f}")
        for c in found.candidates
    ]  # fmt: skip
    title = f"{found.rows:,} vectors of {found.dim} dimensions, {found.queries} queries, recall@{found.k}"
    columns = ("codes", "bytes#", "recall#", f"{found.rescored_rows} rescored#", "ms#", "ms rescored#")
    print_table(title, columns, rows, caption="\n".join([found.reason, *found.notes]))
    if outcome.applied:
        print(str(outcome).rsplit("\n", 1)[-1])
        note("applied; take it back with --undo")
    elif found.recommended is not None:
        note("nothing was changed; --apply does")
