"""``orthant serve``: collections over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.server.app import Opener
    from orthant.server.keys import KeyFile

__all__ = ["folder_opener", "named_folders", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``serve``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "serve", help="Serve collections over HTTP (extra: serve); on this machine only, unless told otherwise."
    )
    def serve(
        collections: list[str] = typer.Argument(help="Folders, or NAME=FOLDER."),
        host: str = typer.Option("127.0.0.1", help="Address to listen at; other machines only with keys."),
        port: int = typer.Option(8372, help="Port; 0 for any free one."),
        keys: str = typer.Option(None, help="File of keys; default: that of `orthant keys`, once it contains a key."),
        no_keys: bool = typer.Option(False, "--no-keys", help="Serve without keys, to every program on this machine."),
        create: bool = typer.Option(False, "--create", help="Create collections that do not exist."),
        read_only: bool = typer.Option(
            False, "--read-only", help="Refuse writes, and leave the writer lock to another process."
        ),
        encoder: str = typer.Option(None, help="Encoder of the default spaces, such as static, or a folder."),
        space_encoder: list[str] = typer.Option(
            [],
            "--space-encoder",
            help="[COLLECTION/]SPACE=FOLDER: model of a space of aspects, concepts or tokens; repeatable.",
        ),
        model: list[str] = typer.Option(
            [], "--model", help="NAME=ENCODER for /v1/embeddings, such as minilm, or a folder; repeatable."
        ),
        dimensions: list[str] = typer.Option(
            [],
            "--dimensions",
            help="NAME=64,128: dimensions that a --model can be truncated to; default: as its folder says.",
        ),
        reranker: list[str] = typer.Option([], "--reranker", help="NAME=FOLDER for /v1/rerank; repeatable."),
        upgrade_encoder: list[str] = typer.Option(
            [],
            "--upgrade-encoder",
            help="NAME=ENCODER that spaces may be upgraded to, instead of the shipped ones; repeatable.",
        ),
        mcp_write: bool = typer.Option(False, "--mcp-write", help="Let agents add records under /mcp."),
        max_body_mb: int = typer.Option(32, help="Largest body of a request, in MiB."),
        max_k: int = typer.Option(1000, help="Maximum number of hits of a search."),
        call_timeout: float = typer.Option(30.0, help="Time limit of a search, in seconds."),
        tls_certificate: str = typer.Option(None, help="PEM file of the TLS certificate, for https."),
        tls_key: str = typer.Option(None, help="PEM file of the certificate's private key."),
        open_page: bool = typer.Option(False, "--open", help="Open the page in the browser of this machine."),
        open_at: str = typer.Option("/", help="With --open: what to open, such as /feed/NAME."),
        log: bool = typer.Option(False, "--log", help="Log one line per request to stderr; never what clients sent."),
    ) -> None:
        _end_when_told()
        from orthant.cli.output import note
        from orthant.cli.serving.models import named_encoders, named_models, space_encoders
        from orthant.server.limits import Limits
        from orthant.server.running import serve as run
        from orthant.server.tracing import tracing_from_environment

        folders = named_folders(collections)
        limits = Limits(max_body_bytes=max_body_mb * 2**20, max_k=max_k, call_timeout_s=call_timeout)
        held = _keys(keys, without=no_keys)
        models = named_models(model, dimensions, reranker)
        spaces = space_encoders(space_encoder, folders)
        openers = {
            name: folder_opener(folder, encoder=encoder, read_only=read_only, create=create, spaces=spaces.get(name))
            for name, folder in folders.items()
        }
        _log(wanted=log)
        tracing_from_environment()

        def ready(url: str) -> None:
            way = "with a key" if held is not None else "without keys, for programs on this machine"
            note(f"serving {', '.join(folders)} {way}; the page: {url}/ , what can be asked: {url}/docs")
            if open_page:
                import webbrowser

                # Without a browser it says no, and the address stands above.
                webbrowser.open(f"{url}/{open_at.lstrip('/')}")

        run(
            openers, host=host, port=port, keys=held, limits=limits, models=models, mcp_write=mcp_write,
            upgrades=named_encoders(upgrade_encoder) or None, tls_certificate=tls_certificate, tls_key=tls_key,
            ready=ready,
        )  # fmt: skip


def _end_when_told() -> None:
    """End at SIGTERM also before the server listens to signals itself.

    Process 1 of a container has no default action for signals: one that came while collections are opened would be
    lost, and the container killed when its time to stop is over.
    """
    import signal
    import sys
    import threading

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))


def named_folders(given: list[str]) -> dict[str, Path]:
    """Return the folders to serve by name.

    Parameters
    ----------
    given : list of str
        Folders, named by their last part without ``.orthant``, or ``NAME=FOLDER``.

    Returns
    -------
    dict of str to Path
        In their order.

    Raises
    ------
    InputError
        Two of one name, or a name that does not fit into an address.

    Examples
    --------
    >>> sorted(named_folders(["data/books.orthant", "old=data/2019"]))
    ['books', 'old']
    """
    from orthant.errors import InputError, message
    from orthant.server.keys import check_served_name

    out: dict[str, Path] = {}
    for one in given:
        name, sign, folder = one.partition("=")
        if not sign:
            folder = one
            name = Path(one).resolve().name.removesuffix(".orthant")
        if name in out:
            raise InputError(message(f"two collections called {name!r}", "a name for each", "write NAME=FOLDER"))
        out[check_served_name(name)] = Path(folder)
    return out


def folder_opener(
    folder: Path, *, encoder: str | None, read_only: bool, create: bool | None, spaces: Mapping[str, str] | None = None
) -> Opener:
    """Return what opens a folder later.

    Parameters
    ----------
    folder : Path
        The collection's.
    encoder : str or None
        Of its default space.
    read_only : bool
        Never write.
    create : bool or None
        Make it where it does not exist; None for a verb that has no ``--create``.
    spaces : mapping of str to str, optional
        Folders of the models of further spaces.

    Returns
    -------
    callable
        Opens it.

    Raises
    ------
    NotFoundError
        No such collection, and it is not to be made.
    """
    from orthant.collection.opening import open
    from orthant.errors import NotFoundError, message

    # A typing error must not become an empty collection that answers every search with nothing.
    if not create and not (folder.is_dir() and any(folder.iterdir())):
        way = "check the path" if create is None else "check it, or pass --create"
        raise NotFoundError(message(f"no collection at {folder}", "a collection's folder", way))

    def opener() -> Any:
        opened = open(folder, encoder=encoder, read_only=read_only)
        try:
            for space, model in (spaces or {}).items():
                opened.use_encoder(space, model)
        except BaseException:
            opened.close()
            raise
        return opened

    return opener


def _keys(path: str | None, *, without: bool) -> KeyFile | None:
    from orthant.errors import InputError, message
    from orthant.server.keys import KeyFile, default_key_file

    if without:
        if path is not None:
            raise InputError(message("--keys and --no-keys", "one of them", "leave one out"))
        return None
    if path is not None:
        return KeyFile(path)
    held = KeyFile(default_key_file())
    return held if held.list() else None


def _log(*, wanted: bool) -> None:
    import logging

    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("orthant.server")
    logger.addHandler(shown)
    logger.propagate = False
    logger.setLevel(logging.INFO if wanted else logging.ERROR)
