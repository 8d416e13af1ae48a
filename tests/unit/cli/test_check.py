from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from app.cli import main
from app.cli.check import mapped
from app.settings import fleet_plan, load
from app.simulator import Simulator


@pytest.fixture
def config(tmp_path):
    def write(text):
        (tmp_path / "c.yaml").write_text(text)
        return tmp_path / "c.yaml"

    return write


def test_what_is_mapped_to_an_endpoint_is_what_its_row_lists_and_what_prefers_it(config):
    plan = fleet_plan(
        load(
            config("""
vllm_endpoints:
  - {name: a, url: "http://a:1", models: {public: served, other: other}}
  - {name: b, url: "http://b:1"}
model_config:
  public: {preferred_endpoints: [a, b]}
"""),
            environ={},
        )
    )
    assert mapped(plan, "a") == ["other", "served"]
    assert mapped(plan, "b") == ["public"]


def test_offline_looks_at_the_configuration_alone(config):
    file = config("vllm_endpoints: [{name: a, url: 'http://no-such-host.invalid:1'}]")
    done = CliRunner().invoke(main, ["check", "--offline", "--config", str(file)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "sluice: the configuration is valid: 1 endpoints, 0 models\n"


def test_an_address_that_is_a_name_fails_with_the_line_to_write(config):
    file = config("vllm_endpoints: [{name: a, address: vllm.example.com, port: 8000}]")
    done = CliRunner().invoke(main, ["check", "--offline", "--config", str(file)])
    assert done.exit_code == 1
    assert "url: http://vllm.example.com:8000" in done.stderr


def test_without_endpoints_there_is_nothing_to_fail(config):
    done = CliRunner().invoke(main, ["check", "--json", "--config", str(config(""))])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


@pytest.fixture
async def engine():
    async with Simulator(served_names=("m",)) as simulator:
        yield simulator


async def check(file, *words):
    return await asyncio.to_thread(CliRunner().invoke, main, ["check", "--config", str(file), *words])


async def test_endpoints_that_are_what_the_file_claims_are_a_table_and_0(config, engine):
    file = config(f"vllm_endpoints: [{{name: gpu-a, url: '{engine.url}', max_concurrent_calls: 7}}]")
    done = await check(file)
    assert done.exit_code == 0
    for told in ("gpu-a", engine.url, "reachable", "open", "ok", "m", " 7 ", "4.0"):
        assert told in done.stdout
    (row,) = json.loads((await check(file, "--json")).stdout)
    assert (row["verdict"], row["models"], row["ours"], row["theirs"]) == ("ok", ["m"], 7, 4.0)


async def test_one_that_is_not_makes_it_1_and_says_why(config, engine):
    done = await check(
        config(f"""
vllm_endpoints:
  - {{name: gpu-a, url: "{engine.url}"}}
  - {{name: gpu-b, url: "{engine.url}", models: {{public: other}}}}
model_config: {{nobody: {{}}, public: {{}}, m: {{}}}}
""")
    )
    assert done.exit_code == 1
    assert "m (missing: other)" in done.stdout
    assert done.stderr.splitlines()[1:] == [
        "sluice: no endpoint serves the model nobody",
        "sluice: gpu-b: does not serve other",
    ]


async def test_what_nobody_serves_is_not_guessed_while_an_endpoint_is_silent(config, engine):
    done = await check(
        config(f"""
vllm_endpoints: [{{name: a, url: "{engine.url}"}}, {{name: b, url: "http://no-such-host.invalid:1"}}]
model_config: {{nobody: {{}}}}
""")
    )
    assert done.exit_code == 1
    assert "nobody" not in done.stderr
    assert "unreachable" in done.stdout
