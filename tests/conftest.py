"""Modules that assert in their tests' stead say as much as tests do when it fails.

Those with fixtures may be imported by a test before another one names them as a plugin.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.postgres", "tests.redis_server", "tests.house", "tests.faults.fleets", "tests.faults.contract"
)
