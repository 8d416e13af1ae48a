"""Standard output that several processes write to: each write is whole, whatever its length."""

from __future__ import annotations

import fcntl
import io
import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer


class WholeLines(io.RawIOBase):
    """Writes under a lock that the kernel takes back from a process that dies."""

    def __init__(self, descriptor: int, lock: Path) -> None:
        self._descriptor = descriptor
        self._lock = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, lines: ReadableBuffer) -> int:
        with memoryview(lines) as left:
            size = left.nbytes
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                written = 0
                while written < size:
                    written += os.write(self._descriptor, left[written:])
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
        return size

    def close(self) -> None:
        if not self.closed:
            os.close(self._lock)
        super().close()


def in_whole_lines(descriptor: int, lock: Path) -> TextIO:
    """A text stream; it and its `buffer` pass on what one call is given in one piece."""
    return io.TextIOWrapper(WholeLines(descriptor, lock), encoding="utf-8", write_through=True)  # type: ignore[type-var]
