"""Which reply a prompt gets: found by keyword, the same one every time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat

from app.simulator.text import vocabulary as words
from app.simulator.text.tokenizer import END, Token, Tokenizer

_KEYWORD = re.compile(
    r"weather in both|weather|\d+ tokens|unicode|forever|short|think|count|hello", re.IGNORECASE
)
_SEARCHED = 4000


@dataclass(frozen=True)
class Script:
    """The tokens of one reply. `endless` ones start again at their end and never reach an end of turn.

    `rest` is what is left of the first time, where a part of it was said before.
    """

    tokens: tuple[Token, ...]
    endless: bool = False
    rest: tuple[Token, ...] | None = None

    def play(self) -> Iterator[Token]:
        """Every token in turn, the end of turn included; after it the reply begins anew."""
        anew = chain.from_iterable(repeat(self.tokens))
        return anew if self.rest is None else chain(self.rest, anew)

    @cached_property
    def raw(self) -> bytes:
        return b"".join(token.raw for token in self.tokens)

    def begins(self, said: bytes) -> bool:
        """Whether this is how the reply goes, as often as it takes."""
        return bool(self.raw) and said == (self.raw * (len(said) // len(self.raw) + 1))[: len(said)]

    def after(self, said: bytes, encode: Callable[[str], tuple[Token, ...]]) -> Script:
        """What follows it; `encode` cuts what is left of a token that was said in part."""
        at = len(said) % len(self.raw) or len(self.raw)
        rest: list[Token] = []
        size = 0
        for token in self.tokens:
            if size >= at:
                rest.append(token)
            elif size + len(token.raw) > at:
                rest += encode(token.raw[at - size :].decode())
            size += len(token.raw)
        return Script(self.tokens, self.endless, tuple(rest))


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
        self._after_hello = Script(self._scripts["hello"].tokens[2:])

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
        found = _search(text)
        keyword = found.group().lower() if found else "hello"
        script = self._numbered(keyword) or self._scripts.get(keyword, self._scripts["hello"])
        if keyword == "hello":
            script = self._after_hello
        return self._after_end(script, text[-_SEARCHED:][found.end() if found else 0 :].encode())

    def continued(self, script: Script, said: str) -> Script:
        """What follows the beginning of a reply; all of it where it never begins so."""
        raw = said.encode()
        return script.after(raw, self._tokenizer.encode) if raw and script.begins(raw) else script

    def _after_end(self, script: Script, text: bytes) -> Script:
        """What follows a text that may end in the reply's beginning."""
        at = text.find(script.raw[:1]) if script.raw else -1
        while at >= 0:
            if script.begins(text[at:]):
                return script.after(text[at:], self._tokenizer.encode)
            at = text.find(script.raw[:1], at + 1)
        return script

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


def _search(text: str) -> re.Match[str] | None:
    return _KEYWORD.search(text[-_SEARCHED:])


def _keyword(text: str) -> str:
    found = _search(text)
    return found.group().lower() if found else "hello"
