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
    todo: list[Any] = [tuple(values)]
    while todo:
        value = todo.pop()
        if type(value) is dict:
            part = value.get("type")
            if type(part) is str and part in _MEDIA:
                media += 1
                continue
            text += _size("".join(value))
            value = value.values()
        elif type(value) is list and value and type(value[0]) is int:
            ids += len(value)
            continue
        for each in value:
            kind = type(each)
            if kind is str:
                if each.startswith("data:") and ";base64," in each[:256]:
                    media += 1
                else:
                    text += _size(each)
            elif kind is dict or kind is list:
                todo.append(each)
    return Measure(text, ids, media)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
