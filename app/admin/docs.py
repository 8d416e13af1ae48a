"""The admin REST described for programs (OpenAPI) and for people (one page without scripts)."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, JSONResponse

from app import __version__
from app.admin.routes import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import APIRouter

    from app.admin.parts import AdminParts

TITLE = "Sluice admin"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }}
code {{ font-size: 14px }} dt {{ margin-top: 1rem }} dd {{ margin-left: 1.5rem }}
</style></head><body><h1>{title} {version}</h1>
<p>Authorization: Bearer. The same for programs: <a href="openapi.json">openapi.json</a>.</p>
{body}</body></html>
"""


def router(parts: AdminParts, described: APIRouter) -> APIRouter:
    """`described` holds the routes, with paths below /admin."""
    routes = guarded(parts, "docs", changes="viewer", prefix="")

    async def openapi() -> JSONResponse:
        return JSONResponse(_document(described))

    async def docs() -> HTMLResponse:
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(page(_document(described)), headers=policy)

    routes.get("/openapi.json", include_in_schema=False, response_model=None)(openapi)
    routes.get("/docs", include_in_schema=False, response_model=None)(docs)
    return routes


def page(document: Mapping[str, Any]) -> str:
    """A list of what there is: method, path, what it takes and does."""
    lines: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines.setdefault(operation["tags"][0], []).append(_entry(path, method, operation))
    body = "".join(f"<h2>{escape(tag)}</h2><dl>{''.join(entries)}</dl>" for tag, entries in lines.items())
    return _PAGE.format(title=escape(TITLE), version=escape(__version__), body=body)


def _entry(path: str, method: str, operation: Mapping[str, Any]) -> str:
    takes = ", ".join(_takes(operation))
    return (
        f"<dt><code>{escape(method.upper())} /admin{escape(path)}</code></dt>"
        f"<dd>{escape(operation.get('description', ''))}{f' <code>{escape(takes)}</code>' if takes else ''}</dd>"
    )


def _takes(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            yield f"?{parameter['name']}="
    for media in operation.get("requestBody", {}).get("content", {}).values():
        references = [media["schema"], *media["schema"].get("anyOf", ())]
        yield from (each["$ref"].rpartition("/")[2] for each in references if "$ref" in each)


def _document(described: APIRouter) -> dict[str, Any]:
    document = get_openapi(
        title=TITLE, version=__version__, routes=described.routes, servers=[{"url": "/admin"}]
    )
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["token"] = {"type": "http", "scheme": "bearer"}
    return document | {"security": [{"token": []}]}
