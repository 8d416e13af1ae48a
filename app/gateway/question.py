"""A request that nobody sent: what an operator asks about, and the call it would have been."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.core.call import Call
from app.core.tenant import Key, Tenant
from app.wire.request import read
from app.wire.tokens import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.clock import Clock
    from app.core.surface import Surface
    from app.gateway.catalog import Catalog, Model
    from app.wire.learnt import Prompts
    from app.wire.request import Policy

ANYBODY = Key("", Tenant("", ""))
"""Who may use every model, without limits."""


@dataclass(frozen=True, slots=True)
class Question:
    """`prompt_tokens` stands for a prompt that is not there; `unusable` says why its key opens nothing."""

    surface: Surface
    body: Mapping[str, Any]
    key: Key = ANYBODY
    prompt_tokens: int | None = None
    session: str | None = None
    unusable: str | None = None


class Imagination:
    """Makes calls as the callers' edge does."""

    def __init__(self, catalog: Catalog, prompts: Prompts, policy: Policy, clock: Clock) -> None:
        self._catalog = catalog
        self._prompts = prompts
        self._policy = policy
        self._clock = clock

    def call(self, question: Question) -> tuple[Call, Model]:
        """Raises InvalidRequest for a body that no key could send, ModelNotFound for a model nobody serves."""
        surface, body, key = question.surface, dict(question.body), question.key
        params = read(surface, body, self._policy)
        model = self._catalog.resolve(params.model, ANYBODY)
        call = Call(
            id="rehearsal",
            surface=surface,
            model=params.model or model.name,
            body=body,
            key=key,
            arrived=self._clock.monotonic(),
            started_at=self._clock.time(),
            deadline=float("inf"),
            target=model.name,
            streams=params.stream,
            usage_wanted=params.usage_wanted,
            completion_limit=params.completion_limit,
            n=params.n,
            prompts=params.prompts,
            session=question.session,
            measure=measure(surface, body),
        )
        call.prompt_estimate = self._prompts.tokens(model.name, call.measure)
        if question.prompt_tokens is not None:
            call.prompt_estimate = question.prompt_tokens
        if call.completion_limit is None and key.tenant.strict:
            call.completion_limit = self._catalog.longest_answer(call, model)
        return call, model
