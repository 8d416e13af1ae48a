"""Secrets that anybody could guess are refused, without being repeated."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from app.settings.access import AdminToken, AuthOptions, strong


@pytest.mark.parametrize(
    "secret", ["changeme-changeme-changeme", "your-secret-goes-here-please", "REPLACE-ME" * 3]
)
def test_a_placeholder_is_no_secret(secret):
    with pytest.raises(ValueError, match="is a placeholder") as raised:
        strong(SecretStr(secret))
    assert secret not in str(raised.value)


def test_a_short_secret_is_no_secret():
    with pytest.raises(ValueError, match="shorter than 16"):
        strong(SecretStr("0123456789abcde"))
    strong(SecretStr("0123456789abcdef"))


def test_a_role_is_one_of_three():
    with pytest.raises(ValidationError, match="viewer"):
        AdminToken(name="a", role="boss", token="0123456789abcdef")


def test_header_mode_is_not_there_yet():
    with pytest.raises(ValidationError, match="not implemented yet"):
        AuthOptions(mode="header")
    assert AuthOptions(mode="open").mode == "open"
