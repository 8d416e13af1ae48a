"""Resilience of one model or endpoint."""

from __future__ import annotations

from app.resilience.options import Resilience
from app.settings.overrides import Overrides


def test_every_section_of_resilience_can_be_overridden():
    assert set(Overrides.model_fields) == set(Resilience.model_fields)


def test_only_sections_that_say_something_count():
    assert Overrides(timeouts={"idle": 5}).sections() == {"timeouts": {"idle": 5}}
