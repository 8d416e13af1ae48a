"""Broken streams go on elsewhere: at whatever byte they break, the caller reads one whole answer."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from app.core.failures import (
    BadUpstream,
    ClosedEarly,
    ConnectFailed,
    EndpointFailed,
    IdleTimeout,
    StreamBroken,
    TotalTimeout,
)
from app.core.outcome import Outcome, Usage
from app.gateway.catalog import Model
from app.resilience.budget import RetryBudget
from app.wire.surfaces import SURFACES
from tests.clock import settle
from tests.continuing import CUT, PIECES, PROMPT, TEXT, Continuing, Engine, read
from tests.fakes import FakePool
from tests.line import DONE, HEL, JSON, LO, ROLE, SSE, STOP, WHOLE, Rig, error_body, event

BEGINNING = 1000
"""Bytes of an answer that have some of its text in them: what ends before is taken for a death."""

RESUMES = Model("m", resume=True)
CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "say it"}], "max_tokens": 400}
TEXTS = {"model": "m", "stream": True, "prompt": "say it: ", "max_tokens": 400}
IN_BAND = (
    b'data: {"error": {"message": "dead", "type": "InternalServerError", "param": null, "code": 500}}\n\n'
    + DONE
)
ABORT = event({}, finish="abort", tokens=1) + DONE
WAYS: dict[str, list[object]] = {
    "cut": [CUT],
    "no end": [b""],
    "unfinished": [DONE],
    "in band": [IN_BAND],
    "aborted": [ABORT],
}


def rig_of(*names: str, attempts: int = 2, model: Model = RESUMES, **answers) -> Rig:
    return Rig(*names, attempts=attempts, model=model, **answers)


def of(engines: dict[str, Engine], seed: int = 0, attempts: int = 2) -> Rig:
    return Rig(*engines, attempts=attempts, model=RESUMES, transport=Continuing(engines, seed))


async def ask(rig: Rig, body: dict, usage: str = "none") -> bytes:
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    fields = {"streams": True, "usage_wanted": usage, "completion_limit": body.get("max_tokens")}
    return await rig.call(surface=SURFACES[path], body=body, **fields)


async def asked(rig: Rig, times: int) -> None:
    """The line's own pause before it tries again is by the wall clock."""
    async with asyncio.timeout(5):
        while len(rig.transport.asked) < times or any(
            body.script for body in rig.transport.bodies[times - 1 :]
        ):
            await asyncio.sleep(0.001)
    await settle()


async def length_of(body: dict) -> int:
    """The bytes of an uninterrupted answer, running usage included."""
    engine = Engine()
    asked = body | {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    return sum(len(part) for part in engine.answer(asked, random.Random(0)))


@pytest.mark.parametrize("usage", ["none", "final", "continuous"])
@pytest.mark.parametrize("body", [CHAT, TEXTS], ids=["chat", "completions"])
async def test_answer_is_whole_at_whatever_byte_it_breaks(body, usage, monkeypatch):
    """In 250 places each: in events, characters and line ends; the rest sometimes breaks too.

    Two deaths would end a call: of two that break off one only stops in the midst of it.
    """
    monkeypatch.setattr("app.resilience.retry._WAIT", lambda state: 0.0)
    dice = random.Random(f"{usage} {'prompt' in body}")
    longest = await length_of(body)
    for number in range(250):
        engines = {
            "a": Engine(dice.randrange(longest), dice.choice((CUT, None))),
            "b": Engine(),
            "c": Engine(),
        }
        if number % 3 == 0:
            engines["a"] = Engine(dice.randrange(BEGINNING, longest), None)
            engines["b"] = Engine(dice.randrange(longest), CUT)
        rig = of(engines, number, attempts=4)
        answer = read(await ask(rig, body, usage))
        assert answer.text == TEXT
        assert (answer.finishes, answer.dones, answer.errors) == (["stop"], 1, [])
        assert answer.roles == ("messages" in body)
        assert len(answer.heads) == 1
        unseen = [each.settlement for each in rig.made.attempts if each.settlement.reason == "closed"]
        generated = sum(engine.generated[-1] for engine in engines.values() if engine.generated)
        generated -= sum(attempt.usage.completion for attempt in unseen)
        used = Usage(PROMPT, generated)
        assert (rig.row.usage, rig.row.usage_source, rig.row.outcome) == (used, "upstream", Outcome.SUCCESS)
        told = {"prompt_tokens": PROMPT, "total_tokens": PROMPT + generated, "completion_tokens": generated}
        assert answer.usages == ([] if usage == "none" else [told])
        assert answer.running == sorted(answer.running)
        assert bool(answer.running) == (usage == "continuous")
        assert generated <= len(PIECES) + 1 + 8, "but for a few tokens nothing is generated twice"
        rig.assert_quiet()


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_breaking_off_is_mended(way):
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, *WAYS[way]])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    answer = read(await ask(rig, CHAT))
    assert (answer.text, answer.roles, answer.finishes, answer.dones) == ("Hello", 1, ["stop"], 1)
    assert rig.transport.asked == ["a", "b"]
    assert rig.ear.resumes == ["resumed"]
    assert rig.transport.bodies[0].closed
    rig.assert_quiet()


