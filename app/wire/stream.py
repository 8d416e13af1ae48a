"""Reads an endpoint's event stream: forwards what the caller may see, meters it, and holds back its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.core.failures import StreamBroken
from app.wire.body import decode_answer, encode
from app.wire.chunks import Chunks
from app.wire.edit import Codec, Fate
from app.wire.errors import error_of
from app.wire.gathering import Gathering
from app.wire.meter import Meter
from app.wire.named import MessageEvents, ResponseEvents
from app.wire.sse import CR, MAX_EVENT, Events, data_of, with_data
from app.wire.usage import ceiling

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.outcome import Usage, UsageSource
    from app.core.surface import Surface
    from app.wire.assembly import Assembly
    from app.wire.request import UsageWanted

_DONE = b"[DONE]"

# A quote inside a string is always escaped, so no text that a model writes can look like this.
_TEXT = b'"delta":{"content":"'


class StreamReader:
    """One per stream. `[DONE]`, or the dialect's last event, is held until the caller asks for it with `end`.

    An in-band error and everything after it are not forwarded; neither is anything after the end, nor an
    event that says the engine gave up. `model` is the name to show in the caller's events, None leaves what
    came. `usage` is what the caller asked to see. `n` choices were asked for each of `prompts` prompts, and
    `completion_limit` tokens at most over all of them. With an `assembly` (of a completion dialect) no
    data is forwarded: all of it goes there.
    """

    __slots__ = (
        "_codec",
        "_ends_with_done",
        "_events",
        "_held",
        "_meter",
        "_over",
        "_splice",
        "error",
        "started",
    )

    def __init__(
        self,
        surface: Surface,
        *,
        model: str | None = None,
        usage: UsageWanted = "none",
        n: int = 1,
        prompts: int = 1,
        prompt_estimate: int = 0,
        completion_limit: int | None = None,
        assembly: Assembly | None = None,
        max_event: int = MAX_EVENT,
    ) -> None:
        self._events = Events(max_event)
        self._meter = Meter(n=n, prompt=prompt_estimate, ceiling=ceiling(completion_limit))
        self._codec: Codec
        if surface.dialect == "messages":
            self._codec = MessageEvents(self._meter, model=model)
        elif surface.dialect == "responses":
            self._codec = ResponseEvents(self._meter, model=model)
        elif assembly is not None:
            self._codec = Gathering(surface.dialect, self._meter, assembly, choices=n * prompts)
        else:
            self._codec = Chunks(surface.dialect, self._meter, model=model, wanted=usage, choices=n * prompts)
        self._ends_with_done = surface.done
        self._splice: Callable[[bytes], bytes | None] | None = None
        self._held: bytes | None = None
        self._over = False
        self.started = False
        """A useful event came: something the model made, or the word that it is done."""
        self.error: dict[str, Any] | None = None
        """The error an event reported: an object with a message."""

    def feed(self, chunk: bytes) -> bytes:
        """The caller's bytes for this chunk, whole events, maybe none.

        Raises StreamBroken on an event that is too large or no JSON object (event_too_large, garbled);
        the meter then holds all that came before it.
        """
        if self._over:
            return b""
        splice = self._splice or self._splice_first
        events = self._events.feed(chunk)
        if len(events) == 1:
            edited = splice(events[0])
            if edited is not None:
                return edited + b"\n\n"
        passed = []
        for event in events:
            edited = splice(event)
            if edited is None:
                edited = self._read(event)
                if self._over:
                    break
            if edited:
                passed.append(edited)
        return b"\n\n".join(passed) + b"\n\n" if passed else b""

    def splice(self, chunk: bytes) -> bytes | None:
        """As `feed`, for a chunk that is one ordinary event of a stream that has begun, which most are.

        None for any other, of which nothing has been read then.
        """
        splice, events = self._splice, self._events
        if splice is None or not events.plain or CR in chunk:
            return None
        if chunk.find(b"\n") == len(chunk) - 2 <= events.max_event and chunk.endswith(b"\n\n"):
            return splice(chunk)
        return None

    @property
    def ended(self) -> bool:
        """The end marker or an error came: whatever follows is ignored."""
        return self._over

    def end(self) -> bytes:
        """The held end, to be sent once the call is settled; nothing unless the stream is complete."""
        return self._held or b"" if self.complete else b""

    @property
    def complete(self) -> bool:
        """The model finished every choice, and the end marker came."""
        return self._held is not None and self._codec.satisfied

    @property
    def finish(self) -> str | None:
        """Why the model stopped, in the engine's words; `abort` when the engine gave up any choice."""
        return self._codec.finish

    @property
    def usage(self) -> Usage:
        return self._meter.usage

    @property
    def usage_source(self) -> UsageSource:
        """upstream: the engine said so. counted: one token per event. estimated: nothing came at all.

        An engine that said something that cannot be true is not believed in the rest either.
        """
        return self._meter.usage_source

    @property
    def suspect(self) -> bool:
        """The endpoint stated a usage that cannot be true; it was not believed."""
        return self._meter.suspect

    @property
    def events(self) -> int:
        """How many events had content."""
        return self._meter.events

    def _splice_first(self, event: bytes) -> bytes | None:
        """Only text, in vLLM's shape, is useful beyond doubt: all else is decoded to find out."""
        at = event.find(_TEXT)
        if at < 0 or event.startswith(b'"', at + len(_TEXT)):
            return None
        edited = self._codec.splice(event)
        if edited is not None:
            self._start()
        return edited

    def _start(self) -> None:
        self.started = True
        self._splice = self._codec.splice

    def _read(self, event: bytes) -> bytes:
        event = event.strip(b"\n")
        data = data_of(event)
        if data is None:
            return event
        data = data.strip()
        if not data:
            return b""
        if data == _DONE:
            if self._ends_with_done:
                self._hold(b"data: [DONE]\n\n")
            return b""
        try:
            content = decode_answer(data)
        except ValueError:
            raise StreamBroken(reason="garbled") from None
        if not isinstance(content, dict):
            raise StreamBroken(reason="garbled")
        self.error = error_of(content)
        if self.error is not None:
            self._stop()
            return b""
        fate = self._codec.edit(event, content)
        if not self.started and self._codec.useful:
            self._start()
        if fate is Fate.KEEP:
            return event
        if fate is Fate.DROP:
            return b""
        edited = with_data(event, encode(content))
        if fate is Fate.END:
            self._hold(edited + b"\n\n")
        return edited

    def _hold(self, end: bytes) -> None:
        self._held = end
        self._stop()

    def _stop(self) -> None:
        self._over = True
        self._splice = None
