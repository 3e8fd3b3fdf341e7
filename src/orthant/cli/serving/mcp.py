"""``orthant mcp``: collections as tools of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``mcp``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("mcp", help="Offer collections to agents as tools (MCP) over stdin and stdout; read-only by default.")
    def mcp(
        collections: list[str] = typer.Argument(help="Folders, or NAME=FOLDER."),
        write: bool = typer.Option(False, "--write", help="Also offer the tool that adds records."),
        http: bool = typer.Option(False, "--http", help="Over HTTP at /mcp instead (extra: serve), on this machine."),
        port: int = typer.Option(8372, help="With --http: port; 0 for any free one."),
        encoder: str = typer.Option(None, help="Encoder of the default spaces, such as static, or a folder."),
        space_encoder: list[str] = typer.Option(
            [],
            "--space-encoder",
            help="[COLLECTION/]SPACE=FOLDER: model of a space of aspects, concepts or tokens; repeatable.",
        ),
    ) -> None:
        from contextlib import ExitStack

        from orthant.cli.output import note
        from orthant.cli.serving.models import space_encoders
        from orthant.cli.serving.serve import folder_opener, named_folders

        folders = named_folders(collections)
        spaces = space_encoders(space_encoder, folders)
        openers = {
            name: folder_opener(folder, encoder=encoder, read_only=not write, create=None, spaces=spaces.get(name))
            for name, folder in folders.items()
        }
        if http:
            from orthant.server.running import serve

            serve(openers, port=port, mcp_write=write, ready=lambda url: note(f"agents find the tools at {url}/mcp"))
            return
        from orthant.server.mcp.stdio import serve_stdio

        with ExitStack() as stack:
            serve_stdio({name: stack.enter_context(opener()) for name, opener in openers.items()}, write=write)
