"""The ``orthant`` command: builds the application from one module per verb and turns errors into one paragraph."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["application", "main"]


# In the order of `--help`: what is asked of a collection, what changes one, and the rest.
_VERBS = (
    *("demo", "add", "search", "insight.why_not", "insight.monitor", "evaluate", "stats", "check", "cleaning.dedup"),
    *("exporting", "importing", "snapshots.snapshot", "insight.diagnose"),
    *("upgrading.upgrade", "adapting.adapt", "tuning.tune", "tuning.tune_fusion", "tuning.compress", "spaces.report"),
    *("learning.train", "learning.export_encoder"),
    *("serving.serve", "serving.keys", "serving.mcp", "serving.digest"),
    *("doctor", "warmup", "papers", "reproduce", "bench"),
)


def application() -> typer.Typer:
    """Return the command-line application with every verb.

    Returns
    -------
    typer.Typer
        Verbs import what they need when they run, so ``--help`` stays quick.
    """
    import typer

    from orthant import __version__

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
        version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print version."),
    ) -> None:
        pass

    for name in _VERBS:
        importlib.import_module(f"orthant.cli.{name}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Defaults to the process's own; none at all show the help.

    Raises
    ------
    SystemExit
        Always: 0 when done, 2 for an error that the user can mend, 130 after Ctrl-C, others as a verb documents them.
    """
    from orthant.cli.output import guard_output
    from orthant.errors import OrthantError

    code = 0
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with warnings.catch_warnings(), guard_output(), _warnings_told() as show:
            warnings.showwarning = show
            code = _invoke(given)
    except OrthantError as error:
        code = _refuse("orthant", str(error))
    except KeyboardInterrupt:
        print("orthant: interrupted; everything acknowledged before is kept", file=sys.stderr)
        code = 130
    except _mishaps() as error:
        code = _refuse("orthant", _explain(error))
    raise SystemExit(code)


def _invoke(given: list[str]) -> int:
    """Run one verb; without typer's own handling, which would draw boxes and choose other exit codes."""
    import typer
    from typer.main import get_command

    command = get_command(application())
    # Typer brings its own copy of click, or uses click itself: the common ancestor of its errors is found this way.
    wrong_use: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    try:
        with command.make_context("orthant", given) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except wrong_use as error:
        where = error.ctx.command_path if getattr(error, "ctx", None) is not None else "orthant"
        # Of a verb without its action only the help is shown, and nothing is said.
        said = error.format_message().rstrip(".") or "Missing action"
        return _refuse(where, f"{said}. See `{where} --help`.")
    return 0


def _refuse(where: str, text: str) -> int:
    print(f"{where}: {' '.join(text.split())}", file=sys.stderr)
    return 2


@contextmanager
def _warnings_told() -> Iterator[Callable[..., None]]:
    """Show a warning once where later ones differ in figures alone, such as one per batch; then say how many came."""
    seen: Counter[str] = Counter()

    def show(text: Warning | str, *about: Any) -> None:
        words = " ".join(str(text).split())
        kind = re.sub("[0-9]+", "#", words)
        seen[kind] += 1
        if seen[kind] == 1:
            print(f"orthant: warning: {words}", file=sys.stderr)

    try:
        yield show
    finally:
        for kind, times in seen.items():
            if times > 1:
                print(f"orthant: warning: {times - 1:,} more like: {kind[:80]} ...", file=sys.stderr)


def _mishaps() -> tuple[type[Exception], ...]:
    """What files, disks and memory do to a sound program; everything else is a programming error and traces back."""
    import sqlite3

    return OSError, sqlite3.Error, MemoryError


def _explain(error: Exception) -> str:
    from orthant.errors import message

    if isinstance(error, MemoryError):
        return message("more data than memory holds", "free memory", "use smaller batches, or a larger machine")
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.filename is not None:
        what += f" for {error.filename}"
    return message(what, "files that can be read and written", "check the path, its permissions and the free space")
