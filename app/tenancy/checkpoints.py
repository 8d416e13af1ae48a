"""Open calls whose answer is growing: what is known of each is looked at once a second at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from app.core.outcome import NO_USAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.core.call import Call
    from app.core.outcome import Usage

EVERY = 1.0
SWEEP = 0.25
MOST = 500


class _Watched(Struct):
    call: Call
    due: float
    noted: Usage = NO_USAGE


class Checkpoints:
    """Holds a call from its opening to its end, and nothing of it afterwards.

    A sweep looks at `MOST` calls at most, those first that have waited longest.
    """

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def watch(self, call: Call, now: float) -> None:
        self._watched[call.id] = _Watched(call, now + EVERY)

    def forget(self, call: Call) -> None:
        self._watched.pop(call.id, None)

    def moved(self, now: float) -> Iterator[Call]:
        """The calls that are due and have used more tokens than when they were last looked at."""
        due: list[_Watched] = []
        for watched in self._watched.values():
            if watched.due > now or len(due) == MOST:
                break
            due.append(watched)
        for watched in due:
            call = watched.call
            self._watched[call.id] = self._watched.pop(call.id)
            watched.due = now + EVERY
            usage = call.metered.usage if call.metered is not None else watched.noted
            if usage != watched.noted:
                watched.noted = usage
                yield call

    def __len__(self) -> int:
        return len(self._watched)

    def __repr__(self) -> str:
        return f"<Checkpoints watched={len(self._watched)}>"
