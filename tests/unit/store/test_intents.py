"""What operators want of the fleet."""

from __future__ import annotations

from tests.stores import opened


async def test_the_last_wish_for_an_endpoint_holds_until_it_ends_or_is_taken_back(tmp_path):
    async with opened(f"sqlite:///{tmp_path}/sluice.db") as stores:
        heard = []

        async def hear():
            heard.append(sorted(await stores.intents.all()))

        stores.changes.subscribe("fleet", hear)
        await stores.intents.say("gpu-a", "drain", actor="alice", reason="new driver")
        await stores.intents.say("gpu-a", "eject", actor="bob", seconds=60)
        await stores.intents.say("gpu-b", "drain", actor="bob")
        wish = (await stores.intents.all())["gpu-a"]
        assert (wish.intent, wish.actor, wish.reason, wish.until) == (
            "eject",
            "bob",
            "",
            stores.clock.time() + 60,
        )
        stores.clock.advance(60)
        assert sorted(await stores.intents.all()) == ["gpu-b"]
        assert await stores.intents.take_back("gpu-b")
        assert not await stores.intents.take_back("gpu-b")
        assert await stores.intents.all() == {}
        assert heard == [["gpu-a"], ["gpu-a"], ["gpu-a", "gpu-b"], [], []]
