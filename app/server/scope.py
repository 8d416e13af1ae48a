"""What all requests of one connection have in common for the application: the part of an ASGI scope made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def common_scope(connection: HttpToolsProtocol) -> dict[str, Any]:
    """Of a connection that is made: before that it knows neither end."""
    return {
        "type": "http",
        "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "root_path": connection.root_path,
    }
