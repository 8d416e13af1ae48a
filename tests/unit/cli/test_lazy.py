from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from app.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name):
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    assert command.name == name
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: main {name}")


def leaves(command, path=()):
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from leaves(command.get_command(click.Context(command), name), (*path, name))
    else:
        yield path, command


@pytest.mark.parametrize(
    ("path", "command"),
    list(leaves(main)),
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_every_help_page_has_an_example_that_fits_a_line(path, command):
    (example,) = [line for line in command.help.splitlines() if "Example: " in line] or [""]
    assert path[-1] == "reconcile" or f"sluice {' '.join(path)}" in example or path[0] == "usage"
    assert example.strip() in CliRunner().invoke(main, [*path, "--help"], terminal_width=80).output


def test_the_help_page_imports_no_command():
    code = (
        "import sys; from click.testing import CliRunner; from app.cli import main\n"
        "print(CliRunner().invoke(main, ['--help']).output)\n"
        "print([name for name in sys.modules if name.startswith(('fastapi', 'pydantic', 'sqlalchemy', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "serve" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_gateway_loads_nothing_that_serving_does_not_need():
    code = (
        "import sys; from app.cli.lazy import HOLLOW, UNUSED, loading\n"
        "with loading(): import app.cli.running\n"
        "print([name for name in sys.modules if name.startswith((*HOLLOW, *UNUSED, 'alembic', 'sqlalchemy.orm'))])\n"
        "from sqlalchemy.orm import Session; print(Session.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "Session"]


def test_an_unknown_command_is_a_usage_error():
    assert CliRunner().invoke(main, ["tenant"]).exit_code == 2


def test_the_version_is_told():
    assert CliRunner().invoke(main, ["--version"], prog_name="sluice").output.startswith("sluice 0.")
