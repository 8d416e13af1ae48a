from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest

from app.core.endpoint import Tls
from app.upstream.control import ANSWER, ControlPlane, UnansweredError, open_client
from tests.clock import FakeClock, settle
from tests.unit.upstream.engines import Engines
from tests.unit.upstream.fleets import spec


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def answering(clock: FakeClock, handler) -> ControlPlane:
    return ControlPlane(clock, lambda tls: httpx.AsyncClient(transport=httpx.MockTransport(handler)))


async def test_a_question_bears_the_endpoints_key_and_headers(clock: FakeClock):
    engines = Engines()
    control = engines.control(clock)
    status, body = await control.ask(spec("a", api_key="k", headers={"x-team": "t"}), "/health", 5.0)
    assert (status, body) == (200, b"")
    headers = engines["a"].headers[0]
    assert (headers["authorization"], headers["x-team"]) == ("Bearer k", "t")
    assert headers["accept-encoding"] == "identity"
    await control.ask(spec("b"), "/health", 5.0)
    assert "authorization" not in engines["b"].headers[0]
    await control.aclose()


async def test_with_a_body_it_is_a_post_of_json(clock: FakeClock):
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.headers.get("content-type"), request.content))
        return httpx.Response(200)

    control = answering(clock, handler)
    await control.ask(spec("a"), "/v1/completions", 5.0, body=b"{}")
    await control.ask(spec("a"), "/health", 5.0)
    assert seen == [("POST", "application/json", b"{}"), ("GET", None, b"")]


async def test_the_whole_question_has_its_time_however_it_drips(clock: FakeClock):
    async def drip():
        while True:
            yield b"."
            await clock.sleep(1.0)

    control = answering(clock, lambda request: httpx.Response(200, content=drip()))
    asking = asyncio.create_task(control.ask(spec("a"), "/health", 5.0))
    await clock.run(4.9)
    assert not asking.done()
    await clock.run(0.2)
    with pytest.raises(UnansweredError) as failure:
        await asking
    assert failure.value.reason == "timeout"


async def test_somebody_elses_cancellation_stays_one(clock: FakeClock):
    engines = Engines()
    engines["a"].hanging.add("/health")
    asking = asyncio.create_task(engines.control(clock).ask(spec("a"), "/health", 5.0))
    await settle()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ConnectError("refused"), "connect"),
        (httpx.ReadError("reset"), "connect"),
        (httpx.ConnectTimeout("slow"), "timeout"),
        (httpx.RemoteProtocolError("not HTTP"), "bad"),
        (httpx.InvalidURL("no"), "bad"),
        (ssl.SSLError("bad certificate"), "connect"),
    ],
)
async def test_every_failure_is_one_word(clock: FakeClock, error: Exception, reason: str):
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(UnansweredError) as failure:
        await answering(clock, handler).ask(spec("a"), "/health", 5.0)
    assert failure.value.reason == reason


async def test_an_answer_too_large_is_not_read_to_its_end(clock: FakeClock):
    sent = []

    async def flood():
        while True:
            sent.append(1)
            yield b"x" * 65536

    control = answering(clock, lambda request: httpx.Response(200, content=flood()))
    with pytest.raises(UnansweredError) as failure:
        await control.ask(spec("a"), "/metrics", 5.0)
    assert failure.value.reason == "too_large"
    assert len(sent) <= ANSWER // 65536 + 2


async def test_a_compressed_answer_was_not_asked_for_and_is_not_unpacked(clock: FakeClock):
    headers = {"content-encoding": "gzip"}
    control = answering(clock, lambda request: httpx.Response(200, stream=Never(), headers=headers))
    with pytest.raises(UnansweredError) as failure:
        await control.ask(spec("a"), "/metrics", 5.0)
    assert failure.value.reason == "bad"


class Never(httpx.AsyncByteStream):
    """A body that must not be read."""

    async def __aiter__(self):
        raise AssertionError
        yield b""


async def test_a_redirect_is_not_followed(clock: FakeClock):
    control = answering(clock, lambda request: httpx.Response(307, headers={"location": "http://evil/"}))
    assert (await control.ask(spec("a"), "/health", 5.0))[0] == 307


async def test_missing_tls_files_are_a_failure_of_that_endpoint(clock: FakeClock):
    with pytest.raises(UnansweredError) as failure:
        await ControlPlane(clock).ask(spec("a", url="https://a", tls=Tls(ca="/nowhere.pem")), "/health", 5.0)
    assert failure.value.reason == "connect"


async def test_a_name_without_an_address_is_a_failure_of_that_endpoint(clock: FakeClock):
    def resolves_to_nothing(request: httpx.Request) -> httpx.Response:
        raise ValueError("second argument (exceptions) must be a non-empty sequence")

    with pytest.raises(UnansweredError) as failure:
        await answering(clock, resolves_to_nothing).ask(spec("a"), "/health", 5.0)
    assert failure.value.reason == "connect"


async def test_endpoints_share_a_client_for_each_tls_setting(clock: FakeClock):
    opened = []

    def open_(tls: ssl.SSLContext | None) -> httpx.AsyncClient:
        opened.append(tls)
        return httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200)))

    control = ControlPlane(clock, open_)
    for each in (spec("a"), spec("b"), spec("c", url="https://c"), spec("d", url="https://d")):
        await control.ask(each, "/health", 5.0)
    assert [tls is None for tls in opened] == [True, False]
    await control.aclose()


async def test_the_client_keeps_no_cookies_and_reads_no_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    client = open_client(None)
    assert not client.trust_env
    assert not client.follow_redirects
    request = httpx.Request("GET", "http://a/")
    client.cookies.extract_cookies(httpx.Response(200, headers={"set-cookie": "a=b"}, request=request))
    assert not list(client.cookies.jar)
    await client.aclose()
