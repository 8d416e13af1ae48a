"""The data plane's handler, from a request's bytes to the answer's."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from app.api.inference import Edge, Inference
from app.core.errors import GatewayError, InvalidKey, ShuttingDown, StorageUnavailable
from app.core.failures import ConnectFailed
from app.core.tenant import Decision, Key, Tenant
from app.gateway.catalog import Model
from app.resilience.shedding import Shedding, SheddingOptions
from app.wire.learnt import Prompts, Ratio
from app.wire.request import Policy
from tests.caller import Caller
from tests.clock import settle
from tests.fakes import FakePool
from tests.line import DONE, HEL, JSON, ROLE, SSE, WHOLE, Rig, answer

ASK = {"model": "m", "messages": [{"role": "user", "content": "a secret prompt"}]}
STREAM = ASK | {"stream": True}


class Keys:
    """One good secret; `outage` raises instead of answering."""

    def __init__(self) -> None:
        self.key = Key("key_1", Tenant("tnt_1", "team"))
        self.outage: GatewayError | None = None

    def known(self, secret):
        return None

    async def find(self, secret):
        if self.outage is not None:
            raise self.outage
        if secret != "sk-good":
            raise InvalidKey
        return self.key


class Table:
    def __init__(self) -> None:
        self.stops = {}

    def opened(self, call, stop):
        self.stops[call.id] = stop

    def closed(self, call):
        del self.stops[call.id]


class Connection:
    """Our server's extension, as far as the relay uses it."""

    straight = None

    def __init__(self) -> None:
        self.callback = None
        self.closes = False

    def on_hang_up(self, callback):
        self.callback = callback

    def close(self):
        self.closes = True


class House:
    def __init__(self, *names, edge=None, **answers) -> None:
        self.rig = Rig(*(names or ("a",)), **answers)
        self.keys, self.table, self.admitting = Keys(), Table(), True
        self.lag = SimpleNamespace(lasting=0.0)
        self.shedding = Shedding(SheddingOptions(), 20_000, self.lag, lambda: 0.999)
        self.edge = {"commit_after": 5.0, "ping": 15.0, "expose_endpoint": False} | (edge or {})
        self.inference = Inference(
            self.rig.gateway,
            self.keys,
            Policy(),
            Edge(
                max_body=10_000,
                session_header="x-user-id",
                admitting=lambda: self.admitting,
                client_of=lambda scope: scope["client"][0],
                **self.edge,
            ),
            self.table,
            self.rig.ear,
            Prompts(),
            self.shedding,
            self.rig.clock,
        )

    async def ask(self, body=None, **caller) -> Caller:
        return await Caller(ASK if body is None else body, **caller).ask(self.inference)

    def assert_quiet(self) -> None:
        assert self.table.stops == {}
        assert self.shedding.held == 0
        self.rig.assert_quiet()


async def test_a_json_call():
    house = House(a=[(200, JSON, [answer()])])
    caller = await house.ask(headers={"x-request-id": "mine-1"})
    assert caller.status == 200
    assert caller.json()["model"] == "m"
    assert caller.headers["x-request-id"] == "mine-1"
    assert caller.headers["x-content-type-options"] == "nosniff"
    assert int(caller.headers["content-length"]) == len(caller.body)
    assert caller.complete
    house.assert_quiet()


async def test_a_stream():
    house = House(a=[(200, SSE, WHOLE)])
    caller = await house.ask(STREAM)
    assert (caller.status, caller.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert caller.headers["cache-control"] == "no-cache"
    assert caller.headers["x-accel-buffering"] == "no"
    assert caller.body.endswith(DONE)
    assert caller.complete
    house.assert_quiet()


async def test_the_end_of_a_stream_needs_no_message_of_its_own():
    house, sent = House(a=[(200, SSE, WHOLE)]), []
    caller = Caller(STREAM)

    async def send(message):
        sent.append(message)

    await house.inference(caller.scope, caller.receive, send)
    assert sent[-1] == {"type": "http.response.body", "body": DONE, "more_body": False}


async def test_a_callers_id_is_echoed_only_if_it_is_harmless():
    house = House(a=[(200, JSON, [answer()])])
    caller = await house.ask(headers={"x-request-id": "a b;c"})
    assert caller.headers["x-request-id"].startswith("call-")
    upstream = dict(house.rig.transport.sent[0][1].headers)
    assert upstream["x-request-id"] == caller.headers["x-request-id"]


async def test_two_calls_with_one_id_are_two_calls():
    house = House(a=[(200, JSON, [answer()])])
    for _ in range(2):
        await house.ask(headers={"x-request-id": "same"})
    assert len(house.rig.ledger.rows) == 2


async def test_credentials_and_cookies_never_travel():
    house = House(a=[(200, JSON, [answer()])])
    await house.ask(headers={"cookie": "a=b", "x-api-key": "sk-other", "traceparent": "00-1-2-3"})
    upstream = dict(house.rig.transport.sent[0][1].headers)
    assert set(upstream) == {"content-type", "accept-encoding", "user-agent", "x-request-id", "traceparent"}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": None},
        {"authorization": "Bearer sk-bad"},
        {"authorization": "Basic c2s="},
        {"authorization": "Bearer "},
        {"authorization": None, "x-api-key": "sk-bad"},
    ],
)
async def test_every_bad_key_gets_the_same_401(headers):
    house = House(a=[(200, JSON, [answer()])])
    caller = await house.ask(headers=headers)
    assert (caller.status, caller.error["code"]) == (401, "invalid_api_key")
    assert caller.headers["www-authenticate"] == "Bearer"
    assert caller.body == (await house.ask(headers={"authorization": "Bearer x"})).body
    assert house.rig.ledger.rows == {}


