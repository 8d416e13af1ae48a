"""What this gateway has to tell Redis: in order, in batches, and each of it exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.state.redis_batch import LARGEST, Code, Operation, packed

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outbox:
    """One batch is under way at a time. After a loss the next answer tells what became of the last one."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._number = 0
        self._holder = ""
        self._queue: list[Operation] = []
        self._under_way: list[Operation] = []
        self._lost: tuple[int, list[Operation]] | None = None

    def put(self, operation: Operation) -> None:
        self._queue.append(operation)

    def put_first(self, operations: list[Operation]) -> None:
        self._queue[:0] = operations

    def batch(self, now: float | bool) -> bytes:
        """The next operations, packed; takes and looks that nobody waits for any more are left out."""
        some, self._queue = self._queue[:LARGEST], self._queue[LARGEST:]
        self._under_way = [each for each in some if each.waiter is None or not each.waiter.done()]
        return self._packed(now, self._under_way)

    def question(self, now: float | bool) -> bytes:
        """A batch of nothing: its answer tells what became of a lost one, which cannot come any more.

        Whatever Redis believed that this gateway holds is void from then on.
        """
        self._holder = f"{self._gateway}/{self._number + 1}"
        return self._packed(now, [])

    @property
    def under_way(self) -> list[Operation]:
        """What the next answer is about."""
        return self._under_way

    def heard(self) -> None:
        """The answer is in, and whoever waited has it."""
        self._under_way = []

    def lose(self) -> None:
        """No answer came: whoever waits decides without Redis, the rest waits to be told."""
        for each in (*self._under_way, *self._queue):
            if each.waiter is not None and not each.waiter.done():
                each.waiter.set_result(None)
        if self._under_way:
            self._lost = (self._number, self._under_way)
        self._under_way = []
        self._queue = [each for each in self._queue if each.lasting]

    def found(self, last: int) -> None:
        """`last` is the number of the last batch that Redis executed; what it did not hear is queued again."""
        lost, self._lost = self._lost, None
        if lost is not None and last != lost[0]:
            self.put_first([each for each in lost[1] if each.lasting])

    def held(self, holding: Mapping[str, int]) -> dict[str, int]:
        """What Redis must believe this gateway holds: what it does, and what it has yet to give back."""
        held = dict(holding)
        for each in self._queue:
            if each.code is Code.SETTLE and each.prepared is not None:
                for slot in each.prepared.slots:
                    if slot.kind:
                        held[slot.name] = held.get(slot.name, 0) + slot.cost(each.fields[0])
        return held

    def __len__(self) -> int:
        return len(self._queue)

    def _packed(self, now: float | bool, operations: list[Operation]) -> bytes:
        self._number += 1
        return packed(self._gateway, self._number, self._holder, now, operations)
