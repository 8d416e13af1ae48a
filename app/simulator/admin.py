"""The simulator's own routes, `/sim/…`: faults, truth, switches. They are neither counted nor recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from app.simulator.http.exchange import Exchange
from app.simulator.instance import Instance

_JSON = (("content-type", "application/json"),)


class Switches(Protocol):
    """What the process around an instance can do."""

    def kill_engine(self) -> None: ...
    def refuse(self, seconds: float | None = None) -> None: ...
    async def accept(self) -> None: ...
    def terminate(self, mode: str | None = None, timeout: float | None = None) -> None: ...


class Admin:
    """One handler for each method and path; bodies and answers are JSON."""

    def __init__(self, instance: Instance, switches: Switches) -> None:
        self._instance = instance
        self._switches = switches
        self._listening: asyncio.Future[None] | None = None
        self._handlers: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "/sim/faults"): lambda _: instance.faults.armed(),
            ("POST", "/sim/faults"): lambda body: instance.faults.add(body).model_dump(),
            ("DELETE", "/sim/faults"): self._clear,
            ("GET", "/sim/truth"): lambda _: instance.truth.as_json(),
            ("GET", "/sim/state"): lambda _: self._state(),
            ("POST", "/sim/reset"): self._reset,
            ("POST", "/sim/options"): self._adjust,
            ("POST", "/sim/pause"): lambda _: self._done(instance.pause),
            ("POST", "/sim/resume"): lambda _: self._done(instance.resume),
            ("POST", "/sim/sleep"): lambda body: self._done(
                lambda: instance.sleep(int(body.get("level", 1)))
            ),
            ("POST", "/sim/wake"): lambda _: self._done(instance.wake),
            ("POST", "/sim/unload"): lambda _: self._switch(unloaded=True),
            ("POST", "/sim/load"): lambda _: self._switch(unloaded=False),
            ("POST", "/sim/kill-engine"): lambda _: self._done(switches.kill_engine),
            ("POST", "/sim/refuse"): lambda body: self._done(lambda: switches.refuse(body.get("seconds"))),
            ("POST", "/sim/accept"): lambda _: self._accept(),
            ("POST", "/sim/terminate"): self._terminate,
        }

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            exchange.respond(404, b'{"detail":"Not Found"}', _JSON)
            return
        try:
            answer = handler(msgspec.json.decode(request.body or b"{}", type=dict[str, Any]))
        except (ValueError, msgspec.DecodeError) as error:
            exchange.respond(400, msgspec.json.encode({"detail": str(error)}), _JSON)
            return
        exchange.respond(200, msgspec.json.encode(answer), _JSON)

    def _done(self, act: Callable[[], None]) -> dict[str, Any]:
        act()
        return self._state()

    def _clear(self, body: dict[str, Any]) -> dict[str, Any]:
        del body
        self._instance.faults.clear()
        self._instance.stale_metrics = None
        self._accept()
        return {"faults": []}

    def _accept(self) -> dict[str, Any]:
        self._listening = asyncio.ensure_future(self._switches.accept())
        return self._state()

    def _reset(self, body: dict[str, Any]) -> dict[str, Any]:
        """Truth and faults forgotten, all switches back."""
        self._clear(body)
        self._instance.truth.reset()
        self._instance.unloaded = False
        self._instance.wake()
        self._instance.resume()
        return self._state()

    def _adjust(self, body: dict[str, Any]) -> dict[str, Any]:
        self._instance.adjust(**body)
        return self._instance.options.model_dump(mode="json")

    def _switch(self, *, unloaded: bool) -> dict[str, Any]:
        self._instance.unloaded = unloaded
        return self._state()

    def _terminate(self, body: dict[str, Any]) -> dict[str, Any]:
        self._switches.terminate(body.get("mode"), body.get("timeout"))
        return self._state()

    def _state(self) -> dict[str, Any]:
        instance = self._instance
        return {
            "running": sum(len(engine.running) for engine in instance.engines),
            "waiting": sum(len(engine.waiting) for engine in instance.engines),
            "generations": len(instance.generations),
            "connections_open": instance.truth.counters.connections_open,
            "paused": instance.paused,
            "sleep_level": instance.sleep_level,
            "dead": instance.dead,
            "draining": instance.draining,
            "silent": instance.silent,
            "unloaded": instance.unloaded,
        }
