"""Why a call went where it went, or was refused; and, as a dry run, what would become of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.admin.explained import CallExplained
from app.admin.fields import Id
from app.admin.rehearsed import DryRun, Rehearsed
from app.admin.routes import Parts, guarded
from app.core.errors import InvalidRequest, NotFound
from app.core.tenant import Key
from app.gateway.question import ANYBODY, Question
from app.upstream.explain import candidates
from app.wire.surfaces import SURFACES

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.admin.parts import AdminParts

_MAX_TOKENS = {"/v1/responses": "max_output_tokens"}
_INSTEAD = ("stream", "prompt_tokens", "max_tokens")


def router(parts: AdminParts) -> APIRouter:
    """A dry run changes nothing: whoever may read may ask for one."""
    routes = guarded(parts, "explain", changes="viewer")
    routes.get("/requests/{call_id}")(explain_call)
    routes.post("/explain")(dry_run)
    return routes


async def explain_call(call_id: Id, parts: Parts) -> CallExplained:
    """The latest calls are remembered, by the worker that had them."""
    told = parts.explain(call_id)
    if told is None:
        raise NotFound("This call is not among those remembered; its usage may be under /usage/requests.")
    return CallExplained(**told, candidates_now=candidates(parts.fleet, told["model"]))


async def dry_run(asked: Rehearsed, parts: Parts) -> DryRun:
    """What would become of such a call now: nothing is sent, and no limit is touched."""
    surface = SURFACES.get(asked.surface)
    if surface is None:
        raise InvalidRequest(f"surface: one of {', '.join(sorted(SURFACES))}.", param="surface")
    body = _body(asked)
    key, unusable = await _key(asked, parts)
    question = Question(surface, body, key, asked.prompt_tokens, asked.session, unusable)
    return DryRun(**await parts.rehearse(question))


def _body(asked: Rehearsed) -> dict[str, Any]:
    """As the caller would send it."""
    if asked.body is None:
        limit = _MAX_TOKENS.get(asked.surface, "max_tokens")
        said = {"model": asked.model, "stream": asked.stream, limit: asked.max_tokens}
        return {name: value for name, value in said.items() if value is not None}
    for name in _INSTEAD:
        if getattr(asked, name) is not None:
            raise InvalidRequest(f"{name}: the body says that already.", param=name)
    if asked.model is not None and asked.body.get("model", asked.model) != asked.model:
        raise InvalidRequest("model: the body names another one.", param="model")
    return asked.body if asked.model is None else asked.body | {"model": asked.model}


async def _key(asked: Rehearsed, parts: AdminParts) -> tuple[Key, str | None]:
    """Who asks, and why that key opens nothing at present. Raises NotFound."""
    if asked.key_id is None:
        if asked.tenant_id is None:
            return ANYBODY, None
        row = await parts.tenants.get(asked.tenant_id)
        return Key("", row.tenant()), "tenant_disabled" if row.disabled else None
    held = await parts.keys.get(asked.key_id)
    if asked.tenant_id not in {None, held.tenant_id}:
        raise InvalidRequest("key_id: the key is another tenant's.", param="key_id")
    row = await parts.tenants.get(held.tenant_id)
    models = None if held.models is None else frozenset(held.models)
    key = Key(held.id, row.tenant(), held.name, held.limits, models, held.expires_at)
    if row.disabled:
        return key, "tenant_disabled"
    if held.disabled:
        return key, "disabled"
    expired = held.expires_at is not None and held.expires_at <= parts.clock.time()
    return key, "expired" if expired else None
