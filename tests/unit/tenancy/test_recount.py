"""What was used of a quota before it was set."""

from __future__ import annotations

import pytest

from app.core.tenant import Key, Limits, Tenant
from app.state.memory import MemoryCounters
from app.tenancy.calendar import Calendar
from app.tenancy.limiter import Limiter
from app.tenancy.recount import Recount
from tests.stores import opened, usage_row


@pytest.fixture
async def stores(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/s.db") as stores:
        yield stores


async def test_a_quota_that_is_set_later_counts_what_was_used_before(stores):
    clock, calendar = stores.clock, Calendar()
    limiter = Limiter(MemoryCounters(clock), clock, calendar)
    recount = Recount(stores.database, stores.lookup, limiter, calendar, clock)
    stores.changes.subscribe("tenants", recount.hear)
    tenant = await stores.tenants.create("team")
    other = await stores.tenants.create("other")

    async def used(tenant_id):
        owner = Tenant(tenant_id, "team", Limits(tokens_per_day=1000, tokens_per_month=1000))
        standing = await limiter.standing(Key("key_1", owner))
        return [decision.limit - decision.remaining for _, decision in standing]

    async def spend(call_id, tenant_id):
        row = usage_row(
            call_id, tenant_id=tenant_id, started_at=clock.time(), prompt_tokens=10, completion_tokens=32
        )
        await stores.rows.write([row])

    await spend("c1", tenant.id)
    await recount.everyone()
    assert await used(tenant.id) == [42, 42]
    for call_id, tenant_id in (("c2", tenant.id), ("c3", other.id)):
        await spend(call_id, tenant_id)
    assert await used(tenant.id) == [42, 42]
    for _ in range(2):
        await stores.tenants.update(tenant.id, {"limits": {"tokens_per_day": 1000}})
        assert await used(tenant.id) == [84, 84]
    assert await used(other.id) == [0, 0]