async def test_other_endpoint_is_asked_to_go_on_where_the_caller_is():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    await ask(rig, CHAT | {"max_tokens": 9})
    sent = json.loads(rig.transport.sent[1][1].body)
    assert sent["messages"] == [*CHAT["messages"], {"role": "assistant", "content": "Hel"}]
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)
    assert (sent["max_tokens"], sent["model"]) == (8, "m-served")


async def test_endpoint_that_broke_off_is_blamed_and_the_other_is_not():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, ABORT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    await ask(rig, CHAT)
    (first,), (second,) = rig.pool["a"].settlements, rig.pool["b"].settlements
    assert (first.outcome, first.reason, first.finish) == (Outcome.FAILURE, "abort", "cut")
    assert (second.outcome, second.finish) == (Outcome.SUCCESS, "stop")
    assert [error.draining for error in rig.pool["a"].learnt] == [True]
    assert not rig.pool["b"].learnt
    assert [name for name, _ in rig.ear.attempts] == ["a", "b"]


async def test_guards_hear_once_of_what_both_generated():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    await ask(rig, CHAT)
    assert rig.guard.settlements == [rig.row]
    assert rig.row.usage == Usage(prompt=5, completion=1 + 3)
    assert [attempt.settlement.usage.completion for attempt in rig.made.attempts] == [0, 4]


async def test_model_that_does_not_resume_ends_in_the_error():
    rig = rig_of("a", "b", model=Model("m"), a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [STOP, DONE])])
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert (rig.transport.asked, rig.ear.resumes) == (["a"], [])


TOOL_CALL = event({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}, tokens=2)
REFUSED = {
    "logprobs": ({"logprobs": True}, [ROLE + HEL]),
    "constraint": ({"response_format": {"type": "json_object"}}, [ROLE + HEL]),
    "half a tool call": ({}, [ROLE + HEL, TOOL_CALL]),
    "in thought": ({}, [ROLE, event({"reasoning": "so"}, tokens=1)]),
    "after thought": ({}, [ROLE, event({"reasoning": "so"}, tokens=1), event({"content": "Hel"}, tokens=2)]),
    "half a stop string": ({"stop": ["ll", "xx"]}, [ROLE + event({"content": "Hel"}, tokens=1)]),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_right_is_refused(name):
    fields, script = REFUSED[name]
    rig = rig_of("a", "b", a=[(200, SSE, [*script, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    with pytest.raises(StreamBroken) as caught:
        await ask(rig, CHAT | fields)
    assert (caught.value.reason, caught.value.code) == ("cut", "upstream_error")
    assert (rig.transport.asked, rig.ear.resumes) == (["a"], ["refused"])
    assert (rig.row.outcome, rig.row.billed, rig.row.finish) == (Outcome.FAILURE, True, "cut")
    assert DONE not in rig.received
    rig.assert_quiet()


async def test_thought_that_was_hidden_is_refused():
    hidden = HEL.replace(
        b'"completion_tokens":1}',
        b'"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":1}}',
    )
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + hidden, CUT])], b=[(200, SSE, [STOP, DONE])])
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert rig.ear.resumes == ["refused"]


@pytest.mark.parametrize(
    ("path", "event"),
    [("/v1/responses", "response.output_text.delta"), ("/v1/messages", "content_block_delta")],
)
async def test_other_surfaces_are_refused(path, event):
    begun = b'event: %b\ndata: {"type":"%b","delta":{"text":"so"}}\n\n' % (event.encode(), event.encode())
    rig = rig_of("a", "b", a=[(200, SSE, [begun, CUT])], b=[(200, SSE, [begun])])
    with pytest.raises(StreamBroken):
        await rig.call(surface=SURFACES[path], streams=True)
    assert (rig.transport.asked, rig.ear.resumes) == (["a"], ["refused"])


async def test_stop_string_that_cannot_span_the_seam_is_no_hindrance():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    assert read(await ask(rig, CHAT | {"stop": ["xx", "el"]})).text == "Hello"


async def test_answer_that_turns_into_a_thought_ends_in_the_error():
    thought = event({"reasoning": "so"}, tokens=1)
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE, thought, STOP, DONE])])
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert rig.ear.resumes == ["resumed", "refused"]
    assert rig.pool["b"].settlements[0].outcome is Outcome.IGNORED
    assert b'"so"' not in rig.received
    assert (rig.row.billed, rig.row.usage.completion) == (True, 2)
    assert rig.transport.bodies[1].closed
    rig.assert_quiet()


