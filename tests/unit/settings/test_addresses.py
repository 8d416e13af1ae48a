"""An address is an IP; each thing it is not gets its own words and the line to write instead."""

from __future__ import annotations

import pytest

from app.settings.addresses import address_url, check_address, check_url


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.1", "::1", "2001:db8::1"])
def test_an_ip_is_an_address(address):
    assert check_address(address, 8000) == address


@pytest.mark.parametrize(
    ("address", "rule", "line"),
    [
        ("vllm.example.com", "is a name", "url: http://vllm.example.com:8000"),
        ("http://10.0.0.10", "holds a scheme", "url: http://10.0.0.10:8000"),
        ("https://10.0.0.10:9/v1", "holds a scheme", "url: https://10.0.0.10:9"),
        ("10.0.0.10/v1", "holds a path", "url: http://10.0.0.10:8000"),
        ("10.0.0.10:8001", "holds a port", "url: http://10.0.0.10:8001"),
        ("[2001:db8::1]:8001", "holds a port", "url: http://[2001:db8::1]:8001"),
        ("[::1]", "holds brackets", "url: http://[::1]:8000"),
    ],
)
def test_what_is_no_address_is_refused_with_the_rule_and_the_corrected_line(address, rule, line):
    with pytest.raises(ValueError, match="Write instead") as raised:
        check_address(address, 8000)
    assert rule in str(raised.value)
    assert str(raised.value).endswith(line)


def test_a_password_in_an_address_is_not_repeated():
    with pytest.raises(ValueError, match="holds a scheme") as raised:
        check_address("http://me:hush@10.0.0.10", 8000)
    assert "hush" not in str(raised.value)


def test_without_a_port_the_corrected_line_has_none():
    with pytest.raises(ValueError, match=r"url: http://vllm$"):
        check_address("vllm", None)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1"])
def test_an_address_is_of_one_machine(address):
    with pytest.raises(ValueError, match="not the address of one machine"):
        check_address(address, 8000)


def test_ipv6_goes_into_brackets():
    assert address_url("2001:db8::1", 8000) == "http://[2001:db8::1]:8000"
    assert address_url("10.0.0.10", 8000) == "http://10.0.0.10:8000"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://vllm:8000", "http://vllm:8000"),
        ("http://vllm:8000/", "http://vllm:8000"),
        ("http://vllm-server:8000/v1", "http://vllm-server:8000"),
        ("https://vllm.example.com/v1/", "https://vllm.example.com"),
        ("http://[2001:db8::1]:8000", "http://[2001:db8::1]:8000"),
        ("http://10.0.0.10", "http://10.0.0.10"),
    ],
)
def test_a_url_is_kept_up_to_its_port(url, kept):
    assert check_url(url) == kept


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "begins with http"),
        ("vllm:8000", "begins with http"),
        ("http://me:hush@vllm:8000", "no user name"),
        ("http://vllm:8000?x=1", "no query"),
        ("http://vllm:8000#", "no query"),
        ("http://vllm:8000/openai", "ends in '/openai'"),
        ("http://vllm:99999", "malformed"),
        ("http://[::1", "malformed"),
        ("http://vllm:0", "a port from 1"),
        ("http://", "names a host"),
        ("http://a b", "names a host"),
    ],
)
def test_what_is_no_url_is_refused_plainly(url, words):
    with pytest.raises(ValueError, match=r"url|URL") as raised:
        check_url(url)
    assert words in str(raised.value)
    assert "hush" not in str(raised.value)
