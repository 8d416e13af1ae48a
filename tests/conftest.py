"""Modules with fixtures may be imported by a test before another one names them as a plugin."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.postgres", "tests.redis_server")
