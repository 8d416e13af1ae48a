"""The ledger after many kills, held against what callers saw and what the engines did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from app.simulator import Record
from app.store.usage import UsageRow
from tests.money.load import Load


@dataclass
class Audit:
    """`truth` has the record of each call by its id, the last one where it was tried twice."""

    load: Load
    rows: list[UsageRow]
    truth: dict[str | None, Record]

    def __post_init__(self) -> None:
        self.booked = Counter(row.call_id for row in self.rows)
        self.lost = self.load.whole.keys() - self.booked.keys()
        self.doubled = {call for call, times in self.booked.items() if times > 1}
        self.unknown = self.load.begun - self.booked.keys()

    def __str__(self) -> str:
        crashed = {row.call_id for row in self.rows if row.finish == "crashed"}
        late = sum(self.truth[call].finish == ["stop"] for call in crashed if call in self.truth)
        unseen = self.booked.keys() - crashed - self.load.whole.keys()
        return (
            f"{len(self.load.whole)} whole answers, {len(self.lost)} lost, {len(self.doubled)} doubled; "
            f"{len(self.rows)} rows: {len(crashed)} crashed, of which the engine had finished {late}, "
            f"{len(unseen)} booked whose end nobody saw; {len(self.unknown)} begun without a row; "
            f"other answers {Counter(self.load.other)}"
        )

    def differences(self) -> list[str]:
        """Every row that is not what it should be, in words."""
        return [f"{word}: {row}" for row in self.rows for word in self._wrong(row)]

    def _wrong(self, row: UsageRow) -> list[str]:
        if row.state == "void":
            return ["whole and not billed"] if row.call_id in self.load.whole else []
        record = self.truth[row.call_id]
        told = self.load.whole.get(row.call_id)
        exact = (row.prompt_tokens, row.completion_tokens) == (record.prompt_tokens, record.generated)
        rules = {
            "not ended": row.state == "settled",
            "not what the engine did": exact or row.finish == "crashed",
            "more than the engine did": row.completion_tokens <= record.generated,
            "whole, and not booked as such": row.call_id not in self.load.whole
            or (row.usage_source, row.finish) == ("upstream", "stop"),
            "not what the caller was told": told in (None, row.completion_tokens),
        }
        return [word for word, kept in rules.items() if not kept]
