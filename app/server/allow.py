"""The operators' port answers only the networks it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import Forbidden
from app.server.proxies import is_within
from app.server.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.server.proxies import Network
    from app.server.refusal import Application, Receive, Scope, Send


def allowing(app: Application, networks: Sequence[Network]) -> Application:
    """The application, for peers within the networks only; headers cannot make a peer of them."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_within(_peer(scope), networks):
            await refuse(Forbidden("This address may not use this port."), scope, send)
        else:
            await app(scope, receive, send)

    return guarded


def _peer(scope: Scope) -> str:
    connection = scope.get("extensions", {}).get("sluice")
    peer = connection.peer if connection is not None else scope.get("client")
    return peer[0] if peer else ""
