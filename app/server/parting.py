"""Parts from callers between two requests, but not from one whose next request has come already."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.server.protocol import LimitedProtocol


def part(connections: Iterable[LimitedProtocol]) -> None:
    """Close each after the answer that is due, or now if none is.

    A loop that is late, as at a timer it is, has not read yet what the kernel holds: to close on that
    would cost its caller a call. Such a connection is left open, and so is one that has not asked yet.
    """
    idle = {}
    for connection in connections:
        if _between_requests(connection):
            idle[connection.transport.get_extra_info("socket").fileno()] = connection
        else:
            connection.close_after_answer()
    waiting = select.poll()
    for descriptor in idle:
        waiting.register(descriptor, select.POLLIN)
    for descriptor in idle.keys() - {descriptor for descriptor, _ in waiting.poll(0)}:
        idle[descriptor].transport.close()


def _between_requests(connection: LimitedProtocol) -> bool:
    asked = connection.cycle is not None and connection.receiving == "nothing"
    return asked and not connection.serving and not connection.transport.is_closing()
