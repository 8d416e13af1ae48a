"""The caller's connection as a request sees it: who it is, when it leaves, and closing it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from app.core.reply import Way

if TYPE_CHECKING:
    from collections.abc import Callable


class Answer(Way, Protocol):
    """What is written to the peer for one request."""

    disconnected: bool
    keep_alive: bool

    def drop(self) -> None: ...


class Connection:
    """One per request, as `scope["extensions"]["sluice"]`. `peer` is the socket's, whatever headers say.

    A piece of a body that has begun may go to `straight` when that is ready for it.
    """

    __slots__ = ("_callback", "peer", "straight")

    def __init__(self, peer: tuple[str, int] | None, answer: Answer) -> None:
        self.peer = peer
        self.straight = answer
        self._callback: Callable[[], None] | None = None

    def on_hang_up(self, callback: Callable[[], None] | None) -> None:
        """Call back once, synchronously, if the caller leaves before the response is complete.

        At once if it has left already. A half-closed connection counts as left. None takes it back.
        """
        self._callback = callback
        if self.straight.disconnected:
            self.hang_up()

    def close(self) -> None:
        """Close the connection once this response is complete."""
        self.straight.keep_alive = False

    def drop(self) -> None:
        """Close it now, unfinished: a peer that takes nothing is treated like one that has left."""
        self._callback = None
        self.straight.drop()

    def hang_up(self) -> None:
        """The caller is gone; said by the protocol."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
