"""The dry run: what would become of a call if it came now. Nothing is sent, taken or learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.core.errors import InvalidKey, ModelNotFound
from app.gateway.prospect import shown
from app.gateway.serve import UNSERVED
from app.telemetry.trail import limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.call import Call
    from app.core.errors import GatewayError
    from app.gateway.catalog import Catalog, Model
    from app.gateway.prospect import Prospects
    from app.gateway.question import Imagination, Question
    from app.tenancy.forecast import Forecast
    from app.tenancy.limiter import Limiter


class Rehearsal:
    """Walks the line with a call that nobody sent, and tells all of it, whatever the first refusal would be."""

    def __init__(
        self,
        imagination: Imagination,
        catalog: Catalog,
        limiter: Limiter,
        prospects: Prospects,
        counted: Callable[[], str],
        worker: int | None = None,
    ) -> None:
        """`counted` says where limits are counted at present; `worker` is this process's number among several."""
        self._imagination = imagination
        self._catalog = catalog
        self._limiter = limiter
        self._prospects = prospects
        self._counted = counted
        self._worker = worker

    async def __call__(self, question: Question) -> dict[str, Any]:
        """Raises InvalidRequest for a body that no key could send, ModelNotFound for a model nobody serves."""
        call, model = self._imagination.call(question)
        key = question.key
        allowed = key.may_use(call.model, model.name)
        forecasts, over_limit = await self._limiter.rehearse(call)
        routes, unserved = self._routes(call, model)
        barred = InvalidKey() if question.unusable else None if allowed else ModelNotFound(param="model")
        error = barred or over_limit or unserved
        return {
            "would": "refuse" if error is not None else routes[-1]["would"],
            "endpoint": None if error is not None else routes[-1]["endpoint"],
            "error": error and shown(error),
            "worker": self._worker,
            "tenant_id": key.tenant.id or None,
            "key_id": key.id or None,
            "key_unusable": question.unusable,
            "surface": call.surface.name,
            "streams": call.streams,
            "prompt_tokens": call.prompt_estimate,
            "completion_limit": call.completion_limit,
            "model": self._naming(question, call, model),
            "allowed": allowed,
            "limits_counted": self._counted(),
            "limits": [_limit(each) for each in forecasts],
            "routes": routes,
        }

    def _naming(self, question: Question, call: Call, model: Model) -> dict[str, Any]:
        asked = question.body.get("model") or None
        return {
            "asked": asked,
            "resolved": model.name,
            "by": "default" if asked is None else "name" if asked == model.name else "alias",
            "fallbacks": [each.name for each in self._catalog.fallbacks(model, question.key)],
        }

    def _routes(self, call: Call, model: Model) -> tuple[list[dict[str, Any]], GatewayError | None]:
        """The model, and its fallbacks up to the first that could take the call."""
        routes: list[dict[str, Any]] = []
        last: GatewayError | None = None
        for each in (model, *self._catalog.fallbacks(model, call.key)):
            call.target = each.name
            route, last = self._prospects.of(call, each)
            routes.append(route)
            if not isinstance(last, UNSERVED):
                break
        return routes, last


def _limit(forecast: Forecast) -> dict[str, Any]:
    rule, decision, cost = forecast
    return {"of": rule.owner, "cost": cost, **limit(decision)}
