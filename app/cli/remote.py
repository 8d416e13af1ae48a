"""Tenants, keys and usage through the admin REST of a running gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from app.cli.failure import Failed
from app.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from app.cli.backend import Document

_TIMEOUT = 60.0
"""A year of a busy ledger takes a while to sum."""


class Remote:
    """What the gateway refuses is said in the gateway's words."""

    def __init__(self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`url` is the ops address. Raises Failed without a token."""
        if not token:
            raise Failed("SLUICE_URL is set, so SLUICE_ADMIN_TOKEN must be set too")
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=f"{self._url}/admin/v1",
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=_TIMEOUT,
            transport=transport,
        )

    async def timezone(self) -> str:
        return str((await self._ask("GET", "/config"))["ledger"]["timezone"])

    async def tenants(self) -> list[Document]:
        return await self._all("/tenants")

    async def create_tenant(self, fields: Mapping[str, Any]) -> Document:
        return await self._ask("POST", "/tenants", fields)

    async def update_tenant(self, tenant_id: str, changes: Mapping[str, Any]) -> Document:
        return await self._ask("PATCH", f"/tenants/{tenant_id}", changes)

    async def delete_tenant(self, tenant_id: str) -> None:
        await self._ask("DELETE", f"/tenants/{tenant_id}")

    async def keys(self, tenant_id: str) -> list[Document]:
        return await self._all(f"/tenants/{tenant_id}/keys")

    async def create_key(self, tenant_id: str, fields: Mapping[str, Any]) -> Document:
        return await self._ask("POST", f"/tenants/{tenant_id}/keys", fields)

    async def update_key(self, key_id: str, changes: Mapping[str, Any]) -> Document:
        return await self._ask("PATCH", f"/keys/{key_id}", changes)

    async def revoke_key(self, key_id: str, *, abort: bool) -> None:
        await self._ask("DELETE", f"/keys/{key_id}", query={"abort": abort})

    async def rotate_key(self, key_id: str, overlap: float) -> Document:
        return await self._ask("POST", f"/keys/{key_id}/rotate", {"overlap_seconds": overlap})

    async def adopt_key(self, tenant_id: str, secret: str | bytes, fields: Mapping[str, Any]) -> Document:
        raise Failed("keys are imported into the database itself: run this without SLUICE_URL")

    async def usage(self, which: Mapping[str, Any], group_by: Sequence[str]) -> list[Document]:
        answer = await self._ask("GET", "/usage", query={**which, "group_by": ",".join(group_by)})
        rows: list[Document] = answer["data"]
        return rows

    async def calls(self, which: Mapping[str, Any]) -> AsyncIterator[Document]:
        try:
            async with self._client.stream("GET", "/usage/export", params=dict(which)) as response:
                if not response.is_success:
                    await response.aread()
                    raise Failed(self._refused(response))
                async for line in response.aiter_lines():
                    yield json.loads(line)
        except httpx.HTTPError as error:
            raise Failed(f"{self._url} broke off: {error}") from None

    async def reconcile(self, which: Mapping[str, Any]) -> list[Document]:
        answer = await self._ask("GET", "/usage/reconcile", query=which)
        rows: list[Document] = answer["data"]
        return rows

    async def prune(self, before: float) -> int:
        raise Failed("the ledger is pruned in the database itself: run this without SLUICE_URL")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _all(self, path: str) -> list[Document]:
        rows: list[Document] = []
        query: dict[str, Any] = {"limit": 1000}
        while True:
            answer = await self._ask("GET", path, query=query)
            rows += [_bare(row) for row in answer["data"]]
            if not answer["has_more"]:
                return rows
            query["cursor"] = answer["next_cursor"]

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Document:
        try:
            response = await self._client.request(method, path, json=body, params=query)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(f"{self._url} does not answer: {error}") from None
        if response.is_success:
            return _bare(response.json()) if response.content else {}
        raise Failed(self._refused(response))

    def _refused(self, response: httpx.Response) -> str:
        try:
            message = str(response.json()["error"]["message"])
        except (ValueError, LookupError, TypeError):
            return f"{self._url} answers {response.status_code}: is it the ops address of a gateway?"
        if message == NotFound.message:
            return f"{self._url} has no admin API: is it the ops address, and has the gateway an admin token?"
        return message


def _bare(document: Document) -> Document:
    """Without the word for what kind of object it is."""
    return {name: value for name, value in document.items() if name != "object"}
