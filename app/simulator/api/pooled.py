"""A request that only reads: it takes its place in the engine and answers once all its prompts are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.simulator.api.call import Call
from app.simulator.api.errors import ApiError
from app.simulator.api.generation import Generation
from app.simulator.engine.sequence import Limits, Output
from app.simulator.text.replies import Script
from app.simulator.text.template import Prompt
from app.simulator.text.tokenizer import END


class Pooled:
    """Answers with what `answer` makes, after the engine has seen every prompt."""

    streams = False

    def __init__(self, call: Call, prompts: list[Prompt], answer: Callable[[], dict[str, Any]]) -> None:
        self._call = call
        self._answer = answer
        self._aborted = False
        self._generation = Generation(call, call.instance.engine(None))
        for prompt in prompts:
            self._generation.add(prompt, Script((END,)), Limits(0))

    def start(self) -> None:
        self._generation.start(self)

    def opened(self) -> None:
        """Nothing is said before the end."""

    def unscheduled(self) -> None:
        """Only streams end so."""

    def output(self, index: int, output: Output) -> None:
        del index
        self._aborted = self._aborted or output.finish == "abort"

    def done(self) -> None:
        if self._aborted:
            self.failed(ApiError(500, "InternalServerError", "Request aborted"))
        else:
            self._call.json(self._answer())

    def failed(self, error: ApiError) -> None:
        self._call.record.status = error.status
        self._call.exchange.respond(error.status, error.body, (("content-type", "application/json"),))