async def test_end_that_was_lost_is_made_up_without_another_endpoint():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL + LO, STOP, CUT])], b=[(200, SSE, [STOP, DONE])])
    answer = read(await ask(rig, CHAT, "final"))
    assert (answer.text, answer.finishes, answer.dones) == ("Hello", ["stop"], 1)
    assert answer.usages == [{"prompt_tokens": 5, "total_tokens": 8, "completion_tokens": 3}]
    assert rig.transport.asked == ["a"]
    assert (rig.row.outcome, rig.row.finish, rig.row.usage) == (Outcome.SUCCESS, "stop", Usage(5, 3))
    assert rig.pool["a"].settlements[0].outcome is Outcome.FAILURE
    rig.assert_quiet()


async def test_lost_end_of_a_stream_that_is_refused_is_not_made_up():
    rig = rig_of("a", a=[(200, SSE, [ROLE + HEL + LO, STOP, CUT])])
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT | {"logprobs": True})
    assert rig.ear.resumes == ["refused"]


async def test_usage_that_was_told_is_not_told_again():
    final = STOP.replace(
        b'"choices":[' + STOP.partition(b'"choices":[')[2].partition(b"]")[0], b'"choices":['
    )
    rig = rig_of("a", a=[(200, SSE, [ROLE + HEL + LO, STOP + final, CUT])])
    answer = read(await ask(rig, CHAT, "final"))
    assert (answer.text, answer.finishes, answer.dones) == ("Hello", ["stop"], 1)
    assert answer.usages == [{"prompt_tokens": 5, "total_tokens": 8, "completion_tokens": 3}]


async def test_made_up_end_leaves_only_after_the_row_is_durable():
    rig = rig_of("a", a=[(200, SSE, [ROLE + HEL + LO, STOP, CUT])])
    rig.ledger.durable = asyncio.get_running_loop().create_future()
    reading = asyncio.ensure_future(ask(rig, CHAT))
    await settle()
    assert rig.ledger.rows
    assert not reading.done()
    rig.ledger.durable.set_result(None)
    assert (await reading).endswith(DONE)


async def test_answer_that_has_used_its_limit_is_finished_by_length():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL + LO, CUT])], b=[(200, SSE, [STOP, DONE])])
    answer = read(await ask(rig, CHAT | {"max_tokens": 2}, "final"))
    assert (answer.text, answer.finishes, answer.dones) == ("Hello", ["length"], 1)
    assert rig.transport.asked == ["a"]
    assert rig.row.finish == "length"


async def test_limit_of_the_models_defaults_counts_too():
    model = Model("m", resume=True, defaults={"max_tokens": 9})
    rig = rig_of(
        "a", "b", model=model, a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])]
    )
    body = {name: value for name, value in CHAT.items() if name != "max_tokens"}
    await ask(rig, body)
    assert [json.loads(sent.body)["max_tokens"] for _, sent in rig.transport.sent] == [9, 8]


