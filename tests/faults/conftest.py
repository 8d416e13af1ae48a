"""Fixtures of the fault tests; the transport's run on both event loops."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from tests.faults.rig import Rig
from tests.faults.unfit import HTTPX_FAILS, HTTPX_UNFIT


def pytest_asyncio_loop_factories(config, item):
    loops = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith(("test_transport", "test_callers")):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(params=["direct", "httpx"])
async def rig(request):
    case = request.node.originalname
    if request.param == "httpx":
        if case in HTTPX_UNFIT:
            pytest.skip(HTTPX_UNFIT[case])
        if case in HTTPX_FAILS:
            request.applymarker(pytest.mark.xfail(reason=HTTPX_FAILS[case], strict=True))
    rig = Rig(request.param)
    yield rig
    await rig.close()
