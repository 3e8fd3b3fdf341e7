"""The verbs of ``orthant bench``.

Names of data sets or files enter; tables, JSON and figures leave.
Never measures by itself: the harnesses are in ``orthant.evaluation``.
Start with `ann`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``bench`` with ``ann``, ``filtered`` and ``collection``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    from orthant.cli.bench import ann, collection, filtered

    bench = typer.Typer(help="Measure indexes and collections against tuned peers, offline.", no_args_is_help=True)
    app.add_typer(bench, name="bench")
    for verb in (ann, filtered, collection):
        verb.register(bench)