async def test_no_endpoint_left_is_the_error_that_broke_it_off():
    rig = rig_of("a", a=[(200, SSE, [ROLE + HEL, CUT])])
    with pytest.raises(StreamBroken) as caught:
        await ask(rig, CHAT)
    assert (caught.value.code, caught.value.reason) == ("upstream_error", "cut")
    assert rig.ear.resumes == ["failed"]
    assert (rig.row.outcome, rig.row.billed, rig.row.finish) == (Outcome.FAILURE, True, "cut")
    assert rig.row.usage == Usage(5, 1)
    assert len(rig.made.attempts) == 1
    rig.assert_quiet()


async def test_endpoint_that_refuses_to_go_on_is_the_error_that_broke_it_off():
    refusal = (400, JSON, [error_body(400, "BadRequestError", "no", "messages")])
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[refusal])
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert rig.ear.resumes == ["failed"]
    assert (rig.row.billed, rig.row.usage) == (True, Usage(5, 1))
    rig.assert_quiet()


async def test_as_often_as_attempts_and_deaths_allow():
    def cut(name: str, text: bytes) -> dict:
        return {name: [(200, SSE, [ROLE + text, CUT])]}

    scripts = cut("a", HEL) | cut("b", LO) | cut("c", LO) | cut("d", LO)
    for attempts, allowed in ((1, 1), (2, 2), (3, 2)):
        rig = rig_of(*scripts, attempts=attempts, **scripts)
        with pytest.raises(StreamBroken):
            await ask(rig, CHAT)
        assert rig.transport.asked == ["a", "b", "c"][:allowed]
        assert rig.ear.resumes == ["resumed"] * (allowed - 1) + ["failed"]
        assert rig.row.usage.completion == 1 + 2 * (allowed - 1)
        rig.assert_quiet()


async def test_attempt_that_fails_counts_as_any_other():
    bad = (500, JSON, [error_body(500)])
    good = (200, SSE, [ROLE + LO, STOP, DONE])
    scripts = {"a": [(200, SSE, [ROLE + HEL, CUT])], "b": [bad], "c": [good]}
    rig = rig_of("a", "b", "c", **scripts)
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    rig = rig_of("a", "b", "c", attempts=3, **scripts)
    assert read(await ask(rig, CHAT)).text == "Hello"
    assert rig.transport.asked == ["a", "b", "c"]
    assert [endpoint.inflight for endpoint in rig.pool.endpoints] == [0, 0, 0]


@pytest.mark.parametrize("first", [EndpointFailed(), BadUpstream()], ids=lambda e: e.reason)
async def test_attempts_before_the_first_event_count(first):
    scripts = {"a": [first], "b": [(200, SSE, [ROLE + HEL, CUT])], "c": [(200, SSE, [ROLE + LO, STOP, DONE])]}
    rig = rig_of("a", "b", "c", **scripts)
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert (rig.transport.asked, rig.ear.resumes) == (["a", "b"], ["failed"])
    rig = rig_of("a", "b", "c", attempts=3, **scripts)
    assert read(await ask(rig, CHAT)).text == "Hello"


async def test_death_before_the_first_event_is_one_of_two():
    scripts = {"a": [ClosedEarly()], "b": [(200, SSE, [ROLE + HEL, CUT])], "c": [(200, SSE, [*WHOLE])]}
    rig = rig_of("a", "b", "c", attempts=9, **scripts)
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert (rig.transport.asked, rig.ear.resumes) == (["a", "b"], ["failed"])


async def test_attempts_that_cost_nothing_do_not_count():
    scripts = {"a": [ConnectFailed()], "b": [(200, SSE, [ROLE + HEL, CUT])]}
    rig = rig_of("a", "b", "c", c=[(200, SSE, [ROLE + LO, STOP, DONE])], **scripts)
    rig.transport.answers["a"] = [ConnectFailed(), (200, SSE, [ROLE + LO, STOP, DONE])]
    assert read(await ask(rig, CHAT)).text == "Hello"
    assert rig.transport.asked == ["a", "b", "a"], "one that was restarting is back"


async def test_text_in_the_packet_of_an_error_is_delivered():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, LO + IN_BAND])], b=[(200, SSE, [ROLE, STOP, DONE])])
    assert read(await ask(rig, CHAT)).text == "Hello"
    assert json.loads(rig.transport.sent[1][1].body)["messages"][-1]["content"] == "Hello"
    assert rig.pool["a"].settlements[0].reason == "in_band"


