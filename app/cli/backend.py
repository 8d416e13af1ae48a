"""Where tenants, keys and usage are kept: behind a running gateway, or in the database itself."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from app.cli.failure import say
from app.cli.options import moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

Answer = TypeVar("Answer")
Document = dict[str, Any]
"""A tenant, a key or a row of sums in the words of the admin REST; moments are seconds since the epoch."""


class Backend(Protocol):
    """The same answers, whoever gives them. Raises Failed or a GatewayError."""

    async def timezone(self) -> str:
        """Of the ledger."""
        ...

    async def tenants(self) -> list[Document]: ...

    async def create_tenant(self, fields: Mapping[str, Any]) -> Document: ...

    async def update_tenant(self, tenant_id: str, changes: Mapping[str, Any]) -> Document:
        """Absent fields stay; None in `limits`, or for a model in `model_limits`, lifts it."""
        ...

    async def delete_tenant(self, tenant_id: str) -> None: ...

    async def keys(self, tenant_id: str) -> list[Document]: ...

    async def create_key(self, tenant_id: str, fields: Mapping[str, Any]) -> Document:
        """The only one, beside `rotate_key`, that holds the `secret`."""
        ...

    async def update_key(self, key_id: str, changes: Mapping[str, Any]) -> Document: ...

    async def revoke_key(self, key_id: str, *, abort: bool) -> None:
        """`abort` cuts the calls that run under it."""
        ...

    async def rotate_key(self, key_id: str, overlap: float) -> Document:
        """The older secrets open for `overlap` seconds more."""
        ...

    async def adopt_key(self, tenant_id: str, secret: str | bytes, fields: Mapping[str, Any]) -> Document:
        """An existing key: in plain, or the SHA-256 of it. Raises Conflict for one that is kept already."""
        ...

    async def usage(self, which: Mapping[str, Any], group_by: Sequence[str]) -> list[Document]:
        """`which`: tenant_id, key_id, model, endpoint, surface, start and end, as far as they matter."""
        ...

    def calls(self, which: Mapping[str, Any]) -> AsyncIterator[Document]:
        """The ledger's rows as they come, newest first; `which` as for `usage`."""
        ...

    async def reconcile(self, which: Mapping[str, Any]) -> list[Document]:
        """`which`: endpoint, start, end and step, as far as they matter."""
        ...

    async def prune(self, before: float) -> int:
        """How many rows of the ledger were deleted."""
        ...

    async def aclose(self) -> None: ...


def ask(config: Path | None, question: Callable[[Backend], Awaitable[Answer]]) -> Answer:
    """Put a question to the gateway at SLUICE_URL, else to the database of the configuration; say which."""
    url = os.environ.get("SLUICE_URL", "")
    if url:
        from app.cli.remote import Remote

        say(f"asking the gateway at {url}")
        return asyncio.run(_answered(Remote(url, os.environ.get("SLUICE_ADMIN_TOKEN", "")), question))
    from app.cli.local import Local

    local = Local(config)
    say(f"using the database {local.location}")
    return asyncio.run(_answered(local, question))


async def _answered(backend: Backend, question: Callable[[Backend], Awaitable[Answer]]) -> Answer:
    try:
        return await question(backend)
    finally:
        await backend.aclose()


async def find_tenant(backend: Backend, name: str) -> Document:
    """By name or by id. Raises NotFound."""
    from app.core.errors import NotFound

    for tenant in await backend.tenants():
        if name in (tenant["name"], tenant["id"]):
            return tenant
    raise NotFound(f"There is no tenant {name!r}.")


async def which_usage(
    backend: Backend,
    *,
    start: str | None,
    end: str | None,
    tenant: str | None = None,
    **exact: str | None,
) -> Document:
    """What of the ledger was asked for: moments are of its timezone, `tenant` is a name or an id."""
    which: Document = {name: value for name, value in exact.items() if value is not None}
    zone = await backend.timezone() if start or end else "UTC"
    which |= {"start": moment(start, zone, ahead=False)} if start else {}
    which |= {"end": moment(end, zone, ahead=False)} if end else {}
    if tenant is not None:
        which["tenant_id"] = (await find_tenant(backend, tenant))["id"]
    return which
