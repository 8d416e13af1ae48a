from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.server.options import OpsOptions, ServerOptions


def test_defaults_are_the_contracts():
    options = ServerOptions()
    assert (options.max_body, options.max_header, options.max_headers) == (10 * 2**20, 32 * 2**10, 100)
    assert (options.header_timeout, options.body_timeout, options.write_stall) == (10.0, 30.0, 60.0)
    assert (options.lame_duck, options.drain, options.commit_after, options.ping) == (3.0, 120.0, 5.0, 15.0)


def test_sizes_durations_and_networks_are_read_as_people_write_them():
    options = ServerOptions(max_body="1MiB", drain="2m", trusted_proxies=["10.0.0.0/8"])
    assert (options.max_body, options.drain, str(options.trusted_proxies[0])) == (2**20, 120.0, "10.0.0.0/8")


@pytest.mark.parametrize("wrong", [{"max_body": 0}, {"header_timeout": 0}, {"prot": 1}, {"port": 70_000}])
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ValidationError):
        ServerOptions(**wrong)


def test_operators_come_from_the_loopback_unless_told_otherwise():
    assert [str(network) for network in OpsOptions().allow] == ["127.0.0.1/32", "::1/128"]
