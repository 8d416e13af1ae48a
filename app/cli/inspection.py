"""Looks at one endpoint as an operator would before trusting it with calls."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.upstream.catalogue import parse_models
from app.upstream.control import UnansweredError
from app.upstream.prometheus_text import samples

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.core.clock import Clock
    from app.core.endpoint import EndpointSpec
    from app.upstream.control import ControlPlane

_CACHE = "vllm:cache_config_info"
_CONCURRENCY = "kv_cache_max_concurrency"
_REASONS = {
    "timeout": "no answer in time",
    "connect": "the connection was refused or reset",
    "bad": "the answer is not HTTP, or TLS failed",
    "too_large": "the answer is too large",
}


@dataclass(slots=True)
class Inspection:
    """None: not known, because what comes before it failed. `latency` is that of /v1/models.

    `theirs`: how many calls of the full context length its KV cache holds.
    """

    endpoint: str
    url: str
    reachable: bool | None = None
    port_open: bool | None = None
    healthy: bool | None = None
    models: list[str] | None = None
    missing: list[str] | None = None
    latency: float | None = None
    ours: int = 0
    theirs: float | None = None
    problem: str = ""


class Inspector:
    """Goes on until the first thing that is wrong; that is the problem."""

    def __init__(self, control: ControlPlane, clock: Clock, timeout: float) -> None:
        self._control = control
        self._clock = clock
        self._timeout = timeout

    async def inspect(self, spec: EndpointSpec, mapped: Collection[str], ours: int) -> Inspection:
        """`mapped` are the served names of every model that the configuration sends there."""
        found = Inspection(spec.name, spec.url, ours=ours)
        found.problem = (
            await self._connect(spec, found)
            or await self._health(spec, found)
            or await self._models(spec, mapped, found)
        )
        if not found.problem:
            found.theirs = await self._capacity(spec)
        return found

    async def _connect(self, spec: EndpointSpec, found: Inspection) -> str:
        """A refusal comes from a machine that is there; silence does not."""
        host, port = spec.address
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            found.reachable, found.port_open = True, False
            return f"nothing listens on port {port}"
        except TimeoutError:
            found.reachable = False
            return f"{host} does not answer"
        except OSError as error:
            found.reachable = False
            return f"{host} cannot be reached: {error.strerror or error}"
        writer.close()
        found.reachable = found.port_open = True
        return ""

    async def _health(self, spec: EndpointSpec, found: Inspection) -> str:
        try:
            status, _ = await self._control.ask(spec, "/health", self._timeout)
        except UnansweredError as error:
            found.healthy = False
            return f"/health: {_REASONS.get(error.reason, error.reason)}"
        found.healthy = status == 200
        return "" if found.healthy else f"/health answers {status}"

    async def _models(self, spec: EndpointSpec, mapped: Collection[str], found: Inspection) -> str:
        started = self._clock.monotonic()
        try:
            status, body = await self._control.ask(spec, "/v1/models", self._timeout)
            found.latency = self._clock.monotonic() - started
            cards = parse_models(body) if status == 200 else {}
        except UnansweredError as error:
            return f"/v1/models: {_REASONS.get(error.reason, error.reason)}"
        except ValueError as error:
            return f"/v1/models is {error}"
        if status in (401, 403):
            return f"/v1/models answers {status}: its api_key is missing or wrong"
        if status != 200:
            return f"/v1/models answers {status}"
        found.models = sorted(cards)
        found.missing = sorted(set(mapped) - cards.keys())
        if found.missing:
            return f"does not serve {', '.join(found.missing)}"
        return "" if cards else "serves no model"

    async def _capacity(self, spec: EndpointSpec) -> float | None:
        """The sum over its engines; None where its metrics do not tell."""
        try:
            status, body = await self._control.ask(spec, "/metrics", self._timeout)
        except UnansweredError:
            return None
        told = [
            float(sample.labels[_CONCURRENCY])
            for sample in samples(body.decode(errors="replace"), {_CACHE})
            if _number(sample.labels.get(_CONCURRENCY, ""))
        ]
        return sum(told) if status == 200 and told else None


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
