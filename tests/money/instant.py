"""An endpoint that answers every request at once and does nothing else: `python -m tests.money.instant`.

It prints its URL and runs until it is terminated; for figures in which an engine's own work would be noise.
"""

from __future__ import annotations

import asyncio
import json

import httptools
import uvloop

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "x" * 700}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 12, "total_tokens": 102, "completion_tokens": 90},
    },
    separators=(",", ":"),
).encode()
WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)


class Instant(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport):
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self._parser.feed_data(data)

    def on_message_complete(self):
        self._transport.write(WHOLE)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
