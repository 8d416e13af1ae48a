"""A worker's end of the line to its supervisor: what it asks for, and what it is told."""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from typing import TYPE_CHECKING, Any

from app.cli.workers.messages import Ask, Cut, Heard, News, Reload, Reloaded, ReloadEnded, WantReload
from app.core.errors import InvalidKey, InvalidRequest
from app.upstream.control import UnansweredError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.endpoint import EndpointSpec
    from app.server.workers.channel import Channel
    from app.upstream.control import Control
    from app.wiring import House

logger = logging.getLogger(__name__)

_GRACE = 1.0
"""Beyond a question's own time; then the supervisor is out of order and the worker asks for itself."""


class Link:
    """Implements Control and Colleagues: endpoints are asked once for all workers."""

    def __init__(self, channel: Channel, own: Control) -> None:
        self._channel = channel
        self._own = own
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._alone = False

    async def ask(
        self, spec: EndpointSpec, path: str, timeout: float, *, body: bytes | None = None
    ) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(timeout + _GRACE):
                answer: tuple[int, bytes] | str = await self._reply(
                    lambda number: Ask(number, spec, path, timeout, body)
                )
        except (TimeoutError, EOFError):
            return await self._own.ask(spec, path, timeout, body=body)
        if isinstance(answer, str):
            raise UnansweredError(answer)
        return answer

    async def reload(self) -> None:
        try:
            ended: ReloadEnded = await self._reply(WantReload)
        except EOFError:
            raise InvalidRequest("The gateway is ending.") from None
        if ended.refused is not None:
            raise InvalidRequest(ended.refused, param=ended.param)

    def cut(self, owner: str) -> None:
        self._channel.send(Cut(owner))

    async def aclose(self) -> None:
        self._channel.close()
        await self._own.aclose()

    async def listen(self, house: House) -> None:
        """Do as told until the supervisor is gone."""
        while (message := await self._channel.receive()) is not None:
            try:
                self._do(house, message)
            except Exception:
                logger.exception("a word of the supervisor was not followed")
        self._alone = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(EOFError())

    def _do(self, house: House, message: Any) -> None:
        match message:
            case Heard(number, answer):
                self._settle(number, answer)
            case ReloadEnded(number):
                self._settle(number, message)
            case News(url, path):
                (house.scraper if path == "/metrics" else house.prober).hurry(url)
            case Cut(owner):
                house.hearing.inflight.cut(owner, InvalidKey())
            case Reload():
                self._reload(house, message)

    def _reload(self, house: House, told: Reload) -> None:
        try:
            if told.settings is not None:
                house.take(told.settings)
        except ValueError as error:
            logger.error("the configuration stays as it was: %s", error)
            house.reload_successful = False
        else:
            house.reload_successful = told.settings is not None
        self._channel.send(Reloaded(told.number))

    async def _reply(self, message: Callable[[int], Any]) -> Any:
        """Raises EOFError when the supervisor goes, or is gone."""
        if self._alone:
            raise EOFError
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._channel.send(message(number))
        try:
            return await waiting
        finally:
            del self._waiting[number]

    def _settle(self, number: int, answer: Any) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
