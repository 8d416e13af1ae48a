"""What is wrong with a configuration, key by key, as plain lines for the person who wrote it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


class Problem(NamedTuple):
    """`path` is the key as the writer would look for it: `server.port`, `vllm_endpoints[0].address`."""

    path: str
    message: str


class ConfigError(Exception):
    """The configuration cannot be used; its text is one line per problem and holds no secret."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(f"{path}: {message}" for path, message in self.problems))


def dotted(path: Iterable[str | int]) -> str:
    """A key path as text: names joined by dots, positions in brackets."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint to append to a message: the closest known name, or all of a short list."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def of_validation(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """Key path and plain message of each error; the values themselves, which may be secrets, stay out."""
    return [
        (item["loc"], item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
