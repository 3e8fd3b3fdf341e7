"""What the server counts, in the text form that Prometheus reads; names of routes, never of records."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["LOGGER", "Metrics"]

LOGGER = logging.getLogger("orthant.server")
"""One line per request: method, route, status, milliseconds, public part of the key. Nothing that a client wrote."""

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts requests, seconds and bytes; safe for threads.

    Series are as many as routes, not as requests: a path that no route serves counts as ``"none"``.

    Examples
    --------
    >>> counted = Metrics()
    >>> counted.request("POST", "/collections/{name}/search", 200, 0.004)
    >>> 'route="/collections/{name}/search",status="200"} 1' in counted.text({})
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[str, tuple[list[int], list[float]]] = {}
        self._batches = [0, 0]
        self.in_flight = 0

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Parameters
        ----------
        method : str
            HTTP method.
        route : str
            The route's pattern.
        status : int
            HTTP status of the answer; 499 when the client went away before it.
        seconds : float
            From the head of the request to the end of the answer.
        """
        # A method is whatever a client writes; as a label it would make as many series as an attacker likes.
        series = (method if method in _METHODS else "other", route, status)
        with self._lock:
            self._requests[series] = self._requests.get(series, 0) + 1
            counts, total = self._seconds.setdefault(route, ([0] * (len(_BOUNDS) + 1), [0.0]))
            counts[bisect_left(_BOUNDS, seconds)] += 1
            total[0] += seconds

    def batch(self, queries: int) -> None:
        """Count one pass that answered several clients' queries together.

        Parameters
        ----------
        queries : int
            How many.
        """
        with self._lock:
            self._batches[0] += 1
            self._batches[1] += queries

    @property
    def batched(self) -> tuple[int, int]:
        """Passes so far, and queries that they answered."""
        return self._batches[0], self._batches[1]

    def text(self, collections: Mapping[str, Mapping[str, float]]) -> str:
        """Return everything in the text format of Prometheus, version 0.0.4.

        Parameters
        ----------
        collections : mapping of str to mapping of str to float
            Gauges by collection, such as ``{"books": {"records": 3}}``.

        Returns
        -------
        str
            Lines that end in a newline.
        """
        with self._lock:
            lines = [*self._counted(), *_gauges(collections)]
        return "\n".join(lines) + "\n"

    def _counted(self) -> Iterator[str]:
        yield "# HELP orthant_requests_total Answered requests."
        yield "# TYPE orthant_requests_total counter"
        for (method, route, status), count in sorted(self._requests.items()):
            yield f'orthant_requests_total{{method="{method}",route="{_quoted(route)}",status="{status}"}} {count}'
        yield "# HELP orthant_request_seconds Seconds from the head of a request to the end of its answer."
        yield "# TYPE orthant_request_seconds histogram"
        for route, (counts, total) in sorted(self._seconds.items()):
            label, so_far = _quoted(route), 0
            for bound, count in zip((*_BOUNDS, "+Inf"), counts, strict=True):
                so_far += count
                yield f'orthant_request_seconds_bucket{{route="{label}",le="{bound}"}} {so_far}'
            yield f'orthant_request_seconds_sum{{route="{label}"}} {total[0]:.6f}'
            yield f'orthant_request_seconds_count{{route="{label}"}} {so_far}'
        yield "# HELP orthant_requests_in_flight Requests that are being answered."
        yield "# TYPE orthant_requests_in_flight gauge"
        yield f"orthant_requests_in_flight {self.in_flight}"
        for name, value in zip(("batches", "batched_queries"), self._batches, strict=True):
            yield f"# HELP orthant_{name}_total Passes over queries of several clients, and the queries in them."
            yield f"# TYPE orthant_{name}_total counter"
            yield f"orthant_{name}_total {value}"


def _gauges(collections: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    names: Iterable[str] = sorted({name for figures in collections.values() for name in figures})
    for name in names:
        yield f"# HELP orthant_collection_{name} {name.replace('_', ' ').capitalize()} of a collection."
        yield f"# TYPE orthant_collection_{name} gauge"
        for collection, figures in sorted(collections.items()):
            if name in figures:
                yield f'orthant_collection_{name}{{collection="{_quoted(collection)}"}} {figures[name]:g}'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
