"""Spans for OpenTelemetry, where it is installed: names of routes, counts and seconds, never what a client wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orthant.errors import MissingExtraError, message

__all__ = ["Tracing", "tracing_from_environment"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ASKED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")


class Tracing:
    """Opens spans with the tracer that the process has, or does nothing where OpenTelemetry is not installed.

    Without a configured provider the API of OpenTelemetry records nothing; ``opentelemetry-instrument``, a provider of
    your own, or :func:`tracing_from_environment` configure one.

    Parameters
    ----------
    tracer : opentelemetry.trace.Tracer, optional
        Default that of the process.

    Examples
    --------
    >>> with Tracing(None).span("orthant.read", collection="books"):
    ...     pass
    """

    def __init__(self, tracer: Any | None = None) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, **attributes: str | int | float | bool) -> Iterator[Any]:
        """Open a span below the one that is open.

        Parameters
        ----------
        name : str
            Such as ``"orthant.read"``.
        **attributes : str, int, float or bool
            Names that the operator gave, and counts; they get the prefix ``orthant.``.

        Yields
        ------
        Span or None
            None without OpenTelemetry.
        """
        with self._open(name, {f"orthant.{key}": value for key, value in attributes.items()}) as span:
            yield span

    @contextmanager
    def request(self, method: str, headers: Mapping[bytes, str]) -> Iterator[Any]:
        """Open the span of a request, below that of the client where its headers name one.

        Parameters
        ----------
        method : str
            HTTP method.
        headers : mapping of bytes to str
            Only ``traceparent`` and ``tracestate`` are read.

        Yields
        ------
        Span or None
            To be given to :meth:`answered`.
        """
        tracer = self._tracer_now()
        if tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Baggage is what clients wrote; it is not read.
        told = {name.decode(): headers[name] for name in (b"traceparent", b"tracestate") if name in headers}
        parent = TraceContextTextMapPropagator().extract(told) if told else None
        # A method is whatever a client writes.
        known = method if method in _METHODS else "other"
        with self._open(known, {"http.request.method": known}, kind=SpanKind.SERVER, context=parent) as span:
            yield span

    @staticmethod
    def answered(span: Any, method: str, route: str, status: int) -> None:
        """Say in a request's span how it ended.

        Parameters
        ----------
        span : Span or None
            From :meth:`request`.
        method, route : str
            HTTP method and the route's pattern.
        status : int
            HTTP status.
        """
        if span is None:
            return
        span.update_name(f"{method if method in _METHODS else 'other'} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            _failed(span, str(status))

    @contextmanager
    def _open(self, name: str, attributes: Mapping[str, Any], **settings: Any) -> Iterator[Any]:
        tracer = self._tracer_now()
        if tracer is None:
            yield None
            return
        # The text of an exception may hold what a client wrote, so only its class is told.
        with tracer.start_as_current_span(
            name, attributes=dict(attributes), record_exception=False, set_status_on_exception=False, **settings
        ) as span:
            try:
                yield span
            except BaseException as error:
                _failed(span, type(error).__name__)
                raise

    def _tracer_now(self) -> Any | None:
        if self._tracer is None:
            try:
                from opentelemetry import trace
            except ImportError:
                self._tracer = False
            else:
                self._tracer = trace.get_tracer("orthant.server")
        return self._tracer or None


def _failed(span: Any, kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def tracing_from_environment(environ: Mapping[str, str] | None = None) -> bool:
    """Configure OpenTelemetry where its own environment variables ask for it.

    Parameters
    ----------
    environ : mapping of str to str, optional
        Default the process's own. ``OTEL_TRACES_EXPORTER`` may be ``otlp`` (over HTTP), ``console`` (stderr) or
        ``none``; ``OTEL_EXPORTER_OTLP_ENDPOINT`` alone asks for ``otlp``. The other variables are read by the SDK.

    Returns
    -------
    bool
        Whether spans are exported.

    Raises
    ------
    MissingExtraError
        They are asked for and the SDK is not installed.

    Examples
    --------
    >>> tracing_from_environment({}), tracing_from_environment({"OTEL_TRACES_EXPORTER": "none"})
    (False, False)
    """
    given = os.environ if environ is None else environ
    chosen = given.get("OTEL_TRACES_EXPORTER", "otlp")
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(given.get(name) for name in _ASKED):
        return False
    if chosen == "none":
        return False
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(chosen)
    except ImportError as error:
        wanted = "the extra 'otel', since OTEL_ variables ask for traces"
        way = "install it, or set OTEL_SDK_DISABLED=true"
        raise MissingExtraError(message("no SDK of OpenTelemetry", wanted, way)) from error
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        # opentelemetry-instrument was there before.
        return True
    named = {} if given.get("OTEL_SERVICE_NAME") else {"service.name": "orthant"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return True


def _exporter(chosen: str) -> Any:
    if chosen == "console":
        import sys

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
