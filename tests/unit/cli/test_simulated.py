from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest

from app.cli import simulated as module
from app.cli.failure import Failed
from app.cli.simulated import simulated

OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def test_each_endpoint_serves_the_model_until_the_end():
    with simulated(2, "m") as urls:
        assert len(set(urls)) == 2
        for url in urls:
            with OPEN(f"{url}/v1/models") as response:
                assert [row["id"] for row in json.loads(response.read())["data"]] == ["m"]
    with pytest.raises(OSError, match="refused"):
        OPEN(urls[0])


def test_endpoints_that_do_not_start_are_said(monkeypatch):
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(Failed, match="did not start"), simulated(1, "m"):
        pass


def test_a_child_that_will_not_end_is_killed(monkeypatch):
    started = subprocess.Popen
    deaf = [sys.executable, "-c", "import time; print('[]', flush=True); time.sleep(600)"]
    children = []

    def start(command, **pipes):
        children.append(started(deaf, **pipes))
        return children[0]

    monkeypatch.setattr(module.subprocess, "Popen", start)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    with simulated(1, "m"):
        pass
    assert children[0].returncode == -9
