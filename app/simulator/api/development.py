"""Routes of development mode: sleep, pause, caches."""

from __future__ import annotations

from app.simulator.api.call import Call


def is_sleeping(call: Call) -> None:
    call.json({"is_sleeping": call.instance.sleep_level is not None})


def sleep(call: Call) -> None:
    level = int(call.request.parameter("level") or 1)
    call.instance.sleep(level)
    call.json({"status": "sleeping", "level": level})


def wake_up(call: Call) -> None:
    call.instance.wake()
    call.json({"status": "awake", "tags": None})


def pause(call: Call) -> None:
    call.instance.pause()
    call.json({"status": "paused"})


def resume(call: Call) -> None:
    call.instance.resume()
    call.json({"status": "resumed"})


def is_paused(call: Call) -> None:
    call.json({"is_paused": call.instance.paused})


def reset_prefix_cache(call: Call) -> None:
    for engine in call.instance.engines:
        engine.blocks.forget()
    call.json({"success": True})
