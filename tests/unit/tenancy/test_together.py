from __future__ import annotations

import asyncio

import pytest

from app.core.errors import StorageUnavailable
from app.core.tenant import NOBODY
from app.tenancy.together import Together
from tests.clock import settle


class Store:
    """Answers when it is told to; knows the digest "good"."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers = asyncio.Semaphore(0)
        self.fails = False

    async def find(self, digests):
        self.asked.append(list(digests))
        await self.answers.acquire()
        if self.fails:
            raise StorageUnavailable
        return {digest: NOBODY for digest in digests if digest == "good"}


@pytest.fixture
def store() -> Store:
    return Store()


async def asking(together: Together, *digests: str) -> list[asyncio.Task]:
    tasks = [asyncio.create_task(together.find([digest])) for digest in digests]
    await settle()
    return tasks


async def test_the_first_is_asked_at_once_and_those_who_come_meanwhile_together(store):
    together = Together(store)
    tasks = await asking(together, "a", *(f"bad-{n}" for n in range(1000)), "good")
    assert store.asked == [["a"]]
    store.answers.release()
    await settle()
    assert [len(digests) for digests in store.asked] == [1, 1001]
    store.answers.release()
    found = await asyncio.gather(*tasks)
    assert (found[0], found[-1]) == ({}, {"good": NOBODY})
    assert len(store.asked) == 2


async def test_an_answer_is_never_older_than_its_question(store):
    together = Together(store)
    first = await asking(together, "good")
    second = await asking(together, "good")
    store.answers.release()
    await settle()
    assert [task.done() for task in (*first, *second)] == [True, False]
    store.answers.release()
    await asyncio.gather(*second)
    assert store.asked == [["good"], ["good"]]


async def test_an_outage_is_told_to_all_who_asked_and_is_asked_once(store):
    together = Together(store)
    tasks = await asking(together, "a", "b", "c")
    store.fails = True
    for _ in range(2):
        store.answers.release()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, StorageUnavailable) for each in found)
    assert len(store.asked) == 2


async def test_whoever_leaves_takes_nobody_along(store):
    together = Together(store)
    first, second, third = await asking(together, "a", "b", "good")
    first.cancel()
    await settle()
    assert store.asked == [["a"], ["b", "good"]]
    second.cancel()
    await settle()
    for _ in range(2):
        store.answers.release()
    assert await third == {"good": NOBODY}
    assert store.asked == [["a"], ["b", "good"], ["b", "good"]]
