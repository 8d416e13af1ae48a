"""The API shapes served, one row each."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from app.core.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROWS = (
    Surface(
        name="chat",
        path="/v1/chat/completions",
        dialect="chat",
        streams=True,
        options=True,
        done=True,
        prompt=("messages", "tools"),
    ),
    Surface(
        name="completions",
        path="/v1/completions",
        dialect="completions",
        streams=True,
        options=True,
        done=True,
        prompt=("prompt",),
    ),
    Surface(
        name="responses",
        path="/v1/responses",
        dialect="responses",
        streams=True,
        prompt=("input", "instructions", "tools"),
    ),
    Surface(
        name="messages",
        path="/v1/messages",
        dialect="messages",
        streams=True,
        prompt=("messages", "system", "tools"),
    ),
    Surface(name="embeddings", path="/v1/embeddings", dialect="pooling", prompt=("input", "messages")),
    Surface(name="rerank", path="/v1/rerank", dialect="pooling", prompt=("query", "documents")),
    Surface(
        name="score",
        path="/v1/score",
        dialect="pooling",
        prompt=("text_1", "text_2", "queries", "documents"),
    ),
    Surface(name="tokenize", path="/tokenize", dialect="tokenize", prompt=("prompt", "messages")),
    Surface(name="detokenize", path="/detokenize", dialect="tokenize", prompt=("tokens",)),
)

SURFACES: Mapping[str, Surface] = MappingProxyType({row.path: row for row in _ROWS})
"""By path; all of them answer POST only."""
