"""The protocol over standard input and output: one message per line, for agents that start the program themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from orthant.collection.collection import Collection
from orthant.errors import OrthantError
from orthant.server.limits import Limits
from orthant.server.mcp.protocol import Pending, Problem, read, take
from orthant.server.mcp.tools import Toolbox
from orthant.server.metrics import LOGGER
from orthant.server.wire import to_json

__all__ = ["answer_lines", "serve_stdio"]


def answer_lines(
    lines: IO[bytes],
    out: IO[bytes],
    collections: Mapping[str, Collection],
    *,
    write: bool = False,
    limits: Limits | None = None,
) -> None:
    r"""Answer messages until their source ends.

    Parameters
    ----------
    lines : binary file
        One message per line. A line above ``max_body_bytes`` is skipped and answered with an error.
    out : binary file
        One reply per line.
    collections : mapping of str to Collection
        What the tools work on.
    write : bool, default False
        Offer the tool ``add``.
    limits : Limits, optional
        Bounds of one call.

    Examples
    --------
    >>> import io, orthant, tempfile
    >>> out = io.BytesIO()
    >>> with orthant.open(tempfile.mkdtemp()) as notes:
    ...     answer_lines(io.BytesIO(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'), out, {"notes": notes})
    >>> out.getvalue()
    b'{"jsonrpc":"2.0","id":1,"result":{}}\n'
    """
    bounds = Limits() if limits is None else limits
    toolbox = Toolbox(list(collections), list(collections) if write else (), limits=bounds)
    for line in _bounded(lines, bounds.max_body_bytes):
        reply = _answered(line, toolbox, collections)
        if reply is not None:
            out.write(to_json(reply) + b"\n")
            out.flush()


def _answered(line: bytes, toolbox: Toolbox, collections: Mapping[str, Collection]) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        step = take(read(line), toolbox)
    except Problem as problem:
        return problem.reply()
    if not isinstance(step, Pending):
        return step
    try:
        return step.done(step.call.run(collections[step.call.collection]))
    except OrthantError as error:
        return step.failed(str(error))
    except Exception as error:  # noqa: BLE001 - one call that nobody foresaw must not end the conversation
        LOGGER.error("unexpected %s in the tool of a message", type(error).__name__)
        return step.failed("an unexpected error; the other tools go on")


def _bounded(lines: IO[bytes], most: int) -> Iterator[bytes]:
    while line := lines.readline(most + 1):
        if len(line) <= most or line.endswith(b"\n"):
            yield line
            continue
        # The rest of it belongs to the same message, whose beginning alone is no JSON.
        while line and not line.endswith(b"\n"):
            line = lines.readline(most + 1)
        yield b"too long"


def serve_stdio(collections: Mapping[str, Collection], *, write: bool = False, limits: Limits | None = None) -> None:
    """Answer messages from standard input until it is closed.

    Parameters
    ----------
    collections, write, limits
        As for :func:`answer_lines`.

    Notes
    -----
    While it runs, whatever else prints to standard output goes to standard error: one foreign line would be taken for
    a message.
    """
    with _own_output() as out:
        answer_lines(sys.stdin.buffer, out, collections, write=write, limits=limits)


@contextmanager
def _own_output() -> Iterator[IO[bytes]]:
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "wb") as out:
            yield out
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
