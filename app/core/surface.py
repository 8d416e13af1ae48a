"""A surface: one shape of the API, as a row of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dialect = Literal["chat", "completions", "responses", "messages", "pooling", "tokenize"]


@dataclass(frozen=True, slots=True)
class Surface:
    """What the line must know about an API shape.

    `path` is the same here and at vLLM. `dialect` names how usage and ends are read.
    `streams`: the body's `stream` is honoured. `options`: it understands `stream_options`.
    `done`: a complete stream ends with `data: [DONE]`. `prompt` are the body fields that hold input.
    """

    name: str
    path: str
    dialect: Dialect
    streams: bool = False
    options: bool = False
    done: bool = False
    prompt: tuple[str, ...] = ()
