"""The series of one scrape that are about the process, its HTTP traffic, and its parsers."""

from __future__ import annotations

import platform
import resource
import time

from app.simulator.instance import Instance
from app.simulator.metrics.histogram import SLEEP, Histogram
from app.simulator.metrics.page import Labels, Page

_GENERATIONS = ("0", "1", "2")


def write_process(page: Page, instance: Instance) -> None:
    """Python's collector and the process itself."""
    for name in ("objects_collected", "objects_uncollectable", "collections"):
        rows: list[tuple[Labels, float]] = [({"generation": number}, 0.0) for number in _GENERATIONS]
        page.counter(f"python_gc_{name}_total", rows, dated=False)
    major, minor, patch = platform.python_version_tuple()
    version = {"implementation": "CPython", "major": major, "minor": minor, "patchlevel": patch}
    page.gauge("python_info", [(version | {"version": platform.python_version()}, 1.0)])
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    page.gauge("process_virtual_memory_bytes", [({}, resident * 3)])
    page.gauge("process_resident_memory_bytes", [({}, resident)])
    page.gauge("process_start_time_seconds", [({}, instance.started)])
    page.counter("process_cpu_seconds_total", [({}, time.process_time())], dated=False)
    page.gauge("process_open_fds", [({}, 40.0 + instance.truth.counters.connections_open)])
    page.gauge("process_max_fds", [({}, float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))])


def write_traffic(page: Page, instance: Instance) -> None:
    """HTTP requests by handler."""
    traffic = instance.traffic
    page.counter(
        "http_requests_total",
        [
            ({"handler": handler, "method": method, "status": status}, float(count))
            for (handler, method, status), count in traffic.requests.items()
        ],
    )
    page.summary(
        "http_request_size_bytes", [({"handler": name}, sizes) for name, sizes in traffic.sizes_in.items()]
    )
    page.summary(
        "http_response_size_bytes", [({"handler": name}, sizes) for name, sizes in traffic.sizes_out.items()]
    )
    page.histogram("http_request_duration_highr_seconds", [({}, traffic.all_durations)])
    page.histogram(
        "http_request_duration_seconds",
        [
            ({"handler": handler, "method": method}, histogram)
            for (handler, method), histogram in traffic.durations.items()
        ],
    )


def write_rest(page: Page, instance: Instance) -> None:
    """Tool parser and sleep mode."""
    if instance.options.tool_parser:
        rows: list[tuple[Labels, float]] = [
            (
                {
                    "mode": mode,
                    "model_name": instance.options.model,
                    "outcome": outcome,
                    "request_type": kind,
                },
                float(instance.tool_parses.get((mode, outcome), 0) if kind == "chat_completions" else 0),
            )
            for mode in ("streaming", "non_streaming")
            for outcome in ("tool_call", "no_tool_call")
            for kind in ("chat_completions", "responses", "other")
        ]
        page.counter("vllm:tool_call_parser_invocations_total", rows)
    if instance.options.dev_mode:
        none = Histogram(SLEEP)
        page.histogram(
            "vllm:sleep_mode_operation_duration_seconds",
            [({"operation": name}, none) for name in ("sleep", "wake")],
        )
        idle: list[tuple[Labels, float]] = [({"operation": name}, 0.0) for name in ("sleep", "wake")]
        page.gauge("vllm:sleep_mode_operations_in_flight", idle)
