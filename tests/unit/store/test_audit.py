"""Who changed what."""

from __future__ import annotations

from tests.stores import opened


async def test_changes_are_listed_newest_first(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/sluice.db") as stores:
        for number in range(3):
            await stores.audit.record("alice", "tenant.create", f"tnt_{number}", origin="10.0.0.1")
            stores.clock.advance(1)
        await stores.audit.record("root", "key.revoke", "key_1", detail={"abort": True})
        first = await stores.audit.page(limit=3)
        assert [row.subject for row in first.rows] == ["key_1", "tnt_2", "tnt_1"]
        assert (first.rows[0].actor, first.rows[0].detail) == ("root", {"abort": True})
        rest = await stores.audit.page(limit=3, cursor=first.next_cursor)
        assert [(row.subject, row.at, row.origin) for row in rest.rows] == [
            ("tnt_0", stores.clock.time() - 3, "10.0.0.1")
        ]
        assert not rest.has_more
