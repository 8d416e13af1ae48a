"""What both transports promise about TLS: the configured authority is the only one believed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from app.core.endpoint import Tls
from app.core.failures import ClosedEarly, ConnectFailed, ConnectTimeout
from tests.faults import behaviours as up
from tests.faults.behaviours import ANSWER

CERTS = Path(__file__).parent.parent / "certs"
CA, STRANGER, CERT, KEY = (
    str(CERTS / name) for name in ("ca.pem", "stranger.pem", "endpoint.pem", "endpoint.key")
)


@pytest.fixture
def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)
    return context


async def test_endpoint_with_a_certificate_of_the_authority_is_served_over_one_connection(rig, context):
    server = await rig.serve(up.streams, tls_context=context, tls=Tls(ca=CA))
    for _ in range(5):
        await rig.exchange()
    assert server.accepted == 1


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
async def test_name_and_ipv6_address_are_verified(rig, context, host):
    server = await rig.serve(up.answers, tls_context=context, host="::1" if "[" in host else "127.0.0.1")
    rig.aim(f"https://{host}:{server.port}", Tls(ca=CA))
    assert await rig.exchange() == ANSWER


@pytest.mark.parametrize(
    "tls",
    [None, Tls(ca=STRANGER), Tls(ca="/does/not/exist.pem"), Tls(ca=KEY)],
    ids=["system", "another", "missing", "not_a_certificate"],
)
async def test_endpoint_of_another_authority_is_a_connect_failure(rig, context, tls):
    server = await rig.serve(up.answers, tls_context=context, tls=tls)
    with pytest.raises(ConnectFailed):
        await rig.send()
    assert server.log.requests == []


async def test_certificate_for_another_name_is_a_connect_failure(rig, context):
    server = await rig.serve(up.answers, tls_context=context, host="127.0.0.2")
    rig.aim(server.url, Tls(ca=CA))
    with pytest.raises(ConnectFailed):
        await rig.send()


async def test_verification_can_be_switched_off(rig, context):
    await rig.serve(up.answers, tls_context=context, tls=Tls(verify=False))
    assert await rig.exchange() == ANSWER


async def test_client_certificate_is_shown_to_an_endpoint_that_asks(rig, context):
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(CA)
    server = await rig.serve(up.answers, tls_context=context, tls=Tls(ca=CA, cert=CERT, key=KEY))
    assert await rig.exchange() == ANSWER
    rig.aim(server.url, Tls(ca=CA))
    with pytest.raises((ConnectFailed, ClosedEarly)):
        await rig.send()


async def test_plain_endpoint_behind_https_is_a_connect_failure(rig):
    server = await rig.serve(up.saying_then_silence(b"HTTP/1.1 400 Bad Request\r\n\r\n"), raw=True)
    rig.aim(f"https://127.0.0.1:{server.port}", Tls(ca=CA))
    with pytest.raises(ConnectFailed):
        await rig.send()


async def test_handshake_that_never_ends_is_a_connect_timeout(rig):
    server = await rig.serve(up.never_answers, raw=True)
    rig.aim(f"https://127.0.0.1:{server.port}", Tls(ca=CA))
    with pytest.raises(ConnectTimeout):
        await rig.send(connect=0.1)
    await rig.until(lambda: server.log.ends)


async def test_hang_up_over_tls_reaches_the_endpoint(rig, context):
    server = await rig.serve(
        up.saying_then_silence(up.SSE, up.chunk(up.EVENT)), tls_context=context, tls=Tls(ca=CA)
    )
    reply = await rig.send()
    await rig.read_at_least(reply.body, len(up.EVENT))
    reply.body.close()
    await rig.until(lambda: server.live == 0)


async def test_large_bodies_pass_both_ways(rig, context):
    server = await rig.serve(up.saying(up.whole(bytes(900_000))), tls_context=context, tls=Tls(ca=CA))
    reply = await rig.send(body=bytes(3_000_000))
    assert await rig.whole(reply.body) == bytes(900_000)
    assert len(server.log.requests[0].body) == 3_000_000
