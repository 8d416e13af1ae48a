"""A thread that does one piece of work after another, and tells the event loop what became of each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Work: TypeAlias = "tuple[Callable[[], Any], asyncio.Future[Any]]"


class SerialThread:
    """Starts with its first work. An executor does the same through two futures, each with locks of its own.

    Work that nobody waits for any more before it is begun is left out; once begun, it is done to its end.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._closed = False

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """What `work` returns or raises. Raises RuntimeError after the end."""
        if self._closed:
            raise RuntimeError(f"{self._name} has ended")
        if self._thread is None:
            self._thread = Thread(target=_work, args=(self._queue,), name=self._name, daemon=True)
            self._thread.start()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((work, answer))
        return answer

    def end(self) -> None:
        """After what is queued; holds the caller until then."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()


def _work(queue: SimpleQueue[Work | None]) -> None:
    while (waiting := queue.get()) is not None:
        _do(*waiting)
        del waiting


def _do(work: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
    if answer.cancelled():
        return
    try:
        result = work()
    except BaseException as error:
        _tell(answer, answer.set_exception, error)
    else:
        _tell(answer, answer.set_result, result)


def _tell(answer: asyncio.Future[Any], settle: Callable[[Any], None], outcome: object) -> None:
    def told() -> None:
        if not answer.done():
            settle(outcome)

    with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
        answer.get_loop().call_soon_threadsafe(told)
