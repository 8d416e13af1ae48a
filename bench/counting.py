"""Counts the work of one thread: byte code instructions, Python frames entered, C functions called."""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType


class Work(NamedTuple):
    """`calls` are entries into Python frames, a coroutine's resumptions among them."""

    instructions: float = 0.0
    calls: float = 0.0
    c_calls: float = 0.0

    def less(self, other: Work, per: float = 1.0) -> Work:
        """What is left of it, divided."""
        return Work(*((mine - its) / per for mine, its in zip(self, other, strict=True)))

    def plus(self, other: Work) -> Work:
        return Work(*map(sum, zip(self, other, strict=True)))

    def __bool__(self) -> bool:
        return any(self)


Profile: TypeAlias = "Mapping[str, Work]"
"""By function: `file:qualified name`."""


def total(profile: Profile) -> Work:
    return Work(*map(sum, zip(*profile.values(), strict=True))) if profile else Work()


def difference(later: Profile, earlier: Profile, per: float = 1.0) -> dict[str, Work]:
    """Function by function, divided; those that did nothing are left out."""
    names = later.keys() | earlier.keys()
    differences = {name: later.get(name, Work()).less(earlier.get(name, Work()), per) for name in names}
    return {name: work for name, work in differences.items() if work}


def place(code: CodeType) -> str:
    """Where a function is defined, without the folders that differ from machine to machine."""
    path = code.co_filename
    shorter = [path.removeprefix(f"{folder}/") for folder in sys.path if folder]
    return f"{min([path, *shorter], key=len)}:{code.co_qualname}"


class _Tally:
    """Of one function; `step` is its trace function, which sees every instruction."""

    def __init__(self, code: CodeType) -> None:
        self.place = place(code)
        self.calls = 0
        self.c_calls = 0
        self.instructions = 0

    def step(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            self.instructions += 1
        return self.step

    @property
    def work(self) -> Work:
        return Work(self.instructions, self.calls, self.c_calls)


class Counter:
    """Counts while it is `on`, in the thread that turned it on. What is defined in the files `but` is not
    counted, what it calls is.

    Work inside C is not seen, only that it was called. Instructions are those of the compiler, before the
    interpreter specialises them: their number does not depend on how often a function has run.
    """

    def __init__(self, but: str | tuple[str, ...] = ()) -> None:
        """`but`: how the paths of files begin."""
        self._but = but
        self._tallies: dict[
            int, _Tally | None
        ] = {}  # by identity: code hashes by its contents, which is slow
        self._kept: list[CodeType] = []
        self._before: tuple[Any, Any] = (None, None)

    def on(self) -> None:
        self._before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profiled)
        sys.settrace(self._traced)

    def off(self) -> None:
        trace, profile = self._before
        sys.settrace(trace)
        sys.setprofile(profile)

    def profile(self) -> dict[str, Work]:
        """Everything counted up to now."""
        work: defaultdict[str, Work] = defaultdict(Work)
        for tally in list(self._tallies.values()):
            if tally is not None:
                work[tally.place] = work[tally.place].plus(tally.work)
        return dict(work)

    @contextmanager
    def counting(self) -> Iterator[None]:
        self.on()
        try:
            yield
        finally:
            self.off()

    def _tally(self, code: CodeType) -> _Tally | None:
        try:
            return self._tallies[id(code)]
        except KeyError:
            counted = not (self._but and code.co_filename.startswith(self._but))
            tally = self._tallies[id(code)] = _Tally(code) if counted else None
            self._kept.append(code)
            return tally

    def _traced(self, frame: FrameType, event: str, arg: object) -> Any:
        tally = self._tally(frame.f_code)
        if tally is None:
            return None
        tally.calls += 1
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return tally.step

    def _profiled(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "c_call":
            tally = self._tally(frame.f_code)
            if tally is not None:
                tally.c_calls += 1