async def test_event_that_cannot_be_read_is_refused():
    broken = HEL.replace(b'{"content":"Hel"}', b'{"content":"Hel"')
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, broken, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    with pytest.raises(StreamBroken):
        await ask(rig, CHAT)
    assert rig.ear.resumes == ["refused"]
    rig.assert_quiet()


async def test_fallback_that_stood_in_is_carried_on_by_its_own_endpoints():
    other = FakePool("x", "y", model="other")
    rig = rig_of(
        model=Model("m", fallbacks=("other",)),
        x=[(200, SSE, [ROLE + HEL, CUT])],
        y=[(200, SSE, [ROLE + LO, STOP, DONE])],
    )
    rig.pools.by_model["other"] = other
    rig.gateway.catalog.offer({"m": rig.model, "other": Model("other", resume=True)}, None)
    assert read(await ask(rig, CHAT)).text == "Hello"
    assert rig.transport.asked == ["x", "y"]


@pytest.mark.parametrize("way", [CUT, ABORT], ids=["dies", "drains"])
async def test_streams_that_break_off_cost_no_budget_however_many(way, monkeypatch):
    monkeypatch.setattr("app.resilience.retry._WAIT", lambda state: 0.0)
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, way])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    for _ in range(60):
        assert read(await ask(rig, CHAT)).text == "Hello"


async def test_silence_is_paid_for_from_the_retry_budget():
    """A silent engine may be slow and no more: what it is asked for is done twice."""
    rig = rig_of(
        "a", "b", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])], b=[(200, SSE, [ROLE + LO, STOP, DONE])]
    )
    rig.gateway._dispatch._budget = RetryBudget(0.0, 0.0, rig.clock)
    task = asyncio.ensure_future(ask(rig, CHAT))
    await rig.clock.run(10)
    with pytest.raises(IdleTimeout):
        await task
    assert rig.transport.asked == ["a"]
    rig.assert_quiet()


async def test_silence_is_mended_too():
    rig = rig_of(
        "a", "b", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])], b=[(200, SSE, [ROLE + LO, STOP, DONE])]
    )
    task = asyncio.ensure_future(ask(rig, CHAT))
    await rig.clock.run(10)
    assert read(await task).text == "Hello"
    assert rig.pool["a"].settlements[0].reason == "idle"
    assert isinstance(rig.pool["a"].learnt[0], IdleTimeout)
    rig.assert_quiet()


async def test_continuation_that_is_silent_has_its_own_limits():
    never = asyncio.Event()
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [never])])
    task = asyncio.ensure_future(ask(rig, CHAT))
    await asked(rig, 2)
    await rig.clock.run(5)
    with pytest.raises(StreamBroken):
        await task
    assert rig.pool["b"].settlements[0].reason == "first_byte"
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, never])])
    task = asyncio.ensure_future(ask(rig, CHAT))
    await asked(rig, 2)
    await rig.clock.run(10)
    with pytest.raises(IdleTimeout):
        await task
    assert read(rig.received).text == "Hello"


async def test_call_whose_time_is_over_is_not_carried_on():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, asyncio.Event()])], b=[(200, SSE, [STOP, DONE])])
    rig.timeouts = rig.timeouts.model_copy(update={"stream_total": 4.0})
    task = asyncio.ensure_future(ask(rig, CHAT))
    await rig.clock.run(4)
    with pytest.raises(TotalTimeout):
        await task
    assert (rig.transport.asked, rig.row.finish, rig.row.usage) == (["a"], "timeout", Usage(5, 1))
    rig.assert_quiet()


class Waiting(Rig):
    """Its second endpoint has no room until `room` is set; `entering` tells that somebody waits."""

    def __init__(self, **answers) -> None:
        super().__init__("a", "b", model=RESUMES, **answers)
        self.room, self.entering, enter = asyncio.Event(), asyncio.Event(), self.pool.enter

        async def slow(call, tried):
            if tried:
                self.entering.set()
                await self.room.wait()
            return await enter(call, tried)

        self.pool.enter = slow


