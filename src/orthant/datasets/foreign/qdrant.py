"""Qdrant over its REST interface: the points of one collection, scrolled page by page."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from typing import Any

from orthant.datasets.foreign.contents import FieldChoice, ForeignBatch, VectorField, choose_name
from orthant.datasets.foreign.web import JsonService
from orthant.errors import InputError, message
from orthant.types import Metric

__all__ = ["QdrantSource"]

_METRICS: dict[str, Metric] = {"Cosine": "cosine", "Dot": "dot", "Euclid": "l2"}
_PAGE = 1000


class QdrantSource:
    """One collection of a running server.

    Parameters
    ----------
    address : str
        Such as ``http://localhost:6333``, or ``.../collections/NAME``.
    table : str, optional
        The collection; the only one by default.
    choice : FieldChoice
        ``id_field`` takes a field of the payload for the id in place of the point's number.
    api_key : str, optional
        Sent as the header ``api-key``.
    pause_s : float, default 0.5
        Seconds before a call is repeated.

    Raises
    ------
    InputError
        No such collection, or no usable answer.
    """

    kind = "qdrant"
    remote = True

    def __init__(
        self, address: str, table: str | None, choice: FieldChoice, *, api_key: str | None = None, pause_s: float = 0.5
    ) -> None:
        base, _, name = address.partition("/collections/")
        if name.strip("/") and table is None:
            table = urllib.parse.unquote(name.strip("/"))
        self._service = JsonService(base, {} if api_key is None else {"api-key": api_key}, pause_s=pause_s)
        self._choice = choice
        listed = self._result("/collections").get("collections", [])
        self.name = choose_name(table, [row["name"] for row in listed], base)
        self._path = f"/collections/{urllib.parse.quote(self.name, safe='')}"
        described = self._result(self._path)
        self.count: int | None = described.get("points_count")
        self.vectors: dict[str, VectorField] = {}
        self.losses: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self._declare(described.get("config", {}).get("params", {}))
        self._text: str | None = None
        self._chosen = False

    def _result(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._service.call(path, body)
        if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
            given = f"an answer without a result from {self._service.address}{path}"
            raise InputError(message(given, "Qdrant's REST interface, usually at port 6333", "check the address"))
        result: dict[str, Any] = answer["result"]
        return result

    def _declare(self, params: dict[str, Any]) -> None:
        dense = params.get("vectors") or {}
        # A named vector may be called "size" as well.
        named = {"": dense} if isinstance(dense.get("size"), int) else dense
        for name, field in named.items():
            # A multivector is a matrix per point; its values are reported point by point.
            if not field.get("multivector_config"):
                said = field.get("distance", "")
                self.vectors[name] = VectorField(name, field.get("size"), _METRICS.get(said))
                if said and said not in _METRICS:
                    self.notes[f"vectors {name!r}, compared by {said} there, which no space does"] = self.count or 0

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield the points in the order of their numbers.

        Parameters
        ----------
        size : int
            Points per page; at most 1,000 are asked for at once.

        Yields
        ------
        ForeignBatch
            Payloads as fields.
        """
        body: dict[str, Any] = {"limit": min(size, _PAGE), "with_payload": True, "with_vector": True}
        while True:
            page = self._result(f"{self._path}/points/scroll", body)
            points = page.get("points") or []
            if points:
                yield self._batch(points)
            following = page.get("next_page_offset")
            if following is None:
                return
            if following == body.get("offset"):
                given = f"the same page twice, at {following!r}"
                raise InputError(message(given, "a page that follows", "check the server, or what stands before it"))
            body["offset"] = following

    def _batch(self, points: list[dict[str, Any]]) -> ForeignBatch:
        payloads = [point.get("payload") or {} for point in points]
        if not self._chosen:
            # A payload has no schema: the first page says what the text is called.
            names = sorted({name for payload in payloads for name in payload})
            self._text = self._choice.text_field or self._choice.text_among(names, self.name)
            self._chosen = True
        out = ForeignBatch(vectors={name: [] for name in self.vectors})
        for point, payload in zip(points, payloads, strict=True):
            key = point.get("id") if self._choice.id_field is None else payload.get(self._choice.id_field)
            out.ids.append(key)
            out.texts.append(payload.get(self._text) if self._text else None)
            out.metadata.append(self._choice.kept(payload, without=(self._choice.id_field, self._text)))
            self._place(point.get("vector"), key, out)
        return out

    def _place(self, vector: Any, key: Any, out: ForeignBatch) -> None:
        named = vector if isinstance(vector, dict) else {} if vector is None else {"": vector}
        for name, value in named.items():
            if isinstance(value, dict):
                out.losses.append((f"sparse vector {name!r}", key))
            elif value and isinstance(value[0], list):
                out.losses.append((f"several vectors per record in {name!r}", key))
            elif name not in self.vectors:
                out.losses.append((f"vector {name!r}, which the collection does not declare", key))
        for name in self.vectors:
            value = named.get(name)
            out.vectors[name].append(value if isinstance(value, list) and value and not _nested(value) else None)

    def close(self) -> None:
        """Do nothing: no connection is kept."""


def _nested(value: list[Any]) -> bool:
    return isinstance(value[0], list)
