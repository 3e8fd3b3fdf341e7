"""``orthant warmup``: compile every kernel ahead, as when an image is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``warmup``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("warmup", help="Compile all kernels now, once per machine and version, so that no search waits.")
    def warmup(
        group: list[str] = typer.Option(None, "--group", help="Only this group of kernels; may be repeated."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import note, print_json, progress_bar
        from orthant.kernels.compile_cache import cache_state
        from orthant.kernels.cpu import describe
        from orthant.kernels.warmup import all_groups, warm

        chosen = list(group or all_groups())
        with progress_bar("compiling kernels, once", len(chosen)) as advance:
            done = warm(chosen, progress=lambda _: advance(1))
        state = cache_state()
        if not state["kept"]:
            note("the compiled kernels end with this process: no cache folder can be used; see `orthant doctor`")
        if json:
            print_json({"groups": [vars(each) for each in done], "processor": describe(), "cache": state})
            return
        _show(done, state)


def _show(done: list[Any], state: dict[str, Any]) -> None:
    from orthant.cli.output import print_table, readable_bytes

    rows = [(w.group, f"{w.kernels}", f"{w.compiled}", f"{w.loaded}", f"{w.seconds:.1f}") for w in done]
    seconds = sum(each.seconds for each in done)
    title = f"Kernels ready after {seconds:.1f} s"
    held = f"{state['folder']}: {state['functions']} functions, {readable_bytes(state['bytes'])}"
    print_table(title, ("group", "kernels#", "compiled#", "from cache#", "seconds#"), rows, caption=held)
