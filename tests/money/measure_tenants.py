"""What a call costs where 3,200 tenants have keys and limits, against 32: CPU of the gateway's process.

python -m tests.money.measure_tenants [rounds]

Every tenant has all five limits and every key a rate; callers and the endpoint are processes of their own.
Few and many take turns within one run, so that what else the machine does falls on both alike.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import uvloop

from app.core.tenant import Limits
from tests.house import at, running
from tests.money.crowd import Round

ROOT = Path(__file__).parents[2]
FEW, MANY = 32, 3200
PLENTY = 10**9
LIMITS = Limits(PLENTY, PLENTY, PLENTY, PLENTY, PLENTY)
CALM = {"requests": 1000, "connections": 4, "rate": 100.0}
BUSY = {"requests": 3200, "connections": 32}


@contextmanager
def child(module: str):
    """A process that talks in lines."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()


async def line(process, said: str = "") -> str:
    if said:
        process.stdin.write(f"{said}\n".encode())
        process.stdin.flush()
    return (await asyncio.get_running_loop().run_in_executor(None, process.stdout.readline)).decode().strip()


async def crowded(gateway) -> list[str]:
    """A key of each of many tenants."""
    storage = gateway.house.storage
    keys = []
    for number in range(MANY):
        tenant = await storage.tenants.create(f"team {number}", limits=LIMITS)
        limits = Limits(requests_per_minute=PLENTY)
        keys.append((await storage.stored_keys.create(tenant.id, limits=limits))[1])
    return keys


async def compare(crowd, port: int, keys: list[str], load: dict, rounds: int) -> dict[int, list[float]]:
    """Microseconds of CPU per request, of every round, by the number of tenants."""
    costs: dict[int, list[float]] = {FEW: [], MANY: []}
    for number in range(2 * rounds):
        tenants = (FEW, MANY)[number % 2]
        began = time.process_time()
        await line(crowd, json.dumps(asdict(Round(port, keys[:tenants], **load))))
        costs[tenants].append((time.process_time() - began) / load["requests"] * 1e6)
    return costs


def show(name: str, costs: dict[int, list[float]]) -> None:
    for tenants, each in costs.items():
        print(f"{name:22} {tenants:5} tenants {median(each):7.1f} µs ({min(each):.1f}-{max(each):.1f})")
    print(f"{name:22} ratio of medians {median(costs[MANY]) / median(costs[FEW]):.3f}", flush=True)


async def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with child("tests.money.instant") as instant, child("tests.money.crowd") as crowd:
        endpoint = SimpleNamespace(url=await line(instant))
        async with running([at(endpoint, models=["tiny"])], health={"interval": 3600}) as gateway:
            keys = await crowded(gateway)
            warm = Round(gateway.data.port, keys, 2 * MANY, 32)
            await line(crowd, json.dumps(asdict(warm)))
            for name, load in (("100 requests/s", CALM), ("32 in flight", BUSY)):
                show(name, await compare(crowd, gateway.data.port, keys, load, rounds))


if __name__ == "__main__":
    uvloop.run(main())
