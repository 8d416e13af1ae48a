"""How each end comes about: what is asked, what the endpoint does at which token, who leaves when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from app.simulator import Record, Simulator
from tests.house import Gateway, at, calls, running, until
from tests.money.account import Account, seen_in
from tests.money.cells import Column
from tests.rawcaller import RawCaller

STRUCK = 15
"""Tokens after which an endpoint does what it was told to do."""
LIMIT = 1.0
"""Seconds of the limit that a scene runs into."""
PADDING = "careful wizard word are a helper you and on please " * 12
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


@dataclass
class Stage:
    """A house with endpoints that have already answered once, and a caller about to ask."""

    gateway: Gateway
    column: Column
    simulator: Simulator
    caller: RawCaller

    @property
    def truth(self) -> Record | None:
        """The attempt under way, if there is one."""
        return next(iter(self.simulator.truth.active), None)

    @property
    def metered(self) -> int:
        """Tokens of the answer that the gateway has read."""
        found = [call.metered for call, _ in self.gateway.house.hearing.inflight._calls.values()]
        return found[0].usage.completion if found and found[0] is not None else 0

    async def hang_up(self) -> None:
        truth = self.truth
        self.caller.hang_up()
        await until(lambda: truth.aborted is not None)


Act = Callable[[Stage], Awaitable[object]]


@dataclass(frozen=True)
class Scene:
    """`fault` strikes the first endpoint; `act` runs while the call does."""

    content: str = "20 tokens"
    fields: dict[str, Any] = field(default_factory=dict)
    fault: dict[str, Any] | None = None
    timeouts: dict[str, float] = field(default_factory=dict)
    act: Act | None = None
    spare: bool = False
    """There is a second endpoint."""


async def leave_before(stage: Stage) -> None:
    await until(lambda: stage.truth)
    await stage.hang_up()


async def leave_while_stalled(stage: Stage) -> None:
    await until(lambda: stage.metered == STRUCK)
    await stage.hang_up()


async def leave_while_generating(stage: Stage) -> None:
    await until(lambda: stage.truth and stage.truth.generated >= 30)
    await stage.hang_up()


async def shut_down(stage: Stage) -> None:
    await until(lambda: stage.truth and stage.truth.generated >= STRUCK)
    stage.simulator.terminate("abort")


def struck(fault: str, **fields: Any) -> dict[str, Any]:
    return {"fault": fault, "after_tokens": STRUCK, **fields}


STALL = struck("stall")


def scene(end: str, column: Column) -> Scene:
    """Endpoints that stream can be stopped at a token; those that answer whole only in between."""
    streamed = column != "json"
    match end:
        case "finished":
            return Scene("think", spare=True)
        case "length":
            return Scene("forever", {"max_tokens": 7})
        case "stop":
            return Scene(fields={"stop": ["on and on and"]})
        case "tool call":
            return Scene(
                "weather in Paris", {"tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}}
            )
        case "400 in band":
            return Scene(fields={"logit_bias": {"999999": 1}})
        case "hang-up before the first byte":
            return Scene("forever", act=leave_before)
        case "hang-up mid-stream" if streamed:
            return Scene("forever", fault=STALL, act=leave_while_stalled)
        case "hang-up mid-stream":
            return Scene("forever", act=leave_while_generating)
        case "first-byte timeout":
            return Scene("forever", timeouts={"first_byte": LIMIT})
        case "idle timeout":
            return Scene("forever", fault=STALL, timeouts={"idle": LIMIT})
        case "total timeout":
            over = {"total": 3 * LIMIT, "stream_total": 3 * LIMIT, "idle": 20 * LIMIT}
            return Scene("forever", fault=STALL if streamed else None, timeouts=over)
        case "endpoint cut":
            return Scene("forever", fault=struck("cut"))
        case "in-band 500":
            return Scene("forever", fault=struck("error"))
        case "abort at engine shutdown":
            return Scene("forever", act=shut_down)
        case "retried elsewhere" if column == "stream":
            return Scene(fault={"fault": "error", "after_tokens": 0}, spare=True)
        case "retried elsewhere":
            return Scene(fault=struck("cut" if streamed else "abort"), spare=True)
    raise LookupError(end)


SLOW = ("hang-up before the first byte", "first-byte timeout")


async def played(end: str, column: Column) -> Account:
    """One call in a house of its own, after one that taught the gateway how fast the model is."""
    plot = scene(end, column)
    options = {"ttft": 0.01, "itl": 0.02, "reasoning_parser": True, "prompt_tokens_details": True}
    fleet = [at(Simulator(**options), tier=tier) for tier in range(2 if plot.spare else 1)]
    model = {"json_upstream": "stream"} if column == "json via stream" else {}
    resilience = {"timeouts": plot.timeouts}
    async with running(fleet, resilience=resilience, model_config={"tiny": model}) as gateway:
        ask = {"stream": True, "stream_options": {"include_usage": True}} if column == "stream" else {}
        await _teach(gateway, ask)
        stage = Stage(gateway, column, gateway.simulators[0], await gateway.caller())
        if end in SLOW:
            stage.simulator.adjust(ttft=60.0)
        if plot.fault is not None:
            stage.simulator.faults.add(plot.fault)
        stage.caller.say(gateway.request(PADDING + plot.content, **ask, **plot.fields))
        if plot.act is not None:
            await plot.act(stage)
        seen, usage = await _seen(stage)
        records = calls(*gateway.simulators)[1:]
        rows = {row.call_id: row for row in await gateway.rows()}
        return Account(seen, usage, rows[records[-1].request_id], records)


async def _teach(gateway: Gateway, ask: dict[str, Any]) -> None:
    """One whole answer, on a connection that the next call does not get."""
    (first, *_) = gateway.simulators
    first.faults.add("close_after")
    assert (await gateway.ask(PADDING + "30 tokens", **ask)).status_code == 200
    house = gateway.house
    await until(lambda: house.transport.connections(house.fleet.endpoints["gpu-a"].spec) == (0, 0))


async def _seen(stage: Stage) -> tuple[str, dict[str, Any] | None]:
    if stage.caller.writer.transport.is_closing():
        return "gone", None
    answer = await stage.caller.answer()
    return seen_in(answer.status, answer.body)
