from __future__ import annotations

import httpx
import pytest

from app.cli.failure import Failed
from app.cli.remote import Remote


def remote(answer):
    return Remote("http://ops:9001/", "token", httpx.MockTransport(answer))


def test_without_a_token_it_does_not_ask():
    with pytest.raises(Failed, match="SLUICE_ADMIN_TOKEN"):
        Remote("http://ops:9001", "")


async def test_lists_are_read_to_their_end():
    asked = []

    def answer(request):
        asked.append((request.url.path, dict(request.url.params), request.headers["authorization"]))
        more = "cursor" not in request.url.params
        row = {"object": "tenant", "id": f"tnt_{len(asked)}"}
        return httpx.Response(
            200, json={"data": [row], "has_more": more, "next_cursor": "next" if more else None}
        )

    assert await remote(answer).tenants() == [{"id": "tnt_1"}, {"id": "tnt_2"}]
    path = "/admin/v1/tenants"
    assert asked == [
        (path, {"limit": "1000"}, "Bearer token"),
        (path, {"limit": "1000", "cursor": "next"}, "Bearer token"),
    ]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx.Response(409, json={"error": {"message": "Taken."}}), "Taken."),
        (
            httpx.Response(404, json={"error": {"message": "There is nothing at this path."}}),
            "http://ops:9001 has no admin API: is it the ops address, and has the gateway an admin token?",
        ),
        (
            httpx.Response(502, text="<html>"),
            "http://ops:9001 answers 502: is it the ops address of a gateway?",
        ),
        (
            httpx.Response(400, json=["odd"]),
            "http://ops:9001 answers 400: is it the ops address of a gateway?",
        ),
    ],
)
async def test_a_refusal_is_said_in_the_gateways_words(response, said):
    with pytest.raises(Failed) as caught:
        await remote(lambda request: response).create_tenant({"name": "a"})
    assert caught.value.message == said


async def test_silence_is_said():
    def answer(request):
        raise httpx.ConnectError("All connection attempts failed")

    with pytest.raises(Failed, match="http://ops:9001 does not answer: All connection attempts failed"):
        await remote(answer).delete_tenant("tnt_1")


async def test_what_needs_the_database_itself_is_not_asked_of_a_gateway():
    never = remote(lambda request: pytest.fail("asked"))
    with pytest.raises(Failed, match="without SLUICE_URL"):
        await never.adopt_key("tnt_1", "sk-1", {})
    with pytest.raises(Failed, match="without SLUICE_URL"):
        await never.prune(0.0)


async def test_aborting_is_asked_for_by_its_name():
    seen = []

    def answer(request):
        seen.append(str(request.url))
        return httpx.Response(204)

    await remote(answer).revoke_key("key_1", abort=True)
    assert seen == ["http://ops:9001/admin/v1/keys/key_1?abort=true"]
