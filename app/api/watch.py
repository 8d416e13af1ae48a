"""Notices that a caller has hung up: told by our own server, or by waiting on any other one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope

    from app.core.reply import Straight


class Watch(Protocol):
    def start(self, hung_up: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...

    def close_after(self) -> None:
        """Close the connection once this response is complete."""
        ...

    def drop(self) -> None:
        """Close the connection at once, whatever the caller has read: it is as good as gone."""
        ...

    @property
    def straight(self) -> Straight | None:
        """The way to the caller without a message to the server, where there is one."""
        ...


class ConnectionWatch:
    """Our server calls back at once; costs nothing while the caller stays."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def start(self, hung_up: Callable[[], None]) -> None:
        self._connection.on_hang_up(hung_up)

    def stop(self) -> None:
        self._connection.on_hang_up(None)

    def close_after(self) -> None:
        self._connection.close()

    def drop(self) -> None:
        self._connection.drop()

    @property
    def straight(self) -> Straight:
        answer: Straight = self._connection.answer
        return answer


class ReceiveWatch:
    """A task that waits for the disconnect message, for servers without the extension."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def start(self, hung_up: Callable[[], None]) -> None:
        self._task = asyncio.ensure_future(self._wait(hung_up))

    async def _wait(self, hung_up: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        hung_up()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def close_after(self) -> None:
        """Nothing to do: the server decides."""

    def drop(self) -> None:
        """Nothing to do: the answer is left unfinished."""

    @property
    def straight(self) -> None:
        """There is none."""


def watch_for(scope: Scope, receive: Receive) -> Watch:
    connection = scope.get("extensions", {}).get("sluice")
    return ReceiveWatch(receive) if connection is None else ConnectionWatch(connection)
