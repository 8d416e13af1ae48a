"""Two listeners, one house: the data plane for callers, the ops port for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.admin import admin_router
from app.api import health, me, models, problems
from app.api.identity import client_request_id, new_call_id
from app.api.intake import headers_of
from app.api.relay import NOSNIFF
from app.server.allow import allowing
from app.wiring.operators import operate

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.types import Message, Receive, Scope, Send

    from app.api.inference import Inference
    from app.server.refusal import Application
    from app.wiring import House


class DataApp(FastAPI):
    """FastAPI with a fast lane: a POST on a surface's exact path never meets middleware or router."""

    inference: Inference

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["raw_path"] in self.inference.paths
        ):
            return self.inference(scope, receive, send)
        return super().__call__(scope, receive, _identified(scope, send))


def _identified(scope: Scope, send: Send) -> Send:
    """Every answer carries an id, and is what its content type says."""
    if scope["type"] != "http":
        return send
    request_id = client_request_id(headers_of(scope)) or new_call_id()
    extra = [(b"x-request-id", request_id.encode()), NOSNIFF]
    names = {name for name, _ in extra}

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [pair for pair in message["headers"] if pair[0] not in names] + extra
        await send(message)

    return send_with_id


def create_data_app(house: House) -> DataApp:
    """The callers' port."""
    app = DataApp(title="Sluice", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.inference = house.inference
    app.state.house = house
    problems.install(app)
    app.include_router(health.router(house.unready, house.info))
    app.include_router(models.router(house.catalog, house.storage.keys))
    app.include_router(me.router(house.storage.keys, house.storage.limiter, house.storage.reports))
    for path, surface in sorted(house.inference.paths.items()):
        app.router.routes.append(Route(path.decode(), house.inference, methods=["POST"], name=surface.name))
    return app


def create_ops_app(house: House) -> Application:
    """The operators' port: metrics, status and the admin REST, for allowed peers only."""
    return allowing(create_ops_routes(house), house.settings.ops.allow)


def create_ops_routes(house: House) -> Application:
    """The same for whoever asks: who that may be is somebody else's care."""
    app = FastAPI(
        title="Sluice admin", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.house = house
    problems.install(app)
    app.include_router(health.router(house.unready, house.info))

    @app.get("/status")
    async def status() -> JSONResponse:
        return JSONResponse(house.status())

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(house.metrics.exposition(), media_type="text/plain; version=1.0.0; charset=utf-8")

    app.include_router(admin_router(operate(house)), prefix="/admin")
    Instrumentator(
        registry=house.metrics.registry, excluded_handlers=["/metrics", "/health", "/ready"]
    ).instrument(app)
    return cast("Application", app)
