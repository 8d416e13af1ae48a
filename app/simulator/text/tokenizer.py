"""A small byte-level vocabulary that cuts text as the recorded tiny model does."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

from app.simulator.text.vocabulary import PIECES, RECORDED_IDS, SPECIALS

_FIRST_PIECE = 259
_UNKNOWN = r" ?[A-Za-z]{1,4}|."


class Token(NamedTuple):
    """One token: its id and the bytes it adds to the text (none for the end of turn)."""

    id: int
    raw: bytes
    name: str


END = Token(2, b"", "<|im_end|>")


def _byte_names() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, by byte value."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    names = {value: chr(value) for value in printable}
    names.update(
        {value: chr(256 + index) for index, value in enumerate(v for v in range(256) if v not in names)}
    )
    return [names[value] for value in range(256)]


class Tokenizer:
    """Cuts text into tokens and back. The same text always gives the same ids, in every process; only pieces that
    nobody has recorded may share one.
    """

    def __init__(self, vocabulary: int = 4096) -> None:
        self._names = _byte_names()
        order = sorted(range(256), key=lambda value: ord(self._names[value]))
        self._byte_ids = {value: 3 + index for index, value in enumerate(order)}
        known = sorted({*SPECIALS, *PIECES}, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(piece) for piece in known) + "|" + _UNKNOWN, re.DOTALL)
        taken = {*SPECIALS.values(), *RECORDED_IDS.values()}
        self._free = [number for number in range(_FIRST_PIECE, vocabulary) if number not in taken]
        self._pieces: dict[str, tuple[Token, ...]] = {}
        self._by_id: dict[int, Token] = {END.id: END}
        self.encode = lru_cache(maxsize=4096)(self._encode)
        for piece in sorted(known):
            for token in self._piece(piece):
                if token.id in self._free:
                    self._free.remove(token.id)
        for value in range(256):
            self._byte(value)

    def _encode(self, text: str) -> tuple[Token, ...]:
        tokens: list[Token] = []
        for piece in self._pattern.findall(text):
            tokens.extend(self._pieces.get(piece) or self._piece(piece))
        return tuple(tokens)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids; an id nobody has seen reads as ` and`."""
        unseen = Token(0, b" and", "and")
        parts = [self._by_id.get(number, unseen) for number in ids]
        return b"".join(token.raw or token.name.encode() for token in parts).decode(errors="replace")

    def script(self, pieces: str) -> tuple[Token, ...]:
        """Tokens of a text whose cuts are given by `|`, ended by the end of turn."""
        tokens = [
            token for piece in pieces.split("|") for token in self._pieces.get(piece) or self._piece(piece)
        ]
        return (*tokens, END)

    def _piece(self, piece: str) -> tuple[Token, ...]:
        if piece in SPECIALS:
            tokens: tuple[Token, ...] = (Token(SPECIALS[piece], piece.encode(), piece),)
        elif piece.isascii():
            tokens = (self._byte(ord(piece)) if len(piece) == 1 else self._word(piece),)
        else:
            tokens = tuple(self._part(part) for part in _split_bytes(piece))
        self._pieces[piece] = tokens
        for token in tokens:
            self._by_id.setdefault(token.id, token)
        return tokens

    def _word(self, piece: str) -> Token:
        number = RECORDED_IDS.get(piece) or self._hashed(piece.encode())
        return Token(number, piece.encode(), "".join(self._names[value] for value in piece.encode()))

    def _part(self, raw: bytes) -> Token:
        return self._byte(raw[0]) if len(raw) == 1 else Token(self._hashed(raw), raw, self._name(raw))

    def _byte(self, value: int) -> Token:
        token = Token(self._byte_ids[value], bytes((value,)), self._names[value])
        self._by_id.setdefault(token.id, token)
        return token

    def _name(self, raw: bytes) -> str:
        return "".join(self._names[value] for value in raw)

    def _hashed(self, raw: bytes) -> int:
        return self._free[crc32(raw) % len(self._free)]


def _split_bytes(piece: str) -> list[bytes]:
    """Bytes beyond ASCII: Han characters in two tokens, every other character byte by byte."""
    parts: list[bytes] = []
    for char in piece:
        raw = char.encode()
        if 0x3000 <= ord(char) < 0x3040 or 0x4E00 <= ord(char) < 0xA000:
            parts += [raw[:2], raw[2:]]
        else:
            parts += [bytes((value,)) for value in raw]
    return parts
