"""Measures a prompt: everything in it that an engine will count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.core.measure import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping

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
