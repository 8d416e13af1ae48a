"""What is measured is complete, and can be chosen by name."""

from __future__ import annotations

import pytest

from app.settings import load
from bench.__main__ import ALL, arguments, effort
from bench.gateway import configuration
from bench.scenarios import SCENARIOS

PROMISED = {
    *("json-1", "json-32", "json-64", "json-256", "json-512", "body-1k", "body-32k", "body-1m"),
    *("sse-flood", "sse-64", "sse-512", "sse-2048", "sse-step", "accounting", "first-token"),
    *("endpoints", "tenants", "ledger", "access-log", "postgresql", "redis", "wrk-64"),
    *("memory", "idle", "start", "workers", "half-cpu"),
}


def test_everything_promised_can_be_measured():
    names = [row.name for row in ALL]
    assert set(names) >= PROMISED
    assert len(names) == len(set(names))
    assert all(row.title for row in ALL)


def test_only_what_exists_can_be_asked_for(capsys):
    assert arguments(["json-64", "--quick"]).names == ["json-64"]
    with pytest.raises(SystemExit):
        arguments(["json-65"])
    assert "there is no json-65" in capsys.readouterr().err


def test_a_quick_look_is_short():
    quick = effort(arguments(["--quick"]))
    assert (quick.rounds, quick.seconds, quick.rows) == (2, 1.0, 100_000)
    assert effort(arguments(["--rounds", "7"])).rounds == 7


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_gateways_of_every_scenario_have_a_valid_configuration(scenario, tmp_path):
    for variant in scenario.gateways.values():
        tree = configuration(tmp_path, range(1, 1 + variant.endpoints), variant.settings)
        path = tmp_path / "sluice.yaml"
        path.write_text(str(tree).replace("'", '"').replace("True", "true").replace("False", "false"))
        settings = load(path, environ={})
        assert len(settings.endpoints) == variant.endpoints
        assert settings.models["qwen3-8b"].accounting in ("exact", "final")


def test_comparisons_differ_in_one_thing():
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    assert [row.endpoints for row in by_name["endpoints"].gateways.values()] == [10, 100]
    assert [row.tenants for row in by_name["tenants"].gateways.values()] == [32, 3200]
    assert [row.rows for row in by_name["ledger"].gateways.values()] == [False, True]
