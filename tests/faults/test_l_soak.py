"""A long run of everything at once: what a gateway holds at its end is what it held at its beginning."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression

import pytest

from app.simulator import Simulator
from tests.faults.lives import Life, life
from tests.faults.tcpproxy import TcpProxy
from tests.gateways import page
from tests.house import until
from tests.supervised import SOON, operator

SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
CALLERS = 12
ROUND = 2.0
"""Seconds between two changes of what is wrong, and between two looks at the process."""

GROWTH = 2**20
"""Bytes of memory an hour."""

NOISE = 6 * 2**20
"""Bytes by which memory may have grown all the same: pages that are filled for the first time."""

FAULTS = (
    "plain_500", "drain_500", "queue_full", "rate_limited", "html", "half_head", "close", "rst;after=3", "cut;after=3",
    "abort;after=2", "error;after=2", "bad_chunk;after=2", "no_done", "no_usage", "fragment", "comments", "malformed",
    "unauthorized", "redirect", "head_then_silence",
)  # fmt: skip


@dataclass
class Process:
    """What a gateway holds, as its operating system sees it."""

    pid: int
    began: float = field(default_factory=time.monotonic)
    looks: list[tuple[float, int, int]] = field(default_factory=list)

    def look(self) -> None:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.looks.append((time.monotonic() - self.began, pages * 4096, self.files))

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def growth(self) -> float:
        """Bytes a second of memory, without the first third, in which everything is used for the first time."""
        late = self.looks[len(self.looks) // 3 :]
        return linear_regression([at for at, _, _ in late], [rss for _, rss, _ in late]).slope


async def well_behaved(subject: Life, dice: random.Random) -> None:
    await subject.ask(f"{dice.randint(1, 40)} tokens", stream=dice.random() < 0.5)


async def leaves(subject: Life, dice: random.Random) -> None:
    caller = await subject.caller(subject.customer.request("forever", stream=dice.random() < 0.7))
    await asyncio.sleep(dice.random() * 0.3)
    caller.hang_up()


async def reads_slowly(subject: Life, dice: random.Random) -> None:
    caller = await subject.caller(subject.customer.request("100 tokens", stream=True))
    said = b"?"
    while said and not said.endswith(b"0\r\n\r\n"):
        said = await caller.reader.read(512)
        await asyncio.sleep(0.02)


async def says_nonsense(subject: Life, dice: random.Random) -> None:
    said = subject.customer.request()
    said = dice.choice(
        [said[:-3] + b"\xff{]", said[: len(said) // 2], said.replace(b"Bearer sk", b"Bearer no"), b"\0" * 40]
    )
    caller = await subject.caller(said)
    await asyncio.sleep(0.05)
    caller.hang_up()


async def asks_for_what_is_not(subject: Life, dice: random.Random) -> None:
    caller = await subject.caller(subject.customer.request(model=f"model-{dice.random()}"))
    await caller.answer()


WAYS = (well_behaved, well_behaved, well_behaved, leaves, reads_slowly, says_nonsense, asks_for_what_is_not)


async def call_on(subject: Life, dice: random.Random, enough: asyncio.Event) -> int:
    """How often; whatever comes of it is right, the other tests see to that."""
    number = 0
    while not enough.is_set():
        number += 1
        known = len(subject._callers)
        try:
            async with asyncio.timeout(SOON):
                await dice.choice(WAYS)(subject, dice)
        except (OSError, EOFError):
            pass
        if known > 1000:
            subject.hang_up()
            subject._callers.clear()
    return number


async def make_trouble(engines: list[Simulator], proxy: TcpProxy, dice: random.Random) -> None:
    """For one round."""
    engine = dice.choice(engines)
    engine.faults.clear()
    engine.faults.add(dice.choice(FAULTS))
    match dice.randrange(4):
        case 0:
            proxy.reset()
        case 1:
            proxy.mode = "silent"
        case 2:
            proxy.mode = "refusing"
    await asyncio.sleep(ROUND)
    proxy.mode = "open"


def metric(text: str, name: str) -> float:
    return sum(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)))


@pytest.mark.long
async def test_l19_a_long_run_of_mixed_faults_leaves_nothing_behind(tmp_path):
    dice = random.Random(19)
    engines = [Simulator(ttft=0.01, itl=0.005, seed=seed) for seed in range(3)]
    timeouts = {"connect": 1, "first_byte": 1, "idle": 1, "total": 5, "stream_total": 5}
    settings = {"resilience": {"timeouts": timeouts}, "ledger": {"retention": "1h"}}
    await engines[0].start()
    async with TcpProxy(engines[0].url) as proxy:
        async with life(tmp_path, *engines[1:], **settings) as subject:
            rows = subject.gateway.rewrite()["vllm_endpoints"]
            subject.gateway.rewrite(vllm_endpoints=[{"name": "proxied", "url": proxy.url}, *rows])
            async with operator(subject.gateway) as ops:
                assert (await ops.post("/admin/v1/reload")).status_code == 200
            process, enough = Process(subject.gateway.process.pid), asyncio.Event()
            await subject.ask()
            files = process.files
            callers = [
                asyncio.create_task(call_on(subject, random.Random(n), enough)) for n in range(CALLERS)
            ]
            while time.monotonic() - process.began < SECONDS:
                await make_trouble(engines, proxy, dice)
                process.look()
            enough.set()
            number = sum(await asyncio.gather(*callers))
            assert number > SECONDS
            subject.hang_up()
            for engine in engines:
                engine.faults.clear()
            await _idle(subject)
            await until(lambda: process.files <= files + 3 * len(engines), within=60)
            grown = process.growth() * 3600
            print(
                f"{number} calls in {SECONDS:.0f} s; memory {process.looks[0][1] / 2**20:.1f} -> "
                f"{process.looks[-1][1] / 2**20:.1f} MiB, {grown / 2**20:+.1f} MiB/h; files {files} -> "
                f"{max(each for _, _, each in process.looks)} -> {process.files}; {process.threads} threads"
            )
            assert process.growth() * SECONDS < max(GROWTH * SECONDS / 3600, NOISE)
            assert (await subject.ask()).status == 200
            assert await subject.open_rows() == []
    await engines[0].stop()


async def _idle(subject: Life) -> None:
    """Every gauge is back at nothing."""
    names = ("inflight_requests", "queued_requests", "endpoint_inflight", "ledger_pending", "journal_backlog")
    async with asyncio.timeout(SOON):
        while True:
            text = (await page(subject.gateway, "/metrics")).text
            left = {name: metric(text, f"sluice_{name}") for name in names}
            if not any(left.values()):
                return
            await asyncio.sleep(0.2)
