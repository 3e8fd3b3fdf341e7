"""How much one request may ask for, and one client of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from orthant.errors import InputError, message
from orthant.validate import check_count, check_fraction

__all__ = ["Limits"]

_SECONDS = ("body_timeout_s", "call_timeout_s", "header_timeout_s")


@dataclass(frozen=True)
class Limits:
    """Limits of a server; a request that exceeds one is refused, and the message names it.

    Attributes
    ----------
    max_body_bytes : int, default 33,554,432
        Bytes of a request's body. Bulk loading has no such bound: it is read record by record.
    max_record_bytes : int, default 4,194,304
        Bytes of one line of a bulk load.
    max_records : int, default 10,000
        Records of one upsert, ids of one get or delete, and records that ``find`` returns.
    max_queries : int, default 256
        Queries of one ``search_many``.
    max_inputs : int, default 2,048
        Texts of one request for embeddings or of one reranking.
    max_k : int, default 1,000
        Hits, groups or values of a facet.
    max_depth : int, default 10,000
        Candidates, offsets and effort.
    max_waiting : int, default 512
        Calls that wait for a thread, per collection; one more is answered with status 503.
    max_connections : int, default 1,024
        Open connections; one more is answered with status 503.
    concurrency : int, optional
        Reads at the same time, per collection. Default the number of CPUs, at most 8.
    max_batch : int, default 64
        Dense queries of different clients that are answered by one pass; 1 answers each alone.
    header_timeout_s : float, default 10.0
        Seconds until the head of a request must be there.
    body_timeout_s : float, default 30.0
        Seconds until its body must be there; of a bulk load, longest pause between two pieces.
    call_timeout_s : float, default 30.0
        Seconds that a search may take, waiting included. Writes are never given up half-way.

    Raises
    ------
    InputError
        A bound below 1, or seconds outside 0.01 to 86,400.

    Examples
    --------
    >>> Limits(max_k=50).max_k
    50
    """

    max_body_bytes: int = 32 * 2**20
    max_record_bytes: int = 4 * 2**20
    max_records: int = 10_000
    max_queries: int = 256
    max_inputs: int = 2_048
    max_k: int = 1_000
    max_depth: int = 10_000
    max_waiting: int = 512
    max_connections: int = 1_024
    concurrency: int | None = None
    max_batch: int = 64
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    call_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check every bound once."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _SECONDS:
                check_fraction(value, name=field.name, low=0.01, high=86_400)
            elif value is not None:
                check_count(value, name=field.name)

    def require(self, name: str, value: int | None, bound: str) -> None:
        """Refuse a number that passes a bound.

        Parameters
        ----------
        name : str
            What it is, for the message.
        value : int or None
            The number; None passes.
        bound : str
            Attribute of this object.

        Raises
        ------
        InputError
            It is larger.
        """
        most = getattr(self, bound)
        if value is not None and value > most:
            raise InputError(
                message(
                    f"{name}={value:,}", f"at most {most:,} here", f"ask for less, or start the server with {bound}"
                )
            )
