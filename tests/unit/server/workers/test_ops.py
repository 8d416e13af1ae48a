from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from app.server.workers import merging
from app.server.workers.doors import Reply, Unanswered
from app.server.workers.ops import LARGEST_BODY, OpsOfAll


class Door:
    """A worker that answers what a test gives it, and remembers what it was asked; None: it is dead."""

    def __init__(self, seat, answers=None, default=(200, {})):
        self.seat, self.pid = seat, 100 + seat
        self.answers, self.default = answers or {}, default
        self.asked = []

    @asynccontextmanager
    async def ask(self, request, patience):
        self.asked.append(request)
        found = self.answers.get(request.path, self.default)
        if found is None:
            raise Unanswered
        status, body = found

        async def chunks():
            for part in body if isinstance(body, list) else [json.dumps(body).encode()]:
                if part is None:
                    raise Unanswered
                yield part

        yield Reply(status, [(b"Content-Type", b"application/json"), (b"content-length", b"1")], chunks())


def client(*doors):
    app = OpsOfAll(lambda: doors, {"/ready": merging.ready, "/admin/v1/inflight": merging.inflight})
    transport = httpx.ASGITransport(app, client=("10.1.1.1", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://ops")


async def test_the_first_that_answers_speaks_for_all():
    doors = [Door(0, default=None), Door(1, default=(200, {"seat": 1})), Door(2)]
    async with client(*doors) as ops:
        assert (await ops.get("/info")).json() == {"seat": 1}
    assert [len(door.asked) for door in doors] == [1, 1, 0]


async def test_a_change_that_may_have_been_made_is_not_made_again():
    doors = [Door(0, default=None), Door(1)]
    async with client(*doors) as ops:
        answer = await ops.post("/admin/v1/tenants", json={"name": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert doors[1].asked == []


async def test_a_silent_worker_is_not_asked_first_again():
    doors = [Door(0, {"/ready": None, "/dull": None}), Door(1)]
    async with client(*doors) as ops:
        await ops.get("/ready")
        assert (await ops.post("/admin/v1/tenants", json={})).status_code == 200
        assert [request.path for request in doors[0].asked] == ["/ready"]
        doors[0].answers.clear()
        await ops.get("/ready")
        await ops.post("/admin/v1/tenants", json={})
    assert doors[0].asked[-1].method == "POST"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_call_is_looked_for_at_every_worker(method):
    path = "/admin/v1/inflight/call-1" if method == "DELETE" else "/admin/v1/requests/call-1"
    doors = [Door(0, {path: (404, {})}), Door(1, {path: None}), Door(2, {path: (200, {"found": 2})}), Door(3)]
    async with client(*doors) as ops:
        assert (await ops.request(method, path)).json() == {"found": 2}
    assert [len(door.asked) for door in doors] == [1, 1, 1, 0]


async def test_a_call_nobody_has_is_not_found():
    doors = [Door(seat, default=(404, {"error": seat})) for seat in range(2)]
    async with client(*doors) as ops:
        answer = await ops.get("/admin/v1/requests/nobody")
    assert (answer.status_code, answer.json()) == (404, {"error": 1})


async def test_a_dead_worker_is_left_out_of_what_all_answer():
    page = {"data": [{"started_at": 1.0, "call_id": "a"}], "has_more": False}
    doors = [Door(0, default=None), Door(1, default=(200, page))]
    async with client(*doors) as ops:
        assert (await ops.get("/admin/v1/inflight")).json()["data"] == [
            {"started_at": 1.0, "call_id": "a", "worker": 1}
        ]


async def test_a_refusal_is_passed_on_as_it_is():
    doors = [Door(seat, default=(401, {"error": "no"})) for seat in range(2)]
    async with client(*doors) as ops:
        answer = await ops.get("/admin/v1/inflight")
    assert (answer.status_code, answer.json()) == (401, {"error": "no"})


async def test_with_no_worker_left_it_says_so():
    async with client() as ops:
        assert (await ops.get("/info")).status_code == 503
        assert (await ops.get("/admin/v1/inflight")).status_code == 503
        assert (await ops.get("/ready")).json() == {"status": "unready", "reasons": ["no worker is ready"]}


async def test_workers_hear_whom_it_is_for_and_nobody_can_pretend():
    door = Door(0)
    async with client(door) as ops:
        headers = {"x-sluice-origin": "6.6.6.6", "authorization": "Bearer x"}
        await ops.get("/info?a=%20b", headers=headers)
    (asked,) = door.asked
    assert [value for name, value in asked.headers if name == b"x-sluice-origin"] == [b"10.1.1.1"]
    assert (b"authorization", b"Bearer x") in asked.headers
    assert asked.target == b"/info?a=%20b"


async def test_a_body_is_bounded_and_arrives_whole():
    door = Door(0)
    async with client(door) as ops:
        assert (await ops.post("/admin/v1/tenants", content=b"x" * (LARGEST_BODY + 1))).status_code == 413
        assert door.asked == []
        await ops.post("/admin/v1/tenants", content=b"x" * LARGEST_BODY)
    assert len(door.asked[0].body) == LARGEST_BODY


class Sent:
    """What an application sends, and how much was sent before the door was asked for more."""

    def __init__(self):
        self.messages = []

    async def __call__(self, message):
        self.messages.append(message)


async def told(door, path="/info"):
    sent = Sent()
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [], "client": ("10.1.1.1", 1)}  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await OpsOfAll(lambda: [door], {})(scope, receive, sent)
    return sent.messages


async def test_an_answer_that_breaks_off_is_not_ended():
    messages = await told(Door(0, default=(200, [b"one", None])))
    assert [message.get("body") for message in messages] == [None, b"one"]
    assert messages[-1]["more_body"]


async def test_a_head_without_a_body_is_not_sent_before_its_end():
    waiting = asyncio.Event()
    door = Door(0)

    @asynccontextmanager
    async def ask(request, patience):
        async def chunks():
            await waiting.wait()
            return
            yield

        yield Reply(204, [], chunks())

    door.ask = ask
    telling = asyncio.create_task(told(door))
    await asyncio.sleep(0)
    assert not telling.done()
    waiting.set()
    assert [message["type"] for message in await telling] == ["http.response.start", "http.response.body"]
