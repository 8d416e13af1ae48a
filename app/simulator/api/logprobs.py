"""Invented log-probabilities in the recorded shapes: the chosen token is all but certain."""

from __future__ import annotations

from typing import Any

from app.simulator.text.tokenizer import Token

_CHOSEN = -0.0013991338200867176
_FILLERS = ("and", "O", "K", ".", " the", " a", "\n", "5", " on", "Hel")


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def text_of(token: Token) -> str:
    return token.raw.decode(errors="replace") if token.raw else token.name


def _alternatives(text: str, count: int) -> list[tuple[str, float]]:
    others = [filler for filler in (*_FILLERS, *map(str, range(_MOST))) if filler != text]
    chosen = [(text, _CHOSEN)]
    return (chosen + [(other, -8.5 - rank / 2) for rank, other in enumerate(others)])[:count]


_MOST = 20


def chat_logprobs(tokens: list[Token], count: int | None) -> dict[str, Any] | None:
    """`logprobs` of a chat choice, or null when not asked for."""
    if count is None:
        return None
    content = []
    for token in tokens:
        text = text_of(token)
        top = [_entry(other, logprob) for other, logprob in _alternatives(text, count)]
        content.append(_entry(text, _CHOSEN) | {"top_logprobs": top})
    return {"content": content}


def completion_logprobs(tokens: list[Token], count: int | None, *, offset: int = 0, bare: int = 0) -> Any:
    """`logprobs` of a completion choice; the first `bare` tokens have none, as a prompt's first."""
    if count is None:
        return None
    texts = [text_of(token) for token in tokens]
    offsets = [offset]
    for text in texts[:-1]:
        offsets.append(offsets[-1] + len(text))
    return {
        "text_offset": offsets[: len(texts)],
        "token_logprobs": [None if at < bare else _CHOSEN for at in range(len(texts))],
        "tokens": texts,
        "top_logprobs": [
            None if at < bare else dict(_alternatives(text, max(count, 1))) for at, text in enumerate(texts)
        ],
    }


def prompt_logprobs(tokens: tuple[Token, ...]) -> list[dict[str, Any] | None]:
    """`prompt_logprobs` of a completion that echoes: null for the first token, then rank and text by id."""
    return [
        None,
        *(
            {str(token.id): {"logprob": _CHOSEN, "rank": 1, "decoded_token": text_of(token)}}
            for token in tokens[1:]
        ),
    ]
