"""Routes behind a token: who asks and may they, strict bodies in, one shape of errors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.admin.access import Operator, Role
from app.admin.parts import AdminParts
from app.core.errors import GatewayError, InvalidRequest, RequestTooLarge, UnsupportedMediaType
from app.wire.body import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from starlette.responses import Response

    Handler = Callable[[Request], Coroutine[Any, Any, Response]]

LARGEST_BODY = 2**20
_LONGEST_NAME = 128


def guarded(parts: AdminParts, tag: str, changes: Role, prefix: str = "/v1") -> APIRouter:
    """A router whose every route asks for a token: to read, any; to change, one of the role `changes`."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Handler:
            answer = super().get_route_handler()

            async def handle(request: Request) -> Response:
                needed: Role = "viewer" if request.method == "GET" else changes
                origin = request.client.host if request.client else ""
                authorization = request.headers.get("authorization", "")
                request.state.operator = parts.access.admit(authorization, origin, needed)
                request.state.parts = parts
                response = await _answered(answer, _Strict(request.scope, request.receive))
                response.headers.update({"cache-control": "no-store", "x-content-type-options": "nosniff"})
                return response

            return handle

    return APIRouter(prefix=prefix, route_class=Guarded, tags=[tag])


async def _parts_of(request: Request) -> AdminParts:
    parts: AdminParts = request.state.parts
    return parts


async def _operator_of(request: Request) -> Operator:
    operator: Operator = request.state.operator
    return operator


Parts = Annotated[AdminParts, Depends(_parts_of)]
Who = Annotated[Operator, Depends(_operator_of)]


class _Strict(Request):
    """Only JSON objects, by the same rules as on the data plane."""

    async def body(self) -> bytes:
        body = await super().body()
        if len(body) > LARGEST_BODY:
            raise RequestTooLarge
        media, _, _ = self.headers.get("content-type", "").partition(";")
        if body and media.strip().lower() != "application/json":
            raise UnsupportedMediaType
        return body

    async def json(self) -> Any:
        return decode(await self.body())


async def _answered(answer: Handler, request: Request) -> Response:
    """The framework's own refusals become ours."""
    try:
        return await answer(request)
    except RequestValidationError as error:
        raise refusal(error.errors()) from None
    except HTTPException as error:
        if isinstance(error.__cause__, GatewayError):
            raise error.__cause__ from None
        raise


def refusal(errors: Sequence[Any]) -> InvalidRequest:
    """Names the first field that is wrong and the rule it breaks, never what was sent for it."""
    first = errors[0]
    _, *path = first["loc"]
    name = ".".join(str(step) for step in path)[:_LONGEST_NAME]
    param = "".join(letter if letter.isprintable() else "?" for letter in name)
    rule = first["msg"].removeprefix("Value error, ")
    return InvalidRequest(f"{param or 'The body'}: {rule}.", param=param or None)
