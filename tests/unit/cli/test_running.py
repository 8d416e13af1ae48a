from __future__ import annotations

import gc
import logging
import os
import signal
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from app.cli import demo as module
from app.cli import main
from app.cli.running import run_house
from app.settings import ConfigError, Problem, load


@pytest.fixture(autouse=True)
def as_it_was(tmp_path, monkeypatch):
    """A house sets up the process's log and freezes its memory; both end with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("uvicorn.error", "httpx", "httpcore", "alembic"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    gc.unfreeze()


def settings(**tree):
    server = {"host": "127.0.0.1", "port": 0, "lame_duck": 0}
    return load(Path(os.devnull), {"server": server, "ops": {"port": 0}, **tree}, environ={})


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


async def answered(port, path):
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{port}{path}")).json()


def test_both_ports_answer_when_it_is_opened():
    seen = []

    async def opened(house, data, ops):
        seen.append(await answered(data, "/health"))
        seen.append((await answered(ops, "/status"))["state"])
        interrupt()

    assert run_house(settings(), opened=opened) == 0
    assert seen == [{"status": "ok"}, "serving"]


def test_a_greeting_that_fails_ends_the_house_with_its_error():
    async def opened(house, data, ops):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_house(settings(), opened=opened)


def test_a_port_that_cannot_be_had_is_not_greeted(capsys):
    async def opened(house, data, ops):
        raise AssertionError

    assert run_house(settings(server={"host": "192.0.2.1", "port": 1, "lame_duck": 0}), opened=opened) == 1
    assert capsys.readouterr().err.startswith("sluice: cannot listen on 192.0.2.1 port 1: ")


@pytest.mark.parametrize(
    "error", [ConfigError([Problem("a", "is wrong"), Problem("b", "too")]), ValueError("odd")]
)
def test_a_bad_file_is_told_and_the_house_stays(error, caplog):
    def reread():
        raise error

    async def opened(house, data, ops):
        os.kill(os.getpid(), signal.SIGHUP)
        interrupt()

    assert run_house(settings(), reread, opened) == 0
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told == [f"the configuration stays as it was: {line}" for line in str(error).splitlines()]


def test_serve_takes_flags_over_the_file(monkeypatch, tmp_path):
    (tmp_path / "sluice.yaml").write_text("server: {host: 0.0.0.0, port: 1}")
    taken = []

    def run(settings, reread):
        taken.append((settings.server.host, settings.server.port, settings.ops.port, reread() == settings))
        return 3

    monkeypatch.setattr("app.cli.running.run_house", run)
    done = CliRunner().invoke(main, ["serve", "--host", "::1", "--port", "9100", "--ops-port", "9101"])
    assert (done.exit_code, taken) == (3, [("::1", 9100, 9101, True)])
    assert CliRunner().invoke(main, ["serve", "--workers", "2"]).exit_code == 1


def test_serve_with_workers_is_supervised_where_limits_are_shared(monkeypatch):
    taken = []

    def run(settings, reread, workers):
        taken.append((reread() == settings, workers))
        return 4

    monkeypatch.setattr("app.cli.workers.supervise.run_workers", run)
    monkeypatch.setattr("app.settings.checks._unbuilt", lambda settings: (), raising=False)
    runner = CliRunner(env={"SLUICE_REDIS_URL": "redis://127.0.0.1"})
    assert runner.invoke(main, ["serve", "--workers", "3"]).exit_code == 4
    assert taken == [(True, 3)]


class Interrupting(module.Greeting):
    """Says Ctrl-C once it has greeted."""

    def text(self, environ):
        interrupt()
        return super().text(environ)


def test_the_demo_gives_a_new_key_at_each_start_and_keeps_its_tenant(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "Greeting", Interrupting)
    keys = set()
    for _ in range(2):
        done = CliRunner().invoke(main, ["demo", "--port", "0", "--endpoints", "1"])
        assert done.exit_code == 0
        assert "model        sim" in done.stdout
        keys |= {line.split()[-1] for line in done.stdout.splitlines() if "API key" in line}
    assert len(keys) == 2
    assert (tmp_path / ".sluice").stat().st_mode & 0o777 == 0o700
    url = f"sqlite:///{tmp_path}/.sluice/sluice.db"
    listed = CliRunner(env={"SLUICE_DATABASE_URL": url}).invoke(main, ["keys", "list"])
    assert listed.stdout.count(" demo ") == 4


def test_the_demo_takes_nothing_from_the_environment(monkeypatch):
    monkeypatch.setattr(module, "Greeting", Interrupting)
    done = CliRunner(env={"SLUICE_REDIS_URL": "redis://x", "SLUICE_SECRET": "changeme"}).invoke(
        main,
        ["demo", "--port", "0", "--vllm", "http://127.0.0.1:9, http://127.0.0.1:10", "--vllm-api-key", "k"],
    )
    assert done.exit_code == 0
    assert "2 vLLM endpoints: http://127.0.0.1:9, http://127.0.0.1:10" in done.stdout


def test_no_free_port_for_operators_is_said(monkeypatch):
    monkeypatch.setattr(module, "_free", lambda port: port == 9000)
    done = CliRunner().invoke(main, ["demo", "--vllm", "http://127.0.0.1:9"])
    assert (done.exit_code, done.stderr) == (1, "sluice: no port from 9001 to 9100 is free on 127.0.0.1\n")


@pytest.mark.parametrize(("found", "command"), [("/usr/bin/sluice", "sluice"), (None, None)])
def test_the_greeting_calls_the_program_as_one_can_from_here(monkeypatch, tmp_path, found, command):
    monkeypatch.setattr(module.shutil, "which", lambda name: found)
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "bin" / "python"))
    assert module._command() == (command or f"{tmp_path}/bin/python -m app")
    if not found:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "sluice").touch()
        assert module._command() == "bin/sluice"
