"""``orthant train``: an encoder trained as a file says, judged beside its base, saved and exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.learn.recipes.planning import TrainingPlan
    from orthant.learn.recipes.running import TrainingReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``train``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("train", help="Train an encoder by a recipe; a run that was killed resumes at its last checkpoint.")
    def train(
        recipe: str = typer.Argument(None, help="A .yaml or .json file."),
        folder: str = typer.Option(None, "--folder", help="Folder of the run; default: the name in the recipe."),
        dry_run: bool = typer.Option(
            False, "--dry-run", help="Print the plan with estimated time and memory; train nothing."
        ),
        fresh: bool = typer.Option(False, "--fresh", help="Refuse a folder with checkpoints instead of resuming."),
        schema: bool = typer.Option(False, "--schema", help="Print every setting with its default."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import note, print_json
        from orthant.errors import InputError, message

        if schema:
            _print_schema(as_json=json)
            return
        if recipe is None:
            raise InputError(message("no recipe", "a .yaml or .json file", "see --schema for what it may say"))
        from orthant.learn.recipes.reading import read_recipe

        wanted = read_recipe(recipe)
        from orthant.index.flat import Flat
        from orthant.learn.recipes.running import RecipeRun

        run = RecipeRun(wanted, folder or wanted.name, make_index=lambda dim: Flat(dim), say=note)
        if dry_run:
            plan = run.plan()
            print_json(plan.to_dict()) if json else _show_plan(plan)
            return
        report = run.train(resume=not fresh, progress=True)
        if json:
            print_json(report.to_dict() | {"folder": str(run.folder)})
        else:
            _show_report(report, str(run.folder))


def _show_plan(plan: TrainingPlan) -> None:
    from orthant.cli.output import print_table, readable_bytes

    pairs = [(name, *(f"{n:,}" for n in splits.values())) for name, splits in plan.pairs.items()]
    print_table("Pairs", ("data", "train#", "dev#", "test#"), pairs)
    rows = [
        (
            each.name,
            f"{each.rows:,}",
            f"{each.steps:,}",
            f"{each.batch_size:,}",
            f"{each.tokens_per_step:,}",
            f"{each.trained:,}",
            readable_bytes(each.memory_bytes),
            _duration(each.seconds),
        )
        for each in plan.stages
    ]
    columns = ("stage", "rows#", "steps#", "batch#", "tokens/step#", "trained#", "memory#", "time#")
    caption = f"{plan.parameters:,} parameters; about {_duration(plan.seconds)}, checkpoints and judging not counted"
    print_table(f"Plan of {plan.name}: nothing was trained", columns, rows, caption=caption)


def _show_report(report: TrainingReport, folder: str) -> None:
    from orthant.cli.output import print_pairs, print_table

    rows = []
    for name, scores in report.scores.items():
        compared = {each["arm"]: each for each in report.comparisons[name]}
        for arm, value in scores.items():
            found = compared.get(arm)
            low, high = found["interval"] if found else (0.0, 0.0)
            rows.append(
                (
                    name,
                    arm,
                    f"{value:.4f}",
                    f"{found['difference']:+.4f}" if found else "",
                    f"{low:+.4f} to {high:+.4f}" if found else "",
                    f"{found['p_value']:.4f}" if found else "",
                )
            )
    counts = ", ".join(f"{n}: {c['queries']:,} queries, {c['documents']:,} documents" for n, c in report.judged.items())
    print_table(
        f"{report.metric} on held-out queries",
        ("data", "model", "score#", "against base#", "95 %#", "p#"),
        rows,
        caption=counts,
    )
    ended = f" (stopped: {report.stopped})" if report.stopped else ""
    print_pairs(
        [
            ("trained", f"{report.steps:,} steps{ended}"),
            *((what, f"{folder}/{path}") for what, path in report.paths.items()),
        ]
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _print_schema(*, as_json: bool) -> None:
    import dataclasses
    from typing import get_type_hints

    from orthant.cli.output import print_json, print_table
    from orthant.learn.recipes import schema

    found: dict[str, dict[str, Any]] = {}
    for name in schema.__all__:
        section = getattr(schema, name)
        hints = get_type_hints(section)
        found[name] = {
            each.name: {"type": _type_name(hints[each.name]), "default": _default(each)}
            for each in dataclasses.fields(section)
        }
    if as_json:
        print_json({"sections": found})
        return
    for name in ["Recipe", *(n for n in found if n != "Recipe")]:
        rows = [(field, one["type"], one["default"]) for field, one in found[name].items()]
        print_table(name, ("name", "type", "default"), rows)


def _type_name(hint: Any) -> str:
    from typing import Literal, get_args, get_origin

    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if hasattr(hint, "__name__") and not get_args(hint):
        return str(hint.__name__)
    return str(hint).replace("orthant.learn.recipes.schema.", "").replace("typing.", "")


def _default(each: Any) -> str:
    import dataclasses

    if each.default is not dataclasses.MISSING:
        return "" if each.default is None else str(each.default)
    if each.default_factory is not dataclasses.MISSING:
        made = each.default_factory()
        return type(made).__name__ if dataclasses.is_dataclass(made) else str(made)
    return "required"
