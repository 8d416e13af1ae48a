"""One request in the engine: its sequences, who hears of their tokens, and how it can end."""

from __future__ import annotations

from typing import Protocol, get_args

from app.simulator.api.call import Call
from app.simulator.api.errors import ApiError, busy, dead, draining
from app.simulator.engine.engine import Engine
from app.simulator.engine.sequence import Limits, Output, Sequence
from app.simulator.faults.fault import Progress
from app.simulator.text.replies import Script
from app.simulator.text.template import Prompt


class Reply(Protocol):
    """How one surface words a generation, streamed or whole."""

    streams: bool

    def opened(self) -> None:
        """Before the engine has seen the request."""

    def output(self, index: int, output: Output) -> None:
        """More of one choice; the last one has a finish reason. Whole answers hear once per choice."""

    def unscheduled(self) -> None:
        """A stream ends at a shutdown before the engine got to it."""

    def done(self) -> None:
        """Every choice is finished."""

    def failed(self, error: ApiError) -> None:
        """The engine refuses, or has died."""


class Generation:
    """Ends exactly once: done, failed, broken by a fault, or forgotten because the client left."""

    def __init__(self, call: Call, engine: Engine) -> None:
        self.call = call
        self.engine = engine
        self.sequences: list[Sequence] = []
        self.reply: Reply
        self._heard: list[Output] = []
        self._left = 0
        self._over = False
        self._struck = False

    def add(self, prompt: Prompt, script: Script, limits: Limits, priority: int = 0) -> None:
        """One more choice, in order of index."""
        index = len(self.sequences)
        self.sequences.append(Sequence(prompt, script, limits, self._hear, index=index, priority=priority))
        self._heard.append(Output())

    def start(self, reply: Reply, refusal: ApiError | None = None) -> None:
        """Answer the call. Raises what vLLM refuses before any answer; `refusal` goes into the stream of a stream."""
        instance, record = self.call.instance, self.call.record
        if instance.dead:
            raise dead()
        if instance.draining:
            raise draining()
        if refusal is not None and not reply.streams:
            raise refusal
        self._admit()
        self.reply = reply
        record.prompt_tokens = self.prompt_tokens
        record.streamed = reply.streams
        record.status = 200
        instance.truth.counters.prompt_tokens += record.prompt_tokens
        if reply.streams:
            self.call.exchange.open_stream()
            interval = instance.options.sse_keep_alive
            if self.call.fault is not None and self.call.fault.fault == "comments":
                interval = self.call.fault.delay
            if interval is not None:
                self.call.exchange.comment_when_idle(interval)
        reply.opened()
        if refusal is not None:
            self._close()
            reply.failed(refusal)
            return
        self._left = len(self.sequences)
        self.call.exchange.on_gone = self._gone
        self.call.exchange.on_writable = self._flush
        instance.generations[self] = None
        for sequence in self.sequences:
            self.engine.submit(sequence)
        self._strike()

    def _admit(self) -> None:
        most = self.call.instance.options.max_queued
        if most is not None and len(self.engine.waiting) + len(self.sequences) > most:
            self.call.instance.rejected += 1
            raise busy()

    @property
    def prompt_tokens(self) -> int:
        """Each prompt once, however many choices it has."""
        return sum({id(sequence.prompt): sequence.prompt.count for sequence in self.sequences}.values())

    @property
    def completion_tokens(self) -> int:
        return sum(sequence.generated for sequence in self.sequences)

    @property
    def cached_tokens(self) -> int:
        return self.sequences[0].cached_tokens

    @property
    def created_tokens(self) -> int:
        return self.sequences[0].created_tokens

    def _hear(self, sequence: Sequence, output: Output) -> None:
        record = self.call.record
        record.generated += len(output.tokens)
        self.call.instance.truth.counters.generated_tokens += len(output.tokens)
        index = sequence.index
        heard = self._heard[index]
        if heard.tokens:
            heard.merge(output)
        else:
            heard = self._heard[index] = output
        if self._due(heard):
            self._deliver(index)
        self._strike()
        if output.finish is not None and not self._over:
            self._left -= 1
            if self._left == 0:
                self._complete()

    def _due(self, heard: Output) -> bool:
        """Whether it is time to speak: a slow reader gets several tokens at once, as in vLLM."""
        if heard.finish is not None:
            return True
        if not self.reply.streams:
            return False
        fault = self.call.fault
        if fault is not None and fault.fault == "merge_tokens":
            return len(heard.tokens) >= fault.size
        return self.call.exchange.writable or (fault is not None and fault.after_tokens is not None)

    def _deliver(self, index: int) -> None:
        heard, self._heard[index] = self._heard[index], Output()
        self.call.record.sent += len(heard.tokens)
        self.reply.output(index, heard)

    def _flush(self) -> None:
        for index, heard in enumerate(self._heard):
            if self.reply.streams and heard.tokens and not self._over:
                self._deliver(index)

    def _complete(self) -> None:
        self._close()
        self.reply.done()

    def _close(self) -> None:
        self._over = True
        record = self.call.record
        record.finish = [sequence.finish for sequence in self.sequences]
        record.cached_tokens = self.cached_tokens
        record.ended = self.call.instance.now()
        self.call.instance.generations.pop(self, None)

    def _abandon(self, reason: str) -> None:
        for sequence in self.sequences:
            self.engine.abort(sequence, reason)
        self._close()

    def _gone(self) -> None:
        self._abandon("gone")
        record = self.call.record
        record.aborted, record.ended = record.ended, None
        self.call.instance.truth.counters.aborts += 1

    def die(self) -> None:
        """The engine has died under it."""
        self.fail(dead())

    def fail(self, error: ApiError) -> None:
        """End with an error: in-band for a stream, with its status otherwise."""
        self._abandon("error")
        if not self.reply.streams:
            self.call.record.status = error.status
        self.reply.failed(error)

    def shut_down(self) -> None:
        """End with `abort` what runs, and without a word what still waited in a stream."""
        if self.reply.streams and all(sequence.scheduled is None for sequence in self.sequences):
            self._close()
            self.reply.unscheduled()
            return
        for sequence in self.sequences:
            if sequence.finish in (None, "abort"):
                self._heard[sequence.index].merge(Output(finish="abort"))
                self._deliver(sequence.index)
        self._complete()

    def _strike(self) -> None:
        fault = self.call.fault
        if fault is None or self._struck or self._over or fault.fault not in get_args(Progress):
            return
        if self.call.record.generated < (fault.after_tokens or 0):
            return
        self._struck = True
        self._flush()
        exchange = self.call.exchange
        match fault.fault:
            case "stall":
                for sequence in self.sequences:
                    self.engine.hold(sequence)
                exchange.mute()
            case "abort":
                for sequence in self.sequences:
                    self.engine.abort(sequence, "abort")
                self.shut_down()
            case "error":
                kind = "BadRequestError" if fault.code < 500 else "InternalServerError"
                message = fault.message or dead().fields["message"]
                self.fail(ApiError(fault.code, kind, message))
            case "rst":
                self._abandon("broken")
                exchange.reset()
            case _:
                self._abandon("broken")
                if fault.fault in ("cut_in_chunk", "bad_chunk"):
                    exchange.raw(b"A\r\nhel" if fault.fault == "cut_in_chunk" else b"ZZ\r\nbroken\r\n")
                exchange.cut()
