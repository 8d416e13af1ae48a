"""The faults that lie in wait, and which request meets which."""

from __future__ import annotations

from typing import Any, get_args

from app.simulator.faults.fault import Fault, Surface, parse

_HEALTH = ("/health", "/ping")


class Faults:
    """Armed faults in the order they were added. A request meets the first that matches it; what a request brings
    itself comes before all of them.
    """

    def __init__(self) -> None:
        self._armed: list[tuple[Fault, list[int | None]]] = []

    def __repr__(self) -> str:
        return f"Faults({[fault.fault for fault, _ in self._armed]})"

    def __bool__(self) -> bool:
        """Whether any fault lies in wait."""
        return bool(self._armed)

    def add(self, fault: Fault | str | dict[str, Any] | None = None, **fields: Any) -> Fault:
        """Arm a fault: `add("rst", after_tokens=3, count=None)`, `add("rst;after=3")`, a dict or a Fault."""
        if isinstance(fault, str) and fields:
            fault = {"fault": fault, **fields}
        armed = fault if isinstance(fault, Fault) else parse(fault if fault is not None else fields)
        self._armed.append((armed, [armed.count]))
        return armed

    def clear(self) -> None:
        self._armed.clear()

    def armed(self) -> list[dict[str, Any]]:
        """What is still in wait, with the number of requests left."""
        return [fault.model_dump() | {"count": left[0]} for fault, left in self._armed]

    def meet(self, path: str, *, model: str | None, request_id: str | None, stream: bool) -> Fault | None:
        """The fault this request runs into; one of its count is used up."""
        for at, (fault, left) in enumerate(self._armed):
            if not _matches(fault, path, model, request_id, stream):
                continue
            if left[0] is not None:
                left[0] -= 1
                if left[0] == 0:
                    del self._armed[at]
            return fault
        return None


def _matches(fault: Fault, path: str, model: str | None, request_id: str | None, stream: bool) -> bool:
    match = fault.match
    if fault.fault in get_args(Surface):
        meant = path in _HEALTH if fault.fault.startswith("health") else path == "/metrics"
    else:
        meant = match.path is not None or inference(path)
    return (
        meant
        and match.path in (None, path)
        and match.model in (None, model)
        and match.request_id in (None, request_id)
        and match.stream in (None, stream)
    )


def inference(path: str) -> bool:
    """Whether a path asks the model for something: what faults without a path mean, and what the truth records."""
    return path not in ("/v1/models", "/metrics", "/load", "/version", *_HEALTH) and not path.startswith(
        "/sim"
    )
