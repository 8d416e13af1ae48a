from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest

from app.cli.workers.link import Link
from app.cli.workers.messages import Ask, Cut, Heard, News, Reload, Reloaded, ReloadEnded, WantReload
from app.core.errors import InvalidRequest
from app.server.workers.channel import Channel
from app.settings import load
from app.upstream.control import UnansweredError
from tests.clock import settle
from tests.unit.upstream.fleets import spec

GPU = spec("gpu-a")


class Own:
    """The worker's own way to an endpoint."""

    asked = 0

    async def ask(self, spec, path, timeout, *, body=None):
        self.asked += 1
        return 200, b"own"

    async def aclose(self):
        pass


class House:
    """Remembers what it was told; refuses settings of another transport."""

    def __init__(self):
        self.told = []
        self.reload_successful = True
        self.prober = SimpleNamespace(hurry=lambda url: self.told.append(("probe", url)))
        self.scraper = SimpleNamespace(hurry=lambda url: self.told.append(("scrape", url)))
        inflight = SimpleNamespace(cut=lambda owner, error: self.told.append(("cut", owner, error.code)))
        self.hearing = SimpleNamespace(inflight=inflight)

    def take(self, settings):
        if settings.transport == "httpx":
            raise ValueError("cannot be")
        self.told.append(("take", settings))


class Worker:
    def __init__(self, supervisor, link, house, listening):
        self.supervisor, self.link, self.house, self.listening = supervisor, link, house, listening

    async def tell(self, *messages):
        """The house has heard them when it returns."""
        for message in messages:
            self.supervisor.send(message)
        self.supervisor.send(Reload(99, None))
        while (said := await self.supervisor.receive()) != Reloaded(99):
            self.said = said


@pytest.fixture
async def worker():
    ours, theirs = socket.socketpair()
    supervisor, own = await Channel.over(ours), Own()
    link, house = Link(await Channel.over(theirs), own), House()
    link.own = own
    listening = asyncio.create_task(link.listen(house))
    yield Worker(supervisor, link, house, listening)
    supervisor.close()
    await listening
    await link.aclose()
    await settle()


async def test_endpoints_are_asked_through_the_supervisor(worker):
    asking = asyncio.create_task(worker.link.ask(GPU, "/health", 5))
    asked = await worker.supervisor.receive()
    assert asked == Ask(1, GPU, "/health", 5, None)
    worker.supervisor.send(Heard(1, (200, b"up")))
    assert await asking == (200, b"up")
    assert worker.link.own.asked == 0


async def test_that_there_was_no_answer_is_heard_in_the_same_word(worker):
    asking = asyncio.create_task(worker.link.ask(GPU, "/health", 5))
    await worker.supervisor.receive()
    worker.supervisor.send(Heard(1, "timeout"))
    with pytest.raises(UnansweredError) as raised:
        await asking
    assert raised.value.reason == "timeout"


async def test_a_silent_supervisor_takes_no_endpoint_down(worker, monkeypatch):
    monkeypatch.setattr("app.cli.workers.link._GRACE", 0.0)
    assert await worker.link.ask(GPU, "/health", 0.01) == (200, b"own")


async def test_without_a_supervisor_the_worker_asks_for_itself(worker):
    asking = asyncio.create_task(worker.link.ask(GPU, "/health", 60))
    await worker.supervisor.receive()
    worker.supervisor.close()
    assert await asking == (200, b"own")
    await worker.listening
    assert await worker.link.ask(GPU, "/health", 60) == (200, b"own")
    with pytest.raises(InvalidRequest):
        await worker.link.reload()


async def test_news_of_an_endpoint_has_it_looked_at_now(worker):
    await worker.tell(News(GPU.url, "/health"), News(GPU.url, "/metrics"))
    assert worker.house.told == [("probe", GPU.url), ("scrape", GPU.url)]


async def test_calls_are_cut_here_and_elsewhere(worker):
    await worker.tell(Cut("key_1"))
    assert worker.house.told == [("cut", "key_1", "invalid_api_key")]
    worker.link.cut("key_2")
    assert await worker.supervisor.receive() == Cut("key_2")


async def test_settings_are_taken_and_said_to_be(worker):
    settings = load(environ={})
    await worker.tell(Reload(1, settings))
    assert worker.said == Reloaded(1)
    assert worker.house.told == [("take", settings)]


async def test_bad_settings_show_and_the_next_good_ones_heal_it(worker):
    worker.supervisor.send(Reload(1, load(flags={"transport": "httpx"}, environ={})))
    assert await worker.supervisor.receive() == Reloaded(1)
    assert not worker.house.reload_successful
    worker.supervisor.send(Reload(2, load(environ={})))
    assert await worker.supervisor.receive() == Reloaded(2)
    assert worker.house.reload_successful
    worker.supervisor.send(Reload(3, None))
    assert await worker.supervisor.receive() == Reloaded(3)
    assert not worker.house.reload_successful


async def test_a_reload_ends_with_the_word_of_the_supervisor(worker):
    wanting = asyncio.create_task(worker.link.reload())
    assert await worker.supervisor.receive() == WantReload(1)
    worker.supervisor.send(ReloadEnded(1))
    await wanting
    wanting = asyncio.create_task(worker.link.reload())
    await worker.supervisor.receive()
    worker.supervisor.send(ReloadEnded(2, "rooting: unknown key", "rooting"))
    with pytest.raises(InvalidRequest, match="unknown key") as raised:
        await wanting
    assert raised.value.param == "rooting"


async def test_a_word_that_cannot_be_followed_does_not_deafen(worker, caplog):
    worker.house.prober.hurry = None
    await worker.tell(News(GPU.url, "/health"), News(GPU.url, "/metrics"))
    assert worker.house.told == [("scrape", GPU.url)]
    assert "was not followed" in caplog.text


async def test_secrets_arrive_as_they_are(worker):
    settings = load(environ={"SLUICE_ADMIN_TOKEN": "0123456789abcdef"})
    await worker.tell(Reload(1, settings))
    ((_, taken),) = worker.house.told
    assert taken.admin_token.get_secret_value() == "0123456789abcdef"
