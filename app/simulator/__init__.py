"""A faithful vLLM 0.32 without a model: its wire behaviour, a queue and a clock, faults on demand, and the truth.

In process::

    sim = Simulator(SimulatorOptions(served_names=("tiny",), ttft=0.02, itl=0.005))     # or Simulator(ttft=0.02, ...)
    await sim.start()                      # host="127.0.0.1", port=0; or `async with Simulator(...) as sim:`
    sim.url, sim.port
    await sim.stop()                       # await sim.restart() for a new process on the same port

Faults, by call, by `POST /sim/faults`, by header `x-sim-fault: rst;after=3`, or by body field `"sim_fault"`::

    sim.faults.add("rst", after_tokens=3)                                   # the next request, after its third token
    sim.faults.add("queue_full", count=None, match={"path": "/v1/chat/completions"})      # until sim.faults.clear()

    instead of an answer: silent, close, rst, head_then_silence, half_head, raw, status, drain_500, engine_dead,
        plain_500, queue_full, rate_limited, model_unloaded, unauthorized, forbidden, redirect, html
    after `after_tokens` tokens (0: after the head): rst, close, cut, stall, abort, error, cut_in_chunk, bad_chunk
    in the shape of an answer: no_done, no_finish, malformed, split_utf8, coalesce, fragment, comments, merge_tokens,
        slow_head, crlf, no_usage, usage, after_done, no_end, close_after, wrong_model, delay
    of probes and scrapes: health_dead, health_hang, health_alive, metrics_stale, metrics_missing, metrics_old_names,
        metrics_garbage, metrics_hang, metrics_huge

Switches: refuse(seconds=None) / await accept(), hang_up(), pause() / resume(), sleep() / wake(), unload() / load(), adjust(itl=...),
kill_engine(), terminate("abort" | "silent" | "drain", timeout=...). The same by POST on `/sim/…` (refuse, accept, pause,
resume, sleep, wake, unload, load, options, kill-engine, terminate); `GET /sim/state`.

Truth: `sim.truth.records` (one Record a request: request_id, model, prompt_tokens, generated, sent, finish, aborted,
status, fault, headers, body), `sim.truth.last`, `.of(request_id)`, `.active`, `.counters`; `sim.idle`; the same at
`GET /sim/truth`; `POST /sim/reset`.

The reply is chosen by keyword in the last message: hello (default), short, think, unicode, count, forever (until
max_tokens), weather (a tool call where tools are given), and `N tokens` for exactly N tokens.
"""

from app.simulator.faults.fault import Fault
from app.simulator.options import SimulatorOptions
from app.simulator.serve import run, serve
from app.simulator.simulator import Simulator
from app.simulator.truth import Counters, Record, Truth

__all__ = ["Counters", "Fault", "Record", "Simulator", "SimulatorOptions", "Truth", "run", "serve"]
