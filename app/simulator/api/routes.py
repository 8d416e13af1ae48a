"""The routes of a server: which exist in which mode, and what unknown ones get."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.simulator.api import (
    chat,
    completions,
    development,
    messages,
    metrics,
    models,
    plain,
    pooling,
    responses,
    tokens,
)
from app.simulator.api.call import Call
from app.simulator.options import SimulatorOptions

Handler = Callable[[Call], None]
_STORED = re.compile(r"/v1/responses/[^/]+(/cancel)?")


@dataclass(frozen=True, slots=True)
class Route:
    """A path's handlers by method, and its name in the metrics."""

    name: str
    handlers: dict[str, Handler]


def routes(options: SimulatorOptions) -> dict[str, Route]:
    """All routes of a server with these options."""
    posts, gets = dict(_POST_ALWAYS), dict(_GET_ALWAYS)
    posts |= _POST_GENERATE if options.mode == "generate" else _POST_POOLING
    if options.dev_mode:
        posts |= _POST_DEVELOPMENT
        gets |= _GET_DEVELOPMENT
    table: dict[str, dict[str, Handler]] = {}
    for method, handlers in (("GET", gets), ("POST", posts)):
        for path, handler in handlers.items():
            table.setdefault(path, {})[method] = handler
    return {path: Route(path, handlers) for path, handlers in table.items()}


def find(table: dict[str, Route], path: str) -> Route | None:
    """The route of a path; the only ones with a variable part are stored responses."""
    route = table.get(path)
    if route is None and "/v1/responses" in table and (match := _STORED.fullmatch(path)):
        method = "POST" if match.group(1) else "GET"
        return Route("/v1/responses/{response_id}" + (match.group(1) or ""), {method: plain.stored_response})
    return route


_GET_ALWAYS: dict[str, Handler] = {
    "/health": plain.health,
    "/ping": plain.health,
    "/version": plain.version,
    "/load": plain.load,
    "/metrics": metrics.metrics,
    "/v1/models": models.models,
    "/kv_event_sources": plain.kv_event_sources,
}
_POST_ALWAYS: dict[str, Handler] = {
    "/ping": plain.health,
    "/tokenize": tokens.tokenize,
    "/detokenize": tokens.detokenize,
    "/inference/v1/generate": plain.scale_out,
    "/inference/v1/abort_requests": plain.scale_out,
}
_POST_GENERATE: dict[str, Handler] = {
    "/v1/chat/completions": chat.chat,
    "/v1/chat/completions/batch": chat.chat_batch,
    "/v1/chat/completions/render": plain.scale_out,
    "/v1/completions": completions.completions,
    "/v1/completions/render": plain.scale_out,
    "/v1/responses": responses.responses,
    "/v1/messages": messages.messages,
    "/v1/messages/count_tokens": messages.count_tokens,
    "/invocations": chat.chat,
}
_POST_POOLING: dict[str, Handler] = {
    "/v1/embeddings": pooling.embeddings,
    "/invocations": pooling.embeddings,
    "/pooling": pooling.pooling,
    "/score": pooling.score,
    "/v1/score": pooling.score,
    "/rerank": pooling.rerank,
    "/v1/rerank": pooling.rerank,
    "/v2/rerank": pooling.rerank,
    "/v2/embed": pooling.cohere_embed,
}
_GET_DEVELOPMENT: dict[str, Handler] = {
    "/is_sleeping": development.is_sleeping,
    "/is_paused": development.is_paused,
}
_POST_DEVELOPMENT: dict[str, Handler] = {
    "/sleep": development.sleep,
    "/wake_up": development.wake_up,
    "/pause": development.pause,
    "/resume": development.resume,
    "/reset_prefix_cache": development.reset_prefix_cache,
}
