"""``orthant keys add | list | revoke``: who may use a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from orthant.server.keys import KeyFile

__all__ = ["register"]

_FILE = "File of keys; default: ORTHANT_KEYS, or orthant/keys.json in your folder of settings."
_JSON = "Print one JSON object."


def register(app: typer.Typer) -> None:
    """Add the verb ``keys`` with its three actions.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    group = typer.Typer(
        help="Create, list and revoke keys of `orthant serve`; running servers notice at once.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @group.command("add", help="Create a key and print it; only its hash is stored, so it cannot be shown again.")
    def add(
        label: str = typer.Argument(help="A label for the key."),
        scope: list[str] = typer.Option(
            ["*:read"], "--scope", help="COLLECTION:read, :write or :admin; * for all. May be given several times."
        ),
        file: str = typer.Option(None, "--file", help=_FILE),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import note, print_json

        scopes = _scopes(scope)
        held = _open(file)
        key = held.add(label, scopes)
        if json:
            print_json({"key": key, "label": label, "scopes": scopes})
            return
        note("keep it now: only its hash is stored")
        print(key)

    @group.command("list", help="List the keys by label, with their scopes; never the keys themselves.")
    def list_(
        file: str = typer.Option(None, "--file", help=_FILE),
        json: bool = typer.Option(False, "--json", help=_JSON),
    ) -> None:
        from orthant.cli.output import print_json, print_table

        found = _open(file).list()
        if json:
            print_json({"keys": [one.to_dict() for one in found]})
            return
        rows = [
            (one.label, one.key, ", ".join(f"{name}:{scope}" for name, scope in one.scopes.items()), one.created)
            for one in found
        ]
        print_table("Keys" if rows else "No keys.", ("label", "key", "scopes", "made"), rows)

    @group.command("revoke", help="Revoke a key; it is refused from the next request on.")
    def revoke(
        name: str = typer.Argument(help="Its label, or the part of it that `list` shows."),
        file: str = typer.Option(None, "--file", help=_FILE),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json

        gone = _open(file).revoke(name)
        if json:
            print_json({"revoked": gone.to_dict()})
        else:
            print(f"Revoked {gone.label!r}.")

    app.add_typer(group, name="keys")


def _open(path: str | None) -> KeyFile:
    from orthant.server.keys import KeyFile, default_key_file

    return KeyFile(default_key_file() if path is None else path)


def _scopes(given: list[str]) -> dict[str, str]:
    from orthant.errors import InputError, message

    out: dict[str, str] = {}
    for one in given:
        name, sign, scope = one.rpartition(":")
        if not sign or name in out:
            raise InputError(message(f"--scope {one!r}", "COLLECTION:read, each collection once", "correct it"))
        out[name] = scope
    return out
