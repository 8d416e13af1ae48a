"""Usage over REST: sums by group, the ledger's rows a page at a time, and all of them as a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel

from app.admin.download import Download, as_csv, as_jsonl
from app.admin.fields import Moment, Span, Text
from app.admin.pages import Listing, PageQuery, listing
from app.admin.routes import Parts, guarded
from app.store.reports import SHOWN, UsageFilter
from app.store.sums import DAY

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.responses import Response

    from app.admin.parts import AdminParts
    from app.store.usage import UsageRow


def router(parts: AdminParts) -> APIRouter:
    routes = guarded(parts, "usage", changes="admin")
    routes.get("/usage")(sum_usage)
    routes.get("/usage/requests")(list_calls)
    routes.get("/usage/export", response_model=None)(export_calls)
    routes.get("/usage/reconcile")(reconcile)
    return routes


class UsageQuery(BaseModel, frozen=True, extra="forbid"):
    """`start` and `end`: seconds since 1970 or ISO 8601; the end is not included."""

    tenant_id: Text | None = None
    key_id: Text | None = None
    model: Text | None = None
    endpoint: Text | None = None
    surface: Text | None = None
    state: Literal["open", "settled", "void"] | None = None
    start: Moment | None = None
    end: Moment | None = None

    def which(self) -> UsageFilter:
        return UsageFilter(**self.model_dump(include=set(UsageQuery.model_fields)))


class SumsQuery(UsageQuery, frozen=True):
    """`group_by`: tenant, key, model, endpoint, surface, hour, day, month, with commas between them."""

    group_by: list[Text] = []


class CallsQuery(UsageQuery, PageQuery, frozen=True):
    """Filters, and a place in the list."""


class ExportQuery(UsageQuery, frozen=True):
    format: Literal["csv", "jsonl"] = "jsonl"


class ReconcileQuery(BaseModel, frozen=True, extra="forbid"):
    """Whole quarters of an hour, the last day's if not given; `step` divides the span."""

    endpoint: Text | None = None
    start: Moment | None = None
    end: Moment | None = None
    step: Span | None = None


async def sum_usage(query: Annotated[SumsQuery, Query()], parts: Parts) -> Listing[dict[str, Any]]:
    """One row per group; open calls are in none. Hours and days are those of the ledger's timezone."""
    groups = [name.strip() for given in query.group_by for name in given.split(",") if name.strip()]
    return Listing(data=await parts.reports.summary(query.which(), groups))


async def list_calls(query: Annotated[CallsQuery, Query()], parts: Parts) -> Listing[dict[str, Any]]:
    """Newest first, open calls too."""
    return listing(await parts.reports.page(query.which(), query.limit, query.cursor), shown)


async def export_calls(query: Annotated[ExportQuery, Query()], parts: Parts) -> Response:
    """Every row, newest first, however many."""
    rows = (shown(row) async for row in parts.reports.export(query.which()))
    if query.format == "csv":
        return Download(as_csv(rows, SHOWN), "usage.csv", "text/csv; charset=utf-8")
    return Download(as_jsonl(rows), "usage.jsonl", "application/jsonl")


async def reconcile(query: Annotated[ReconcileQuery, Query()], parts: Parts) -> Listing[dict[str, Any]]:
    """Per span and endpoint: the ledger's tokens against those the engine itself counted."""
    end = time.time() if query.end is None else query.end
    start = end - DAY if query.start is None else query.start
    rows = await parts.reconciliation.balances(start, end, query.endpoint, query.step)
    return Listing(data=[row.row() for row in rows])


def shown(row: UsageRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SHOWN}