async def test_a_key_may_come_in_x_api_key():
    house = House(a=[(200, JSON, [answer()])])
    assert (await house.ask(headers={"authorization": None, "x-api-key": "sk-good"})).status == 200


async def test_a_store_that_cannot_tell_is_no_401():
    house = House(a=[(200, JSON, [answer()])])
    house.keys.outage = StorageUnavailable()
    caller = await house.ask()
    assert (caller.status, caller.error["code"]) == (503, "storage_unavailable")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"", 400, "invalid_request", None),
        (b"[]", 400, "invalid_request", None),
        (b'{"model": NaN}', 400, "invalid_request", None),
        (b"\xff\xfe", 400, "invalid_request", None),
        (STREAM | {"stream": "yes"}, 400, "invalid_request", "stream"),
        (ASK | {"n": 1000}, 400, "invalid_request", "n"),
        (ASK | {"chat_template": "{{x}}"}, 400, "invalid_request", "chat_template"),
        ({"messages": []}, 400, "invalid_request", "model"),
        (ASK | {"model": "nope"}, 404, "model_not_found", "model"),
        (ASK | {"user": "x" * 20_000}, 413, "request_too_large", None),
    ],
)
async def test_a_bad_request_is_refused_by_name_and_never_echoed(body, status, code, param):
    house = House(a=[(200, JSON, [answer()])])
    caller = await house.ask(body)
    assert (caller.status, caller.error["code"], caller.error["param"]) == (status, code, param)
    assert b"secret prompt" not in caller.body
    assert house.rig.transport.asked == []
    assert len(house.rig.ear.rejections) == 1


@pytest.mark.parametrize(
    "headers", [{"content-type": "text/plain"}, {"content-type": None}, {"content-encoding": "gzip"}]
)
async def test_only_plain_json_is_read(headers):
    caller = await House(a=[(200, JSON, [answer()])]).ask(headers=headers)
    assert (caller.status, caller.error["code"]) == (415, "unsupported_media_type")


async def test_a_chunked_body_is_cut_off_at_the_limit():
    house = House(a=[(200, JSON, [answer()])])
    caller = await house.ask(parts=[b" " * 6_000, b" " * 6_000, b"never read"])
    assert caller.status == 413


async def test_a_caller_gone_in_mid_upload_costs_nothing():
    house = House(a=[(200, JSON, [answer()])])
    caller = Caller(parts=[b'{"model":', b""])
    caller._parts = [b'{"model":']
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    await house.inference(caller.scope, receive, caller.send)
    assert caller.status is None
    assert house.rig.ledger.rows == {}


async def test_a_draining_gateway_says_so():
    house = House(a=[(200, JSON, [answer()])])
    house.admitting = False
    caller = await house.ask()
    assert (caller.status, caller.error["code"]) == (503, "shutting_down")


async def test_an_error_before_the_first_event_has_its_own_status():
    house = House(a=[ConnectFailed()])
    caller = await house.ask(STREAM)
    assert (caller.status, caller.error["code"]) == (503, "no_healthy_endpoint")
    assert caller.headers["retry-after"] == "1"
    assert caller.headers["x-should-retry"] == "true"
    assert caller.headers["content-type"] == "application/json"
    house.assert_quiet()


