"""Endpoints whose usage cannot be true: it is not taken, the row says so, and operators hear of it."""

from __future__ import annotations

import json

import pytest

from tests.line import DONE, HEL, LO, ROLE, STOP, answer, event
from tests.scripted import says, scripted, streams


def stated(usage: object) -> dict:
    return {"prompt_tokens": 5, "total_tokens": 8, "completion_tokens": usage}


def final(usage: object) -> bytes:
    content = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    return (
        b"data: " + json.dumps(content | {"usage": stated(usage)}, separators=(",", ":")).encode() + b"\n\n"
    )


def whole(usage: object):
    return says(json.dumps(json.loads(answer()) | {"usage": stated(usage)}).encode())


FORGED = [-5, "5", 1e30, float("nan"), 10**12, True]
SHRINKING = streams(ROLE, HEL, LO, HEL, STOP, DONE)
LEAPING = streams(ROLE, HEL, event({"content": "x"}, tokens=5_000), STOP, DONE)


async def suspects(gateway) -> float:
    page = (await gateway.client.get(f"{gateway.ops_url}/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith("sluice_suspect_usage_total{")]
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.parametrize("usage", FORGED, ids=repr)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_u37_what_cannot_be_true_is_not_booked(usage, stream):
    act = (
        streams(event({"content": "a"}), event({}, finish="stop"), final(usage), DONE)
        if stream
        else whole(usage)
    )
    async with scripted("direct", act, ops=True) as (gateway, _):
        assert (await gateway.ask(stream=stream)).status_code == 200
        row = await gateway.row()
        assert (row.state, row.usage_source) == ("settled", "counted" if stream else "estimated")
        assert 0 <= row.completion_tokens < 10
        assert 0 < row.prompt_tokens < 100
        assert await suspects(gateway) == 1


@pytest.mark.parametrize("act", [SHRINKING, LEAPING], ids=["shrinking", "leaping"])
async def test_u37_running_usage_that_cannot_be_true_is_counted(act):
    async with scripted("direct", act, ops=True) as (gateway, _):
        assert (await gateway.ask(stream=True, max_tokens=20)).text.endswith("data: [DONE]\n\n")
        row = await gateway.row()
        assert (row.usage_source, row.prompt_tokens) == ("counted", 5)
        assert 0 < row.completion_tokens < 10
        assert await suspects(gateway) == 1


async def test_an_answer_put_together_is_held_to_the_same():
    model = {"model_config": {"tiny": {"json_upstream": "stream"}}}
    async with scripted("direct", SHRINKING, ops=True, **model) as (gateway, (endpoint,)):
        assert (await gateway.ask()).json()["usage"] is None
        assert (await gateway.row()).usage_source == "counted"
        assert await suspects(gateway) == 1
        assert (await gateway.ask()).status_code == 200
        assert [body["stream"] for _, body in endpoint.asked] == [True, True]


async def test_an_honest_endpoint_is_no_suspect():
    async with scripted("direct", streams(ROLE, HEL, LO, STOP, DONE), ops=True) as (gateway, _):
        await gateway.ask(stream=True)
        assert await suspects(gateway) == 0
