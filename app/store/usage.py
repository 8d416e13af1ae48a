"""The ledger's rows: written in batches, each call once, its first end for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from app.store.batch import batch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from app.store.database import Database


class UsageRow(NamedTuple):
    """`state` is open, settled or void; `started_at` wall clock; `hour` in the ledger's timezone.

    `gateway` is the process that wrote it. An open row holds what would be known if it died.
    """

    call_id: str
    client_request_id: str | None
    tenant_id: str
    key_id: str
    model: str
    served_model: str | None
    endpoint: str | None
    surface: str
    state: str
    usage_source: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    wasted_tokens: int
    cost: float
    finish: str | None
    status: int | None
    error_code: str | None
    started_at: float
    ttft_s: float | None
    elapsed_s: float | None
    attempts: int
    hour: str
    gateway: str


COLUMNS = UsageRow._fields
# What a call is from its beginning on; not written again with its end, which spares the indexes over it.
_LASTING = frozenset(
    ("call_id", "client_request_id", "tenant_id", "key_id", "surface", "started_at", "hour", "gateway")
)


class UsageRows:
    """Writing a row twice changes nothing, in whatever order rows of a call arrive.

    An end replaces an open row and the guess that another process made of it (`crashed`), never an end.
    An open row replaces one that knew of less.
    """

    def __init__(self, database: Database) -> None:
        self._batch = batch(database.location, database.options)
        self._upsert = _upsert(database.dialect)

    def write(self, rows: Sequence[UsageRow]) -> Awaitable[None]:
        """One transaction; raises StorageUnavailable, and then nothing is written."""
        return self._batch.run(self._upsert, rows)

    async def aclose(self) -> None:
        await self._batch.aclose()


def _upsert(dialect: str) -> str:
    marks = (f"${n}" if dialect == "postgresql" else "?" for n in range(1, len(COLUMNS) + 1))
    replaced = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in _LASTING)
    return (
        f"INSERT INTO usage ({', '.join(COLUMNS)}) VALUES ({', '.join(marks)})"  # noqa: S608
        f" ON CONFLICT (call_id) DO UPDATE SET {replaced}"
        " WHERE CASE excluded.state WHEN 'open' THEN usage.state = 'open'"
        " AND (excluded.attempts, excluded.completion_tokens) > (usage.attempts, usage.completion_tokens)"
        " ELSE usage.state = 'open' OR usage.finish = 'crashed' END"
    )
