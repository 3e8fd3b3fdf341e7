"""The ``orthant`` command: builds the application from one module per verb and turns errors into one paragraph."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["application", "main"]


def application() -> typer.Typer:
    """Return the command-line application with every verb.

    Returns
    -------
    typer.Typer
        Verbs import what they need when they run, so ``--help`` stays quick.
    """
    import typer

    from orthant import __version__
    from orthant.cli import add, check, demo, doctor, evaluate, exporting, importing, papers, reproduce, search, stats

    app = typer.Typer(
        name="orthant",
        help="Make, adapt, shrink, store, search, judge and replace vector embeddings.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"orthant {__version__}")
            raise typer.Exit

    @app.callback()
    def _root(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Print the version."
        ),
    ) -> None:
        pass

    for verb in (demo, add, search, evaluate, stats, check, exporting, importing, doctor, papers, reproduce):
        verb.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Defaults to the process's own.

    Raises
    ------
    SystemExit
        Always: 0 when done, 2 for an error that the user can mend, other codes as a verb documents them.
    """
    from orthant.errors import OrthantError

    try:
        application()(args=None if arguments is None else list(arguments))
    except OrthantError as error:
        print(f"orthant: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has gone; there is nobody left to tell.
        sys.stderr.close()
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        print("orthant: interrupted; everything acknowledged before is kept", file=sys.stderr)
        raise SystemExit(130) from None