async def test_a_broken_stream_ends_in_an_error_event_and_a_closed_connection():
    connection = Connection()
    house = House(a=[(200, SSE, [ROLE + HEL, b""])])
    caller = await house.ask(STREAM, extension=connection)
    last = caller.body.rstrip().rsplit(b"\n\n", 1)[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    assert b"[DONE]" not in caller.body
    assert connection.closes
    assert connection.callback is None
    house.assert_quiet()


@pytest.mark.parametrize("extended", [True, False], ids=["told by our server", "seen by waiting"])
async def test_a_hang_up_stops_the_call_at_once(extended):
    connection = Connection() if extended else None
    house = House(a=[(200, SSE, [ROLE + HEL, asyncio.Event()])])
    caller = Caller(STREAM, extension=connection)
    task = asyncio.ensure_future(caller.ask(house.inference))
    await caller.arrived.wait()
    await settle()
    if connection is not None:
        connection.callback()
    else:
        caller.hang_up()
    await task
    row = next(iter(house.rig.ledger.rows.values()))
    assert (row.status, row.finish, row.usage.completion) == (499, "hang_up", 1)
    assert house.rig.transport.bodies[0].closed
    assert not caller.complete
    house.assert_quiet()


async def test_an_operator_can_end_a_call():
    house = House(a=[(200, SSE, [ROLE + HEL, asyncio.Event()])])
    caller = Caller(STREAM)
    task = asyncio.ensure_future(caller.ask(house.inference))
    await caller.arrived.wait()
    await settle()
    next(iter(house.table.stops.values()))(ShuttingDown())
    await task
    assert b'"code":"shutting_down"' in caller.body
    assert caller.complete
    house.assert_quiet()


async def test_a_cancellation_from_outside_is_not_swallowed():
    house = House(a=[(200, SSE, [asyncio.Event()])])
    task = asyncio.ensure_future(Caller(STREAM).ask(house.inference))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    house.assert_quiet()


async def test_a_stream_that_waits_long_gets_its_head_and_pings_meanwhile():
    gate = asyncio.Event()
    house = House(edge={"commit_after": 1.0, "ping": 1.5}, a=[(200, SSE, [gate, *WHOLE])])
    caller = Caller(STREAM)
    task = asyncio.ensure_future(caller.ask(house.inference))
    await house.rig.clock.run(0.9)
    assert caller.status is None
    await house.rig.clock.run(0.2)
    assert (caller.status, caller.body) == (200, b": ping\n\n")
    await house.rig.clock.run(3)
    assert caller.body == b": ping\n\n" * 3
    gate.set()
    await task
    assert caller.body.endswith(DONE)
    house.assert_quiet()


async def test_after_the_early_head_every_failure_is_an_event():
    house = House(edge={"commit_after": 1.0}, a=[(200, SSE, [asyncio.Event()])])
    caller = Caller(STREAM)
    task = asyncio.ensure_future(caller.ask(house.inference))
    await house.rig.clock.run(5)
    await task
    assert caller.status == 200
    assert b'"code":"upstream_first_byte_timeout"' in caller.body
    assert b"[DONE]" not in caller.body


async def test_a_queued_call_is_not_committed_early():
    house = House(edge={"commit_after": 1.0}, a=[(200, SSE, WHOLE)])
    gate = asyncio.Event()
    enter = house.rig.pool.enter

    async def enter_later(call, tried):
        await gate.wait()
        return await enter(call, tried)

    house.rig.pool.enter = enter_later
    caller = Caller(STREAM)
    task = asyncio.ensure_future(caller.ask(house.inference))
    await house.rig.clock.run(3)
    assert caller.status is None
    gate.set()
    await task
    assert caller.body.endswith(DONE)


async def test_a_bug_is_a_500_without_a_traceback(caplog):
    house = House(a=[ZeroDivisionError("secret detail")])
    caller = await house.ask()
    assert (caller.status, caller.error["code"]) == (500, "internal_error")
    assert b"secret detail" not in caller.body
    assert "a bug" in caplog.text


async def test_limits_are_shown_in_openais_headers():
    house = House(a=[(200, JSON, [answer()])])
    admit = house.rig.guard.admit

    async def limited(call):
        call.decisions.append(Decision("requests_per_minute", True, 60, 59, 1.0))
        return await admit(call)

    house.rig.guard.admit = limited
    caller = await house.ask()
    assert caller.headers["x-ratelimit-limit-requests"] == "60"
    assert caller.headers["x-ratelimit-remaining-requests"] == "59"


async def test_the_answering_endpoint_is_shown_only_on_demand():
    house = House("a", "b", edge={"expose_endpoint": True}, a=[ConnectFailed()], b=[(200, JSON, [answer()])])
    caller = await house.ask()
    assert (caller.headers["x-sluice-endpoint"], caller.headers["x-sluice-attempts"]) == ("b", "2")
    silent = await House(a=[(200, JSON, [answer()])]).ask()
    assert "x-sluice-endpoint" not in silent.headers


async def test_a_fallback_is_named():
    house = House(model=Model("m", fallbacks=("spare",)), a=[ConnectFailed()], z=[(200, JSON, [answer()])])
    house.rig.pools.by_model["spare"] = FakePool("z", model="spare")
    caller = await house.ask()
    assert caller.headers["x-sluice-model"] == "spare"
    assert caller.json()["model"] == "spare"


@pytest.mark.parametrize(
    "value",
    [b"soon", b"0", b"000", b"-5", b"+5", b"1.5", b"1e3", b"1_000", b"", b" ", b"5,6", b"\xb2", b"\xb9\xb2"],
)
async def test_a_callers_limit_must_be_a_number(value):
    house = House(a=[(200, JSON, [answer()])])
    caller = Caller(ASK)
    caller.scope["headers"].append((b"x-request-timeout-ms", value))
    await caller.ask(house.inference)
    assert (caller.status, caller.error["code"]) == (400, "invalid_request")
    assert house.rig.transport.asked == []


@pytest.mark.parametrize("value", ["9" * 15, "9" * 400, "9" * 5000])
async def test_a_callers_limit_beyond_all_measure_is_none(value):
    caller = await House(a=[(200, JSON, [answer()])]).ask(headers={"x-request-timeout-ms": value})
    assert caller.status == 200


async def test_a_callers_limit_shortens_the_call():
    house = House(a=[asyncio.Event()])
    caller = Caller(ASK, headers={"x-request-timeout-ms": "1500"})
    task = asyncio.ensure_future(caller.ask(house.inference))
    await house.rig.clock.run(1.5)
    await task
    assert (caller.status, caller.error["code"]) == (504, "upstream_total_timeout")
    assert caller.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("strict", "more", "limit"),
    [
        (True, {}, 2048 - 8),
        (True, {"n": 2}, 2 * (2048 - 8)),
        (True, {"max_tokens": 5}, 5),
        (False, {}, None),
    ],
)
async def test_what_a_strict_tenant_leaves_open_is_what_the_context_leaves(strict, more, limit):
    house = House(a=[(200, JSON, [answer()])])
    house.keys.key = Key("key_1", Tenant("tnt_1", "team", strict=strict))
    seen, admit = [], house.rig.guard.admit

    def watched(call):
        seen.append(call)
        return admit(call)

    house.rig.guard.admit = watched
    await house.ask(ASK | more)
    (call,) = seen
    assert call.prompt_estimate == call.measure.tokens() == 8
    assert call.completion_limit == limit


