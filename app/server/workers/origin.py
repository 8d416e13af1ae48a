"""Whom a worker's operators' socket answers: the supervisor says on whose behalf it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.server.refusal import Application, Receive, Scope, Send

ORIGIN = b"x-sluice-origin"


def told_origin(app: Application) -> Application:
    """The application, for a socket that only the supervisor can reach."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            origin = next((value for name, value in scope["headers"] if name == ORIGIN), b"")
            scope = scope | {"client": (origin.decode("latin-1"), 0)}
        await app(scope, receive, send)

    return told
