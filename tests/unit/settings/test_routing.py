"""Strategies are known by name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.settings.routing import RoutingOptions


@pytest.mark.parametrize(
    "name", ["round_robin", "roundrobin", "random", "least_load", "p2c", "peak_ewma", "session"]
)
def test_every_strategy_of_the_house_is_accepted(name):
    assert RoutingOptions(strategy=name).strategy == name


def test_an_unknown_strategy_lists_those_there_are():
    with pytest.raises(ValidationError, match="least_load"):
        RoutingOptions(strategy="fastest")
