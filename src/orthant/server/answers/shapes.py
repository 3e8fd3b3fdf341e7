"""How an answer is described, and how the document is finished."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

__all__ = ["Answer", "ReadyAnswer", "StateAnswer", "finished"]

_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : .*$")


class Answer(BaseModel):
    """What a route sends. A field with a default is left out of the answer where there is nothing to say."""


class StateAnswer(Answer):
    """How the server is."""

    status: str


class ReadyAnswer(StateAnswer):
    """Whether the server answers, and whether as fast as it will."""

    preparing: bool = Field(description="Graphs are being loaded, or code compiled: searches compare every vector.")


def finished(document: dict[str, Any]) -> dict[str, Any]:
    """Complete what FastAPI wrote about answers.

    Reports of collections are dataclasses, and are sent whole: every field is there, also one that has a default. Their
    docstrings describe the fields, which the document is to say at the fields.

    Parameters
    ----------
    document : dict
        An OpenAPI document; changed in place.

    Returns
    -------
    dict
        The same.
    """
    own = {kind.__name__ for kind in _kinds(Answer)}
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        text = inspect.cleandoc(schema.get("description", ""))
        schema["description"] = " ".join(text.split("\n\n")[0].split())
        properties = schema.get("properties", {})
        if name not in own:
            schema["required"] = list(properties)
        for field, told in _attributes(text).items():
            if field in properties:
                properties[field].setdefault("description", told)
        for told in properties.values():
            # The name once more, in capitals.
            told.pop("title", None)
    return document


def _kinds(kind: type[Answer]) -> Iterator[type[Answer]]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds(one)


def _attributes(text: str) -> dict[str, str]:
    """The entries of a numpydoc section called Attributes."""
    _, _, section = text.partition("Attributes\n----------\n")
    out: dict[str, str] = {}
    names: list[str] = []
    for line in section.split("\n\n")[0].splitlines():
        entry = _ENTRY.match(line)
        if entry:
            names = entry[1].split(", ")
        else:
            for name in names:
                out[name] = f"{out.get(name, '')} {line.strip()}".strip().replace("``", "`")
    return out
