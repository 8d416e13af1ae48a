"""A call: one request of one caller, from arrival to settlement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct, field

from app.core.measure import NOTHING, Measure
from app.core.outcome import NO_USAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.core.clock import Clock
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement, Usage, UsageSource
    from app.core.surface import Surface
    from app.core.tenant import Decision, Key, Tenant


HEDGE_LOST = "hedge_lost"
"""The reason of an attempt that another one outran."""


class Attempt(Struct, frozen=True, gc=False):
    """One try at one endpoint, as the explanation and the logs show it; seconds since arrival.

    `hedge`: it was made because the one before it was late, and both were under way.
    """

    endpoint: str
    started: float
    settlement: Settlement
    hedge: bool = False
    ended: float = 0.0

    @property
    def wasted(self) -> int:
        """Tokens made for nothing, should it not be the one that counts; outrun, it read the prompt in vain too."""
        used = self.settlement.usage
        return used.total if self.settlement.reason == HEDGE_LOST else used.completion


Candidate = tuple[str, int, str | None]
"""An endpoint's name, its group in the order of preference, and why it was none at all (None: it was)."""


class Note(Struct, frozen=True, gc=False):
    """Something out of the ordinary on a call's way; `at` in seconds since arrival, `told` as `what` has it."""

    at: float
    what: str
    told: Any


class Metered(Protocol):
    """What is known at any moment of the tokens an answer has taken so far."""

    @property
    def usage(self) -> Usage: ...

    @property
    def usage_source(self) -> UsageSource: ...

    @property
    def suspect(self) -> bool:
        """The endpoint stated counts that cannot be true."""
        ...


class Pause(Protocol):
    """Something that keeps a caller's connection in use while its answer pauses."""

    async def finish(self) -> object:
        """End it, in order with what is sent next."""
        ...


class Call(Struct, eq=False):
    """`model` is the name the caller used; `target` the real name of the model that serves it.

    `asked` is the body as the caller sent it, where `body` carries its answer on; of a body that is not needed
    any more `fingerprint` is all that is left.
    `deadline` and `arrived` are monotonic; `started_at` is wall clock. `prompt_estimate` and
    `completion_limit` are tokens, the latter over all choices; `measure` is what the estimate came from.
    `usage_wanted` is what the caller's stream shows. `headers` are the few of the caller's that travel on.
    `on_pause` is called when an answer that has begun will pause.

    The fields after `decisions` are the trail: written along the line, read by observers.
    `dispatched_at` (monotonic) is when it first got a place at an endpoint; `stopped` is why the
    call's task was cancelled from outside (the caller left, an operator, shutdown); `body_size` are the
    bytes of its body that are counted at present. `candidates` are the endpoints of the pool that looked
    last for a place: name, order of preference, and what kept it out for good.
    """

    id: str
    surface: Surface
    model: str
    body: dict[str, Any]
    key: Key
    arrived: float
    started_at: float
    deadline: float
    client_request_id: str | None = None
    asked: dict[str, Any] | None = None
    fingerprint: bytes | None = None
    target: str = ""
    streams: bool = False
    usage_wanted: Literal["none", "final", "continuous"] = "none"
    measure: Measure = NOTHING
    prompt_estimate: int = 0
    completion_limit: int | None = None
    n: int = 1
    prompts: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    remote_addr: str = ""
    user_agent: str = ""
    referer: str = ""
    session: str | None = None
    on_pause: Callable[[], Pause] | None = None
    decisions: list[Decision] = field(default_factory=list)

    endpoint: str | None = None
    upstream_addr: str | None = None
    served_model: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    queue_wait: float = 0.0
    dispatched_at: float | None = None
    first_byte: float | None = None
    body_size: int = 0
    body_bytes_sent: int = 0
    stopped: GatewayError | None = None
    metered: Metered | None = None
    candidates: tuple[Candidate, ...] = ()
    notes: tuple[Note, ...] = ()

    def note(self, clock: Clock, what: str, told: Any = None) -> None:
        """For whoever asks why; `told` is text, or tuples of texts. Never on a call's ordinary way."""
        self.notes += (Note(clock.monotonic() - self.arrived, what, told),)

    @property
    def counted(self) -> tuple[Usage, UsageSource]:
        """The tokens that the attempt under way is known to have taken, and who says so."""
        metered = self.metered
        return (NO_USAGE, "estimated") if metered is None else (metered.usage, metered.usage_source)

    @property
    def choices(self) -> int:
        """Answers asked for, over all prompts."""
        return self.n * self.prompts

    @property
    def tenant(self) -> Tenant:
        return self.key.tenant

    def time_left(self, now: float) -> float:
        """Seconds until the deadline, negative when it is past."""
        return self.deadline - now
