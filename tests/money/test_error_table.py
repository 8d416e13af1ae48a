"""What becomes of the row in every situation that has an error of its own: none, void, or settled as counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.core.errors import Stopped
from app.core.failures import ConnectTimeout
from app.simulator import Simulator
from tests.house import Refusing, at, running, until


@dataclass(frozen=True)
class Situation:
    """It comes about after a first call, which got its answer or, when `held`, is still under way."""

    ledger: str
    status: int
    code: str
    fault: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    held: bool = False
    ask: dict[str, Any] = field(default_factory=dict)
    drained: bool = False


def of(fault: str, **fields: Any) -> dict[str, Any]:
    return {"fault": fault, "count": None, **fields}


NARROW = {"resilience": {"bulkhead": {"max_concurrent_calls": 1}, "queue": {"max_wait": 0.1}}}

SITUATIONS = {
    "bad field": Situation("none", 400, "invalid_request", ask={"n": 100}),
    "more than the whole limit": Situation(
        "none",
        400,
        "request_exceeds_limit",
        limits={"tokens_per_minute": 1000},
        ask={"content": "word " * 2000},
    ),
    "unknown key": Situation("none", 401, "invalid_api_key", ask={"headers": {"authorization": "Bearer no"}}),
    "unknown model": Situation("none", 404, "model_not_found", ask={"model": "nope"}),
    "body too large": Situation(
        "none", 413, "request_too_large", settings={"server": {"max_body": 300}}, ask={"user": "x" * 400}
    ),
    "unknown path": Situation("none", 404, "not_found", ask={"path": "/v1/nothing"}),
    "requests per minute": Situation("none", 429, "rate_limit_exceeded", limits={"requests_per_minute": 1}),
    "concurrency": Situation("none", 429, "rate_limit_exceeded", limits={"concurrency": 1}, held=True),
    "quota": Situation(
        "none", 429, "insufficient_quota", limits={"tokens_per_day": 60}, ask={"max_tokens": 3}
    ),
    "queue wait over": Situation("void", 503, "overloaded", settings=NARROW, held=True),
    "every endpoint draining": Situation("void", 503, "no_healthy_endpoint", drained=True),
    "garbage": Situation("void", 502, "bad_upstream", of("html")),
    "redirect": Situation("void", 502, "bad_upstream", of("redirect")),
    "our credentials refused": Situation("void", 502, "bad_upstream", of("unauthorized")),
    "model missing everywhere": Situation("void", 404, "model_not_found", of("model_unloaded")),
    "5xx on every attempt": Situation("void", 502, "upstream_error", of("plain_500")),
    "closed before the first event": Situation("void", 502, "upstream_error", of("close")),
    "rejected by the endpoint": Situation("void", 400, "400", ask={"temperature": 9}),
    "busy everywhere": Situation("void", 503, "overloaded", of("queue_full")),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", SITUATIONS)
async def test_row_of_an_error_is_what_the_table_says(name, stream):
    it = SITUATIONS[name]
    async with running([Simulator(ttft=0.005, itl=0.002)], **it.settings) as gateway:
        (simulator,) = gateway.simulators
        await gateway.limit(**it.limits)
        first = await gateway.caller()
        first.say(gateway.request("forever" if it.held else "short"))
        await (until(lambda: simulator.truth.active) if it.held else first.answer())
        if it.fault is not None:
            simulator.faults.add(it.fault)
        if it.drained:
            gateway.house.fleet.drain("gpu-a")
        while (reply := await gateway.ask(stream=stream, **it.ask)).status_code == 200:
            assert len(simulator.truth.records) < 10
        assert (reply.status_code, str(reply.json()["error"]["code"])) == (it.status, it.code)
        first.hang_up()
        await until(lambda: not gateway.data.tasks)
        rows = [row for row in await gateway.rows() if row.error_code not in (None, "caller_gone")]
        if it.ledger == "none":
            assert rows == []
            return
        (row,) = rows
        assert (row.state, row.status, row.usage_source, row.cost) == (it.ledger, it.status, None, 0.0)
        assert (row.prompt_tokens, row.completion_tokens) == (0, 0)
        assert not row.wasted_tokens or it.code == "upstream_error", "only who broke off may have worked"


async def test_refused_everywhere_is_void():
    refusing = Refusing()
    async with running([at(refusing, models=["tiny"])]) as gateway:
        assert (await gateway.ask()).status_code == 503
        row = await gateway.row()
        assert (row.state, row.error_code, row.wasted_tokens) == ("void", "no_healthy_endpoint", 0)
    refusing.close()


class Broken:
    """A transport that raises what it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def send(self, outbound: Any, endpoint: Any, connect_timeout: float) -> Any:
        raise self.error

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ConnectTimeout(), 504, "upstream_connect_timeout"), (ZeroDivisionError(), 500, "internal_error")],
    ids=["connect timeout everywhere", "a bug"],
)
async def test_call_that_never_got_through_is_void(error, status, code):
    async with running([Simulator()], through=Broken(error), bugs=status == 500) as gateway:
        reply = await gateway.ask()
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
        row = await gateway.row()
        assert (row.state, row.status, row.completion_tokens, row.wasted_tokens) == ("void", status, 0, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_call_that_an_operator_stops_is_settled_as_counted(stream):
    async with running([Simulator(ttft=0.005, itl=0.005)]) as gateway:
        (simulator,) = gateway.simulators
        caller = await gateway.caller()
        caller.say(gateway.request("forever", stream=stream))
        await until(lambda: simulator.truth.active and simulator.truth.last.generated >= 5)
        gateway.house.hearing.inflight.stop_all(Stopped())
        answer = await caller.answer()
        assert b'"code":"stopped"' in answer.body
        row = await gateway.row()
        assert (row.state, row.finish, row.error_code) == ("settled", "stopped", "stopped")
        assert row.usage_source == ("upstream" if stream else "estimated")
        assert row.completion_tokens <= simulator.truth.last.generated
