"""What both transports promise about connections: reused while good, dropped at once when not, never lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.core.failures import ClosedEarly, ConnectFailed, EndpointError
from tests.faults import behaviours as up
from tests.faults.behaviours import ANSWER, EVENT, SSE, chunk, saying, whole


async def test_hundred_calls_need_one_connection(rig):
    server = await rig.serve({"/json": up.answers, "/sse": up.streams})
    for _ in range(50):
        await rig.exchange("/json")
        await rig.exchange("/sse")
    assert server.accepted == 1
    assert len(server.log.requests) == 100


async def test_calls_at_once_need_a_connection_each_and_give_it_back(rig):
    ready = asyncio.Barrier(10)

    async def together(peer):
        await ready.wait()
        await up.answers(peer)

    server = await rig.serve(together)
    for _ in range(3):
        assert await asyncio.gather(*(rig.exchange() for _ in range(10))) == [ANSWER] * 10
    assert server.accepted == 10


async def test_endpoints_share_no_connection(rig):
    first, second = await rig.serve(up.answers), await rig.serve(up.answers)
    for server in (first, second, first, second):
        rig.aim(server.url)
        await rig.exchange()
    assert (first.accepted, second.accepted) == (1, 1)


async def test_connection_close_is_obeyed(rig):
    server = await rig.serve(saying(whole(ANSWER, extra=b"connection: close\r\n")))
    await rig.exchange()
    await rig.exchange()
    assert server.accepted == 2


async def test_keep_alive_ends_after_four_seconds(rig):
    server = await rig.serve(up.answers)
    await rig.exchange()
    rig.clock.advance(3.9)
    await rig.exchange()
    assert server.accepted == 1
    rig.clock.advance(4.0)
    await rig.exchange()
    assert server.accepted == 2


async def test_connection_closed_while_idle_is_not_used_again(rig):
    server = await rig.serve(up.saying_then_fin(whole(ANSWER)))
    for expected in (1, 2, 3):
        assert await rig.exchange() == ANSWER
        await rig.until(lambda: server.live == 0)
        assert server.accepted == expected


async def test_u18_reused_connection_that_dies_unheard_is_resent_once(rig):
    server = await rig.serve(
        up.in_turn(up.answers, up.closes_at_once, up.answers, up.resets_at_once, up.answers)
    )
    for _ in range(3):
        assert await rig.exchange() == ANSWER
    assert (server.accepted, len(server.log.requests)) == (3, 5)


async def test_u18_resent_request_that_dies_too_is_closed_early(rig):
    server = await rig.serve(up.in_turn(up.answers, up.closes_at_once))
    await rig.exchange()
    with pytest.raises(ClosedEarly):
        await rig.exchange()
    assert len(server.log.requests) == (3 if rig.kind == "direct" else 2)


async def test_u18_reused_connection_that_dies_after_a_byte_is_not_resent(rig):
    server = await rig.serve(up.in_turn(up.answers, up.saying_then_fin(b"HTTP/1.1 2"), up.answers))
    await rig.exchange()
    with pytest.raises(ClosedEarly):
        await rig.exchange()
    assert len(server.log.requests) == 2


async def test_u18_reused_connection_that_dies_at_work_is_not_resent(rig):
    """An endpoint that took longer over it than a new connection may take has not closed an idle one."""

    async def works_and_dies(peer):
        rig.clock.advance(2.1)
        peer.close()

    server = await rig.serve(up.in_turn(up.answers, works_and_dies, up.answers))
    await rig.exchange()
    with pytest.raises(ClosedEarly):
        await rig.send(connect=2.0)
    assert len(server.log.requests) == 2


async def test_u19_endpoint_that_closes_idle_connections_at_any_moment_costs_no_call(rig):
    dice = random.Random(3)

    async def closes_soon(peer):
        await peer.send(whole(ANSWER))
        await asyncio.sleep(dice.random() * 0.004)
        peer.close()

    await rig.serve(closes_soon)
    for _ in range(300):
        assert await rig.exchange() == ANSWER
        await asyncio.sleep(dice.random() * 0.004)


async def test_u56_hang_up_reaches_the_endpoint_while_it_streams(rig):
    async def streams_for_ever(peer):
        leaving = asyncio.create_task(peer.gone())
        await peer.send(SSE)
        while not leaving.done():
            await peer.send(chunk(EVENT))
            await asyncio.sleep(0.001)

    server = await rig.serve(streams_for_ever)
    reply = await rig.send()
    await rig.read_at_least(reply.body, 3 * len(EVENT))
    reply.body.close()
    async with asyncio.timeout(1.0):
        while not server.log.ends:
            await asyncio.sleep(0.005)


async def test_closing_a_body_read_to_its_end_keeps_the_connection(rig):
    server = await rig.serve(up.answers)
    for _ in range(3):
        reply = await rig.send()
        assert await rig.whole(reply.body) == ANSWER
        reply.body.close()
    assert server.accepted == 1


async def test_answer_that_overtakes_its_request_is_read_and_the_connection_dropped(rig):
    async def impatient(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(whole(ANSWER, b"413 Too Large"))
        await asyncio.Event().wait()

    server = await rig.serve(impatient, raw=True)
    for _ in range(2):
        reply = await rig.send(body=bytes(20_000_000))
        assert reply.status == 413
        assert await rig.whole(reply.body) == ANSWER
    assert server.accepted == 2


async def test_u58_random_cancellations_leave_no_connection_in_use(rig):
    dice = random.Random(58)

    async def erratic(peer):
        await asyncio.sleep(dice.random() * 0.02)
        await dice.choice((up.answers, up.streams, up.closes_at_once))(peer)

    server = await rig.serve(erratic)
    over = asyncio.get_running_loop().time() + 2.0

    async def worker():
        while asyncio.get_running_loop().time() < over:
            try:
                async with asyncio.timeout(dice.uniform(0.0005, 0.05)):
                    await rig.exchange()
            except (TimeoutError, EndpointError):
                pass

    await asyncio.gather(*(worker() for _ in range(60)))
    await rig.until(lambda: rig.connections()[0] == rig.connections()[1])
    await rig.until(lambda: server.live == rig.connections()[0])
    rig.aim((await rig.serve(up.answers)).url)
    for _ in range(10):
        assert await rig.exchange() == ANSWER


async def test_closing_the_transport_fails_the_calls_under_way(rig):
    server = await rig.serve(
        {"/silent": up.never_answers, "/stream": up.saying_then_silence(SSE), "/ok": up.answers}
    )
    await rig.exchange("/ok")
    reply = await rig.send("/stream")
    waiting = asyncio.create_task(rig.send("/silent"))
    reading = asyncio.create_task(reply.body.read())
    await rig.until(lambda: len(server.log.requests) == 3)
    await rig.transport.aclose()
    for task in (waiting, reading):
        with pytest.raises(EndpointError):
            await task
    await rig.until(lambda: server.live == 0)


async def test_u55_ipv6_endpoint_is_reached_with_brackets(rig):
    server = await rig.serve(up.answers, host="::1")
    assert await rig.exchange() == ANSWER
    assert server.log.requests[0].header("host") == [f"[::1]:{server.port}"]


async def test_u54_name_is_resolved(rig):
    server = await rig.serve(up.answers)
    rig.aim(f"http://localhost:{server.port}")
    assert await rig.exchange() == ANSWER
    assert server.log.requests[0].header("host") == [f"localhost:{server.port}"]


@pytest.mark.parametrize("name", ["does-not-exist.invalid", "a" * 64 + ".example"])
async def test_u54_name_that_does_not_resolve_is_a_connect_failure(rig, name):
    rig.aim(f"http://{name}:8000")
    with pytest.raises(ConnectFailed):
        await rig.send()
