"""The gateway as operators run it, with everything on, and tenants with keys made over its admin REST."""

from __future__ import annotations

import json
import socket
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings.layers import merged
from bench.load import request
from bench.process import free_port, running, wait

_TOKEN = "a" * 40
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
GENEROUS = {
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 1_000_000_000_000,
    "concurrency": 100_000,
}


@dataclass(frozen=True)
class Gateway:
    """A running one."""

    pid: int
    port: int
    ops: int

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Of the operators' port; raises OSError."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ops}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"},
        )
        with _DIRECT.open(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def ready(self) -> bool:
        try:
            self.ask("/ready")
        except OSError:
            return False
        return True

    def key(self, name: str, limits: Mapping[str, int] = GENEROUS) -> str:
        """Of a new tenant."""
        tenant = self.ask("/admin/v1/tenants", {"name": name, "limits": limits})
        return str(self.ask(f"/admin/v1/tenants/{tenant['id']}/keys", {"name": "bench"})["secret"])


def call(port: int, key: str) -> bool:
    """Whether a chat completion is answered."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(request(key, stream=False, tokens=16, size=512))
            return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def configuration(folder: Path, ports: Sequence[int], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of settings; `settings` go over it."""
    rows = [{"name": f"e{port}", "url": f"http://127.0.0.1:{port}", "models": ["qwen3-8b"]} for port in ports]
    everything = {
        "server": {"host": "127.0.0.1", "port": free_port(), "lame_duck": 0, "drain": 1},
        "ops": {"port": free_port()},
        "database_url": f"sqlite:///{folder}/sluice.db",
        "ledger": {"journal": {"path": f"{folder}/journal.db"}},
        "admin_token": _TOKEN,
        "secret": "b" * 40,
        "vllm_endpoints": rows,
        "resilience": {"bulkhead": {"max_concurrent_calls": 20_000}},
        "model_config": {"qwen3-8b": {"accounting": "exact"}},
    }
    return merged(everything, settings)


@contextmanager
def serving(
    folder: Path,
    ports: Sequence[int],
    cpus: set[int],
    settings: Mapping[str, Any] | None = None,
    workers: int = 1,
    ready: bool = True,
) -> Iterator[Gateway]:
    """A gateway before the upstream's ports, waited for until it is ready; its files are in the folder."""
    tree = configuration(folder, ports, settings or {})
    written = folder / "sluice.yaml"
    written.write_text(json.dumps(tree))
    command = [sys.executable, "-m", "app", "serve", "--config", str(written), "--workers", str(workers)]
    with running(command, cpus) as process:
        gateway = Gateway(process.pid, tree["server"]["port"], tree["ops"]["port"])
        if ready:
            wait(lambda: process.poll() is not None or gateway.ready())
        if process.poll() is not None:
            raise ChildProcessError(f"the gateway ended with exit code {process.returncode}")
        yield gateway
