"""Errors as answers: one shape for everything the gateway itself has to say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core.errors import GatewayError, MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

logger = logging.getLogger(__name__)


def problem(error: GatewayError, request_id: str | None = None) -> Response:
    """The answer to a refused request."""
    headers = error.headers() | {"x-content-type-options": "nosniff"}
    if request_id is not None:
        headers["x-request-id"] = request_id
    return Response(error.body(), error.status, headers, media_type="application/json")


async def _gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101
    return problem(error, _id_of(request))


async def _http_error(request: Request, error: Exception) -> Response:
    """404 and 405 of the router, brought into our shape; the Allow header is kept."""
    assert isinstance(error, HTTPException)  # noqa: S101
    answer = problem(MethodNotAllowed() if error.status_code == 405 else NotFound(), _id_of(request))
    answer.headers.update(error.headers or {})
    return answer


async def _bug(request: Request, error: Exception) -> Response:
    logger.error("a bug in %s", request.scope.get("route"), exc_info=error)
    return problem(GatewayError(), _id_of(request))


def _id_of(request: Request) -> str | None:
    return request.scope.get("call_id")


def install(app: FastAPI) -> None:
    """Nothing a framework would say on its own reaches a caller."""
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
