"""The chat template: a conversation becomes the tokens the model reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from app.simulator.text.tokenizer import Token, Tokenizer

_TOOLS_PREAMBLE = 6
"""Tokens of the fixed words around the tools, so that the recorded request with one tool counts 105."""
_NO_THINKING = "<think>\n\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one sequence reads: its tokens, and the text whose keyword picks the reply."""

    tokens: tuple[Token, ...]
    text: str
    salt: str = ""
    thinking: bool = True
    said: str = ""
    """How the reply begins, where the request says so."""

    @property
    def count(self) -> int:
        return len(self.tokens)

    def blocks(self, size: int) -> list[int]:
        """One hash per whole block, each over everything before it; the salt keeps tenants' caches apart."""
        ids = [token.id for token in self.tokens]
        hashes: list[int] = []
        chained = hash(self.salt)
        for start in range(0, len(ids) - size + 1, size):
            chained = hash((chained, *ids[start : start + size]))
            hashes.append(chained)
        return hashes


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages and tools as they came in a request."""

    messages: list[Any]
    tools: list[Any] = field(default_factory=list)
    thinking: bool = True
    salt: str = ""
    answered: bool = True
    """Whether the head of an answer follows the messages."""
    continued: bool = False
    """Whether the last message is left open: the reply goes on with it."""


def render(tokenizer: Tokenizer, conversation: Conversation) -> Prompt:
    r"""`<|im_start|>role\n…<|im_end|>\n` per message and the head of the assistant's turn."""
    encode = tokenizer.encode
    tokens: list[Token] = []
    if conversation.tools:
        tokens += encode("</tool_call>") * _TOOLS_PREAMBLE
        for tool in conversation.tools:
            tokens += encode(json.dumps(tool, ensure_ascii=False, separators=(",", ":")))
    texts = ["", ""]
    for message in conversation.messages:
        texts.append(content_of(message))
        tokens += encode("<|im_start|>") + encode(str(message.get("role", "user"))) + encode("\n")
        tokens += encode(texts[-1])
        tokens += encode("<|im_end|>\n")
    if conversation.continued:
        del tokens[-len(encode("<|im_end|>\n")) :]
        return Prompt(tuple(tokens), texts[-2], conversation.salt, conversation.thinking, texts[-1])
    if conversation.answered:
        tokens += encode("<|im_start|>assistant\n")
    if not conversation.thinking:
        tokens += encode(_NO_THINKING)
    return Prompt(tuple(tokens), texts[-1], conversation.salt, conversation.thinking)


def content_of(message: dict[str, Any]) -> str:
    """A message's text: its string, the text parts of its list, and its tool calls as JSON."""
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    calls = message.get("tool_calls")
    return (content or "") + (json.dumps(calls, ensure_ascii=False) if calls else "")
