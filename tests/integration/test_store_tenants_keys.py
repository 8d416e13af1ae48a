"""Tenants and keys on real databases."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import Conflict, InvalidRequest, NotFound
from app.core.tenant import UNLIMITED, Limits
from app.store.pepper import sha256
from tests.stores import PEPPER, opened

pytest_plugins = ("tests.postgres",)


async def who(stores, secret):
    digest = PEPPER.digest(sha256(secret))
    return (await stores.lookup.find([digest])).get(digest)


async def test_a_tenant_is_kept_with_all_it_was_given(store_url):
    async with opened(store_url) as stores:
        made = await stores.tenants.create(
            "team é'\"%_\\",
            limits={"requests_per_minute": 5},
            model_limits={"m": {"tokens_per_day": 9}},
            models=["m"],
            priority=3,
            metadata={"cost centre": 7},
        )
        assert made.id.startswith("tnt_")
        assert made.limits == Limits(requests_per_minute=5)
        assert made.model_limits == {"m": Limits(tokens_per_day=9)}
        assert (made.models, made.priority, made.disabled, made.metadata) == (
            ["m"],
            3,
            False,
            {"cost centre": 7},
        )
        assert await stores.tenants.get(made.id) == made
        assert await stores.tenants.named("team é'\"%_\\") == made
        assert await stores.tenants.named("team%") is None


async def test_strictness_is_kept_with_the_limits_and_reaches_the_line(store_url):
    async with opened(store_url) as stores:
        made = await stores.tenants.create("team", strict=True)
        assert (made.limits, made.strict) == (UNLIMITED, True)
        _, secret = await stores.keys.create(made.id, limits={"requests_burst": 3})
        changed = await stores.tenants.update(made.id, {"limits": {"tokens_burst": 7}})
        assert (changed.limits, changed.strict) == (Limits(tokens_burst=7), True)
        key = await who(stores, secret)
        assert (key.tenant.strict, key.tenant.limits.tokens_burst, key.limits.requests_burst) == (True, 7, 3)
        assert not (await stores.tenants.update(made.id, {"limits": None, "strict": False})).strict


async def test_a_name_is_taken_among_the_living_and_free_again_after_delete(store_url):
    async with opened(store_url) as stores:
        first = await stores.tenants.create("team")
        other = await stores.tenants.create("other")
        with pytest.raises(Conflict):
            await stores.tenants.create("team")
        with pytest.raises(Conflict):
            await stores.tenants.update(other.id, {"name": "team"})
        await stores.tenants.delete(first.id)
        again = await stores.tenants.create("team")
        assert again.id != first.id
        with pytest.raises(NotFound):
            await stores.tenants.get(first.id)
        with pytest.raises(NotFound):
            await stores.tenants.delete(first.id)
        with pytest.raises(NotFound):
            await stores.tenants.update(first.id, {"priority": 1})


async def test_a_patch_leaves_what_is_absent_and_lifts_what_is_none(store_url):
    async with opened(store_url) as stores:
        made = await stores.tenants.create(
            "team",
            limits={"requests_per_minute": 5, "concurrency": 2},
            model_limits={"a": {"concurrency": 1}, "b": {"concurrency": 1}},
            models=[],
        )
        stores.clock.advance(5)
        changed = await stores.tenants.update(
            made.id, {"limits": {"concurrency": None}, "model_limits": {"a": None, "b": {"concurrency": 2}}}
        )
        assert changed.limits == Limits(requests_per_minute=5)
        assert changed.model_limits == {"b": Limits(concurrency=2)}
        assert changed.models == []
        assert (changed.created_at, changed.updated_at) == (made.created_at, made.created_at + 5)
        lifted = await stores.tenants.update(made.id, {"limits": None, "model_limits": None, "models": None})
        assert (lifted.limits, lifted.model_limits, lifted.models) == (UNLIMITED, {}, None)
        with pytest.raises(TypeError, match="colour"):
            await stores.tenants.update(made.id, {"colour": "red"})


async def test_lists_come_a_page_at_a_time(store_url):
    async with opened(store_url) as stores:
        made = []
        for number in range(5):
            made.append(await stores.tenants.create(f"team {number}"))
            stores.clock.advance(number % 2)
        seen, cursor = [], None
        while True:
            page = await stores.tenants.page(2, cursor)
            seen += page.rows
            cursor = page.next_cursor
            if not page.has_more:
                break
        assert {row.id for row in seen} == {row.id for row in made}
        assert len(seen) == 5
        for cursor in ("nonsense", "", "WzFd", "W10="):
            with pytest.raises(InvalidRequest):
                await stores.tenants.page(2, cursor)
        with pytest.raises(InvalidRequest):
            await stores.tenants.page(0)


async def test_a_secret_is_shown_once_and_opens_its_key(store_url):
    async with opened(store_url) as stores:
        tenant = await stores.tenants.create("team", limits={"concurrency": 3}, models=["m", "n"])
        row, secret = await stores.keys.create(
            tenant.id, name="ci", models=["m"], limits={"requests_per_minute": 1}, expires_at=2e9
        )
        assert row.id.startswith("key_")
        assert secret.startswith("sk-")
        assert len(secret) == 46
        assert row.prefix == secret[:8]
        key = await who(stores, secret)
        assert key is not None
        assert (key.id, key.name, key.limits, key.models) == (row.id, "ci", Limits(1), frozenset({"m"}))
        assert key.tenant == tenant.tenant()
        assert key.expires_at == 2e9
        assert secret not in repr(await stores.keys.get(row.id))
        assert await who(stores, secret[:-1]) is None


async def test_nothing_of_a_secret_is_stored_but_its_beginning(tmp_path):
    url = f"sqlite:///{tmp_path}/sluice.db"
    async with opened(url) as stores:
        tenant = await stores.tenants.create("team")
        _, secret = await stores.keys.create(tenant.id)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret[:8].encode() in stored
    assert secret[:10].encode() not in stored
    assert sha256(secret).hex().encode() not in stored


async def test_a_key_needs_a_living_tenant(store_url):
    async with opened(store_url) as stores:
        with pytest.raises(NotFound):
            await stores.keys.create("tnt_nobody")
        tenant = await stores.tenants.create("team")
        await stores.tenants.delete(tenant.id)
        with pytest.raises(NotFound):
            await stores.keys.create(tenant.id)


async def test_what_is_disabled_revoked_or_deleted_opens_nothing(store_url):
    async with opened(store_url) as stores:
        tenant = await stores.tenants.create("team")
        row, secret = await stores.keys.create(tenant.id)
        await stores.keys.update(row.id, {"disabled": True})
        assert await who(stores, secret) is None
        await stores.keys.update(row.id, {"disabled": False})
        assert await who(stores, secret) is not None
        await stores.tenants.update(tenant.id, {"disabled": True})
        assert await who(stores, secret) is None
        await stores.tenants.update(tenant.id, {"disabled": False})
        await stores.keys.revoke(row.id)
        assert await who(stores, secret) is None
        with pytest.raises(NotFound):
            await stores.keys.revoke(row.id)
        _, other = await stores.keys.create(tenant.id)
        await stores.tenants.delete(tenant.id)
        assert await who(stores, other) is None


async def test_a_rotated_key_keeps_its_id_and_the_old_secret_ends_after_the_overlap(store_url):
    async with opened(store_url) as stores:
        tenant = await stores.tenants.create("team")
        row, old = await stores.keys.create(tenant.id, name="ci")
        stores.clock.advance(1)
        rotated, new = await stores.keys.rotate(row.id, overlap=60)
        assert (rotated.id, rotated.name, rotated.prefix) == (row.id, "ci", new[:8])
        ending, lasting = await who(stores, old), await who(stores, new)
        assert ending.id == lasting.id == row.id
        assert ending.expires_at == stores.clock.time() + 60
        assert lasting.expires_at is None
        await stores.keys.rotate(row.id)
        assert (await who(stores, old)).expires_at == stores.clock.time()
        assert (await who(stores, new)).expires_at == stores.clock.time()


async def test_existing_keys_are_adopted_in_plain_or_as_sha256(store_url):
    async with opened(store_url) as stores:
        tenant = await stores.tenants.create("team")
        plain = await stores.keys.adopt(tenant.id, "my-old-secret", name="plain")
        hashed = await stores.keys.adopt(tenant.id, sha256("another-secret"), name="hashed")
        assert (plain.prefix, hashed.prefix) == ("my-old-s", "")
        assert (await who(stores, "my-old-secret")).id == plain.id
        assert (await who(stores, "another-secret")).id == hashed.id
        with pytest.raises(Conflict):
            await stores.keys.adopt(tenant.id, sha256("my-old-secret"))


async def test_keys_are_patched_and_listed(store_url):
    async with opened(store_url) as stores:
        team, other = await stores.tenants.create("team"), await stores.tenants.create("other")
        row, _ = await stores.keys.create(team.id, limits={"concurrency": 1, "tokens_per_day": 5})
        await stores.keys.create(other.id)
        changed = await stores.keys.update(row.id, {"name": "x", "limits": {"concurrency": None}})
        assert (changed.name, changed.limits) == ("x", Limits(tokens_per_day=5))
        assert [each.id for each in (await stores.keys.page(team.id)).rows] == [row.id]
        first = await stores.keys.page(limit=1)
        assert first.has_more
        rest = await stores.keys.page(limit=1, cursor=first.next_cursor)
        assert len({each.id for each in first.rows + rest.rows}) == 2
        with pytest.raises(NotFound):
            await stores.keys.update("key_nobody", {"name": "x"})
        with pytest.raises(TypeError):
            await stores.keys.update(row.id, {"digest": "x"})


async def test_many_changes_at_once_all_count(store_url):
    async with opened(store_url) as stores:
        team = await stores.tenants.create("team")
        await asyncio.gather(*(stores.keys.create(team.id, name=str(n)) for n in range(20)))
        await asyncio.gather(*(stores.tenants.update(team.id, {"priority": n}) for n in range(10)))
        assert len((await stores.keys.page(team.id)).rows) == 20
        changed = await stores.lookup.changed(0)
        assert (changed.version, changed.tenants) == (31, frozenset({team.id}))
