"""``orthant diagnose``: what the vectors of a collection are like, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from orthant.collection.diagnosis.report import Diagnosis

__all__ = ["register"]

_PARTS = 5


def register(app: typer.Typer) -> None:
    """Add the verb ``diagnose``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("diagnose", help="Measure intrinsic dimension, hubness, recall and cost on samples, and give advice.")
    def diagnose(
        collection: str = typer.Argument(help="The collection's folder."),
        space: str = typer.Option("default", help="Vector space."),
        queries: str = typer.Option(None, help="queries.jsonl (_id, text) to measure with; default: sampled records."),
        sample: int = typer.Option(1000, help="Number of records to sample."),
        order: bool = typer.Option(True, "--order/--no-order", help="Also build small graphs in several orders."),
        seed: int = typer.Option(0, help="Random seed."),
        html: str = typer.Option(None, help="Write a page with plots to this HTML file."),
        encoder: str = typer.Option(None, help="Needed for --queries if the encoder came from a folder."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, progress_bar
        from orthant.cli.spaces.opening import opened_with
        from orthant.errors import NotFoundError, message
        from orthant.evaluation.trec import read_queries

        # Before the work, not after it.
        if html is not None and not Path(html).absolute().parent.is_dir():
            raise NotFoundError(message(f"--html {html}", "a file in a folder that exists", "make the folder"))
        texts = None if queries is None else list(read_queries(queries).values())
        with (
            opened_with(collection, space=space, encoder=encoder) as opened,
            progress_bar("measuring", _PARTS) as advance,
        ):
            found = opened.diagnose(
                space, queries=texts, sample=sample, order=order, seed=seed, progress=lambda part: advance(1)
            )
        if html is not None:
            Path(html).write_text(found.to_html(), encoding="utf-8")
        if json:
            print_json(found.to_dict())
        else:
            _show(found, html)


def _show(found: Diagnosis, html: str | None) -> None:
    from orthant.cli.output import print_table

    title = f"{found.path}, space {found.space}: {found.vectors:,} vectors of {found.dim} dimensions ({found.metric})"
    rows = [
        (name.replace("_", " "), _figure(e.value), f"{_figure(e.low)} to {_figure(e.high)}")
        for name, e in found.figures.items()
    ]
    rows += [(name, "not measured", why) for name, why in found.missing.items()]
    caption = [f"{found.sample['rows']:,} records sampled; queries: {found.sample['queries']}"]
    if html is not None:
        caption.append(f"page with plots: {html}")
    print_table(title, ("figure", "value#", "95 % interval"), rows, caption="\n".join(caption))
    for line in found.advice or ["Nothing stands out."]:
        print(f"- {line}")


def _figure(value: float) -> str:
    """Four digits, without an exponent where a reader would count thousands."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
