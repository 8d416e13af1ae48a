"""The matrix of ends as data: for every end and every way to ask, what the caller sees and what is booked."""

from __future__ import annotations

from typing import Literal, NamedTuple

Column = Literal["json", "json via stream", "stream"]
COLUMNS: tuple[Column, ...] = ("json", "json via stream", "stream")


class Cell(NamedTuple):
    """`seen`: whole, gone, `504 code` as a whole answer, or `event code` in a stream without [DONE].

    `tokens`: exact, every count is the simulator's own; estimated, within FACTOR of it; prompt, the prompt
    so and nothing else, as nobody was left to tell the time; none, all are 0.
    `final`: the engine's last word was read, which alone states cached tokens.
    `attempts`: those that ended. `waste`: none; own, what the row bills; lost, what the attempts generated that the row does not bill;
    guessed, that within FACTOR, as nobody said it.
    """

    seen: str
    state: str
    source: str | None
    finish: str | None
    status: int | None
    code: str | None
    tokens: Literal["exact", "estimated", "prompt", "none"]
    final: bool = False
    waste: Literal["none", "own", "lost", "guessed"] = "none"
    attempts: int = 1


FACTOR = 2.0
"""An estimate is neither more than so many times the truth nor less than that part of it."""


def whole(finish: str, **other: object) -> Cell:
    return Cell("whole", "settled", "upstream", finish, 200, None, "exact", final=True)._replace(**other)


def void(status: int, code: str, seen: str = "", **other: object) -> Cell:
    return Cell(seen or f"{status} {code}", "void", None, None, status, code, "none")._replace(**other)


def left(source: str) -> Cell:
    tokens = "exact" if source == "upstream" else "estimated"
    return Cell("gone", "settled", source, "hang_up", 499, "caller_gone", tokens, waste="own")


def late(limit: str, source: str, *, event: bool = False) -> Cell:
    code = f"upstream_{limit}_timeout"
    tokens = "exact" if source == "upstream" else "estimated"
    seen = f"event {code}" if event else f"504 {code}"
    return Cell(seen, "settled", source, "timeout", 504, code, tokens, waste="own")


BROKEN = Cell(
    "event upstream_error", "settled", "upstream", "cut", 502, "upstream_error", "exact", waste="own"
)
LOST = void(502, "upstream_error", waste="lost")
GUESSED = LOST._replace(waste="guessed")
REJECTED = void(400, "invalid_request", seen="400 400")
CRASHED = Cell("gone", "settled", "estimated", "crashed", None, None, "exact", attempts=0)
"""A checkpoint: exact for a stream that stood still, but nobody knows that it did."""

CELLS: dict[str, tuple[Cell | str, Cell | str, Cell | str]] = {
    "finished": (whole("stop"), whole("stop"), whole("stop")),
    "length": (whole("length"), whole("length"), whole("length")),
    "stop": (whole("stop"), whole("stop"), whole("stop")),
    "tool call": (whole("tool_calls"), whole("tool_calls"), whole("tool_calls")),
    "400 in band": (REJECTED, REJECTED, REJECTED),
    "hang-up before the first byte": (left("estimated"), left("estimated"), left("estimated")),
    "hang-up mid-stream": (left("estimated"), left("upstream"), left("upstream")),
    "first-byte timeout": (
        "a JSON answer has no first byte before its last: its total time is the limit",
        "the caller of a JSON answer is promised its total time, however it is fetched",
        late("first_byte", "estimated"),
    ),
    "idle timeout": (
        "a JSON answer comes at once and whole: no pause in it can be too long",
        late("idle", "upstream"),
        late("idle", "upstream", event=True),
    ),
    "total timeout": (
        late("total", "estimated"),
        late("total", "upstream"),
        late("total", "upstream", event=True),
    ),
    "endpoint cut": (GUESSED, LOST, BROKEN),
    "in-band 500": (GUESSED, LOST, BROKEN),
    "abort at engine shutdown": (LOST, LOST, BROKEN._replace(final=True)),
    "retried elsewhere": (
        whole("stop", waste="lost", attempts=2),
        whole("stop", waste="lost", attempts=2),
        whole("stop", attempts=2),
    ),
    "gateway killed": (
        CRASHED._replace(tokens="prompt"),
        CRASHED,
        CRASHED,
    ),
}
"""By end, in the order of COLUMNS; a word in place of a cell says why there can be none."""


def cell(end: str, column: Column) -> Cell | str:
    return CELLS[end][COLUMNS.index(column)]
