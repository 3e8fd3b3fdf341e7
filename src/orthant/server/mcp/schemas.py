"""What agents are told of each tool: a description, a schema of its arguments, and whether it changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orthant.errors import InputError, message

__all__ = ["check_arguments", "definitions"]

_WHERE = (
    "Filter on metadata, such as {'year': {'gte': 1900}, 'genre': {'in': ['novel', 'memoir']}}. Operators: eq ne gt "
    "gte lt lte in nin exists contains not; several are joined by and; {'or': [...]} and {'not': {...}} combine. "
    "`stats` lists the fields."
)
_MODE: dict[str, Any] = {
    "type": "string",
    "enum": ["dense", "lexical", "sparse", "tokens", "hybrid"],
    "description": "dense: by meaning; lexical: by words; hybrid: both. Default: the richest that the collection has.",
}
_CHARACTERS: dict[str, Any] = {
    "type": "integer",
    "minimum": 1,
    "description": "Most characters of each text; longer ones are cut, and `characters` tells their length.",
}
_QUERY = {"type": "string", "description": 'What to look for. "words in quotes" must appear; -word excludes.'}
_RECORD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Default: made from text and metadata."},
        "text": {"type": "string"},
        "metadata": {"type": "object"},
    },
    "required": ["text"],
    "additionalProperties": False,
}

_TOOLS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "search": (
        "Find the records that answer a query, best first, by meaning, by words, or both.",
        {
            "query": _QUERY,
            "k": {"type": "integer", "minimum": 1, "default": 5, "description": "Records wanted."},
            "mode": _MODE,
            "where": {"type": "object", "description": _WHERE},
            "offset": {"type": "integer", "minimum": 0, "description": "Records to skip, for the next page."},
            "explain": {"type": "boolean", "description": "Also say what each leg of the search thought of a record."},
            "max_characters": {**_CHARACTERS, "default": 2000},
        },
        ("query",),
    ),
    "get": (
        "Read whole records by their ids.",
        {
            "ids": {"type": "array", "items": {"type": "string"}, "description": "Ids, as `search` returns them."},
            "max_characters": {**_CHARACTERS, "default": 20000},
        },
        ("ids",),
    ),
    "why_not": (
        "Say why a search does not return a record that was expected, and which change would bring it in.",
        {
            "query": _QUERY,
            "record_id": {"type": "string", "description": "Id of the expected record."},
            "k": {"type": "integer", "minimum": 1, "default": 5, "description": "Records wanted by the search."},
            "mode": _MODE,
            "where": {"type": "object", "description": _WHERE},
        },
        ("query", "record_id"),
    ),
    "stats": (
        "Tell what a collection holds: number of records, metadata fields with their values, vector spaces.",
        {},
        (),
    ),
    "add": (
        "Store records; durable when answered, all of them or none. They can be found at once.",
        {
            "records": {"type": "array", "items": _RECORD, "minItems": 1},
            "replace": {
                "type": "boolean",
                "default": False,
                "description": "Replace records whose id exists; otherwise such a call is refused.",
            },
        },
        ("records",),
    ),
}
_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
}


def definitions(names: Sequence[str], writable: Sequence[str]) -> list[dict[str, Any]]:
    """Return the tools as ``tools/list`` tells them.

    Parameters
    ----------
    names : sequence of str
        Collections that may be read; with several, every tool asks which one is meant.
    writable : sequence of str
        Those that may be written; without any, there is no tool ``add``.

    Returns
    -------
    list of dict
        Name, description, schema of the arguments and hints.

    Examples
    --------
    >>> [tool["name"] for tool in definitions(["books"], [])]
    ['search', 'get', 'why_not', 'stats']
    """
    out = []
    for name, (told, properties, required) in _TOOLS.items():
        meant = list(writable if name == "add" else names)
        if not meant:
            continue
        properties, needed = dict(properties), list(required)
        if len(names) > 1:
            properties["collection"] = {"type": "string", "enum": meant, "description": "Which collection."}
            needed.append("collection")
        schema = {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
        writes = name == "add"
        hints = {"readOnlyHint": not writes, "openWorldHint": False}
        if writes:
            # With replace=true what was there is gone.
            hints |= {"destructiveHint": True, "idempotentHint": False}
        title = name.replace("_", " ").capitalize()
        out.append({"name": name, "title": title, "description": told, "inputSchema": schema, "annotations": hints})
    return out


def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any], *, place: str = "") -> None:
    """Refuse arguments that a tool does not have, lacks, or takes as another type.

    Parameters
    ----------
    schema : mapping
        Of a tool's arguments, or of a part of them: the keywords that :func:`definitions` uses.
    arguments : mapping
        What was sent.
    place : str, default ""
        Where they stand, for the message.

    Raises
    ------
    InputError
        The message is for the agent, which can correct its call.

    Examples
    --------
    >>> check_arguments(definitions(["books"], [])[0]["inputSchema"], {"query": "kites", "k": 3})
    """
    properties = schema["properties"]
    strange = [name for name in arguments if name not in properties]
    lacking = [name for name in schema["required"] if name not in arguments]
    if strange or lacking:
        given = f"{place}{strange[0][:80]}" if strange else f"no {place}{lacking[0]}"
        raise InputError(message(given, f"{place}{', '.join(properties)}" if strange else "one", "correct the call"))
    for name, value in arguments.items():
        _check_value(properties[name], value, f"{place}{name}")


def _check_value(schema: Any, value: Any, place: str) -> None:
    kind = schema["type"]
    wanted = _TYPES[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        raise InputError(message(f"{place} of type {type(value).__name__}", f"{kind}", "correct the call"))
    if "enum" in schema and value not in schema["enum"]:
        raise InputError(message(f"{place}={value[:80]!r}", f"one of {', '.join(schema['enum'])}", "choose one"))
    if kind == "integer" and value < schema.get("minimum", value):
        raise InputError(message(f"{place}={value}", f"at least {schema['minimum']}", "correct the call"))
    if kind == "array":
        if len(value) < schema.get("minItems", 0):
            raise InputError(message(f"{place} without an element", "at least one", "correct the call"))
        for i, one in enumerate(value):
            _check_value(schema["items"], one, f"{place}[{i}]")
    if kind == "object" and "properties" in schema:
        check_arguments(schema, value, place=f"{place}.")