async def waiting() -> tuple[Waiting, asyncio.Task]:
    rig = Waiting(a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    task = asyncio.ensure_future(ask(rig, CHAT))
    async with asyncio.timeout(5):
        await rig.entering.wait()
    return rig, task


async def test_waits_for_room_beyond_the_idle_limit():
    rig, task = await waiting()
    await rig.clock.run(30)
    rig.room.set()
    assert read(await task).text == "Hello"
    rig.assert_quiet()


async def test_caller_is_kept_company_only_while_another_endpoint_is_looked_for():
    happened = []

    class Pause:
        async def finish(self) -> None:
            happened.append("goes on")

    def pause() -> Pause:
        happened.append("pauses")
        return Pause()

    rig = Waiting(a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    task = asyncio.ensure_future(rig.call(streams=True, body=CHAT, on_pause=pause))
    async with asyncio.timeout(5):
        await rig.entering.wait()
    assert happened == ["pauses"]
    rig.room.set()
    assert read(await task).text == "Hello"
    assert happened == ["pauses", "goes on"]


async def test_deadline_ends_the_waiting():
    rig, task = await waiting()
    await rig.clock.run(100)
    with pytest.raises(TotalTimeout):
        await task
    assert (rig.row.status, rig.row.finish, rig.row.billed, rig.row.usage) == (
        504,
        "timeout",
        True,
        Usage(5, 1),
    )
    assert rig.ear.resumes == ["failed"]
    rig.assert_quiet()


async def test_hang_up_while_it_waits_is_billed_what_was_delivered():
    rig, task = await waiting()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (rig.row.status, rig.row.finish, rig.row.billed, rig.row.usage) == (
        499,
        "hang_up",
        True,
        Usage(5, 1),
    )
    assert rig.transport.asked == ["a"]
    rig.assert_quiet()


async def test_hang_up_in_the_continuation_stops_the_other_endpoint():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, asyncio.Event()])])
    task = asyncio.ensure_future(ask(rig, CHAT))
    await asked(rig, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.transport.bodies[1].closed
    assert (rig.row.finish, rig.row.usage) == ("hang_up", Usage(5, 1 + 2))
    assert rig.pool["b"].settlements[0].outcome is Outcome.IGNORED
    rig.assert_quiet()


async def test_hang_up_while_the_other_endpoint_is_asked_is_nobodys_fault():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[asyncio.Event()])
    task = asyncio.ensure_future(ask(rig, CHAT))
    await asked(rig, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (rig.row.status, rig.row.billed, rig.row.usage) == (499, True, Usage(5, 1))
    assert rig.pool["b"].settlements[0].outcome is Outcome.IGNORED
    rig.assert_quiet()


async def test_what_is_known_meanwhile_is_of_both():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[(200, SSE, [ROLE + LO, asyncio.Event()])])
    task = asyncio.ensure_future(ask(rig, CHAT))
    await asked(rig, 2)
    assert rig.made.counted == (Usage(5, 1 + 2), "upstream")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_stream_of_which_nothing_was_seen_is_asked_for_again():
    first = ROLE.replace(b'"finish_reason":null', b'"finish_reason":"abort"')
    rig = rig_of("a", "b", a=[(200, SSE, [first, DONE])], b=[(200, SSE, [ROLE + HEL + LO, STOP, DONE])])
    answer = read(await ask(rig, CHAT))
    assert (answer.text, answer.roles) == ("Hello", 1)
    assert json.loads(rig.transport.sent[1][1].body)["messages"] == CHAT["messages"]


async def test_texts_without_their_limit_are_refused():
    rig = of({"a": Engine(1500, CUT), "b": Engine()})
    body = {name: value for name, value in TEXTS.items() if name != "max_tokens"}
    with pytest.raises(StreamBroken):
        await ask(rig, body)
    assert rig.ear.resumes == ["refused"]


async def test_usage_that_was_counted_stays_so():
    plain = [
        raw.replace(b',"usage":{"prompt_tokens":5,"total_tokens":6,"completion_tokens":1}', b"")
        for raw in (HEL,)
    ]
    role = event({"role": "assistant", "content": ""})
    rig = rig_of("a", "b", a=[(200, SSE, [role + plain[0], CUT])], b=[(200, SSE, [ROLE + LO, STOP, DONE])])
    await ask(rig, CHAT)
    assert (rig.row.usage, rig.row.usage_source) == (Usage(7, 1 + 3), "counted")


async def test_bug_while_resuming_still_settles_the_call():
    rig = rig_of("a", "b", a=[(200, SSE, [ROLE + HEL, CUT])], b=[RuntimeError("a bug")])
    with pytest.raises(RuntimeError):
        await ask(rig, CHAT)
    assert rig.row.billed
    rig.assert_quiet()
