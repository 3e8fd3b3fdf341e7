"""``orthant tune-fusion``: learn from judged queries how hybrid searches should weigh their legs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.tuning.report import FusionReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``tune-fusion``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "tune-fusion", help="Learn fusion weights from judged queries; nothing is stored without --apply or --reset."
    )
    def tune_fusion(
        collection: str = typer.Argument(help="The collection's folder."),
        queries: str = typer.Option(None, help="queries.jsonl (_id, text), plain or gzipped."),
        qrels: str = typer.Option(None, help="qrels.tsv (query-id, corpus-id, score), plain or gzipped."),
        metric: str = typer.Option("ndcg@10", help="Metric to maximise."),
        folds: int = typer.Option(5, help="Number of folds of the cross-validation."),
        fusion: list[str] = typer.Option(None, help="Fusion methods to consider: minmax or rrf; default: both."),
        seed: int = typer.Option(0, help="Random seed of folds and tests."),
        alpha: float = typer.Option(0.05, help="Significance level: the chance of a false recommendation."),
        where: str = typer.Option(None, help="Only records that match, as JSON."),
        space: str = typer.Option("default", help="Vector space of the dense leg."),
        depth: int = typer.Option(None, help="Candidates per leg; default 200."),
        encoder: str = typer.Option(None, help="Needed if the collection was created with an encoder from a folder."),
        apply: bool = typer.Option(False, "--apply", help="Store the weights if they are recommended."),
        reset: bool = typer.Option(False, "--reset", help="Remove the stored weights; learns nothing."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import note, parse_json_object, print_json, progress_bar
        from orthant.cli.spaces.opening import opened_with
        from orthant.collection.opening import open
        from orthant.evaluation.trec import read_qrels, read_queries

        _check(collection, queries, qrels, apply=apply, reset=reset)
        if reset:
            with open(collection, encoder=encoder) as opened:
                done = opened.reset_fusion()
            print_json({"reset": done}) if json else note("stored weights taken away" if done else "none were stored")
            return
        texts, judged = read_queries(queries), read_qrels(qrels)
        bar = progress_bar("searching", len(judged))
        with opened_with(collection, space=space, encoder=encoder, read_only=not apply) as opened, bar as advance:
            report = opened.tune_fusion(
                queries=texts,
                qrels=judged,
                metric=metric,
                folds=folds,
                methods=tuple(fusion) if fusion else ("minmax", "rrf"),  # type: ignore[arg-type]
                seed=seed,
                alpha=alpha,
                where=parse_json_object(where, name="--where"),
                space=space,
                depth=depth,
                apply=apply,
                advance=advance,
            )
        if json:
            print_json(report.to_dict())
        else:
            _show(report, asked=apply)


def _check(collection: str, queries: str | None, qrels: str | None, *, apply: bool, reset: bool) -> None:
    from orthant.cli.output import require_collection
    from orthant.errors import InputError, message

    require_collection(collection)
    idle = [name for name, value in (("--queries", queries), ("--qrels", qrels), ("--apply", apply)) if value]
    if reset and idle:
        raise InputError(message(f"--reset beside {idle[0]}", "one of them", "run one after the other"))
    if not reset and (queries is None or qrels is None):
        raise InputError(message("no judged queries", "--queries and --qrels", "name both files"))


def _show(report: FusionReport, *, asked: bool) -> None:
    from orthant.cli.output import note, print_table

    print(report.sentence, end="\n\n")
    rows: list[tuple[Any, ...]] = [
        (c.baseline, f"{c.baseline_mean:.4f}", f"{c.difference:+.4f}", f"{c.low:+.4f} to {c.high:+.4f}",
         f"{c.p_adjusted:.3g}", f"{c.wins}/{c.ties}/{c.losses}")
        for c in report.comparisons
    ]  # fmt: skip
    title = f"Learned weights, {report.metric} {report.held_out:.4f} held out over {report.queries:,} queries, against"
    caption = f"On the queries that chose the weights it is {report.in_sample:.4f}: too high, as it always is."
    left = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.left_out.items() if count)
    caption += f"\nLeft out: {left}." if left else ""
    columns = ("", "its value#", "gain#", "95 % interval#", "p#", "better/equal/worse#")
    print_table(title, columns, rows, caption=caption)
    if report.applied:
        note("stored; take it back with --reset")
    elif report.recommended:
        note("nothing was stored; --apply does")
    elif asked:
        note("nothing was stored, since nothing is recommended")
