"""A gateway without keys: everyone is the tenant `default`."""

from __future__ import annotations

from app.core.tenant import UNLIMITED, Key, Limits, Tenant


class OpenDirectory:
    """Whatever secret comes, or none, it is the one key of the one tenant."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self._key = Key("key_default", Tenant("default", "default", limits), "default")

    def known(self, secret: str) -> Key | None:
        return self._key

    async def find(self, secret: str) -> Key:
        return self._key
