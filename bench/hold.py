"""Streams that are opened and then only held.

    python -m bench.hold --port PORT --keys FILE [--connections 10000]

Prints one line when all have had their first event: {"seconds": …, "open": …, "first_p99": …}; then waits to be ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import uvloop

from bench.callers import Caller, Seen
from bench.figures import percentile
from bench.load import AT_ONCE, request


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--patience", type=float, default=60.0)
    chosen = parser.parse_args()
    call = request(json.loads(chosen.keys.read_text())[0], stream=True, tokens=128, size=1024)
    loop, seen, callers = asyncio.get_running_loop(), Seen(), list[Caller]()
    begun = loop.time()

    def caller() -> Caller:
        callers.append(Caller(seen, lambda: call))
        return callers[-1]

    while len(callers) < chosen.connections:
        count = min(AT_ONCE, chosen.connections - len(callers))
        await asyncio.gather(
            *(loop.create_connection(caller, "127.0.0.1", chosen.port) for _ in range(count))
        )
    while len(seen.first) < chosen.connections and loop.time() < begun + chosen.patience:
        await asyncio.sleep(0.01)
    found = {
        "seconds": loop.time() - begun,
        "open": sum(caller.connected for caller in callers),
        "first": len(seen.first),
        "first_p99": percentile(seen.first, 99) / 1e9,
    }
    print(json.dumps(found), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
