"""A sliding window of calls, bounded by count and by age."""

from __future__ import annotations

from collections import deque

from msgspec import Struct


class Mark(Struct, eq=False):
    """One call in the window, good until it proves bad."""

    at: float
    failed: bool
    kept: bool = True


class SlidingWindow:
    """The last `size` calls, none older than `age` seconds; every call counts once."""

    __slots__ = ("_age", "_marks", "_size", "failures")

    def __init__(self, size: int, age: float) -> None:
        self._size = size
        self._age = age
        self._marks: deque[Mark] = deque()
        self.failures = 0

    @property
    def calls(self) -> int:
        return len(self._marks)

    def add(self, now: float, *, failed: bool) -> Mark:
        """Count a call; times must not go back."""
        mark = Mark(now, failed)
        marks = self._marks
        marks.append(mark)
        if failed:
            self.failures += 1
        oldest = now - self._age
        while len(marks) > self._size or marks[0].at < oldest:
            gone = marks.popleft()
            gone.kept = False
            if gone.failed:
                self.failures -= 1
        return mark

    def fail(self, mark: Mark, now: float) -> None:
        """A call that was counted as good broke later: its mark turns, or is made anew if it has left."""
        if not mark.kept:
            self.add(now, failed=True)
        elif not mark.failed:
            mark.failed = True
            self.failures += 1
