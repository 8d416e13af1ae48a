from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from app.cli import main
from app.cli import sim as module
from app.simulator import SimulatorOptions


@pytest.fixture
def started(monkeypatch):
    """What the simulator was started with."""
    calls = []
    monkeypatch.setattr(module, "run", lambda *words: calls.append(words))
    return calls


def sim(*words):
    return CliRunner().invoke(main, ["sim", *words])


def test_without_options_it_is_the_simulators_own_default(started):
    assert sim().exit_code == 0
    assert started == [(SimulatorOptions(), "0.0.0.0", 8000)]


def test_every_kind_of_option_arrives(started):
    words = "--port 8001 --model a --model b --ttft 0.5 --max-num-seqs 4 --mode pooling --no-tool-parser"
    assert sim(*words.split(), "--reasoning-parser", "--api-key", "k", "--max-queued", "3").exit_code == 0
    ((options, _, port),) = started
    assert port == 8001
    assert options == SimulatorOptions(
        served_names=("a", "b"),
        ttft=0.5,
        max_num_seqs=4,
        mode="pooling",
        tool_parser=False,
        reasoning_parser=True,
        api_keys=("k",),
        max_queued=3,
    )


def test_a_value_out_of_range_is_a_usage_error_about_its_flag(started):
    done = sim("--jitter", "2")
    assert done.exit_code == 2
    assert "--jitter: Input should be less than 1" in done.stderr
    assert started == []


def test_a_taken_port_is_a_plain_line():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = sim("--host", "127.0.0.1", "--port", str(port))
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"sluice: cannot listen on 127.0.0.1 port {port}: Address already in use"
    )
