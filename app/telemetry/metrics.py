"""Counts every call into plain numbers; Prometheus reads them when it comes."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, get_args

from app.core.errors import Shed
from app.core.outcome import Outcome
from app.telemetry.histogram import Histogram
from app.telemetry.labels import OTHER, BoundedLabel
from app.telemetry.options import MetricsOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from app.core.call import Call
    from app.core.endpoint import EndpointSpec
    from app.core.errors import GatewayError
    from app.core.outcome import Settlement

    Counts = defaultdict[tuple[str, ...], int]
    Times = defaultdict[tuple[str, ...], Histogram]

logger = logging.getLogger(__name__)

_BREAKER_STATES = frozenset(("closed", "open", "half_open"))
_SHED = frozenset(get_args(Shed))
_CHANGES = frozenset((
    "up", "down", "draining", "asleep", "awake", "stuck", "paused", "ejected", "readmitted",
))  # fmt: skip


class CallMetrics:
    """An Observer. The attributes are the series of each metric by its label values.

    `known` gives the names that may be model labels; None leaves the choice to the line, which only
    lets calls for known models pass.
    """

    def __init__(
        self,
        options: MetricsOptions | None = None,
        known: Callable[[], Container[str]] | None = None,
    ) -> None:
        options = options or MetricsOptions()
        self._known = known
        self._tenant = BoundedLabel(options.max_tenants) if options.tenant_label else None
        self.requests: Counts = defaultdict(int)
        self.rejections: Counts = defaultdict(int)
        self.attempts: Counts = defaultdict(int)
        self.retries: Counts = defaultdict(int)
        self.interruptions: Counts = defaultdict(int)
        self.resumes: Counts = defaultdict(int)
        self.breaker_transitions: Counts = defaultdict(int)
        self.endpoint_changes: Counts = defaultdict(int)
        self.suspect_usage: Counts = defaultdict(int)
        self.tokens: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 5)
        self.duration: Times = defaultdict(Histogram)
        self.first_token: Times = defaultdict(Histogram)
        self.output_token: Times = defaultdict(Histogram)
        self.queue_wait: Times = defaultdict(Histogram)
        self.commit = Histogram()

    def rejected(self, call: Call, error: GatewayError) -> None:
        self.rejections[getattr(error, "reason", None) or error.code,] += 1
        self.requests[call.surface.name, self._model(call), "rejected", str(error.status)] += 1

    def attempted(self, call: Call, endpoint: EndpointSpec, settlement: Settlement) -> None:
        reason = settlement.reason or "none"
        self.attempts[endpoint.name, settlement.outcome.word, reason] += 1
        if settlement.suspect:
            self._suspect(endpoint.name)
        broken = settlement.error_code is not None and settlement.status != 499
        if broken and call.streams and call.first_byte is not None:
            self.interruptions[endpoint.name, reason] += 1

    def resumed(self, call: Call, outcome: str) -> None:
        self.resumes[self._model(call), outcome] += 1

    def settled(self, call: Call, settlement: Settlement) -> None:
        surface, model = call.surface.name, self._model(call)
        outcome, usage = settlement.outcome, settlement.usage
        self.requests[surface, model, outcome.word, str(settlement.status)] += 1
        self.duration[surface, model].observe(settlement.elapsed)
        self.queue_wait[model,].observe(call.queue_wait)
        reason = settlement.reason
        if reason is not None and reason in _SHED and not call.attempts:
            self.rejections[reason,] += 1
        if call.streams and settlement.first_byte is not None:
            self._time(call, settlement, settlement.first_byte)
        wasted = 0
        if outcome is not Outcome.SUCCESS or not settlement.billed or len(call.attempts) > 1:
            wasted = self._count_retries(call) + _wasted(call, settlement)
        if usage.prompt + usage.completion or wasted:
            tokens = self.tokens[model, self._tenant(call.key.tenant.name) if self._tenant else ""]
            tokens[0] += usage.prompt
            tokens[1] += usage.completion
            if usage.cached:
                tokens[2] += usage.cached
            if usage.reasoning:
                tokens[3] += usage.reasoning
            if wasted:
                tokens[4] += wasted

    def turned_away(self, error: GatewayError) -> None:
        """A request that the server refused before anybody knew what it was."""
        self.rejections[error.code,] += 1
        self.requests["none", OTHER, "rejected", str(error.status)] += 1

    def endpoint_changed(self, endpoint: str, word: str) -> None:
        """Hears of all changes; breakers' states are counted by themselves."""
        if word in _BREAKER_STATES:
            self.breaker_transitions[endpoint, word] += 1
        elif word in _CHANGES:
            self.endpoint_changes[endpoint, word] += 1

    def committed(self, rows: int, seconds: float) -> None:
        """The ledger made rows durable in so many seconds."""
        self.commit.observe(seconds)

    def _suspect(self, endpoint: str) -> None:
        if not self.suspect_usage[endpoint,]:
            logger.warning(
                "endpoint %s states token counts that cannot be true; they are not taken", endpoint
            )
        self.suspect_usage[endpoint,] += 1

    def _time(self, call: Call, settlement: Settlement, first: float) -> None:
        """How fast a stream was, whose first event came after so many seconds."""
        series = self._model(call), call.endpoint or "none"
        self.first_token[series].observe(first)
        completion = settlement.usage.completion
        if completion > 1 and settlement.outcome is Outcome.SUCCESS:
            self.output_token[series].observe((settlement.elapsed - first) / (completion - 1))

    def _count_retries(self, call: Call) -> int:
        """Tokens that the attempts before the last one took for nothing."""
        wasted = 0
        for attempt in call.attempts[:-1]:
            self.retries[attempt.settlement.reason or "none",] += 1
            wasted += attempt.wasted
        return wasted

    def _model(self, call: Call) -> str:
        model = call.target
        if not model or (self._known is not None and model not in self._known()):
            return OTHER
        return model


def _wasted(call: Call, settlement: Settlement) -> int:
    """Tokens that the last attempt took for nothing."""
    wasted = 0 if settlement.outcome is Outcome.SUCCESS else settlement.usage.completion
    return wasted if settlement.billed else wasted + sum(each.wasted for each in call.attempts[-1:])
