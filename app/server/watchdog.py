"""Notices from outside that the event loop hangs, and says where: a loop that is blocked cannot say it."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from app.core.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

DUMP = signal.SIGUSR1
_STDERR = 2


class WatchdogOptions(BaseModel, frozen=True, extra="forbid"):
    """Seconds in which an event loop ran nothing: then the stacks are logged; then a worker is replaced."""

    dump_after: Seconds = Field(default=5.0, gt=0)
    kill_after: Seconds = Field(default=30.0, gt=0)


class Watchdog:
    """Looks whether `beats`, which the loop counts up, still moves; logs each thread's stack once a hang.

    Its own looks are its clock: a process that was suspended did not hang.
    """

    def __init__(self, beats: Callable[[], int], options: WatchdogOptions) -> None:
        self._beats = beats
        self._dump_after = options.dump_after
        self._pause = min(1.0, options.dump_after / 5)
        self._seen = beats()
        self._silent = 0.0
        self._told = False
        self._end = threading.Event()

    def watch(self) -> None:
        """For a thread of its own, until `end`."""
        while not self._end.wait(self._pause):
            self.look(self._pause)

    def look(self, passed: float) -> None:
        """What is to be said `passed` seconds after the last look."""
        beats = self._beats()
        if beats != self._seen:
            if self._told:
                logger.error("the event loop runs again after %.0f s", self._silent)
            self._seen, self._silent, self._told = beats, 0.0, False
            return
        self._silent += passed
        if self._silent >= self._dump_after and not self._told:
            self._told = True
            self._tell()

    def end(self) -> None:
        self._end.set()

    def _tell(self) -> None:
        """An event for each thread, the loop's first: the log cuts what is long."""
        frames = sys._current_frames()  # noqa: SLF001  there is no other way to another thread's stack
        for thread in sorted(threading.enumerate(), key=lambda each: each is not threading.main_thread()):
            frame = frames.get(thread.ident or 0)
            if frame is not None:
                stack = "".join(traceback.format_stack(frame))
                logger.error("the event loop hangs for %.0f s; %s:\n%s", self._silent, thread.name, stack)


@contextmanager
def watched(beats: Callable[[], int], options: WatchdogOptions) -> Iterator[None]:
    """A watchdog meanwhile. The signal DUMP writes all stacks to stderr, also while nothing of Python's runs."""
    faulthandler.register(DUMP, file=_STDERR, all_threads=True)
    watchdog = Watchdog(beats, options)
    thread = threading.Thread(target=watchdog.watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.end()
        thread.join()
