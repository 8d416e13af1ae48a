"""Stand-ins for the parts around the line, scripted by the test and open to its eyes."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from app.core.call import Call
from app.core.endpoint import EndpointSpec
from app.core.errors import NoHealthyEndpoint
from app.core.guard import Lease
from app.core.reply import Reply
from app.core.tenant import Key, Tenant
from app.wire.surfaces import SURFACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from app.core.errors import GatewayError
    from app.core.outcome import Settlement
    from app.core.ports import Hedge
    from app.core.reply import Outbound

KEY = Key("key_1", Tenant("tnt_1", "team"))
_ids = count(1)


def make_call(**fields: Any) -> Call:
    """A chat call for model m, at time 1000 of a FakeClock."""
    known: dict[str, Any] = {
        "id": f"call-{next(_ids)}",
        "surface": SURFACES["/v1/chat/completions"],
        "model": "m",
        "target": "m",
        "body": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        "key": KEY,
        "arrived": 1_000.0,
        "started_at": 1_795_000_000.0,
        "deadline": float("inf"),
        "prompt_estimate": 7,
    }
    return Call(**(known | fields))


class ScriptedBody:
    """Yields the given chunks; an exception in the script is raised, an Event waited for."""

    framed = True

    def __init__(self, script: Sequence[object]) -> None:
        self.script = list(script)
        self.closed = 0
        self.ended = False

    async def read(self) -> bytes:
        while self.script:
            step = self.script.pop(0)
            if isinstance(step, bytes):
                return step
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
        self.ended = True
        return b""

    def divert(self, take) -> None:
        """Everything is read."""

    def close(self) -> None:
        self.closed += 1


class ScriptedTransport:
    """Answers by endpoint name; each answer is (status, headers, script) or an exception to raise."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name: list(script) for name, script in answers.items()}
        self.sent: list[tuple[str, Outbound]] = []
        self.bodies: list[ScriptedBody] = []

    async def send(self, outbound: Outbound, endpoint: EndpointSpec, connect_timeout: float) -> Reply:
        self.sent.append((endpoint.name, outbound))
        answers = self.answers[endpoint.name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        if isinstance(answer, BaseException):
            raise answer
        status, headers, script = answer
        self.bodies.append(ScriptedBody(script))
        return Reply(status, headers, self.bodies[-1])

    async def aclose(self) -> None: ...

    @property
    def asked(self) -> list[str]:
        """Endpoint names in the order of the attempts."""
        return [name for name, _ in self.sent]


class FakePermit:
    def __init__(self, endpoint: FakeEndpoint) -> None:
        self.endpoint = endpoint

    def answered(self) -> None:
        self.endpoint.answers += 1

    def __call__(self, settlement: Settlement) -> None:
        self.endpoint.inflight -= 1
        self.endpoint.settlements.append(settlement)


class FakeEndpoint:
    available = ready = True
    latency = None

    def __init__(self, name: str) -> None:
        self.spec = EndpointSpec(name, f"http://{name}.test:8000")
        self.gates = (self,)
        self.inflight = 0
        self.answers = 0
        self.progressed_at = 0.0
        self.settlements: list[Settlement] = []
        self.learnt: list[GatewayError] = []

    @property
    def load(self) -> float:
        return float(self.inflight)

    def admit(self, call: Call) -> FakePermit:
        self.inflight += 1
        return FakePermit(self)

    def learn(self, call: Call, error: GatewayError) -> None:
        self.learnt.append(error)


class FakePool:
    """Hands out its endpoints in order, those not yet tried."""

    def __init__(self, *names: str, model: str = "m", error: GatewayError | None = None) -> None:
        self.model = model
        self.endpoints = [FakeEndpoint(name) for name in names]
        self.error = error
        self.hedge: Hedge | None = None
        self.full = False

    def enter_now(self, call: Call, tried: Sequence[str]) -> tuple[FakeEndpoint, Lease] | None:
        if self.full:
            return None
        return next(self._free(call, tried), None)

    def _free(self, call: Call, tried: Sequence[str]) -> Iterator[tuple[FakeEndpoint, Lease]]:
        for endpoint in self.endpoints:
            if endpoint.spec.name not in tried:
                lease = Lease()
                lease.enter(call, endpoint.gates)
                yield endpoint, lease

    async def enter(self, call: Call, tried: Sequence[str]) -> tuple[FakeEndpoint, Lease]:
        for found in self._free(call, tried):
            return found
        raise self.error or NoHealthyEndpoint

    def served_name(self, endpoint: FakeEndpoint) -> str:
        return f"{self.model}-served"

    def __getitem__(self, name: str) -> FakeEndpoint:
        return next(endpoint for endpoint in self.endpoints if endpoint.spec.name == name)


class FakePools:
    def __init__(self, *pools: FakePool) -> None:
        self.by_model = {pool.model: pool for pool in pools}

    def pool(self, model: str) -> FakePool | None:
        return self.by_model.get(model)

    def models(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"id": name, "created": 1, "root": name, "max_model_len": 2048} for name in self.by_model
        }


class MemoryLedger:
    """Keeps rows by call id; `durable` can be replaced by a future that a test resolves."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.overdue = False
        self.rows: dict[str, Settlement] = {}
        self.durable: asyncio.Future[None] | None = None

    def open(self, call: Call) -> None:
        self.opened.append(call.id)

    def settle(self, call: Call, settlement: Settlement) -> asyncio.Future[None]:
        self.rows.setdefault(call.id, settlement)
        if self.durable is not None:
            return self.durable
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Ear:
    """An Observer that remembers."""

    def __init__(self) -> None:
        self.rejections: list[GatewayError] = []
        self.attempts: list[tuple[str, Settlement]] = []
        self.resumes: list[str] = []
        self.settlements: list[Settlement] = []

    def rejected(self, call: Call, error: GatewayError) -> None:
        self.rejections.append(error)

    def resumed(self, call: Call, outcome: str) -> None:
        self.resumes.append(outcome)

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None:
        self.attempts.append((endpoint.name, settlement))

    def settled(self, call: Call, settlement: Settlement) -> None:
        self.settlements.append(settlement)


class CountingGuard:
    """A tenant guard that knows how many calls it holds; `refusal` is raised instead of admitting."""

    def __init__(self) -> None:
        self.held = 0
        self.settlements: list[Settlement] = []
        self.refusal: GatewayError | None = None

    async def admit(self, call: Call) -> Callable[[Settlement], None]:
        if self.refusal is not None:
            raise self.refusal
        self.held += 1
        return self._release

    def _release(self, settlement: Settlement) -> None:
        self.held -= 1
        self.settlements.append(settlement)
