from __future__ import annotations

import asyncio

import pytest

from app.server.flow import Flow


class Transport:
    def __init__(self):
        self.told = []

    def pause_reading(self):
        self.told.append("pause")

    def resume_reading(self):
        self.told.append("resume")


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture
def flow(transport):
    return Flow(transport)


def test_reading_is_paused_and_resumed_once(flow, transport):
    flow.resume_reading()
    flow.pause_reading()
    flow.pause_reading()
    flow.resume_reading()
    flow.resume_reading()
    assert transport.told == ["pause", "resume"]


async def test_nobody_waits_while_writing_is_not_paused(flow):
    flow.resume_writing()
    await asyncio.wait_for(flow.drain(), 1)


async def test_all_that_wait_go_on_when_writing_does(flow):
    flow.pause_writing()
    waiting = [asyncio.create_task(flow.drain()) for _ in range(2)]
    await asyncio.sleep(0)
    assert flow.write_paused
    flow.resume_writing()
    flow.pause_writing()
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
