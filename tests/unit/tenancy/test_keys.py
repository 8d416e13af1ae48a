"""Whose key a secret is: from memory, by one query, corrected at every change."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import InvalidKey, StorageUnavailable
from app.core.tenant import Limits
from app.store.lookup import KeyLookup
from app.store.pepper import Pepper, sha256
from app.tenancy.keys import Keys, KeysOptions
from app.tenancy.open import OpenDirectory
from tests.clock import settle
from tests.stores import PEPPER, opened


class CountingLookup(KeyLookup):
    """Counts queries; can be down, or held at its answer."""

    queries = 0
    down = False
    gate: asyncio.Event | None = None

    async def find(self, digests):
        self.queries += 1
        if self.down:
            raise StorageUnavailable
        found = await super().find(digests)
        if self.gate is not None:
            await self.gate.wait()
        return found

    async def rehash(self, old, new):
        if self.down:
            raise StorageUnavailable
        await super().rehash(old, new)


class Bench:
    def __init__(self, stores, pepper=PEPPER, **options):
        self.stores = stores
        self.lookup = CountingLookup(stores.database)
        self.keys = Keys(self.lookup, stores.changes, pepper, stores.clock, KeysOptions(**options))


@pytest.fixture
async def stores(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/sluice.db") as stores:
        yield stores


@pytest.fixture
async def bench(stores):
    bench = Bench(stores)
    await stores.changes.look()
    yield bench
    await bench.keys.aclose()


@pytest.fixture
async def owned(stores):
    tenant = await stores.tenants.create("team")
    row, secret = await stores.keys.create(tenant.id)
    return tenant, row, secret


async def test_a_key_is_looked_up_once(bench, owned):
    _, row, secret = owned
    assert bench.keys.known(secret) is None
    assert (await bench.keys.find(secret)).id == row.id
    assert bench.keys.known(secret).id == row.id
    await bench.keys.find(secret)
    assert bench.lookup.queries == 1


async def test_concurrent_finds_of_one_secret_share_one_query(bench, owned):
    found = await asyncio.gather(*(bench.keys.find(owned[2]) for _ in range(50)))
    assert {key.id for key in found} == {owned[1].id}
    assert bench.lookup.queries == 1


async def test_a_caller_that_leaves_takes_nobody_with_it(bench, owned):
    bench.lookup.gate = asyncio.Event()
    leaving = asyncio.create_task(bench.keys.find(owned[2]))
    staying = asyncio.create_task(bench.keys.find(owned[2]))
    await settle()
    leaving.cancel()
    await settle()
    bench.lookup.gate.set()
    assert (await staying).id == owned[1].id
    assert leaving.cancelled()


async def test_secrets_that_begin_alike_are_different_keys(bench, owned):
    with pytest.raises(InvalidKey):
        await bench.keys.find(owned[2] + "x")
    with pytest.raises(InvalidKey):
        await bench.keys.find(owned[2][:-1])
    with pytest.raises(InvalidKey):
        await bench.keys.find("")


async def test_an_unknown_secret_is_remembered_for_a_while(bench, stores):
    for _ in range(3):
        with pytest.raises(InvalidKey):
            await bench.keys.find("sk-nobody")
    assert bench.lookup.queries == 1
    stores.clock.advance(5)
    with pytest.raises(InvalidKey):
        await bench.keys.find("sk-nobody")
    assert bench.lookup.queries == 2


async def test_the_memory_of_unknown_secrets_is_bounded(stores):
    bench = Bench(stores, unknown=3)
    for number in range(10):
        with pytest.raises(InvalidKey):
            await bench.keys.find(f"sk-{number}")
    assert repr(bench.keys) == "<Keys known=0 unknown=3 asked=0>"


async def test_a_key_made_a_moment_after_it_was_refused_opens(bench, stores):
    tenant = await stores.tenants.create("team")
    with pytest.raises(InvalidKey):
        await bench.keys.find("sk-early")
    row = await stores.keys.adopt(tenant.id, "sk-early")
    assert (await bench.keys.find("sk-early")).id == row.id


async def test_an_expired_key_opens_nothing_from_that_moment(bench, stores):
    tenant = await stores.tenants.create("team")
    _, secret = await stores.keys.create(tenant.id, expires_at=stores.clock.time() + 10)
    await bench.keys.find(secret)
    stores.clock.advance(9.9)
    assert bench.keys.known(secret) is not None
    stores.clock.advance(0.1)
    assert bench.keys.known(secret) is None
    with pytest.raises(InvalidKey):
        await bench.keys.find(secret)


@pytest.mark.parametrize("change", ["disable", "revoke", "delete", "disable tenant"])
async def test_what_is_taken_away_is_gone_when_the_change_returns(bench, stores, owned, change):
    tenant, row, secret = owned
    await bench.keys.find(secret)
    match change:
        case "disable":
            await stores.keys.update(row.id, {"disabled": True})
        case "revoke":
            await stores.keys.revoke(row.id)
        case "delete":
            await stores.tenants.delete(tenant.id)
        case "disable tenant":
            await stores.tenants.update(tenant.id, {"disabled": True})
    assert bench.keys.known(secret) is None
    with pytest.raises(InvalidKey):
        await bench.keys.find(secret)


async def test_changed_limits_are_in_force_when_the_change_returns(bench, stores, owned):
    tenant, row, secret = owned
    await bench.keys.find(secret)
    await stores.tenants.update(tenant.id, {"limits": {"concurrency": 3}})
    await stores.keys.update(row.id, {"limits": {"requests_per_minute": 4}, "models": ["m"]})
    key = bench.keys.known(secret)
    assert key.tenant.limits == Limits(concurrency=3)
    assert (key.limits, key.models) == (Limits(requests_per_minute=4), frozenset({"m"}))


async def test_a_change_re_reads_the_keys_of_its_tenant_alone(bench, stores, owned):
    other = await stores.tenants.create("other")
    _, secret = await stores.keys.create(other.id)
    await bench.keys.find(owned[2])
    before = await bench.keys.find(secret)
    await stores.tenants.update(owned[0].id, {"priority": 1})
    assert bench.keys.known(secret) is before


async def test_a_rotated_secret_lives_through_its_overlap(bench, stores, owned):
    _, row, old = owned
    await bench.keys.find(old)
    _, new = await stores.keys.rotate(row.id, overlap=30)
    assert (await bench.keys.find(new)).id == (await bench.keys.find(old)).id == row.id
    stores.clock.advance(30)
    with pytest.raises(InvalidKey):
        await bench.keys.find(old)
    assert bench.keys.known(new) is not None


async def test_a_change_by_another_process_is_heard_within_a_second(bench, stores, owned):
    async with opened(stores.url, migrated=False) as elsewhere:
        await bench.keys.find(owned[2])
        await elsewhere.keys.revoke(owned[1].id)
    assert bench.keys.known(owned[2]) is not None
    stores.changes.start()
    await wait_until(lambda: bench.keys.known(owned[2]) is None)


async def wait_until(true):
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_an_answer_that_a_change_overtook_is_asked_again(bench, stores, owned):
    _, row, secret = owned
    bench.lookup.gate = asyncio.Event()
    asked = asyncio.create_task(bench.keys.find(secret))
    while bench.lookup.queries < 1:
        await asyncio.sleep(0)
    await stores.keys.update(row.id, {"disabled": True})
    bench.lookup.gate.set()
    with pytest.raises(InvalidKey):
        await asked
    assert bench.keys.known(secret) is None


async def test_under_a_storm_of_changes_answers_are_used_and_not_kept(bench, owned):
    find = bench.lookup.find

    async def overtaken(digests):
        found = await find(digests)
        bench.keys._refreshes += 1
        return found

    bench.lookup.find = overtaken
    assert (await bench.keys.find(owned[2])).id == owned[1].id
    assert bench.keys.known(owned[2]) is None
    with pytest.raises(InvalidKey):
        await bench.keys.find("sk-nobody")
    assert bench.lookup.queries == 6
    assert repr(bench.keys) == "<Keys known=0 unknown=0 asked=0>"


async def test_a_query_cut_short_is_forgotten(bench, owned):
    bench.lookup.gate = asyncio.Event()
    asking = asyncio.create_task(bench.keys.find(owned[2]))
    while not bench.lookup.queries:
        await asyncio.sleep(0)
    for task in list(bench.keys._asked.values()):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    bench.lookup.gate = None
    assert (await bench.keys.find(owned[2])).id == owned[1].id


async def test_while_the_store_is_away_known_keys_live_on_for_the_grace(bench, stores, owned):
    await bench.keys.find(owned[2])
    bench.lookup.down = True
    stores.clock.advance(3600)
    assert (await bench.keys.find(owned[2])).id == owned[1].id
    with pytest.raises(StorageUnavailable):
        await bench.keys.find("sk-somebody")
    stores.clock.advance(1)
    assert bench.keys.known(owned[2]) is None
    with pytest.raises(StorageUnavailable):
        await bench.keys.find(owned[2])
    await stores.changes.look()
    assert bench.keys.known(owned[2]) is not None


async def test_a_failed_query_is_not_remembered(bench, owned):
    bench.lookup.down = True
    with pytest.raises(StorageUnavailable):
        await bench.keys.find(owned[2])
    bench.lookup.down = False
    assert (await bench.keys.find(owned[2])).id == owned[1].id


async def test_queries_that_fail_are_told_once_and_their_end_too(bench, owned, caplog):
    bench.lookup.down = True
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await bench.keys.find(owned[2])
    bench.lookup.down = False
    await bench.keys.find(owned[2])
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("keys cannot be looked up")
    assert second == "keys are looked up again"


async def test_a_key_of_the_previous_pepper_opens_and_is_stored_under_the_new(stores, owned):
    _, row, secret = owned
    both = Pepper("the next pepper", "a pepper of the tests")
    bench = Bench(stores, pepper=both)
    assert (await bench.keys.find(secret)).id == row.id
    alone = Pepper("the next pepper")
    assert (await Bench(stores, pepper=alone).keys.find(secret)).id == row.id
    assert await stores.lookup.find([PEPPER.digest(sha256(secret))]) == {}


async def test_a_pepper_that_cannot_be_replaced_yet_opens_all_the_same(stores, owned):
    bench = Bench(stores, pepper=Pepper("the next pepper", "a pepper of the tests"))

    async def fail(old, new):
        raise StorageUnavailable

    bench.lookup.rehash = fail
    assert (await bench.keys.find(owned[2])).id == owned[1].id


async def test_an_open_gateway_knows_everyone_as_one():
    directory = OpenDirectory(Limits(concurrency=1))
    assert directory.known("") is await directory.find("whatever")
    assert directory.known("").tenant.name == "default"
    assert directory.known("").tenant.limits.concurrency == 1
