"""The live table: every call under way, and the means to stop it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock
    from app.core.errors import GatewayError

    Stop = Callable[[GatewayError], None]


class InFlightTable:
    """Implements core.ports.InFlight. `closed` listeners hear of each call once, after its last byte."""

    def __init__(self, clock: Clock, *listeners: Callable[[Call], object]) -> None:
        self._clock = clock
        self._listeners = listeners
        self._calls: dict[str, tuple[Call, Stop]] = {}

    def opened(self, call: Call, stop: Stop) -> None:
        self._calls[call.id] = (call, stop)

    def closed(self, call: Call) -> None:
        if self._calls.pop(call.id, None) is not None:
            for listener in self._listeners:
                listener(call)

    def stop(self, call_id: str, error: GatewayError) -> bool:
        """Whether there was such a call; its caller gets the error."""
        entry = self._calls.get(call_id)
        if entry is not None:
            entry[1](error)
        return entry is not None

    def stop_all(self, error: GatewayError, of: Callable[[Call], bool] = lambda call: True) -> int:
        """Stop the calls that `of` picks; returns how many."""
        chosen = [stop for call, stop in self._calls.values() if of(call)]
        for stop in chosen:
            stop(error)
        return len(chosen)

    def cut(self, owner: str, error: GatewayError) -> int:
        """Stop the calls of a key or a tenant, given its id; returns how many."""
        return self.stop_all(error, lambda call: owner in (call.key.id, call.key.tenant.id))

    def by_model(self) -> dict[str, int]:
        """Number of calls by the real name of their model."""
        return Counter(call.target for call, _ in self._calls.values())

    def rows(self) -> list[dict[str, Any]]:
        """What an operator may see, oldest first; times in seconds."""
        now = self._clock.monotonic()
        return [
            {
                "call_id": call.id,
                "client_request_id": call.client_request_id,
                "tenant_id": call.key.tenant.id,
                "tenant": call.key.tenant.name,
                "key_id": call.key.id,
                "surface": call.surface.name,
                "model": call.target,
                "endpoint": call.endpoint,
                "streams": call.streams,
                "started_at": call.started_at,
                "elapsed_s": now - call.arrived,
                "ttft_s": call.first_byte,
                "queue_wait_s": call.queue_wait,
                "body_bytes_sent": call.body_bytes_sent,
                "remote_addr": call.remote_addr,
            }
            for call, _ in self._calls.values()
        ]

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        return f"<InFlightTable {len(self)}>"
