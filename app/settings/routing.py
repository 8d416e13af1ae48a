"""How an endpoint is chosen among those that can take a call."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from app.routing import strategy


class RoutingOptions(BaseModel, frozen=True, extra="forbid"):
    """`spill`: a tier is left when all of it is full, or only when all of it is down.

    `session_header` names the caller's header that the session strategy keeps together;
    `default_model` serves requests that name none.
    """

    strategy: str = "least_load"
    spill: Literal["down", "full"] = "full"
    session_header: str = Field("x-user-id", pattern=r"^[A-Za-z0-9-]+$")
    default_model: str | None = None

    @field_validator("strategy")
    @classmethod
    def _is_known(cls, name: str) -> str:
        strategy(name)
        return name
