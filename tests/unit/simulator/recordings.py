"""The recordings of the real server: how to send each again, and to a simulator with which options."""

from __future__ import annotations

import json
import re
from pathlib import Path

from app.simulator import SimulatorOptions

FOLDER = Path(__file__).parents[2] / "vectors" / "vllm"
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}

_FAST = {"max_model_len": 2048, "block_size": 128, "ttft": 0.0, "itl": 0.0}
_FULL = _FAST | {"prompt_tokens_details": True, "request_id_headers": True, "dev_mode": True}
SERVERS = {
    "18101": SimulatorOptions(**_FULL),
    "18102": SimulatorOptions(**_FAST, api_keys=("sk-test-1", "sk-test-2")),
    "18103": SimulatorOptions(**_FULL, reasoning_parser=True),
    "18104": SimulatorOptions(
        **_FAST,
        served_names=("tiny", "alias-two"),
        tool_parser=False,
        per_request_metrics=True,
        scheduling="priority",
        fingerprint="vllm-0.32.0-1aa5837d",
    ),
    "18105": SimulatorOptions(**_FAST, served_names=("tiny-embed",), mode="pooling"),
}
"""The flags the recorded servers ran with, by port."""

_LONG = "word " * 3000
_BODIES = {
    "embed_overflow": {"model": "tiny-embed", "input": _LONG},
    "err_ctx_overflow_prompt": {"messages": [{"role": "user", "content": _LONG}]},
    "err_ctx_overflow_prompt_stream": {"messages": [{"role": "user", "content": _LONG}], "stream": True},
    "err_ctx_overflow_prompt_with_max": {"messages": [{"role": "user", "content": _LONG}], "max_tokens": 10},
    "err_deep_nesting": "[" * 20000 + "]" * 20000,
}
"""Bodies the recordings leave out because of their size."""


def port_of(name: str) -> str:
    found = re.search(r"127\.0\.0\.1:(\d+)", CASES[name]["request"])
    return found.group(1) if found else "18105" if name.startswith("embed") else "18101"


def options_of(name: str) -> SimulatorOptions:
    return SERVERS[port_of(name)]


def request_of(name: str) -> bytes:
    """The recorded bytes; those of requests recorded in short are built anew."""
    recorded = CASES[name]["request"]
    head, found, body = recorded.partition("\r\n\r\n")
    if found:
        raw = body.encode()
        length = re.search(r"Content-Length: (\d+)", head)
        if length and len(raw) != int(length.group(1)):
            raw = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match.group(1).decode()), raw)
            assert len(raw) == int(length.group(1)), name
        return head.encode() + b"\r\n\r\n" + raw
    line, _, text = recorded.partition("\n\n")
    kept = _BODIES.get(name, text)
    raw = (kept if isinstance(kept, str) else json.dumps(kept)).encode()
    lines = (
        f"{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return lines.encode() + raw
