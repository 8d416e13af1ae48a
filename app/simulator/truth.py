"""The simulator's own account of what happened, for others to be compared with."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from app.simulator.http.request import Request

_WHOLE_RECORDS = 256


@dataclass(slots=True)
class Record:
    """One request. Times are seconds of the wall clock; `finish` has one entry per choice, in order of index: vLLM's
    reason, or `gone` (the client left), `broken` (a fault cut the connection), `error` (the engine failed).
    """

    serial: int
    path: str
    request_id: str | None
    received: float
    headers: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False)
    body: bytes = field(default=b"", repr=False)
    model: str | None = None
    streamed: bool = False
    status: int = 0
    fault: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated: int = 0
    """Tokens the engine made, the end of turn included."""
    reasoning: int = 0
    """Those of them that a reasoning parser set apart, as far as they were worded."""
    sent: int = 0
    """Tokens whose text, or whose place in a whole answer, was handed to the socket."""
    finish: list[str | None] = field(default_factory=list)
    aborted: float | None = None
    """When the client's leaving was seen, for a request that had not ended."""
    ended: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything but headers and body."""
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("headers", "body")}


@dataclass(slots=True)
class Counters:
    """Totals since the start or the last reset; `connections_open` is the present number."""

    connections_accepted: int = 0
    connections_open: int = 0
    requests: int = 0
    inference_requests: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    aborts: int = 0
    faults: int = 0


class Truth:
    """Every request to an inference route in order of arrival, and totals of everything."""

    def __init__(self, limit: int) -> None:
        self.counters = Counters()
        self.records: deque[Record] = deque(maxlen=limit)
        self._serial = 0
        self._whole: deque[Record] = deque()

    def __repr__(self) -> str:
        return f"Truth({self.counters})"

    def open(self, request: Request, received: float) -> Record:
        """A record for a request that has just been read. Only the latest keep their headers and bodies."""
        self._serial += 1
        self.counters.inference_requests += 1
        record = Record(self._serial, request.path, request.header("x-request-id"), received)
        record.headers, record.body = request.headers, request.body
        self.records.append(record)
        self._whole.append(record)
        if len(self._whole) > _WHOLE_RECORDS:
            old = self._whole.popleft()
            old.headers, old.body = [], b""
        return record

    def of(self, request_id: str) -> list[Record]:
        """All attempts of one request id, in order of arrival."""
        return [record for record in self.records if record.request_id == request_id]

    @property
    def last(self) -> Record:
        """The latest record. Raises IndexError when there is none."""
        return self.records[-1]

    @property
    def active(self) -> list[Record]:
        """Requests that have neither ended nor been aborted."""
        return [record for record in self.records if record.ended is None and record.aborted is None]

    def reset(self) -> None:
        """Forget all requests; open connections stay counted."""
        self.records.clear()
        self.counters = Counters(connections_open=self.counters.connections_open)

    def as_json(self) -> dict[str, Any]:
        return {"counters": asdict(self.counters), "requests": [record.as_json() for record in self.records]}
