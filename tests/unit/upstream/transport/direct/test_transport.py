from __future__ import annotations

from app.core.endpoint import EndpointSpec
from app.upstream.transport.direct.transport import DirectTransport
from app.upstream.transport.options import TransportOptions
from tests.clock import FakeClock


async def test_unused_transport_has_no_connections_and_closes_at_once():
    transport = DirectTransport(TransportOptions(), FakeClock())
    assert transport.connections(EndpointSpec("a", "http://10.0.0.1:8000")) == (0, 0)
    assert repr(transport) == "<DirectTransport <ConnectionPool [<Origin 10.0.0.1:8000 open=0 idle=0>]>>"
    await transport.aclose()
