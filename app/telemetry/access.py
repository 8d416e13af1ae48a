"""The access log: one line a call, written after its last byte, never a body and never a key."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from app.telemetry.access_line import access_line, json_line, text_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.clock import Clock, Timer
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement
    from app.telemetry.access_line import AccessLine
    from app.telemetry.options import AccessOptions

_DELAY = 0.05
_FULL = 65536


class AccessLog:
    """An Observer that also hears when a call is closed; only then are the bytes sent known.

    A call that was settled is written by `closed`; one that was refused before it was admitted is
    written at once. Lines wait for a twentieth of a second at most, or until there are 64 KiB of them.
    """

    def __init__(
        self,
        options: AccessOptions,
        write: Callable[[bytes], object],
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`write` takes whole lines and may raise OSError, which loses them."""
        self._options = options
        self._write = write
        self._clock = clock
        self._chance = chance
        self._format = json_line if options.format == "json" else text_line
        self._ended: dict[str, Settlement] = {}
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: Timer | None = None
        self.lost = 0

    def rejected(self, call: Call, error: GatewayError) -> None:
        if self._wanted(call):
            sent = 0 if error.status == 499 else len(error.body())
            elapsed = self._clock.monotonic() - call.arrived
            self._add(access_line(call, error.status, error.code, sent, elapsed, None))

    def settled(self, call: Call, settlement: Settlement) -> None:
        if self._wanted(call):
            self._ended[call.id] = settlement

    def closed(self, call: Call) -> None:
        """The call's last byte is sent, or nobody is there to take it."""
        settlement = self._ended.pop(call.id, None)
        if settlement is None:
            return
        sample = self._options.sample
        if sample >= 1 or _failed(settlement) or self._chance() < sample:
            sent, elapsed = call.body_bytes_sent, settlement.elapsed
            self._add(access_line(call, settlement.status, settlement.error_code, sent, elapsed, settlement))

    def flush(self) -> None:
        """Write what waits; called once more at the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            try:
                self._write(b"".join(lines))
            except OSError:
                self.lost += len(lines)

    def _wanted(self, call: Call) -> bool:
        return self._options.enabled and call.surface.path not in self._options.exclude

    def _add(self, line: AccessLine) -> None:
        encoded = self._format(line)
        self._lines.append(encoded)
        self._size += len(encoded)
        if self._size >= _FULL:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.call_later(_DELAY, self.flush)


def _failed(settlement: Settlement) -> bool:
    return settlement.error_code is not None or settlement.status >= 400
