"""GET /metrics, and the ways it can lie."""

from __future__ import annotations

from app.simulator.api.call import Call
from app.simulator.instance import Instance
from app.simulator.metrics.engine_page import EnginePage
from app.simulator.metrics.page import Page
from app.simulator.metrics.server_page import write_process, write_rest, write_traffic

_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_HUGE_LINE = b'vllm:num_requests_running{engine="0",model_name="huge"} 1.0\n'
_HUGE_BYTES = 100 * 1024 * 1024


def metrics(call: Call) -> None:
    """Everything the instance counts; under a fault: the page of the fault's first scrape for ever, no `vllm:` series,
    old names, garbage, 100 MB, or nothing at all.
    """
    instance = call.instance
    fault = call.fault.fault if call.fault is not None else None
    if fault == "metrics_hang":
        call.exchange.mute()
    elif fault == "metrics_garbage":
        call.text(b"\x00\xff<html>{{{ vllm:num_requests_running NaN garbage\n" * 50, _TYPE)
    elif fault == "metrics_huge":
        call.text(_HUGE_LINE * (_HUGE_BYTES // len(_HUGE_LINE)), _TYPE)
    elif fault == "metrics_stale":
        instance.stale_metrics = instance.stale_metrics or page(instance)
        call.text(instance.stale_metrics, _TYPE)
    else:
        call.text(
            page(instance, engines=fault != "metrics_missing", old_names=fault == "metrics_old_names"), _TYPE
        )


def page(instance: Instance, *, engines: bool = True, old_names: bool = False) -> bytes:
    """The text of one scrape."""
    sheet = Page(instance.started)
    write_process(sheet, instance)
    if engines:
        EnginePage(sheet, instance).write(old_names=old_names)
    write_traffic(sheet, instance)
    if engines:
        write_rest(sheet, instance)
    return sheet.render()
