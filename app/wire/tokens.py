"""How many tokens a prompt will take, before an engine has counted it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Surface

BYTES_PER_TOKEN = 4.0
"""English text in the tokenizers of common models, before a model's own ratio is learnt."""
TOKENS_PER_MEDIA = 1000

_MEDIA = frozenset(
    {
        "image",
        "image_url",
        "image_pil",
        "image_embeds",
        "input_image",
        "audio",
        "audio_url",
        "input_audio",
        "video",
        "video_url",
        "document",
        "file",
        "input_file",
    }
)
_LEARNT_FROM = 256
_RATIOS = (0.5, 16.0)


class Measure(Struct, frozen=True):
    """What a prompt is made of: bytes of text, token ids, and images or sounds, whose bytes say nothing."""

    text: int = 0
    ids: int = 0
    media: int = 0

    def tokens(self, ratio: float = BYTES_PER_TOKEN, per_media: int = TOKENS_PER_MEDIA) -> int:
        """`ratio` is bytes of text per token."""
        return math.ceil(self.text / ratio) + self.ids + self.media * per_media


def measure(surface: Surface, body: Mapping[str, Any]) -> Measure:
    """The tokenizer's surfaces need no engine and measure nothing."""
    if surface.dialect == "tokenize":
        return Measure()
    return measure_values([body.get(name) for name in surface.prompt])


def measure_values(values: list[Any]) -> Measure:
    """All text in the values, keys included, since templates and schemas are rendered with them.

    Values are as JSON decodes: no subclasses.
    """
    text = ids = media = 0
    todo = values
    while todo:
        value = todo.pop()
        kind = type(value)
        if kind is str:
            if value.startswith("data:") and ";base64," in value[:256]:
                media += 1
            else:
                text += len(value) if value.isascii() else len(value.encode())
        elif kind is dict:
            part = value.get("type")
            if type(part) is str and part in _MEDIA:
                media += 1
            else:
                todo.extend(value)
                todo.extend(value.values())
        elif kind is list:
            if value and type(value[0]) is int:
                ids += len(value)
            else:
                todo.extend(value)
    return Measure(text, ids, media)


def estimate(surface: Surface, body: Mapping[str, Any], ratio: float = BYTES_PER_TOKEN) -> int:
    """Prompt tokens; token ids count exactly."""
    return measure(surface, body).tokens(ratio)


class Ratio:
    """Bytes per token of each model, learnt from settled calls as a decaying mean.

    Short prompts, of which the chat template is the larger part, and those with media teach nothing.
    """

    def __init__(self, initial: float = BYTES_PER_TOKEN, weight: float = 0.05) -> None:
        self._initial = initial
        self._weight = weight
        self._learnt: dict[str, float] = {}

    def of(self, model: str) -> float:
        return self._learnt.get(model, self._initial)

    def learn(self, model: str, measured: Measure, prompt_tokens: int) -> None:
        """`model` is a known name; `prompt_tokens` is the engine's own count."""
        tokens = prompt_tokens - measured.ids
        if measured.media or measured.text < _LEARNT_FROM or tokens <= 0:
            return
        lowest, highest = _RATIOS
        seen = min(max(measured.text / tokens, lowest), highest)
        self._learnt[model] = self.of(model) + (seen - self.of(model)) * self._weight

    def __repr__(self) -> str:
        return f"<Ratio {self._learnt}>"
