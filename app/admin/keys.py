"""Keys over REST: a secret is in the answer that makes it and in no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query

from app.admin.fields import Id
from app.admin.pages import Listing, PageQuery, listing
from app.admin.routes import Parts, Who, guarded
from app.admin.schemas import KeyMade, KeyNew, KeyPatch, KeyShown, Rotation
from app.admin.trail import difference, note
from app.core.errors import InvalidRequest

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.parts import AdminParts


def router(parts: AdminParts) -> APIRouter:
    routes = guarded(parts, "keys", changes="admin")
    routes.post("/tenants/{tenant_id}/keys", status_code=201)(create_key)
    routes.get("/tenants/{tenant_id}/keys")(list_keys)
    routes.get("/keys/{key_id}")(show_key)
    routes.patch("/keys/{key_id}")(change_key)
    routes.delete("/keys/{key_id}", status_code=204)(revoke_key)
    routes.post("/keys/{key_id}/rotate")(rotate_key)
    return routes


async def create_key(tenant_id: Id, parts: Parts, who: Who, body: KeyNew | None = None) -> KeyMade:
    """What a key may use is what its tenant may as well; the limits of both hold."""
    row, secret = await parts.keys.create(tenant_id, **(body.sent() if body else {}))
    await note(parts.audit, who, "key.create", row.id, difference(None, KeyShown.of(row)))
    return KeyMade.with_secret(row, secret)


async def list_keys(tenant_id: Id, query: Annotated[PageQuery, Query()], parts: Parts) -> Listing[KeyShown]:
    """Oldest first, without those revoked."""
    await parts.tenants.get(tenant_id)
    return listing(await parts.keys.page(tenant_id, query.limit, query.cursor), KeyShown.of)


async def show_key(key_id: Id, parts: Parts) -> KeyShown:
    return KeyShown.of(await parts.keys.get(key_id))


async def change_key(key_id: Id, body: KeyPatch, parts: Parts, who: Who, abort: bool = False) -> KeyShown:
    """Absent = unchanged, null = unlimited. With `abort`, disabling cuts its running calls as well."""
    if abort and not body.disabled:
        raise InvalidRequest("abort goes with disabled: true.", param="abort")
    before = KeyShown.of(await parts.keys.get(key_id))
    after = KeyShown.of(await parts.keys.update(key_id, body.sent()))
    if abort:
        parts.cut(key_id)
    await note(parts.audit, who, "key.update", key_id, difference(before, after))
    return after


async def revoke_key(key_id: Id, parts: Parts, who: Who, abort: bool = False) -> None:
    """It opens nothing from now on. Its running calls finish, unless `abort`."""
    before = KeyShown.of(await parts.keys.revoke(key_id))
    if abort:
        parts.cut(key_id)
    await note(parts.audit, who, "key.revoke", key_id, difference(before, None))


async def rotate_key(key_id: Id, parts: Parts, who: Who, body: Rotation | None = None) -> KeyMade:
    """A new secret for the same key; its older ones work on for the overlap."""
    overlap = (body.overlap_seconds if body else None) or 0.0
    before = KeyShown.of(await parts.keys.get(key_id))
    row, secret = await parts.keys.rotate(key_id, overlap)
    detail = difference(before, KeyShown.of(row)) | {"overlap_seconds": overlap}
    await note(parts.audit, who, "key.rotate", key_id, detail)
    return KeyMade.with_secret(row, secret)
