"""Measures a prompt: everything in it that an engine will count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.core.measure import Measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.core.surface import Surface

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


def measure(surface: Surface, body: Mapping[str, Any]) -> Measure:
    """The tokenizer's surfaces need no engine and measure nothing."""
    if surface.dialect == "tokenize":
        return Measure()
    return measure_values(map(body.get, surface.prompt))


def measure_values(values: Iterable[Any]) -> Measure:
    """All text in the values, keys included, since templates and schemas are rendered with them.

    Values are as JSON decodes: no subclasses.
    """
    ids = media = 0
    texts: list[str] = []
    found = list(filter(None, values))  # grows while it is walked
    for value in found:
        kind = type(value)
        if kind is str:
            if value.startswith("data:") and ";base64," in value[:256]:
                media += 1
            else:
                texts.append(value)
        elif kind is dict:
            part = value.get("type")
            if type(part) is str and part in _MEDIA:
                media += 1
            else:
                texts += value
                found += value.values()
        elif kind is list and value:
            if type(value[0]) is int:
                ids += len(value)
            else:
                found += value
    return Measure(_size(texts), ids, media)


def _size(texts: list[str]) -> int:
    """In bytes; ASCII, which most texts are, has as many as characters."""
    if all(map(str.isascii, texts)):
        return sum(map(len, texts))
    return sum(len(text.encode()) for text in texts)
