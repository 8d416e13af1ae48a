"""A chat message put together from its deltas."""

from __future__ import annotations

from typing import Any

_FIELDS = ("role", "content", "refusal", "annotations", "audio", "function_call")


class ToolCall:
    """One call: its id, its function's name, and the arguments piece by piece."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._type = "function"
        self._name: str | None = None
        self._arguments: list[str] = []

    def add(self, piece: dict[str, Any]) -> None:
        self._id = self._id or piece.get("id")
        self._type = piece.get("type") or self._type
        function = piece.get("function")
        if isinstance(function, dict):
            self._name = self._name or function.get("name")
            self._arguments.append(str(function.get("arguments") or ""))

    def whole(self) -> dict[str, Any]:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        return {"id": self._id, "type": self._type, "function": function}


class Message:
    """Text fields are joined, whatever their names; calls are told apart by their index."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._rest: dict[str, Any] = {"role": "assistant"}
        self._calls: dict[int, ToolCall] = {}

    def add(self, delta: object) -> None:
        if not isinstance(delta, dict):
            return
        for name, value in delta.items():
            if name == "tool_calls" and isinstance(value, list):
                for piece in value:
                    if isinstance(piece, dict):
                        self._call(piece.get("index")).add(piece)
            elif isinstance(value, str) and name != "role":
                self._texts.setdefault(name, []).append(value)
            elif value is not None:
                self._rest[name] = value

    def _call(self, index: object) -> ToolCall:
        return self._calls.setdefault(index if type(index) is int else 0, ToolCall())

    def whole(self, *, parsed: bool, demanded: bool) -> dict[str, Any]:
        """Where there is no content: null beside calls, unless they were demanded, and with a reasoning
        parser (`parsed`) that left none; else empty.
        """
        fields: dict[str, Any] = dict.fromkeys(_FIELDS)
        if self._calls:
            fields["tool_calls"] = [call.whole() for call in self._calls.values()]
        fields["reasoning"] = None
        fields |= self._rest | {name: "".join(pieces) or None for name, pieces in self._texts.items()}
        if fields["content"] is None:
            absent = not demanded if self._calls else parsed
            fields["content"] = None if absent else ""
        return fields
