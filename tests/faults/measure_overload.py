"""What becomes of calls when more come than the fleet can serve: a real gateway, engines and callers, each a process.

    python -m tests.faults.measure_overload [--seconds 30] [--json overload.json]

Prints a table, and with --json keeps the figures; plot_overload draws them. Every load runs twice as long as a call
may wait before it is looked at: a lasting overload is what is measured, not its beginning.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.faults.openloop import Flow, Report, elsewhere
from tests.supervised import DEFAULTS, ROOT, TOKEN, wait

LOADS = (0.5, 0.8, 1.0, 2.0, 5.0, 10.0)
PLACES, TTFT, ITL, TOKENS = 10, 0.2, 0.01, 21
CAPACITY = 2 * PLACES / (TTFT + (TOKENS - 1) * ITL)
"""Calls a second that two engines can answer."""

MAX_WAIT = 5.0


@dataclass
class Row:
    """One load; times in seconds, rates in calls a second, `cpu` in seconds of the gateway a second."""

    load: float
    offered: float
    goodput: float
    ttft_p50: float
    ttft_p99: float
    whole_p50: float
    whole_p99: float
    shed: float
    shed_p50: float
    shed_p99: float
    cpu: float
    rss_mib: float
    load_late: float
    reasons: dict[str, int]
    others: dict[str, int]


class Gateway:
    """The process from outside."""

    def __init__(self, pid: int, data: int, ops: int) -> None:
        self.pid = pid
        self.url = f"http://127.0.0.1:{data}"
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{ops}", headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False
        )

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        try:
            status = self._client.get("/status").json()
        except httpx.TransportError:
            return False
        return all(row["health"] == "up" for row in status["endpoints"])

    def idle(self) -> bool:
        status = self._client.get("/status").json()
        return not status["inflight"] and not status["queued"]

    def key(self, tenant: str, **fields: Any) -> str:
        made = self._client.post("/admin/v1/tenants", json={"name": tenant, **fields}).raise_for_status()
        keys = f"/admin/v1/tenants/{made.json()['id']}/keys"
        return self._client.post(keys, json={}).raise_for_status().json()["secret"]

    def rejected(self) -> dict[str, int]:
        """How many calls were shed so far, by reason."""
        found = {}
        for line in self._client.get("/metrics").text.splitlines():
            if line.startswith("sluice_rejected_total{"):
                found[line.split('"')[1]] = int(float(line.split()[-1]))
        return found

    @property
    def cpu(self) -> float:
        """Seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def process(*words: str, folder: Path):
    """`python -m app …` until the end of the block."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "app", *words],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def gateway(folder: Path, **settings: Any):
    """Before two engines of PLACES places each."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(2)]
        options = ("--max-num-seqs", str(PLACES), "--ttft", str(TTFT), "--itl", str(ITL), "--jitter", "0.3")
        for port in ports:
            stack.enter_context(process("sim", "--port", str(port), *options, folder=folder))
        data, ops = free_port(), free_port()
        rows = [
            {"name": f"gpu-{port}", "url": f"http://127.0.0.1:{port}", "max_concurrent_calls": PLACES}
            for port in ports
        ]
        tree = DEFAULTS | {
            "server": {"host": "127.0.0.1", "port": data, "lame_duck": 0, "drain": 5},
            "ops": {"port": ops},
            "database_url": f"sqlite:///{folder}/sluice.db",
            "vllm_endpoints": rows,
            "resilience": {"queue": {"max_wait": MAX_WAIT}},
            **settings,
        }
        (folder / "sluice.yaml").write_text(json.dumps(tree))
        pid = stack.enter_context(process("serve", "--config", f"{folder}/sluice.yaml", folder=folder))
        served = stack.enter_context(closing(Gateway(pid, data, ops)))
        wait(served.ready)
        yield served


def body(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "tell me a story"}]
    known = {"model": "tiny", "messages": messages, "max_tokens": TOKENS, "ignore_eos": True}
    return known | {"stream": True} | fields


async def measured(served: Gateway, key: str, load: float, seconds: float) -> Row:
    """One load for so many seconds, after it has lasted for twice `max_wait`."""
    before = 2 * MAX_WAIT
    rate = load * CAPACITY
    flow = Flow("a", key, body(), rate=rate, seconds=before + seconds, poisson=True)
    cpu, rejected = served.cpu, served.rejected()
    whole = await elsewhere(served.url, [flow])
    cpu = (served.cpu - cpu) / (before + seconds)
    reasons = {name: count - rejected.get(name, 0) for name, count in served.rejected().items()}
    report = whole.of(since=before, until=before + seconds)
    ended = [t for t in whole.told if t.served and before <= t.due + t.latency < before + seconds]
    row = _row(load, report, len(ended) / seconds)
    row.cpu, row.rss_mib = round(cpu, 3), round(served.rss, 1)
    row.reasons = {name: count for name, count in reasons.items() if count}
    await asyncio.to_thread(wait, served.idle)
    return row


def _row(load: float, report: Report, goodput: float) -> Row:
    served = report.served
    shed = Report([told for told in report.told if told.status in (429, 503)])
    others = Report([told for told in report.refused.told if told.status not in (429, 503)])
    return Row(
        load=load,
        offered=round(load * CAPACITY, 1),
        goodput=round(goodput, 1),
        ttft_p50=round(served.first_byte(50), 3),
        ttft_p99=round(served.first_byte(99), 3),
        whole_p50=round(served.latency(50), 3),
        whole_p99=round(served.latency(99), 3),
        shed=round(len(shed) / max(1, len(report)), 3),
        shed_p50=round(shed.latency(50), 4) if len(shed) else 0.0,
        shed_p99=round(shed.latency(99), 4) if len(shed) else 0.0,
        cpu=0.0,
        rss_mib=0.0,
        load_late=round(report.late, 4),
        reasons={},
        others={f"{status}": count for status, count in others.statuses().items()} | dict(others.codes()),
    )


def table(rows: list[Row]) -> str:
    """Markdown."""
    names = [name for name in Row.__dataclass_fields__ if name not in ("reasons", "others")]
    lines = [
        "| " + " | ".join([*names, "reasons"]) + " |",
        "| " + " | ".join(["---"] * (len(names) + 1)) + " |",
    ]
    for row in rows:
        cells = [str(getattr(row, name)) for name in names]
        reasons = ", ".join(f"{name} {count}" for name, count in (row.reasons | row.others).items())
        lines.append("| " + " | ".join([*cells, reasons or "-"]) + " |")
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--loads", default=",".join(map(str, LOADS)))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as served:
        key = served.key("a")
        for load in map(float, chosen.loads.split(",")):
            rows.append(await measured(served, key, load, chosen.seconds))
            print(asdict(rows[-1]), file=sys.stderr)
    print(f"capacity {CAPACITY:.0f} calls a second, {PLACES} places at each of two engines\n")
    print(table(rows))
    if chosen.json:
        found = {"capacity": CAPACITY, "seconds": chosen.seconds, "rows": [asdict(row) for row in rows]}
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
