"""Which JSON requests can be answered from a stream without the caller being able to tell."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Dialect

_REFUSED = "vLLM refuses it without a stream, and the caller must hear that"
_UNSAID = "streams do not carry what it asks for"
_SWALLOWED = "with a parser, an event without text is not sent, and what else it carried is lost"

_EITHER: Mapping[str, str] = MappingProxyType(
    {
        "stream_options": _REFUSED,
        "echo": _UNSAID,
        "prompt_logprobs": _UNSAID,
        "kv_transfer_params": _UNSAID,
        "ec_transfer_params": _UNSAID,
        "return_routed_experts": _UNSAID,
        "best_of": "choices are picked when all are finished",
        "use_beam_search": "beams are not streamed",
        "modalities": _UNSAID,
        "audio": _UNSAID,
    }
)
WHOLE_ONLY: Mapping[Dialect, Mapping[str, str]] = MappingProxyType(
    {
        "chat": {**_EITHER, "logprobs": _SWALLOWED, "return_token_ids": _SWALLOWED},
        "completions": _EITHER,
    }
)
"""By dialect: the fields of a body that keep its answer from being assembled exactly, and why."""


def assembles(dialect: Dialect, body: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the answer to this body, with these defaults for what it leaves out, can be assembled exactly."""
    fields = WHOLE_ONLY.get(dialect)
    return fields is not None and not any(
        value is not None and value is not False
        for value in (body.get(name, defaults.get(name)) for name in fields)
    )
