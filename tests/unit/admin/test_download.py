"""A file made while it is sent."""

from __future__ import annotations

import asyncio

import pytest

from app.admin.download import Download, as_csv, as_jsonl
from app.core.errors import StorageUnavailable


class Caller:
    """Takes messages; hangs up after so many chunks."""

    def __init__(self, patience: int = 10**9) -> None:
        self.messages: list[dict] = []
        self.patience = patience
        self.left = asyncio.Event()

    async def receive(self) -> dict:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        self.messages.append(message)
        if len(self.messages) > self.patience:
            self.left.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


class Rows:
    """Counts how many were made, and whether the making was closed; fails after so many."""

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.count = count
        self.fails_at = fails_at
        self.made = 0
        self.closed = False

    async def __call__(self):
        try:
            for n in range(self.count):
                if n == self.fails_at:
                    raise StorageUnavailable
                self.made += 1
                yield {"n": n, "text": "x" * 1000}
        finally:
            self.closed = True


async def send(download: Download, caller: Caller) -> None:
    await download({"type": "http"}, caller.receive, caller.send)


async def test_a_whole_file_begins_and_ends():
    caller = Caller()
    await send(Download(as_jsonl(Rows(200)()), "a.jsonl", "application/jsonl"), caller)
    head, *chunks, end = caller.messages
    assert (head["type"], head["status"]) == ("http.response.start", 200)
    assert b"content-length" not in dict(head["headers"])
    assert [chunk["more_body"] for chunk in chunks] == [True] * len(chunks)
    assert len(chunks) > 1
    assert not end.get("more_body", False)
    assert caller.body.count(b"\n") == 200


async def test_only_a_chunk_is_held_at_a_time():
    rows, largest = Rows(2000), 0
    async for chunk in as_csv(rows(), ["n", "text"]):
        largest = max(largest, len(chunk))
    assert rows.made == 2000
    assert largest < 70_000


async def test_no_chunk_is_empty():
    async def one():
        yield {"text": "x" * 100_000}

    assert [len(chunk) > 100_000 async for chunk in as_csv(one(), ["text"])] == [True]
    assert [len(chunk) > 100_000 async for chunk in as_jsonl(one())] == [True]


async def test_a_failure_before_the_first_chunk_is_an_answer_of_its_own():
    caller = Caller()
    with pytest.raises(StorageUnavailable):
        await send(Download(as_jsonl(Rows(5, fails_at=0)()), "a", "text/plain"), caller)
    assert caller.messages == []


async def test_a_failure_later_never_looks_like_the_end():
    caller = Caller()
    with pytest.raises(StorageUnavailable):
        await send(Download(as_jsonl(Rows(500, fails_at=400)()), "a", "text/plain"), caller)
    assert all(message.get("more_body") for message in caller.messages[1:])
    assert len(caller.messages) > 1


async def test_when_the_caller_leaves_nothing_more_is_made():
    caller, rows = Caller(patience=2), Rows(5000)
    await send(Download(as_jsonl(rows()), "a", "text/plain"), caller)
    assert rows.made < 500
    assert caller.messages[-1]["more_body"]
    assert [
        task for task in asyncio.all_tasks() if task.get_name() == "export's caller" and not task.done()
    ] == []
