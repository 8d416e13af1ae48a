"""The smallest question that only a working engine can answer: a completion of one token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app.upstream.control import UnansweredError

if TYPE_CHECKING:
    from app.upstream.control import Control
    from app.upstream.endpoint import LiveEndpoint


class Trial:
    """Asks one endpoint, greedily and for one token. `timeout` is for each question."""

    def __init__(self, endpoint: LiveEndpoint, control: Control, timeout: float) -> None:
        self._endpoint = endpoint
        self._control = control
        self._timeout = timeout

    async def completes(self) -> bool | None:
        """None when nothing is learnt: pooling servers have no such route, and busy is not broken."""
        models = self._endpoint.catalogue.usable()
        if not models:
            return None
        question = {"model": models[0], "prompt": "Hi", "max_tokens": 1, "temperature": 0}
        try:
            status, body = await self._ask("/v1/completions", json.dumps(question).encode())
        except UnansweredError:
            return False
        if status == 200:
            return _finished(body)
        return False if status >= 500 and status != 503 else None

    async def paused(self) -> bool:
        """Whether it says so itself, which only servers in development mode do."""
        try:
            status, body = await self._ask("/is_paused")
            return status == 200 and json.loads(body)["is_paused"] is True
        except (UnansweredError, ValueError, LookupError, TypeError, RecursionError):
            return False

    async def _ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        return await self._control.ask(self._endpoint.spec, path, self._timeout, body=body)


def _finished(body: bytes) -> bool:
    """Whether it is a completion that the engine ended by itself."""
    try:
        answer: Any = json.loads(body)
        return answer["choices"][0]["finish_reason"] in {"stop", "length"}
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
