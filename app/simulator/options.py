"""Everything about a simulated vLLM that can be chosen before it starts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class SimulatorOptions(BaseModel, frozen=True, extra="forbid"):
    """The flags of `vllm serve` that show on the wire, and the speed of the engine behind it. Seconds are floats."""

    served_names: tuple[str, ...] = Field(default=("tiny",), min_length=1)
    root: str = "/models/tiny"
    api_keys: tuple[str, ...] = ()
    mode: Literal["generate", "pooling"] = "generate"
    max_model_len: int = Field(default=32768, gt=0)
    seed: int = 0

    ttft: float = Field(default=0.02, ge=0)
    prefill_tokens_per_second: float | None = Field(default=None, gt=0)
    itl: float = Field(default=0.01, ge=0)
    jitter: float = Field(default=0.0, ge=0, lt=1)
    """Share of a delay by which it may be longer or shorter."""
    load_factor: float = Field(default=1.0, ge=1)
    """How many times longer a token takes with all `max_num_seqs` places taken than with one."""
    tokens_per_second: float | None = Field(default=None, gt=0)
    """Cap on what one engine generates in all, shared by its running sequences."""

    max_num_seqs: int = Field(default=256, gt=0)
    max_queued: int | None = Field(default=None, gt=0)
    scheduling: Literal["fcfs", "priority"] = "fcfs"
    kv_blocks: int = Field(default=8192, gt=0)
    block_size: int = Field(default=16, gt=0)
    prefix_cache: bool = True
    data_parallel: int = Field(default=1, gt=0)

    reasoning_parser: bool = False
    tool_parser: bool = True
    prompt_tokens_details: bool = False
    request_id_headers: bool = False
    force_include_usage: bool = False
    per_request_metrics: bool = False
    track_load: bool = False
    dev_mode: bool = False
    sse_keep_alive: float | None = Field(default=None, gt=0)
    keep_alive: float = Field(default=5.0, gt=0)
    shutdown_timeout: float = Field(default=0.0, ge=0)
    silent_shutdown: bool = False
    """At SIGTERM without a shutdown timeout: open streams go silent for ever instead of ending with `abort`."""
    old_metric_names: bool = False

    version: str = "0.32.0"
    fingerprint: str = "vllm-0.32.0-88ce09d5"
    vocabulary: int = 4096
    embedding_dimensions: int = Field(default=128, gt=0)
    truth_limit: int = Field(default=100_000, gt=0)
    """How many finished requests the ground truth remembers."""

    @property
    def model(self) -> str:
        """The name every answer carries, whichever alias was asked for."""
        return self.served_names[0]
