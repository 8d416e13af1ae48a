"""Variables become nested keys."""

from __future__ import annotations

import pytest

from app.settings.environment import is_service_link, layer, spelled


def test_two_underscores_nest():
    assert layer({"SLUICE_SERVER__PORT": "9", "SLUICE_TRANSPORT": "httpx", "PATH": "/bin"}) == {
        "server": {"port": "9"},
        "transport": "httpx",
    }


def test_lists_and_mappings_are_json_or_flow_yaml():
    environ = {"SLUICE_OPS__ALLOW": '["10.0.0.0/8"]', "SLUICE_POLICY": "{cache_salt: off}"}
    assert layer(environ) == {"ops": {"allow": ["10.0.0.0/8"]}, "policy": {"cache_salt": "off"}}


def test_what_only_begins_like_a_list_stays_text():
    assert layer({"SLUICE_SECRET": "[abc"}) == {"secret": "[abc"}


def test_a_single_key_refines_a_section_given_whole():
    environ = {"SLUICE_SERVER__PORT": "2", "SLUICE_SERVER": "{port: 1, host: h}"}
    assert layer(environ) == {"server": {"port": "2", "host": "h"}}


def test_a_key_below_a_plain_value_replaces_it():
    assert layer({"SLUICE_SERVER": "x", "SLUICE_SERVER__PORT": "2"}) == {"server": {"port": "2"}}


def test_an_empty_variable_is_unset():
    assert layer({"SLUICE_ADMIN_TOKEN": ""}) == {}


def test_variables_of_the_command_line_are_no_settings():
    assert layer({"SLUICE_CONFIG": "a", "SLUICE_URL": "b"}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_PORT", "tcp://10.0.0.1:9000"),
        ("SLUICE_SERVICE_HOST", "10.0.0.1"),
        ("SLUICE_SERVICE_PORT", "9000"),
        ("SLUICE_SERVICE_PORT_HTTP", "9000"),
        ("SLUICE_PORT_9000_TCP", "tcp://10.0.0.1:9000"),
        ("SLUICE_PORT_9000_TCP_ADDR", "10.0.0.1"),
        ("SLUICE_OPS_PORT", "tcp://10.0.0.1:9001"),
        ("SLUICE_OPS_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_service_links_are_ignored_with_one_line_each(name, value, caplog):
    assert is_service_link(name, value)
    assert layer({name: value}) == {}
    (record,) = caplog.records
    assert name in record.getMessage()


@pytest.mark.parametrize(("name", "value"), [("SLUICE_PORT", "9000"), ("SLUICE_OPS__PORT", "9001")])
def test_a_port_that_is_a_number_is_no_service_link(name, value):
    assert not is_service_link(name, value)


def test_a_path_is_spelled_as_its_variable_and_the_place_inside():
    assert spelled(("server", "port")) == "SLUICE_SERVER__PORT"
    assert spelled(("vllm_endpoints", 0, "adress")) == "SLUICE_VLLM_ENDPOINTS[0].adress"
