from __future__ import annotations

import json

import pytest

from app.server.allow import allowing
from app.server.connection import Connection
from app.server.options import OpsOptions


class Script:
    """An application, and what is sent to its caller."""

    def __init__(self):
        self.called = []
        self.sent = []

    async def __call__(self, scope, receive, send):
        self.called.append(scope["type"])

    async def send(self, message):
        self.sent.append(message)


async def visit(scope):
    script = Script()
    await allowing(script, OpsOptions().allow)({"headers": [], **scope}, None, script.send)
    return script


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_loopback_is_let_in_by_default(peer):
    script = await visit({"type": "http", "client": (peer, 1)})
    assert script.called == ["http"]
    assert script.sent == []


@pytest.mark.parametrize("client", [("10.0.0.1", 1), ("testclient", 1), None])
async def test_others_get_403_in_our_shape(client):
    script = await visit({"type": "http", "client": client})
    assert script.called == []
    assert script.sent[0]["status"] == 403
    assert json.loads(script.sent[1]["body"])["error"]["code"] == "permission_denied"


async def test_the_socket_counts_and_not_what_a_proxy_says():
    extensions = {"sluice": Connection(("10.0.0.1", 1), None)}
    script = await visit({"type": "http", "client": ("127.0.0.1", 1), "extensions": extensions})
    assert script.called == []


async def test_lifespan_passes():
    assert (await visit({"type": "lifespan"})).called == ["lifespan"]
