"""The `vllm:` series of one scrape."""

from __future__ import annotations

from collections.abc import Callable

from app.simulator.engine.engine import Engine
from app.simulator.instance import Instance
from app.simulator.metrics.page import Labels, Page
from app.simulator.options import SimulatorOptions

_HISTOGRAMS = (
    "request_prompt_tokens", "request_generation_tokens", "iteration_tokens_total",
    "request_max_num_generation_tokens", "request_params_n", "request_params_max_tokens",
    "time_to_first_token_seconds", "inter_token_latency_seconds", "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds", "request_queue_time_seconds", "request_inference_time_seconds",
    "request_prefill_time_seconds", "request_decode_time_seconds", "request_num_preemptions",
    "request_prefill_kv_computed_tokens",
)  # fmt: skip
_CACHE_TIERS = ("device", "host", "p2p", "disk", "external_unspecified")
_CONFIG = {
    "_block_size_resolved": "True", "cache_dtype": "auto", "cache_hit_alignment_tokens": "None",
    "enable_mamba_shared_prefix_checkpoint": "False", "gpu_memory_utilization": "0.92", "hash_block_size": "None",
    "is_attention_free": "False", "kv_cache_dtype_skip_layers": "[]", "kv_cache_layout": "None",
    "kv_cache_memory_bytes": "1073741824", "kv_offloading_backend": "native", "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False", "mamba_block_size": "None", "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none", "mamba_page_size_padded": "None", "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None", "num_gpu_blocks_override": "None", "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256", "prefix_match_unit": "None", "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None", "sliding_window": "None", "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False", "use_replayssm": "False", "user_specified_block_size": "False",
}  # fmt: skip


class EnginePage:
    """Writes one row for each engine into every family."""

    def __init__(self, page: Page, instance: Instance) -> None:
        self._page = page
        self._instance = instance
        self._old = instance.options.old_metric_names
        self._rows: list[tuple[Labels, Engine]] = [
            ({"engine": str(number), "model_name": instance.options.model}, engine)
            for number, engine in enumerate(instance.engines)
        ]

    def write(self, *, old_names: bool = False) -> None:
        self._old = self._old or old_names
        self._gauges()
        self._caches()
        self._tokens()
        self._requests()
        for name in _HISTOGRAMS:
            rows = [(labels, getattr(engine.stats, name)) for labels, engine in self._rows]
            self._page.histogram(f"vllm:{self._name(name)}", rows)
        described = self._config(self._instance.options)
        config = [({"engine": labels["engine"], **described}, 1.0) for labels, _ in self._rows]
        self._page.gauge("vllm:cache_config_info", config)

    def _name(self, name: str) -> str:
        """The name before 0.10 where an old server was asked for."""
        old = {
            "kv_cache_usage_perc": "gpu_cache_usage_perc",
            "prefix_cache_queries_total": "gpu_prefix_cache_queries_total",
            "prefix_cache_hits_total": "gpu_prefix_cache_hits_total",
            "inter_token_latency_seconds": "time_per_output_token_seconds",
        }
        return old.get(name, name) if self._old else name

    def _each(self, value: Callable[[Engine], float], **more: str) -> list[tuple[Labels, float]]:
        return [(labels | more, value(engine)) for labels, engine in self._rows]

    def _counter(self, name: str, value: Callable[[Engine], float]) -> None:
        self._page.counter(f"vllm:{self._name(name)}", self._each(value))

    def _gauges(self) -> None:
        page = self._page
        for name in ("flops", "read_bytes", "write_bytes"):
            self._counter(f"estimated_{name}_per_gpu_total", lambda _: 0.0)
        page.gauge("vllm:num_requests_running", self._each(lambda engine: len(engine.running)))
        page.gauge("vllm:num_requests_waiting", self._each(lambda engine: len(engine.waiting)))
        reasons = self._each(lambda engine: len(engine.waiting), reason="capacity")
        reasons += self._each(lambda _: 0.0, reason="deferred")
        page.gauge("vllm:num_requests_waiting_by_reason", reasons)
        level = self._instance.sleep_level
        states = {"awake": level is None, "weights_offloaded": level == 1, "discard_all": level == 2}
        rows = [
            (labels | {"sleep_state": name}, float(on))
            for name, on in states.items()
            for labels, _ in self._rows
        ]
        page.gauge("vllm:engine_sleep_state", rows)
        page.gauge(
            f"vllm:{self._name('kv_cache_usage_perc')}", self._each(lambda engine: engine.blocks.usage)
        )

    def _caches(self) -> None:
        self._counter("prefix_cache_queries_total", lambda engine: engine.blocks.queried_tokens)
        self._counter("prefix_cache_hits_total", lambda engine: engine.blocks.hit_tokens)
        for name in ("external_prefix_cache", "mm_cache"):
            self._counter(f"{name}_queries_total", lambda _: 0.0)
            self._counter(f"{name}_hits_total", lambda _: 0.0)
        self._counter("num_preemptions_total", lambda engine: engine.stats.preemptions)

    def _tokens(self) -> None:
        self._counter("prompt_tokens_total", lambda engine: engine.stats.prompt_tokens)
        rows = self._each(
            lambda engine: engine.stats.prompt_tokens - engine.stats.cached_tokens, source="local_compute"
        )
        rows += self._each(lambda engine: engine.stats.cached_tokens, source="local_cache_hit")
        rows += self._each(lambda _: 0.0, source="external_kv_transfer")
        self._page.counter("vllm:prompt_tokens_by_source_total", rows)
        self._counter("prompt_tokens_cached_total", lambda engine: engine.stats.cached_tokens)
        rows = self._each(lambda engine: engine.stats.cached_tokens, source=_CACHE_TIERS[0])
        for tier in _CACHE_TIERS[1:]:
            rows += self._each(lambda _: 0.0, source=tier)
        self._page.counter("vllm:prompt_tokens_cached_by_source_total", rows)
        self._counter("generation_tokens_total", lambda engine: engine.stats.generation_tokens)

    def _requests(self) -> None:
        rows = [
            (labels | {"finished_reason": reason}, float(count))
            for labels, engine in self._rows
            for reason, count in engine.stats.finished.items()
        ]
        self._page.counter("vllm:request_success_total", rows)
        model = {"model_name": self._instance.options.model}
        rejected = {"max_num_queued_reqs": self._instance.rejected, "max_num_queued_tokens": 0}
        reasons = [(model | {"reason": reason}, float(count)) for reason, count in rejected.items()]
        self._page.counter("vllm:admission_rejections_total", reasons)

    def _config(self, options: SimulatorOptions) -> Labels:
        tokens = options.kv_blocks * options.block_size
        return _CONFIG | {
            "block_size": str(options.block_size),
            "effective_attention_block_size": str(options.block_size),
            "enable_prefix_caching": str(options.prefix_cache),
            "kv_cache_max_concurrency": str(tokens / options.max_model_len),
            "kv_cache_size_tokens": str(tokens),
            "num_gpu_blocks": str(options.kv_blocks),
        }
