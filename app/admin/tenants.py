"""Tenants over REST: made, seen, changed, deleted; each change in force before it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query

from app.admin.fields import Id, Name
from app.admin.pages import Listing, PageQuery, listing
from app.admin.routes import Parts, Who, guarded
from app.admin.schemas import TenantNew, TenantPatch, TenantShown
from app.admin.trail import difference, note
from app.core.errors import InvalidRequest
from app.store.page import Page

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.parts import AdminParts


def router(parts: AdminParts) -> APIRouter:
    routes = guarded(parts, "tenants", changes="admin")
    routes.post("/tenants", status_code=201)(create_tenant)
    routes.get("/tenants")(list_tenants)
    routes.get("/tenants/{tenant_id}")(show_tenant)
    routes.patch("/tenants/{tenant_id}")(change_tenant)
    routes.delete("/tenants/{tenant_id}", status_code=204)(delete_tenant)
    return routes


class TenantsQuery(PageQuery, frozen=True):
    """`name`: only the tenant of exactly this name."""

    name: Name | None = None


async def create_tenant(body: TenantNew, parts: Parts, who: Who) -> TenantShown:
    """409 when the name is taken."""
    made = TenantShown.of(await parts.tenants.create(**body.sent()))
    await note(parts.audit, who, "tenant.create", made.id, difference(None, made))
    return made


async def list_tenants(query: Annotated[TenantsQuery, Query()], parts: Parts) -> Listing[TenantShown]:
    """Oldest first."""
    if query.name is None:
        return listing(await parts.tenants.page(query.limit, query.cursor), TenantShown.of)
    found = await parts.tenants.named(query.name)
    return listing(Page([] if found is None else [found]), TenantShown.of)


async def show_tenant(tenant_id: Id, parts: Parts) -> TenantShown:
    return TenantShown.of(await parts.tenants.get(tenant_id))


async def change_tenant(
    tenant_id: Id, body: TenantPatch, parts: Parts, who: Who, abort: bool = False
) -> TenantShown:
    """Absent = unchanged, null = unlimited. With `abort`, disabling cuts its running calls as well."""
    if abort and not body.disabled:
        raise InvalidRequest("abort goes with disabled: true.", param="abort")
    before = TenantShown.of(await parts.tenants.get(tenant_id))
    after = TenantShown.of(await parts.tenants.update(tenant_id, body.sent()))
    if abort:
        parts.cut(tenant_id)
    await note(parts.audit, who, "tenant.update", tenant_id, difference(before, after))
    return after


async def delete_tenant(tenant_id: Id, parts: Parts, who: Who, abort: bool = False) -> None:
    """Its keys end at once, its ledger stays. Running calls finish, unless `abort`."""
    before = TenantShown.of(await parts.tenants.get(tenant_id))
    await parts.tenants.delete(tenant_id)
    if abort:
        parts.cut(tenant_id)
    await note(parts.audit, who, "tenant.delete", tenant_id, difference(before, None))
