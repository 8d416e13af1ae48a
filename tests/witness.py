"""Watches a gateway from outside while a test uses it, and says at its end what must hold of every one."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.telemetry.logs import JsonFormatter

if TYPE_CHECKING:
    from app.wiring import House

CANARY = "canary-of-every-prompt"
"""Part of what callers say in tests; it has no place in a log."""

IDLE = ("inflight_requests", "queued_requests", "endpoint_inflight", "ledger_pending", "journal_backlog")
"""Gauges that are 0 while nothing goes on."""

SECRETS = {"api_key", "admin_token", "secret", "token", "password"}
"""Settings whose values have no place in a log either."""

_LINE = re.compile(r"^sluice_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Witness(logging.Handler):
    """Hears every log line, and counts the calls that reach the application.

    Lines are kept as they are written out, and as they were before keys are masked in them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tracebacks: list[str] = []
        self.arrived = 0
        self.answered: Counter[int] = Counter()
        self._form = JsonFormatter()
        self._bare = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [self._form.format(record), self._bare.format(record)]
        if record.exc_info or "Traceback" in self.lines[-1]:
            self.tracebacks.append(self.lines[-1])

    def wrote(self, lines: bytes) -> None:
        """Takes the lines of the access log."""
        self.lines += lines.decode().splitlines()

    @contextmanager
    def listening(self) -> Iterator[Witness]:
        """To the log of the whole process."""
        root, own = logging.getLogger(), logging.getLogger("app")
        before = own.level
        root.addHandler(self)
        own.setLevel(logging.DEBUG)
        try:
            yield self
        finally:
            own.setLevel(before)
            root.removeHandler(self)

    def counting(self, app: Any, house: House) -> Any:
        """The application, with its calls counted by how they were answered."""

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            paths = house.inference.paths
            if scope["type"] != "http" or scope["method"] != "POST" or scope["raw_path"] not in paths:
                await app(scope, receive, send)
                return
            self.arrived += 1

            async def said(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self.answered[message["status"]] += 1
                await send(message)

            await app(scope, receive, said)

        return counted

    def leaked(self, secrets: set[str]) -> list[str]:
        """The lines that hold a secret, or a prompt."""
        return [line for line in self.lines if any(secret in line for secret in (CANARY, *secrets))]

    def contradictions(self, house: House, page: str, rows: int) -> list[str]:
        """What the metrics page and the ledger (so many rows) say that cannot all be true."""
        told = samples(page)
        served = {key: value for key, value in told["requests_total"].items() if 'surface="none"' not in key}
        admitted = sum(value for key, value in served.items() if 'outcome="rejected"' not in key)
        found = [
            f"{name} is not 0: {told[name]}" for name in IDLE if any(value for value in told[name].values())
        ]
        if sum(served.values()) != self.arrived:
            found.append(f"{self.arrived} calls came, the metrics tell of {served}")
        if admitted != rows:
            found.append(f"{admitted:.0f} calls were admitted, the ledger has {rows} rows")
        if house.hearing.observers.failures:
            found.append(f"observers failed: {house.hearing.observers.failures}")
        return found


def samples(page: str) -> dict[str, dict[str, float]]:
    """By name (without the prefix) and labels; a name that is not there has none."""
    found: dict[str, dict[str, float]] = {name: {} for name in (*IDLE, "requests_total")}
    for name, labels, value in _LINE.findall(page):
        found.setdefault(name, {})[labels] = float(value)
    return found


def secrets_of(settings: Any) -> set[str]:
    """The values of a configuration that are secret."""
    if isinstance(settings, Mapping):
        own = {str(value) for name, value in settings.items() if name in SECRETS and isinstance(value, str)}
        return own.union(*(secrets_of(value) for value in settings.values()))
    if isinstance(settings, list):
        return set().union(*map(secrets_of, settings))
    return set()
