"""sluice sim: one simulated vLLM on a port; every option of the simulator is a flag."""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from app.cli.failure import Failed
from app.settings.problems import of_validation
from app.simulator import SimulatorOptions, run

_SPELLED = {"served_names": "model", "api_keys": "api_key"}


@click.command(context_settings={"show_default": True})
@click.option("--host", default="0.0.0.0", help="Address to listen on, as `vllm serve` does.")
@click.option("--port", default=8000, type=click.IntRange(1, 65535))
def sim(host: str, port: int, **chosen: Any) -> None:
    """Run one simulated vLLM: its wire behaviour, a queue and a clock, without a model.

    Durations are in seconds. Faults on demand: POST /sim/faults, the header x-sim-fault, or the body
    field sim_fault; POST /sim/reset ends them; GET /sim/truth says what really happened.

    Example: sluice sim --port 8001 --model qwen3 --ttft 0.2 --itl 0.02
    """
    try:
        options = SimulatorOptions(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        ((where, message), *_) = of_validation(error)
        raise click.UsageError(f"{_flag(str(where[0]))}: {message}") from None
    click.echo(f"a simulated vLLM serves {', '.join(options.served_names)} on {host} port {port}", err=True)
    try:
        run(options, host, port)
    except OSError as error:
        raise Failed(f"cannot listen on {host} port {port}: {error.strerror}") from None


def _flag(name: str) -> str:
    return f"--{_SPELLED.get(name, name).replace('_', '-')}"


def _option(name: str, field: FieldInfo) -> click.Option:
    kind = field.annotation
    if get_origin(kind) is UnionType:
        (kind,) = (choice for choice in get_args(kind) if choice is not type(None))
    if get_origin(kind) is tuple:
        return click.Option([_flag(name), name], multiple=True, default=field.default, metavar="TEXT")
    if get_origin(kind) is Literal:
        return click.Option([_flag(name), name], type=click.Choice(get_args(kind)), default=field.default)
    if kind is bool:
        return click.Option([f"{_flag(name)}/--no-{_flag(name)[2:]}", name], default=field.default)
    return click.Option([_flag(name), name], type=kind, default=field.default)


sim.params += [_option(name, field) for name, field in SimulatorOptions.model_fields.items()]
