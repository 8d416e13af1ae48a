"""The demo as somebody runs it who has just cloned the repository: what it prints works when pasted."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.simulator import Simulator
from tests.integration.demo import PROXIES, SLUICE, SOON, demo, environ, free_port


def greeted(folder, *words, **more):
    """What a demo says, and the processes it started."""
    with demo(folder, *words, **more) as (process, lines):
        return lines, children(process.pid)


def output(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SOON, check=True)
    return done.stdout


def said(lines, start):
    return next(line for line in lines if line.strip().startswith(start))


def pasted(lines):
    at = lines.index("import openai")
    return "\n".join(lines[at : at + 5])


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids):
    deadline = time.monotonic() + SOON
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("proxies", [{}, PROXIES], ids=["direct", "behind-a-proxy"])
def test_what_it_prints_works_when_pasted_and_ctrl_c_ends_it_with_0(tmp_path, proxies):
    with demo(tmp_path, "--port", str(free_port()), **proxies) as (process, lines):
        environment = environ(**proxies)
        answer = json.loads(output(["sh", "-c", said(lines, "curl")], environment))
        assert answer["choices"][0]["message"]["content"].startswith("Hello")
        script = tmp_path / "snippet.py"
        script.write_text(pasted(lines))
        assert output([sys.executable, script], environment).startswith("Hello! I am")

        settings = dict(word.split("=") for word in shlex.split(said(lines, "export").split(";")[0])[1:])
        (row,) = json.loads(output([*SLUICE, "usage", "--json"], environ(**settings)))
        assert (row["tenant"], row["model"], row["requests"]) == ("demo", "sim", 2)

        simulators = children(process.pid)
        assert len(simulators) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 0
        assert gone(simulators)
    assert sorted(path.name for path in (tmp_path / ".sluice").iterdir()) == [
        "sluice-journal.db",
        "sluice.db",
        "sluice.secret",
    ]


def test_the_simulated_endpoints_die_with_a_gateway_that_is_killed(tmp_path):
    with demo(tmp_path, "--port", str(free_port()), "--endpoints", "3") as (process, lines):
        assert "3 simulated vLLM endpoints" in "".join(lines)
        simulators = children(process.pid)
        process.kill()
        process.wait()
        assert gone(simulators)


def test_a_taken_port_is_one_plain_line_and_a_taken_ops_port_is_passed_over(tmp_path):
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 9001))
            other.listen()
        except OSError:
            """Somebody else holds it: as good."""
        with demo(tmp_path, "--port", str(port), "--endpoints", "1") as (_, lines):
            assert ":9001/" not in said(lines, "operators")
            second = subprocess.run(
                [*SLUICE, "demo", "--port", str(port)],
                cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=SOON, check=False,
            )  # fmt: skip
    assert (second.returncode, second.stdout) == (1, "")
    taken = f"sluice: port {port} on 127.0.0.1 is taken; choose another:"
    assert second.stderr == f"{taken} sluice demo --port 9100 (make run PORT=9100)\n"


async def test_real_servers_are_asked_for_their_model_and_given_their_key(tmp_path):
    async with Simulator(served_names=("qwen3",), api_keys=("theirs",)) as engine:
        words = ("--port", str(free_port()), "--vllm", f"{engine.url}/v1")
        lines, simulators = await asyncio.to_thread(greeted, tmp_path, *words, VLLM_API_KEY="theirs")
    assert simulators == []
    assert said(lines, "model").split() == ["model", "qwen3"]
    assert f"1 vLLM endpoint: {engine.url}/v1" in "".join(lines)


async def test_servers_that_do_not_answer_are_doubted_and_a_wrong_address_is_refused(tmp_path):
    with demo(tmp_path, "--port", str(free_port()), "--vllm", "http://127.0.0.1:9") as (_, lines):
        assert "None of them has named its models" in "".join(lines)
    wrong = [*SLUICE, "demo", "--port", str(free_port()), "--vllm", "127.0.0.1:8000"]
    done = subprocess.run(wrong, cwd=tmp_path, env=environ(), capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "a url begins with http:// or https://" in done.stderr
