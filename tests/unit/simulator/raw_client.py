"""A client that sends raw bytes and keeps everything it hears, with the time it heard it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Heard:
    """One answer: status line, headers in order, body without its framing."""

    status_line: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False
    error: str | None = None

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ")[1])

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def names(self) -> list[str]:
        return [key for key, _ in self.headers]

    def json(self):
        return json.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        return [event for event in self.body.split(b"\n\n") if event]

    @property
    def data(self) -> list:
        """JSON of every `data:` event, `[DONE]` left out."""
        found = [event[6:] for event in self.events if event.startswith(b"data: ")]
        return [json.loads(text) for text in found if text != b"[DONE]"]

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or "" for event in self.data for choice in event.get("choices", ())
        )

    @property
    def done(self) -> bool:
        return b"data: [DONE]" in self.events


def post(body, path="/v1/chat/completions", **headers) -> bytes:
    """The bytes of a POST with a JSON body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n{extra}\r\n"
    return head.encode() + raw


def get(path: str, **headers) -> bytes:
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode()


def chat(text="hello", **fields) -> dict:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}


class Line:
    """One connection."""

    def __init__(self, reader, writer) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, sim) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", sim.port, limit=2**27))

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def head(self, heard: Heard | None = None) -> Heard:
        heard = heard or Heard()
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        heard.status_line = first
        heard.headers = [tuple(line.split(": ", 1)) for line in lines]
        return heard

    async def chunk(self) -> bytes:
        """One chunk; empty at the end of the body."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        payload = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return payload

    async def hear(self, *, head_only: bool = False) -> Heard:
        """A whole answer, or as much of it as comes before the connection ends."""
        heard = Heard()
        try:
            await self.head(heard)
            if head_only or heard.status == 100:
                heard.complete = True
                return heard
            if heard.header("transfer-encoding") == "chunked":
                while payload := await self.chunk():
                    heard.chunks.append(payload)
                    heard.body += payload
            else:
                heard.body = await self.reader.readexactly(int(heard.header("content-length") or 0))
            heard.complete = True
        except asyncio.IncompleteReadError as error:
            heard.error = "cut" if heard.status_line or error.partial else "closed"
        except ConnectionResetError:
            heard.error = "reset"
        except ValueError:
            heard.error = "garbled"
        return heard

    async def ask(self, raw: bytes) -> Heard:
        self.send(raw)
        return await asyncio.wait_for(self.hear(head_only=raw.startswith(b"HEAD")), 5)

    async def events(self, count: int) -> list[bytes]:
        """The next chunks of a stream whose head was read."""
        return [await self.chunk() for _ in range(count)]

    def half_close(self) -> None:
        self.writer.write_eof()

    async def close(self) -> None:
        """FIN, or RST where bytes were left unread."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc) -> None:
        await self.close()


async def ask(sim, raw: bytes) -> Heard:
    """One answer on a connection of its own."""
    async with await Line.to(sim) as line:
        return await line.ask(raw)


@asynccontextmanager
async def occupied(sim, count: int, **fields):
    """So many endless streams, their heads read."""
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(await Line.to(sim)) for _ in range(count)]
        for line in lines:
            line.send(post(chat("forever", stream=True, **fields)))
            await line.head()
        yield lines


async def until(condition, *, seconds: float = 3.0) -> float:
    """Wait until something is so; returns how long it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not condition():
        if loop.time() > start + seconds:
            raise AssertionError("it never came to be")
        await asyncio.sleep(0.001)
    return loop.time() - start
