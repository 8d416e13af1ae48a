"""Setting up on a machine that lacks something ends in one plain line with the remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path):
    """A tree with the set-up script alone, in a folder whose name has a space; only basic tools on the path."""
    clone = tmp_path / "a clone"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "setup", clone / ".ci")
    return clone


def program(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def setup(clone: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.defpath, **environ}
    command = [str(clone / ".ci" / "setup"), "requirements.lock"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_a_python_that_is_none_is_named(clone):
    done = setup(clone, PYTHON="/no/python")
    assert done.returncode == 1
    assert done.stderr == "setup: PYTHON=/no/python is not a program; name a Python 3.11, 3.12 or 3.13.\n"


def test_a_python_of_another_age_is_named(clone):
    done = setup(clone, PYTHON=program(clone, "old", "exit 1"))
    assert done.returncode == 1
    assert re.fullmatch(r"setup: PYTHON=.*old is not a Python 3.11, 3.12 or 3.13.\n", done.stderr)


def test_a_missing_venv_module_is_named_and_leaves_nothing_behind(clone):
    script = f'[ "$1" = -m ] && exit 1; exec "{sys.executable}" "$@"'
    done = setup(clone, PYTHON=program(clone, "bare", script))
    assert done.returncode == 1
    assert re.fullmatch(r"setup: this Python has no venv module; install it \(.*-venv\) .*\n", done.stderr)
    assert not (clone / ".venv").exists()


def test_the_command_runs_the_clone_from_anywhere_and_lost_packages_are_named(clone):
    (clone / "requirements.lock").write_text("")
    (clone / "app").mkdir()
    (clone / "app" / "__main__.py").write_text("import sys\nprint('ran', sys.argv[1:])\n")
    done = setup(clone, PYTHON=sys.executable, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    command = [str(clone / ".venv" / "bin" / "sluice"), "demo", "a b"]
    assert (
        subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout
        == "ran ['demo', 'a b']\n"
    )

    (clone / "requirements.lock").write_text("none==1 --hash=sha256:" + "0" * 64 + "\n")
    done = setup(clone, PYTHON=sys.executable, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "setup: the packages of requirements.lock could not be installed"
    )
