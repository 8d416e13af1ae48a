"""Every socket that a part can be plugged into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from app.core.call import Call
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.failures import EndpointError
    from app.core.guard import Gate, Lease
    from app.core.outcome import Settlement
    from app.core.reply import Outbound, Reply
    from app.core.tenant import Key


class Endpoint(Protocol):
    """A live endpoint: its spec, the gates before it, and what is known of its load."""

    spec: EndpointSpec
    gates: Sequence[Gate]

    @property
    def available(self) -> bool:
        """Up, not draining, not ejected, its breaker ready: routing may pick it."""
        ...

    @property
    def inflight(self) -> int:
        """Calls of this process, counted to the last byte."""
        ...

    @property
    def load(self) -> float:
        """In flight per unit of weight."""
        ...

    @property
    def latency(self) -> float | None:
        """Seconds to the first byte, a decaying peak; None while nothing is known."""
        ...

    weight: float
    """That of its spec, less while it starts slowly."""

    progressed_at: float
    """Monotonic time of the last byte that arrived for any call; the line writes it."""

    def learn(self, call: Call, error: EndpointError) -> None:
        """Draw what follows from a failure: busy for a while, without this model, draining."""
        ...


class Strategy(Protocol):
    """Picks one of the available endpoints, synchronously.

    One that remembers how endpoints stand may have a method `eased(endpoint)`: it hears whenever the load of an
    endpoint of its pool may have fallen, or its weight changed.
    """

    def pick(self, call: Call, endpoints: Sequence[Endpoint]) -> Endpoint:
        """`endpoints` is never empty and holds no weight of 0; what comes again as the same object is the same."""
        ...


class Hedge(Protocol):
    """When a call of a model is late, and whether another endpoint may be asked too; times in seconds."""

    def covers(self, call: Call) -> bool:
        """Whether a call of this kind may be hedged at all."""
        ...

    def delay(self, call: Call) -> float | None:
        """After how long it is late; None: nobody knows yet."""
        ...

    def observe(self, call: Call, seconds: float) -> None:
        """The first event took this long, or at least this long."""
        ...

    def deposit(self) -> None:
        """A call has come."""
        ...

    @property
    def affordable(self) -> bool: ...

    def withdraw(self) -> None:
        """Pay for a hedge that was affordable."""
        ...


class Pool(Protocol):
    """The endpoints of one model. `hedge` is None where calls are not hedged."""

    model: str

    @property
    def hedge(self) -> Hedge | None: ...

    async def enter(self, call: Call, tried: Collection[str]) -> tuple[Endpoint, Lease]:
        """An endpoint not in `tried` with its gates passed; waits for room when all are full.

        Raises Overloaded (the queue is full, or its wait is over) or NoHealthyEndpoint.
        """
        ...

    def enter_now(self, call: Call, tried: Collection[str]) -> tuple[Endpoint, Lease] | None:
        """The same where there is room right now and nobody waits for it, else None; never waits."""
        ...

    def served_name(self, endpoint: Endpoint) -> str:
        """The name under which this endpoint serves the pool's model."""
        ...


class Transport(Protocol):
    """How bytes get to an endpoint and back. Raises core.failures only."""

    async def send(self, outbound: Outbound, endpoint: EndpointSpec, connect_timeout: float) -> Reply:
        """Returns when the head is in. Cancelling it, or closing the reply's body, drops the connection."""
        ...

    async def aclose(self) -> None: ...


class Discovery(Protocol):
    """Where endpoints come from."""

    def watch(self) -> AsyncIterator[Sequence[EndpointSpec]]:
        """The whole fleet, at each change."""
        ...


class KeyDirectory(Protocol):
    """Who a secret belongs to."""

    def known(self, secret: str) -> Key | None:
        """The answer if it is in memory; None means: ask `find`."""
        ...

    async def find(self, secret: str) -> Key:
        """Raises InvalidKey, or StorageUnavailable when nobody can tell."""
        ...


class Ledger(Protocol):
    """The book of calls: every call admitted is opened once and ended once, by its id."""

    @property
    def overdue(self) -> bool:
        """Whether what was done cannot be written down at present: no new work then."""
        ...

    def open(self, call: Call) -> None:
        """Queue the open row; never waits."""
        ...

    def settle(self, call: Call, settlement: Settlement) -> Awaitable[None]:
        """Queue the end (settled, or void when not billed); later ends of the same call are ignored.

        The awaitable is done when the row is durable and raises StorageUnavailable when it cannot be
        made so in time; dropping it loses nothing.
        """
        ...


class InFlight(Protocol):
    """The live table of calls."""

    def opened(self, call: Call, stop: Callable[[GatewayError], None]) -> None:
        """`stop` ends the call at once with that error."""
        ...

    def closed(self, call: Call) -> None: ...


class Observer(Protocol):
    """Hears of everything, changes nothing; called synchronously, must be quick and must not raise."""

    def rejected(self, call: Call, error: GatewayError) -> None:
        """Refused before it was admitted; its key is NOBODY when the caller is not known."""
        ...

    def resumed(self, call: Call, outcome: str) -> None:
        """Its stream broke off, and was carried on (`resumed`), could not be (`failed`) or may not be (`refused`)."""
        ...

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None: ...

    def settled(self, call: Call, settlement: Settlement) -> None: ...
