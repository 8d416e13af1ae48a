from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from app.cli import main


@pytest.fixture
def sluice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, words)


def test_what_is_in_force_is_shown_without_secrets(sluice, monkeypatch, tmp_path):
    (tmp_path / "sluice.yaml").write_text("server: {port: 9100}\n")
    monkeypatch.setenv("SLUICE_ADMIN_TOKEN", "0123456789abcdef")
    done = sluice("config", "show")
    assert done.exit_code == 0
    assert yaml.safe_load(done.stdout)["server"]["port"] == 9100
    assert "0123456789abcdef" not in done.output
    assert json.loads(sluice("config", "show", "--json").stdout) == yaml.safe_load(done.stdout)


def test_the_schema_is_one(sluice):
    assert json.loads(sluice("config", "schema").stdout)["properties"]["vllm_endpoints"]


def test_a_file_that_cannot_be_used_is_a_line_per_problem(sluice, tmp_path):
    (tmp_path / "bad.yaml").write_text("sever: {}\nrouting: {strategy: best}\n")
    for words in (("config", "show", "--config", "bad.yaml"), ("config", "diff", "bad.yaml")):
        done = sluice(*words)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == "sluice: sever: unknown key; did you mean 'server'?\n"


@pytest.mark.parametrize(
    ("changed", "takes"),
    [
        ("vllm_endpoints: [{name: a, url: 'http://a:1'}]", "reload"),
        ("routing: {strategy: p2c}", "reload"),
        ("resilience: {breaker: {minimum_calls: 9}}", "reload"),
        ("model_config: {m: {aliases: [n]}}", "reload"),
        ("routing: {session_header: x-me}", "restart"),
        ("resilience: {retry: {budget_ratio: 0.2}}", "restart"),
        ("server: {port: 9100}", "restart"),
        ("vllm: {instances: [{url: 'http://a:1'}]}", "reload"),
    ],
)
def test_a_difference_says_whether_a_reload_is_enough(sluice, tmp_path, changed, takes):
    (tmp_path / "next.yaml").write_text(changed)
    rows = json.loads(sluice("config", "diff", "next.yaml", "--json").stdout)
    assert rows
    assert {row["takes"] for row in rows} == {takes}
    assert rows[0]["path"] in sluice("config", "diff", "next.yaml").stdout


def test_no_difference_is_said(sluice, tmp_path):
    (tmp_path / "same.yaml").write_text("")
    done = sluice("config", "diff", "same.yaml")
    assert (done.exit_code, done.stderr) == (0, "Nothing differs.\n")
