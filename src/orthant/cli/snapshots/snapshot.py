"""``orthant snapshot create | list | drop | restore | export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]

_FOLDER = "The collection's folder."
_JSON = "Print one JSON object."


def register(app: typer.Typer) -> None:
    """Add the verb ``snapshot`` with its five actions.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    group = typer.Typer(
        help="Save the state of a collection under a name; list, restore, export or drop snapshots.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    _register_keeping(group)
    _register_drop(group)
    _register_using(group)
    app.add_typer(group, name="snapshot")


def _register_keeping(group: typer.Typer) -> None:
    import typer

    @group.command("create", help="Save the current state under a name. Vectors are shared, records copied.")
    def create(
        collection: str = typer.Argument(help=_FOLDER),
        name: str = typer.Argument(help="A new name."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json, readable_bytes, require_collection
        from orthant.collection.opening import open

        require_collection(collection)
        with open(collection) as opened:
            info = opened.snapshot(name)
        if json:
            print_json(info.to_dict())
        else:
            own = readable_bytes(info.own_bytes)
            print(f"Kept {info.records:,} records of generation {info.generation} as {name!r}; {own} of its own.")

    @group.command("list", help="List the snapshots, oldest first, with the bytes that dropping each would free.")
    def list_(
        collection: str = typer.Argument(help=_FOLDER),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from pathlib import Path

        from orthant.cli.output import print_json, print_table, readable_bytes, require_collection
        from orthant.collection.snapshots.manifest import list_snapshots

        # Without opening the collection, whose state does not matter here and may even be damaged.
        require_collection(collection)
        found = list_snapshots(Path(collection))
        if json:
            print_json({"snapshots": [info.to_dict() for info in found]})
            return
        rows = [
            (i.name, i.created, f"{i.records:,}", readable_bytes(i.bytes), readable_bytes(i.own_bytes), i.problem or "")
            for i in found
        ]
        title = f"{collection}: {len(found)} snapshot{'' if len(found) == 1 else 's'}"
        print_table(title, ("name", "created (UTC)", "records", "size", "its own", "problem"), rows)


def _register_drop(group: typer.Typer) -> None:
    import typer

    @group.command("drop", help="Delete a snapshot.")
    def drop(
        collection: str = typer.Argument(help=_FOLDER),
        name: str = typer.Argument(help="Name of the snapshot."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json, require_collection
        from orthant.collection.opening import open

        require_collection(collection)
        with open(collection) as opened:
            opened.drop_snapshot(name)
        if json:
            print_json({"dropped": name})
        else:
            print(f"Dropped {name!r}.")


def _register_using(group: typer.Typer) -> None:
    import typer

    @group.command("restore", help="Restore a snapshot; it is verified first, and kept.")
    def restore(
        collection: str = typer.Argument(help=_FOLDER),
        name: str = typer.Argument(help="Name of the snapshot."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from dataclasses import asdict

        from orthant.cli.output import print_json, progress_bar, require_collection
        from orthant.collection.opening import open

        require_collection(collection)
        with open(collection) as opened, progress_bar("verifying and restoring", None):
            report = opened.restore(name)
        if json:
            print_json(asdict(report))
        else:
            changes = f"{report.removed:,} went, {report.brought_back:,} came back"
            print(f"Restored {name!r}: {report.records:,} records ({changes}).")

    @group.command("export", help="Write a snapshot to a folder, a .parquet or a .zip file.")
    def export(
        collection: str = typer.Argument(help=_FOLDER),
        name: str = typer.Argument(help="Name of the snapshot."),
        target: str = typer.Argument(help="A new folder, or a file ending in .parquet or .zip."),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json, progress_bar
        from orthant.collection.opening import open

        with open(collection, snapshot=name) as opened, progress_bar(f"writing {target}", None):
            report = opened.export(target)
        if json:
            print_json(report.to_dict())
        else:
            print(f"Wrote {report.records:,} records to {report.path} ({report.format}).")