async def test_prompts_are_estimated_with_what_was_learnt_of_their_model():
    house = House(a=[(200, JSON, [answer()])])
    house.inference._prompts.ratio = Ratio(initial=1.0)
    seen, admit = [], house.rig.guard.admit

    def watched(call):
        seen.append(call.prompt_estimate)
        return admit(call)

    house.rig.guard.admit = watched
    await house.ask()
    assert seen == [30]


async def test_a_loop_that_runs_late_takes_no_call_and_reads_no_body():
    house = House(a=[(200, JSON, [answer()])])
    house.lag.lasting = 0.3
    caller = await house.ask(b"this is not even JSON")
    assert (caller.status, caller.json()["error"]["code"]) == (503, "overloaded")
    assert (caller.headers["retry-after"], caller.headers["x-should-retry"]) == ("2", "true")
    assert caller._parts, "the body was left where it was"
    house.assert_quiet()


async def test_batch_is_turned_away_while_others_are_served():
    house = House(a=[(200, JSON, [answer()])] * 2)
    house.lag.lasting = 0.15
    assert (await house.ask()).status == 200
    house.keys.key = Key("key_2", Tenant("tnt_2", "batch", priority=10))
    assert (await house.ask()).status == 503
    house.assert_quiet()


async def test_bodies_count_from_their_announcement_to_the_end_of_their_call():
    house = House(a=[(200, SSE, [ROLE, asyncio.Event(), HEL, DONE])])
    house.shedding.held = 11_000
    size = len(json.dumps(STREAM))
    caller = Caller(STREAM, headers={"content-length": str(size)})
    asking = asyncio.create_task(caller.ask(house.inference))
    await settle()
    assert house.shedding.held == 11_000 + size
    for headers in ({"content-length": "9500"}, {}):
        refused = await house.ask({"model": "m", "messages": "x" * 9_300}, headers=headers)
        assert (refused.status, refused.json()["error"]["code"]) == (503, "overloaded")
    assert house.shedding.held == 11_000 + size
    caller.hang_up()
    asking.cancel()
    await asyncio.wait({asking})
    house.shedding.held -= 11_000
    house.assert_quiet()


@pytest.mark.parametrize("resume", [False, True])
async def test_a_body_counts_no_more_once_its_stream_has_begun_unless_it_may_go_on_elsewhere(resume):
    house = House(model=Model("m", resume=resume), a=[(200, SSE, [ROLE, HEL, asyncio.Event(), DONE])])
    caller = Caller(STREAM)
    asking = asyncio.create_task(caller.ask(house.inference))
    await settle()
    assert bool(house.shedding.held) is resume
    caller.hang_up()
    asking.cancel()
    await asyncio.wait({asking})
    house.assert_quiet()
