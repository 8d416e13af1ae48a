"""The wheel: built here, it runs anywhere else, migrations included."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import httpx
import pytest

from tests.integration.demo import demo, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh environment with the wheel in it; the dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "sluice"


def test_the_wheel_carries_the_migrations_and_nothing_of_the_tests(installed):
    (package,) = installed.parents[1].glob("lib/python*/site-packages/app")
    assert (package / "store" / "alembic" / "env.py").is_file()
    assert list((package / "store" / "alembic" / "versions").glob("*.py"))
    assert not (package.parent / "tests").exists()


def test_an_installed_wheel_runs_the_demo_outside_the_clone(installed, tmp_path):
    port = free_port()
    with demo(tmp_path, "--port", str(port), command=[str(installed)], PYTHONPATH="") as (_, lines):
        key = next(
            word for line in lines for word in line.replace('"', " ").split() if word.startswith("sk-")
        )
        models = httpx.get(
            f"http://127.0.0.1:{port}/v1/models", headers={"authorization": f"Bearer {key}"}, trust_env=False
        )
        assert models.status_code == 200
        assert models.json()["data"]
