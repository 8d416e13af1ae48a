"""The models a key may use, in OpenAI's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from app.api.identity import identify
from app.api.intake import headers_of
from app.core.errors import ModelNotFound

if TYPE_CHECKING:
    from app.core.ports import KeyDirectory
    from app.core.tenant import Key
    from app.gateway.catalog import Catalog


def router(catalog: Catalog, keys: KeyDirectory) -> APIRouter:
    """`GET /v1/models` and `GET /v1/models/{id}`; ids may hold slashes."""
    routes = APIRouter()

    async def key_of(request: Request) -> Key:
        return await identify(headers_of(request.scope), keys)

    @routes.get("/v1/models")
    async def list_models(request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": catalog.listing(await key_of(request))})

    @routes.get("/v1/models/{model_id:path}")
    async def retrieve_model(request: Request, model_id: str) -> JSONResponse:
        for row in catalog.listing(await key_of(request)):
            if row["id"] == model_id:
                return JSONResponse(row)
        raise ModelNotFound(param="model")

    return routes
