"""A gateway before endpoints of which some misbehave, and what became of a call there."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.simulator import Simulator
from tests.house import at, calls, running, until
from tests.scripted import CHAT, misbehaving

if TYPE_CHECKING:
    from tests.faults.behaviours import Behaviour
    from tests.faults.faultserver import FaultServer

RARELY = {"interval": 60, "interval_down": 60}
"""Probes that keep out of the way."""


@asynccontextmanager
async def fleet(*behaviours: Behaviour, healthy: int = 0, **settings: Any):
    """A gateway before so many misbehaving endpoints, then so many good ones; and the former.

    They are gpu-a, gpu-b, …, in turn: the first call goes to the first of them.
    """
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(misbehaving(behaviour)) for behaviour in behaviours]
        good = [Simulator(ttft=0.001, itl=0.001) for _ in range(healthy)]
        rows = [at(endpoint, models=["tiny"]) for endpoint in (*servers, *good)]
        given = {"health": RARELY, "routing": {"strategy": "round_robin"}} | settings
        yield await stack.enter_async_context(running(rows, **given)), servers


def hits(server: FaultServer) -> int:
    """Chats that it was asked for."""
    return sum(request.path == CHAT for request in server.log.requests)


def learnt(gateway: Any) -> dict[tuple[str, str, str], int]:
    """Attempts by endpoint, what its breaker was taught, and why."""
    gateway.house.hearing.observers.flush()
    return dict(gateway.house.hearing.calls.attempts)


def states(gateway: Any) -> list[str]:
    """Of the breakers."""
    return [endpoint.breaker.state for endpoint in gateway.house.fleet.endpoints.values()]


async def left(server: FaultServer, times: int = 1) -> None:
    """The gateway has dropped the connection on which a behaviour waits for it."""
    await until(lambda: len(server.log.ends) >= times)


@dataclass(frozen=True)
class Booked:
    """What a row must say; None: nothing."""

    state: str
    endpoint: str | None
    attempts: int
    status: int = 200
    code: str | None = None
    source: str | None = None
    finish: str | None = None

    async def check(self, gateway: Any) -> Any:
        """It is the only row."""
        row = await gateway.row()
        assert self == Booked(
            row.state, row.endpoint, row.attempts, row.status, row.error_code, row.usage_source, row.finish
        )
        return row


def served(gateway: Any) -> int:
    """Calls that the good endpoints were asked for."""
    return len(calls(*gateway.simulators))
