"""``RemoteCollection``: a collection on a server, used like one that is embedded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import quote

from orthant.client.calls import Call, Calls
from orthant.client.connection import Connection, encode_body
from orthant.client.results import Answer
from orthant.client.vectors import pack
from orthant.errors import InputError, message

__all__ = ["RemoteCollection", "connect"]

P = ParamSpec("P")
T = TypeVar("T")


def _sent(method: Callable[Concatenate[Calls, P], Call[T]]) -> Callable[Concatenate[RemoteCollection, P], T]:
    @functools.wraps(method)
    def call(self: RemoteCollection, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._ask(method(self._calls, *args, **kwargs))

    return call


class RemoteCollection:
    """A collection on a server; made by :func:`connect`.

    Methods have the names and arguments of ``orthant.Collection`` and raise the same errors; reports come back as
    :class:`~orthant.client.results.Answer`, whose keys are attributes. Safe for threads. Needs only the standard
    library.

    Parameters
    ----------
    connection : Connection
        To the server.
    name : str
        Of the collection there.
    """

    search = _sent(Calls.search)
    search_many = _sent(Calls.search_many)
    similar = _sent(Calls.similar)
    why_not = _sent(Calls.why_not)
    get = _sent(Calls.get)
    find = _sent(Calls.find)
    ids = _sent(Calls.ids)
    upsert = _sent(Calls.upsert)
    delete = _sent(Calls.delete)
    add_space = _sent(Calls.add_space)
    stats = _sent(Calls.stats)
    check = _sent(Calls.check)
    finish = _sent(Calls.finish)
    diagnose = _sent(Calls.diagnose)
    snapshots = _sent(Calls.snapshots)
    snapshot = _sent(Calls.snapshot)
    drop_snapshot = _sent(Calls.drop_snapshot)
    restore = _sent(Calls.restore)

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._calls = Calls()
        self._connection = connection
        self._path = f"/collections/{quote(name, safe='')}"

    def _ask(self, call: Call[T]) -> T:
        path = f"{self._path}/{call.path}" if call.path else self._path
        return call.read(self._connection.ask(call.method, path, encode_body(call.body), repeatable=call.repeatable))

    def _about(self) -> Answer:
        return self._ask(Call("GET", "", None, Answer))

    def upsert_stream(self, records: Iterable[Mapping[str, Any]]) -> Answer:
        """Write any number of records as they come; the server takes them no quicker than it stores them.

        Parameters
        ----------
        records : iterable of mapping
            ``id``, and any of ``text``, ``metadata``, ``vector`` and ``vectors`` (by space).

        Returns
        -------
        Answer
            ``records``, ``replaced``, ``batches``, ``generation`` and ``seconds``.

        Raises
        ------
        InputError
            A malformed record; the text says how many before it are stored, in batches of a thousand.

        Notes
        -----
        One request and little memory on either side.
        """
        path = f"{self._path}/bulk"
        answer = self._connection.ask("POST", path, _lines(records), kind="application/x-ndjson", repeatable=False)
        return Answer(answer)

    @property
    def spaces(self) -> dict[str, Answer]:
        """Definitions of the vector spaces by name."""
        return {name: Answer(one) for name, one in self._about()["spaces"].items()}

    @property
    def sparse_spaces(self) -> dict[str, Answer]:
        """Definitions of the spaces of weighted terms by name."""
        return {name: Answer(one) for name, one in self._about()["sparse_spaces"].items()}

    def __len__(self) -> int:
        """Return the number of records."""
        return int(self._about()["records"])

    def __contains__(self, record_id: object) -> bool:
        """Return whether a record exists."""
        return isinstance(record_id, str) and bool(record_id) and self.get([record_id])[0] is not None

    def __repr__(self) -> str:
        """Return address and name."""
        return f"RemoteCollection({self._connection.url!r}, {self.name!r})"

    def close(self) -> None:
        """Close the connections; the collection goes on."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lines(records: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    kept: list[bytes] = []
    held = 0
    for record in records:
        line = dict(record)
        if line.get("vector") is not None:
            line["vector"] = pack(line["vector"])
        if line.get("vectors") is not None:
            line["vectors"] = {space: pack(vector) for space, vector in line["vectors"].items()}
        encoded = encode_body(line) or b""
        kept.append(encoded)
        held += len(encoded)
        if held >= 64 * 1024:
            yield b"\n".join(kept) + b"\n"
            kept, held = [], 0
    yield b"\n".join(kept) + b"\n"


def connect(
    url: str,
    collection: str,
    *,
    key_from_env: str | None = None,
    timeout_s: float = 60.0,
    retries: int = 3,
) -> RemoteCollection:
    """Return a collection on a server; use it as a context manager.

    Parameters
    ----------
    url : str
        Address that ``orthant serve`` printed.
    collection : str
        Name of a collection there.
    key_from_env : str, optional
        Environment variable that holds the key; it is read at every request and never kept.
    timeout_s : float, default 60.0
        Longest wait for the server's next bytes. Too small, and writes may be stored without you hearing of it.
    retries : int, default 3
        Further attempts when the server is busy or the connection was lost; calls that must not happen twice are
        asked once.

    Returns
    -------
    RemoteCollection
        Nothing is asked yet.

    Raises
    ------
    InputError
        An address that is none, or a name that cannot be one.

    Examples
    --------
    >>> connect("http://127.0.0.1:8372", "books")
    RemoteCollection('http://127.0.0.1:8372', 'books')
    """
    if not isinstance(collection, str) or not collection:
        raise InputError(message(f"collection={collection!r}", "the name of a collection", "look at /collections"))
    return RemoteCollection(
        Connection(url, key_from_env=key_from_env, timeout_s=timeout_s, retries=retries), collection
    )
