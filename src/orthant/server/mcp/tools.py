"""The tools themselves: calls of a collection with answers cut to what an agent can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orthant.collection.collection import Collection
from orthant.errors import InputError, message
from orthant.server.limits import Limits
from orthant.server.mcp.schemas import check_arguments, definitions

__all__ = ["Toolbox", "ToolCall"]

_SHORT, _LONG = 2_000, 20_000
_VALUES = 20


@dataclass(frozen=True)
class ToolCall:
    """A checked call of a tool, ready to be run where the collection lives.

    Attributes
    ----------
    collection : str
        Which one.
    writes : bool
        Whether it changes the collection.
    run : callable of Collection
        Returns JSON-ready values; may block.
    """

    collection: str
    writes: bool
    run: Callable[[Collection], dict[str, Any]]


class Toolbox:
    """The tools over some collections.

    Parameters
    ----------
    names : sequence of str
        Collections that may be read.
    writable : sequence of str, default ()
        Those that may be written.
    limits : Limits, optional
        Bounds of one call.

    Examples
    --------
    >>> import orthant, tempfile
    >>> with orthant.open(tempfile.mkdtemp()) as notes:
    ...     report = notes.upsert(["a"], texts=["a red kite"])
    ...     Toolbox(["notes"]).call("search", {"query": "kite"}).run(notes)["hits"][0]["id"]
    'a'
    """

    def __init__(self, names: Sequence[str], writable: Sequence[str] = (), *, limits: Limits | None = None) -> None:
        self.names = tuple(names)
        self.tools = definitions(names, [name for name in writable if name in names])
        self._limits = Limits() if limits is None else limits
        self._schemas = {tool["name"]: tool["inputSchema"] for tool in self.tools}
        self._makers: dict[str, Callable[[Mapping[str, Any]], Callable[[Collection], dict[str, Any]]]] = {
            "search": self._search,
            "get": self._get,
            "why_not": self._why_not,
            "stats": lambda _: _stats,
            "add": self._add,
        }

    def __contains__(self, name: object) -> bool:
        return name in self._schemas

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        """Check a call.

        Parameters
        ----------
        name : str
            A tool of this box.
        arguments : mapping
            As the agent sent them.

        Returns
        -------
        ToolCall
            Not run yet.

        Raises
        ------
        InputError
            Unknown, missing or wrong arguments, or more than one call may ask for.
        """
        check_arguments(self._schemas[name], arguments)
        rest = {key: value for key, value in arguments.items() if key != "collection"}
        return ToolCall(arguments.get("collection", self.names[0]), name == "add", self._makers[name](rest))

    def _search(self, arguments: Mapping[str, Any]) -> Callable[[Collection], dict[str, Any]]:
        settings = {"k": 5, **arguments}
        most = settings.pop("max_characters", _SHORT)
        self._limits.require("k", settings["k"], "max_k")
        self._limits.require("offset", settings.get("offset"), "max_depth")

        def run(collection: Collection) -> dict[str, Any]:
            result = collection.search(**settings)
            hits = []
            for hit in result.hits:
                told = {"id": hit.id, "rank": hit.rank, "score": round(float(hit.score), 6)}
                told |= _content(hit.text, hit.metadata, most)
                if settings.get("explain"):
                    told["legs"] = {leg: vars(score) for leg, score in hit.legs.items()}
                    told["matched"] = list(hit.matched)
                hits.append(told)
            plan = result.plan
            out: dict[str, Any] = {"hits": hits, "mode": plan.mode, "records": plan.records}
            if plan.allowed is not None:
                out["allowed"] = plan.allowed
            if plan.warnings:
                out["warnings"] = list(plan.warnings)
            return out

        return run

    def _get(self, arguments: Mapping[str, Any]) -> Callable[[Collection], dict[str, Any]]:
        ids, most = arguments["ids"], arguments.get("max_characters", _LONG)
        self._limits.require("ids", len(ids), "max_records")

        def run(collection: Collection) -> dict[str, Any]:
            found = collection.get(ids)
            records = [{"id": one.id, **_content(one.text, one.metadata, most)} for one in found if one is not None]
            missing = [wanted for wanted, one in zip(ids, found, strict=True) if one is None]
            return {"records": records, "missing": missing}

        return run

    def _why_not(self, arguments: Mapping[str, Any]) -> Callable[[Collection], dict[str, Any]]:
        settings = {"k": 5, **arguments}
        self._limits.require("k", settings["k"], "max_k")
        return lambda collection: collection.why_not(**settings).to_dict()

    def _add(self, arguments: Mapping[str, Any]) -> Callable[[Collection], dict[str, Any]]:
        records, replace = arguments["records"], arguments.get("replace", False)
        self._limits.require("records", len(records), "max_records")
        ids = [one["id"] if "id" in one else _id_of(one) for one in records]
        if len(set(ids)) < len(ids):
            raise InputError(message("an id twice", "each once", "send one of the records only"))

        def run(collection: Collection) -> dict[str, Any]:
            # Writes come one after the other, so nothing gets in between this look and the write.
            held = [record_id for record_id in ids if record_id in collection]
            if held and not replace:
                given = f"{len(held)} id(s) that exist, such as {held[0][:80]!r}"
                raise InputError(message(given, "new ones", "send replace=true to replace them, or other ids"))
            collection.upsert(
                ids, texts=[one["text"] for one in records], metadata=[one.get("metadata") or {} for one in records]
            )
            return {"ids": ids, "added": len(ids) - len(held), "replaced": len(held)}

        return run


def _id_of(record: Mapping[str, Any]) -> str:
    """An id that the same text and metadata get again, so that a call sent twice stores nothing twice."""
    content = json.dumps([record["text"], record.get("metadata") or {}], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _content(text: str | None, metadata: Mapping[str, Any] | None, most: int) -> dict[str, Any]:
    out: dict[str, Any] = {"text": text, "metadata": metadata}
    if text is not None and len(text) > most:
        out |= {"text": text[:most], "characters": len(text)}
    return out


def _stats(collection: Collection) -> dict[str, Any]:
    """What helps to ask: no path, no bytes, no segments."""
    found = collection.stats()
    spaces = {
        name: {key: space[key] for key in ("dim", "metric", "kind", "encoder", "vectors") if key in space}
        for name, space in found.spaces.items()
    }
    fields = {name: _field(told) for name, told in found.fields.items()}
    return {"records": found.records, "generation": found.generation, "fields": fields, "spaces": spaces}


def _field(told: Any) -> Any:
    if not isinstance(told, Mapping):
        return asdict(told) if hasattr(told, "__dataclass_fields__") else told
    return {key: value[:_VALUES] if isinstance(value, list) else value for key, value in told.items()}
