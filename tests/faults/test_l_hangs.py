"""An event loop that is blocked: never silently."""

from __future__ import annotations

import os
import signal
import time

import httpx
import pytest

from app.cli.simulated import simulated
from tests.redis_server import serving
from tests.supervised import SOON, alone, blockable, pids, wait

HANGS = "the event loop hangs"


@pytest.fixture(scope="module")
def urls():
    with simulated(1, "sim") as urls:
        yield urls


def alive(gateway, timeout=SOON):
    return httpx.get(f"http://127.0.0.1:{gateway.data}/livez", timeout=timeout, trust_env=False)


def test_l18_a_blocked_loop_fails_its_probe_and_says_where_it_hangs(urls, tmp_path):
    with blockable(tmp_path, urls, 1, seconds=4, server={"watchdog": {"dump_after": 1}}) as gateway:
        assert alive(gateway).json() == {"status": "ok"}
        gateway.process.send_signal(signal.SIGUSR2)
        (told,) = [said for said in gateway.heard(HANGS) if "MainThread" in said]
        with pytest.raises(httpx.TimeoutException):
            alive(gateway, timeout=0.5)
        assert "sitecustomize.py" in told
        gateway.heard("the event loop runs again")
        assert alive(gateway).status_code == 200
        assert len([said for said in gateway.heard(HANGS) if "MainThread" in said]) == 1


@pytest.mark.long
def test_l18_a_blocked_worker_says_where_it_hangs_and_is_replaced(urls, tmp_path):
    watchdog = {"dump_after": 1, "kill_after": 3}
    with (
        serving() as redis,
        blockable(
            tmp_path, urls, 2, seconds=600, redis_url=redis.url, server={"watchdog": watchdog}
        ) as gateway,
    ):
        wait(lambda: len(pids(gateway)) == 2)
        before = pids(gateway)
        os.kill(before[0], signal.SIGUSR2)
        blocked = time.monotonic()
        wait(lambda: pids(gateway).get(0, before[0]) != before[0])
        print(f"replaced after {time.monotonic() - blocked:.1f} s")
        assert pids(gateway)[1] == before[1]
        assert "sitecustomize.py" in gateway.heard(HANGS)[0]
        assert gateway.heard("worker 0")[0] == f"worker 0 (process {before[0]}) hangs and is killed"
        assert any(b"Current thread" in line or b"most recent call first" in line for line in gateway.lines)


def test_stacks_can_be_asked_for_at_any_time(urls, tmp_path):
    with alone(tmp_path, urls) as gateway:
        gateway.process.send_signal(signal.SIGUSR1)
        wait(lambda: any(b"most recent call first" in line for line in gateway.lines))
        assert alive(gateway).status_code == 200
