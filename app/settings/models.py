"""A row of model_config: how one model is offered, and where it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.settings.overrides import Overrides
from app.tenancy.pricing import Price


class ModelOptions(Overrides, frozen=True, extra="forbid"):
    """`defaults` are body fields used where the caller left them out.

    `accounting`: exact reads running usage off every event, final only the engine's last word.
    `resume`: streams that an endpoint breaks off are carried on by another, where that can be done right.
    `json_upstream`: stream asks for JSON answers as streams, whose tokens are known at every moment.
    """

    preferred_endpoints: tuple[str, ...] = ()
    strict_preferred: bool = False
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    reasoning_family: Literal["deepseek", "gpt", "gpt-oss", "llama", "qwen3"] | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    accounting: Literal["exact", "final"] = "exact"
    json_upstream: Literal["json", "stream"] = "json"
    resume: bool = False
    price: Price | None = None
