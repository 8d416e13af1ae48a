"""One call's three accounts: what the caller saw, what the ledger says, and what the simulators did."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.simulator import Record
from app.store.usage import UsageRow
from tests.money.cells import FACTOR, Cell


@dataclass
class Account:
    """`records` are the attempts in order, the last one is the one that may be billed."""

    seen: str
    usage: dict[str, Any] | None
    row: UsageRow
    records: list[Record]

    def differences(self, cell: Cell) -> list[str]:
        """What is not as the cell says, in words; empty: the cell is equal."""
        wanted = {
            "seen": (cell.seen, self.seen),
            "state": (cell.state, self.row.state),
            "usage source": (cell.source, self.row.usage_source),
            "finish": (cell.finish, self.row.finish),
            "status": (cell.status, self.row.status),
            "error code": (cell.code, self.row.error_code),
            "attempts": (cell.attempts, self.row.attempts),
            "attempts made": (max(cell.attempts, 1), len(self.records)),
            "wasted": (self._wasted(cell), self.row.wasted_tokens),
            **self._tokens(cell),
        }
        if self.usage is not None:
            prompt, completion = self.usage["prompt_tokens"], self.usage["completion_tokens"]
            wanted["what the caller was told"] = (
                (self.row.prompt_tokens, self.row.completion_tokens),
                (prompt, completion),
            )
        return [
            f"{name}: {expected!r} expected, {found!r} found"
            for name, (expected, found) in wanted.items()
            if expected != found
        ]

    def _tokens(self, cell: Cell) -> dict[str, tuple[object, object]]:
        row, truth = self.row, self.records[-1]
        booked = (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens)
        if cell.tokens == "none":
            return {"tokens": ((0, 0, 0, 0), booked)}
        if cell.tokens == "exact":
            cached = truth.cached_tokens if cell.final else 0
            return {"tokens": ((truth.prompt_tokens, truth.generated, cached, truth.reasoning), booked)}
        return {
            "prompt": (near(truth.prompt_tokens, row.prompt_tokens), row.prompt_tokens),
            "completion": (
                near(truth.generated, row.completion_tokens) if cell.tokens == "estimated" else 0,
                row.completion_tokens,
            ),
            "details": ((0, 0), booked[2:]),
        }

    def _wasted(self, cell: Cell) -> int | str:
        if cell.waste == "own":
            return self.row.completion_tokens
        if cell.waste == "none":
            return 0
        lost = self.records if cell.state == "void" else self.records[:-1]
        generated = sum(record.generated for record in lost)
        return near(generated, self.row.wasted_tokens) if cell.waste == "guessed" else generated


def near(truth: int, estimate: int) -> int | str:
    """The estimate itself where it is good enough, else what it should have been."""
    if truth / FACTOR <= estimate <= truth * FACTOR:
        return estimate
    return f"{truth} within a factor of {FACTOR:g}"


def seen_in(status: int, body: bytes) -> tuple[str, dict[str, Any] | None]:
    """What an answer comes to, and the usage it states."""
    if status != 200:
        return f"{status} {json.loads(body)['error']['code']}", None
    if not body.startswith(b"data: "):
        return "whole", json.loads(body)["usage"]
    *events, last = [event.removeprefix(b"data: ") for event in body.rstrip().split(b"\n\n")]
    if last == b"[DONE]":
        return "whole", json.loads(events[-1])["usage"]
    return f"event {json.loads(last)['error']['code']}", None
