"""Which reply a prompt gets: found by keyword, the same one every time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat

from app.simulator.text import vocabulary as words
from app.simulator.text.tokenizer import END, Token, Tokenizer

_KEYWORD = re.compile(
    r"weather in both|weather|\d+ tokens|unicode|forever|short|think|count|hello", re.IGNORECASE
)
_SEARCHED = 4000


@dataclass(frozen=True, slots=True)
class Script:
    """The tokens of one reply. `endless` ones start again at their end and never reach an end of turn."""

    tokens: tuple[Token, ...]
    endless: bool = False

    def play(self) -> Iterator[Token]:
        """Every token in turn, the end of turn included; after it the reply begins anew."""
        return chain.from_iterable(repeat(self.tokens))


class Replies:
    """The recorded replies by keyword: hello (also the default), short, think, forever, unicode, count, weather,
    and `N tokens` for a reply of exactly N tokens, its end of turn included.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        script = tokenizer.script
        self._scripts = {
            "hello": Script(script(words.HELLO)),
            "short": Script(script(words.SHORT)),
            "think": Script(script(words.THINK)),
            "unicode": Script(script(words.UNICODE)),
            "count": Script(script(words.COUNT)),
            "forever": Script(script(words.FOREVER)[:-1], endless=True),
        }

    def chat(self, text: str, *, tools: bool) -> Script:
        """The reply to the last message of a conversation."""
        keyword = _keyword(text)
        if keyword.startswith("weather"):
            cities = ("Paris", "Berlin") if keyword.endswith("both") else ("Paris",)
            return (
                self.calls(tuple(("get_weather", words.WEATHER[city]) for city in cities), cut=True)
                if tools
                else (self._scripts["hello"])
            )
        return self._numbered(keyword) or self._scripts[keyword]

    def completion(self, text: str) -> Script:
        """What continues a bare prompt: `hello` goes on after its first word."""
        keyword = _keyword(text)
        script = self._numbered(keyword) or self._scripts.get(keyword, self._scripts["hello"])
        return Script(script.tokens[2:]) if keyword == "hello" else script

    def text(self, text: str) -> Script:
        """A reply of this very text."""
        return Script((*self._tokenizer.encode(text), END))

    def calls(self, calls: tuple[tuple[str, str], ...], *, cut: bool = False) -> Script:
        """A reply that calls tools: pairs of name and JSON arguments (with `cut`, already divided by `|`)."""
        tokens: list[Token] = []
        for index, (name, arguments) in enumerate(calls):
            tokens += self._tokenizer.encode("\n") if index else ()
            tokens += self._tokenizer.script(words.CALL_HEAD)[:-1]
            tokens += self._cut(words.WEATHER_NAME) if name == "get_weather" else self._tokenizer.encode(name)
            tokens += self._cut(words.CALL_ARGUMENTS)
            tokens += self._cut(arguments) if cut else self._tokenizer.encode(arguments)
            tokens += self._cut(words.CALL_TAIL)
        return Script((*tokens, END))

    def _cut(self, pieces: str) -> tuple[Token, ...]:
        return self._tokenizer.script(pieces)[:-1]

    def _numbered(self, keyword: str) -> Script | None:
        if not keyword[0].isdigit():
            return None
        count = min(int(keyword.split(maxsplit=1)[0]), 1_000_000)
        pair = self._scripts["forever"].tokens
        return Script((*(pair * (count // 2 + 1))[: max(count - 1, 0)], END))


def _keyword(text: str) -> str:
    found = _KEYWORD.search(text[-_SEARCHED:])
    return found.group().lower() if found else "hello"
