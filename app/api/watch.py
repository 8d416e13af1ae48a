"""Notices that a caller has hung up: told by our own server, or by waiting on any other one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope

    from app.core.reply import Way


class Watch(Protocol):
    """Our server's connection is one: it calls back at once, and costs nothing while the caller stays."""

    def on_hang_up(self, callback: Callable[[], None] | None) -> None:
        """Call back when the caller leaves; None ends the watch."""
        ...

    def close(self) -> None:
        """Close the connection once this response is complete."""
        ...

    def drop(self) -> None:
        """Close the connection at once, whatever the caller has read: it is as good as gone."""
        ...

    @property
    def straight(self) -> Way | None:
        """The way to the caller without a message to the server, where there is one."""
        ...


class ReceiveWatch:
    """A task that waits for the disconnect message, for servers without the extension."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def on_hang_up(self, callback: Callable[[], None] | None) -> None:
        if callback is not None:
            self._task = asyncio.ensure_future(self._wait(callback))
        elif self._task is not None:
            self._task.cancel()

    async def _wait(self, hung_up: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        hung_up()

    def close(self) -> None:
        """Nothing to do: the server decides."""

    def drop(self) -> None:
        """Nothing to do: the answer is left unfinished."""

    @property
    def straight(self) -> None:
        """There is none."""


def watch_for(scope: Scope, receive: Receive) -> Watch:
    connection: Watch | None = scope.get("extensions", {}).get("sluice")
    return ReceiveWatch(receive) if connection is None else connection
