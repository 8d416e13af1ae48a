"""From file, environment and flags to one tree, or to plain lines."""

from __future__ import annotations

import pytest

from app.settings import ConfigError, Settings, load

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "given.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(*args, **kwargs) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        load(*args, **kwargs)
    return [tuple(problem) for problem in raised.value.problems]


def test_defaults_alone_are_a_configuration():
    settings = load(environ={})
    assert settings.server.port == 9000
    assert settings.database_url.get_secret_value() == "sqlite:///sluice.db"


def test_flags_win_over_the_environment_over_the_file_over_defaults(write):
    path = write("server: {port: 1, host: file, ping: 1s, drain: 2m}")
    environ = {"SLUICE_SERVER__PORT": "2", "SLUICE_SERVER__HOST": "env"}
    server = load(path, {"server": {"port": 3, "host": None}}, environ=environ).server
    assert (server.port, server.host, server.ping, server.drain, server.lame_duck) == (
        3,
        "env",
        1.0,
        120.0,
        3.0,
    )


def test_the_file_may_be_named_by_the_environment_or_lie_here(write):
    write("server: {port: 1}", "sluice.yaml")
    assert load(environ={}).server.port == 1
    named = write("server: {port: 2}")
    assert load(environ={"SLUICE_CONFIG": str(named)}).server.port == 2
    assert load(write("server: {port: 3}", "x.yaml"), environ={"SLUICE_CONFIG": str(named)}).server.port == 3


def test_a_named_file_must_exist():
    assert refusal(environ={"SLUICE_CONFIG": "none.yaml"}) == [
        ("none.yaml", "cannot be read: No such file or directory")
    ]


def test_two_spellings_of_one_key_in_two_layers_are_one_key(write):
    path = write("resilience: {breaker: {wait-duration-in-open-state: 30s}}")
    environ = {"SLUICE_RESILIENCE__BREAKER__WAIT_IN_OPEN": "7s"}
    assert load(path, environ=environ).resilience.breaker.wait_in_open == 7.0


def test_all_unknown_keys_are_named_at_once(write):
    path = write("servr: {}\nvllm_endpoints: [{name: a, adress: 10.0.0.1}]\n")
    assert refusal(
        path, {"server": {"prot": 1}}, environ={"SLUICE_SERVER__PROT": "1", "SLUICE_WHATEVER_ELSE": "1"}
    ) == [
        ("servr", "unknown key; did you mean 'server'?"),
        ("vllm_endpoints[0].adress", "unknown key; did you mean 'address'?"),
        ("SLUICE_WHATEVER_ELSE", "unknown key"),
        ("SLUICE_SERVER__PROT", "unknown key; did you mean 'port'?"),
        ("server.prot", "unknown key; did you mean 'port'?"),
    ]


def test_references_lead_to_variables_and_files_beside_the_configuration(write, tmp_path):
    (tmp_path / "key.txt").write_text("from-file\n")
    path = write(
        "vllm_endpoints: [{name: a, url: 'http://a', api_key: 'file:key.txt', headers: {x: 'env:X'}}]\n"
        "admin: {tokens: [{name: eve, role: viewer, token: 'env:EVE'}]}\n"
    )
    settings = load(path, environ={"EVE": TOKEN, "X": "y"})
    spec = settings.endpoints[0].spec()
    assert (spec.api_key, spec.headers) == ("from-file", {"x": "y"})
    assert settings.admin_tokens[0].token.get_secret_value() == TOKEN


def test_a_reference_that_leads_nowhere_names_its_key(write):
    path = write("vllm_endpoints: [{name: a, url: 'http://a', api_key: 'env:GONE'}]")
    assert refusal(path, environ={}) == [
        ("vllm_endpoints[0].api_key", "the environment variable GONE is not set")
    ]


def test_wrong_values_are_named_without_being_repeated(write):
    path = write("server: {port: hush}\nops: {allow: [hush]}\n")
    lines = refusal(path, environ={})
    assert [where for where, _ in lines] == ["server.port", "ops.allow[0]"]
    assert "hush" not in str(lines)


def test_checks_of_the_whole_are_part_of_loading(write):
    path = write("auth: {mode: open}")
    assert refusal(path, environ={})[0][0] == "auth.mode"
    assert load(path, environ={}, yes_open=True).auth.mode == "open"


def test_several_workers_share_their_limits_or_do_not_start():
    why = "needs Redis, which shares limits between workers: set redis_url, or start one worker"
    assert refusal(environ={}, workers=2) == [("--workers 2", why)]
    assert load(environ={}, workers=1) == Settings()


def test_the_environment_of_the_process_is_the_default(monkeypatch):
    monkeypatch.setenv("SLUICE_SERVER__PORT", "4321")
    assert load().server.port == 4321


def test_a_reasoning_family_is_accepted_and_said_to_do_nothing_yet(write, caplog):
    settings = load(write("model_config: {m: {reasoning_family: qwen3}, n: {}}"), environ={})
    assert settings.models["m"].reasoning_family == "qwen3"
    (record,) = caplog.records
    assert "model_config.m.reasoning_family" in record.getMessage()
