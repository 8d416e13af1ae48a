"""What the workers of one gateway have in common: their port, their configuration, their questions."""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from typing import TYPE_CHECKING, Any

from app.cli.workers.messages import (
    Ask,
    Cut,
    Heard,
    News,
    Ready,
    Reload,
    Reloaded,
    ReloadEnded,
    Start,
    WantReload,
)
from app.core.clock import SystemClock
from app.routing import strategy
from app.server.listener import bind
from app.server.workers.crew import Crew
from app.server.workers.worker import Worker
from app.settings import ConfigError, fleet_plan
from app.upstream.census import Census
from app.upstream.control import ControlPlane, UnansweredError
from app.upstream.shared_answers import SharedAnswers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Hashable
    from pathlib import Path

    from app.settings import Settings

logger = logging.getLogger(__name__)

MODULE = "app.cli.workers"
TAKEN_WITHIN = 5.0
"""Seconds in which workers take a new configuration."""


class Supervisor:
    """Serves no call itself. `settings` are those in force; a replacement starts with them, whatever the
    file says by then.
    """

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings], workers: int, folder: Path, port: int
    ) -> None:
        self.settings = settings
        self.folder = folder
        self._reread = reread
        self._port = port
        self._clock = SystemClock()
        self._answers = SharedAnswers(ControlPlane(self._clock), self._clock, self._told)
        self._numbers = count(1)
        self._reloads: dict[int, set[Worker]] = {}
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.crew = Crew(workers, self._hire, self._hear, self._clock)

    def stop(self) -> None:
        """In order; asked again, quickly."""
        server = self.settings.server
        self.crew.leave(0.0 if self.crew.leaving else server.lame_duck + server.drain)

    def spare(self, going: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do it beside everything else."""
        task = asyncio.create_task(going())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._answers.aclose()

    async def reload(self) -> ReloadEnded:
        """Every worker takes the configuration anew, or none does; what it says is checked before."""
        async with self._reloading:
            number = next(self._numbers)
            try:
                settings = self._reread()
                Census(self._clock, strategy).check(fleet_plan(settings))
            except (ConfigError, ValueError) as error:
                for line in str(error).splitlines():
                    logger.error("the configuration stays as it was: %s", line)
                self.crew.tell(Reload(number, None))
                param = error.problems[0].path if isinstance(error, ConfigError) else None
                return ReloadEnded(number, str(error), param)
            self.settings = settings
            await self._taken(number, settings)
            return ReloadEnded(number)

    async def _taken(self, number: int, settings: Settings) -> None:
        """A worker that dies meanwhile has a replacement that knows; one that hangs is told on the way."""
        self._reloads[number] = set(self.crew.ready)
        self.crew.tell(Reload(number, settings))
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                while self._reloads[number] & set(self.crew.ready):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            logger.error("not every worker took the configuration within %.0f s", TAKEN_WITHIN)
        finally:
            del self._reloads[number]

    async def _hire(self, seat: int) -> Worker:
        with bind(self.settings.server.host, self._port, shared=True) as sock:
            data = sock.fileno()
            worker = await Worker.spawn(seat, MODULE, [data], self._clock.monotonic())
        worker.channel.send(Start(seat, self.settings, data, self.folder))
        return worker

    def _hear(self, worker: Worker, message: Any) -> None:
        match message:
            case Ask():
                self.spare(lambda: self._ask(worker, message))
            case Ready():
                worker.serves()
            case Cut():
                for other in self.crew.workers:
                    if other is not worker:
                        other.channel.send(message)
            case WantReload(number):
                self.spare(lambda: self._reload_for(worker, number))
            case Reloaded(number):
                self._reloads.get(number, set()).discard(worker)

    async def _ask(self, worker: Worker, asked: Ask) -> None:
        answer: tuple[int, bytes] | str
        try:
            answer = await self._answers.ask(worker.pid, asked.spec, asked.path, asked.timeout, asked.body)
        except UnansweredError as error:
            answer = error.reason
        worker.channel.send(Heard(asked.number, answer))

    def _told(self, url: str, path: str, heard_by: Collection[Hashable]) -> None:
        """A models' list is asked for in the course of the visit that a health probe begins."""
        if path in {"/health", "/metrics"}:
            for worker in self.crew.ready:
                if worker.pid not in heard_by:
                    worker.channel.send(News(url, path))

    async def _reload_for(self, worker: Worker, number: int) -> None:
        ended = await self.reload()
        worker.channel.send(ReloadEnded(number, ended.refused, ended.param))
