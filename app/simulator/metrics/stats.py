"""What one engine has counted since it started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.simulator.metrics import histogram as bounds
from app.simulator.metrics.histogram import Histogram

if TYPE_CHECKING:
    from app.simulator.engine.sequence import Sequence


@dataclass(slots=True)
class EngineStats:
    """Counters and histograms under the names of `/metrics`, without their prefix."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generation_tokens: int = 0
    preemptions: int = 0
    finished: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("stop", "length", "abort", "error", "repetition"), 0)
    )
    request_prompt_tokens: Histogram = field(default_factory=lambda: Histogram(bounds.SIZES))
    request_generation_tokens: Histogram = field(default_factory=lambda: Histogram(bounds.SIZES))
    iteration_tokens_total: Histogram = field(default_factory=lambda: Histogram(bounds.STEPS))
    request_max_num_generation_tokens: Histogram = field(default_factory=lambda: Histogram(bounds.SIZES))
    request_params_n: Histogram = field(default_factory=lambda: Histogram(bounds.FEW))
    request_params_max_tokens: Histogram = field(default_factory=lambda: Histogram(bounds.SIZES))
    time_to_first_token_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.FIRST_TOKEN))
    inter_token_latency_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.GAPS))
    request_time_per_output_token_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.GAPS))
    e2e_request_latency_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.REQUESTS))
    request_queue_time_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.REQUESTS))
    request_inference_time_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.REQUESTS))
    request_prefill_time_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.REQUESTS))
    request_decode_time_seconds: Histogram = field(default_factory=lambda: Histogram(bounds.REQUESTS))
    request_num_preemptions: Histogram = field(default_factory=lambda: Histogram(bounds.PREEMPTIONS))
    request_prefill_kv_computed_tokens: Histogram = field(default_factory=lambda: Histogram(bounds.SIZES))

    def token(self, sequence: Sequence, now: float) -> None:
        """A sequence has its next token."""
        self.generation_tokens += 1
        if sequence.first_token is None:
            sequence.first_token = now
            self.prompt_tokens += sequence.prompt.count
            self.cached_tokens += sequence.cached_tokens
            self.time_to_first_token_seconds.observe(now - sequence.arrived)
        else:
            self.inter_token_latency_seconds.observe(now - sequence.last_token)
        sequence.last_token = now

    def end(self, sequence: Sequence, now: float) -> None:
        """A sequence has finished by itself or was ended by a shutdown; a client's hang-up is not counted."""
        self.finished[sequence.finish or "stop"] += 1
        scheduled = sequence.arrived if sequence.scheduled is None else sequence.scheduled
        first = scheduled if sequence.first_token is None else sequence.first_token
        generated = sequence.generated
        self.request_prompt_tokens.observe(sequence.prompt.count)
        self.request_generation_tokens.observe(generated)
        self.request_max_num_generation_tokens.observe(generated)
        self.request_params_n.observe(1)
        self.request_params_max_tokens.observe(sequence.limits.tokens)
        self.request_time_per_output_token_seconds.observe((now - first) / max(generated - 1, 1))
        self.e2e_request_latency_seconds.observe(now - sequence.arrived)
        self.request_queue_time_seconds.observe(scheduled - sequence.arrived)
        self.request_inference_time_seconds.observe(now - scheduled)
        self.request_prefill_time_seconds.observe(first - scheduled)
        self.request_decode_time_seconds.observe(now - first)
        self.request_num_preemptions.observe(sequence.preemptions)
        self.request_prefill_kv_computed_tokens.observe(sequence.prompt.count - sequence.cached_tokens)
