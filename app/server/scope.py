"""What the application is told of a request: an ASGI scope, of which a connection's requests share a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.server.head import split_target
from app.server.proxies import caller_address

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from app.server.protocol import LimitedProtocol


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


def request_scope(connection: LimitedProtocol, common: dict[str, Any], version: str) -> dict[str, Any]:
    """Of a request whose head is complete."""
    path, raw_path, query = split_target(connection.url)
    headers = connection.headers
    scope = {
        **common,
        "http_version": version,
        "method": connection.parser.get_method().decode("ascii"),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "state": connection.app_state.copy(),
    }
    proxies = connection.limits.trusted_proxies
    if proxies and connection.client is not None:
        address, port = connection.client
        scope["client"] = caller_address(address, headers, proxies), port
    return scope
