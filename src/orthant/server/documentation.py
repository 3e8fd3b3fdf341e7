"""The page under ``/docs``: the OpenAPI document as plain HTML, without a script and without another host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from orthant.server.service import Service

__all__ = ["page", "routes"]

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; }
body { background: Canvas; color: CanvasText; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow: auto; padding: .5rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
h2 { margin-top: 2rem; }
"""


def routes(service: Service) -> APIRouter:
    """Return the routes of the documentation.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/docs`` and its style sheet.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        return HTMLResponse(page(request.app.openapi()), headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs.css")
    async def style() -> Response:
        return Response(_STYLE, media_type="text/css")

    return router


def page(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as a page.

    Parameters
    ----------
    document : mapping
        The document.

    Returns
    -------
    str
        HTML; everything of the document is escaped.

    Examples
    --------
    >>> "&lt;b&gt;" in page({"info": {"title": "<b>", "version": "1"}, "paths": {}})
    True
    """
    return "\n".join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="docs.css"></head><body>'
    yield f'<main><h1>{title}</h1><p>Generated from <a href="openapi.json">the OpenAPI document</a>.'
    yield "With keys, send <code>Authorization: Bearer KEY</code>."
    yield "Every error is <code>{&quot;error&quot;: {&quot;type&quot;, &quot;message&quot;}}</code>.</p>"
    schemas = document.get("components", {}).get("schemas", {})
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            by_tag.setdefault((told.get("tags") or ["other"])[0], []).append((method.upper(), path, told))
    for tag, calls in by_tag.items():
        yield f"<h2>{escape(tag.capitalize())}</h2>"
        for method, path, told in calls:
            yield from _call(method, path, told, schemas)
    yield "</main></body></html>"


def _call(method: str, path: str, told: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b>{escape(method)}</b> <code>{escape(path)}</code></summary>"
    yield f"<p>{escape(told.get('description') or told.get('summary', ''))}</p>"
    for kind, content in told.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code></p>"
        schema = content.get("schema", {})
        required = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        notes = {
            name: "required" if name in required else json.dumps(one.get("default")) for name, one in properties.items()
        }
        yield from _table(properties, "default", notes)
    for kind, content in told.get("responses", {}).get("200", {}).get("content", {}).items():
        schema = content.get("schema", {})
        held = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
        yield f"<p>Answer: <code>{escape(kind)}</code> {escape(held.get('description', ''))}</p>"
        always = set(held.get("required", ()))
        notes = {name: "always" if name in always else "where there is one" for name in held.get("properties", {})}
        yield from _table(held.get("properties", {}), "there", notes)
    yield "</details>"


def _table(properties: Mapping[str, Any], head: str, notes: Mapping[str, str]) -> Iterator[str]:
    if not properties:
        return
    yield f"<table><thead><tr><th>name</th><th>type</th><th>{head}</th><th>meaning</th></tr></thead><tbody>"
    for name, schema in properties.items():
        cells = (name, _type(schema), notes[name], schema.get("description", ""))
        yield "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table>"


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array" and schema.get("items"):
        return f"array of {_type(schema['items'])}"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))
