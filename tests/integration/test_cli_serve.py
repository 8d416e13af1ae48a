"""`sluice serve` as a process: signals, ports, reloads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOON = 30.0
SILENT = {"lame_duck": 0}


def environ():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return kept | {"PYTHONPATH": str(ROOT)}


def serve(folder, *words):
    command = [sys.executable, "-P", "-m", "app", "serve", "--port", "0", "--ops-port", "0", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environ(), **pipes)


@contextmanager
def serving(folder):
    """A gateway that listens, with its log and its two ports."""
    with serve(folder, "--host", "127.0.0.1") as process:
        try:
            ports = [int(heard(process, "listening on")["message"].split()[-1]) for _ in range(2)]
            yield process, ports
        finally:
            process.kill()


def heard(process, start):
    """The next line of the log whose message begins so."""
    for line in process.stdout:
        event = json.loads(line)
        if event["message"].startswith(start):
            return event
    raise AssertionError(start)


def got(port, path):
    open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    with open_(f"http://127.0.0.1:{port}{path}", timeout=SOON) as response:
        return json.loads(response.read())


def configure(folder, **sections):
    (folder / "sluice.yaml").write_text(json.dumps({"server": SILENT, **sections}))


def test_it_serves_reloads_and_ends_in_order(tmp_path):
    configure(tmp_path, vllm_endpoints=[{"name": "a", "url": "http://127.0.0.1:9"}])
    with serving(tmp_path) as (process, (data, ops)):
        assert got(data, "/health") == {"status": "ok"}
        assert [row["name"] for row in got(ops, "/status")["endpoints"]] == ["a"]

        configure(tmp_path, vllm_endpoints=[{"name": "b", "url": "http://127.0.0.1:9"}])
        process.send_signal(signal.SIGHUP)
        heard(process, "the configuration was reloaded")
        assert [row["name"] for row in got(ops, "/status")["endpoints"]] == ["b"]

        configure(tmp_path, rooting={})
        process.send_signal(signal.SIGHUP)
        event = heard(process, "the configuration stays as it was")
        assert event["message"].endswith("rooting: unknown key; did you mean 'routing'?")
        assert [row["name"] for row in got(ops, "/status")["endpoints"]] == ["b"]

        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON) == 0
    assert (tmp_path / "sluice.db").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--workers", "2"],
            "--workers 2: needs Redis, which shares limits between workers: set redis_url, or start one worker",
        ),
        (["--config", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
    ],
)
def test_what_it_cannot_do_is_one_plain_line(tmp_path, words, said):
    with serve(tmp_path, *words) as process:
        out, _ = process.communicate(timeout=SOON)
    assert (process.returncode, out) == (1, f"sluice: {said}\n")


def test_open_mode_off_loopback_needs_a_word(tmp_path):
    configure(tmp_path, auth={"mode": "open"})
    with serve(tmp_path, "--host", "0.0.0.0") as process:
        out, _ = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert "--yes-open" in out


def test_a_taken_port_is_one_plain_line(tmp_path):
    configure(tmp_path, logging={"level": "error"})
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with serve(tmp_path, "--host", "127.0.0.1", "--port", str(port)) as process:
            out, _ = process.communicate(timeout=SOON)
    assert (process.returncode, out) == (
        1,
        f"sluice: cannot listen on 127.0.0.1 port {port}: address already in use\n",
    )
