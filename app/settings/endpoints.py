"""A row of vllm_endpoints: where one vLLM server is and what it may be given."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.core.endpoint import EndpointSpec, Tls
from app.resilience.options import Resilience
from app.settings.addresses import address_url, check_address, check_url
from app.settings.layers import merged
from app.settings.overrides import Overrides
from app.settings.shape import Partial


class TlsOptions(BaseModel, frozen=True, extra="forbid"):
    """Paths of PEM files; `verify: false` accepts any certificate."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


def _served(models: object) -> object:
    """A list of names stands for models served under their public names."""
    return {name: name for name in models} if isinstance(models, list | tuple) else models


class EndpointOptions(Overrides, frozen=True, extra="forbid"):
    """`address` with `port`, or `url`. `models` maps public to served names; without it they are learnt."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")
    port: int | None = Field(None, ge=1, le=65535)
    address: str | None = None
    url: str | None = None
    weight: int = Field(1, ge=0)
    tier: int = Field(0, ge=0)
    api_key: SecretStr | None = None
    models: Annotated[dict[str, str] | None, BeforeValidator(_served)] = None
    tls: TlsOptions | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    max_concurrent_calls: int | None = Field(None, ge=1)
    resilience: Annotated[dict[str, Any], Partial(Resilience)] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)

    @field_validator("address")
    @classmethod
    def _is_ip(cls, address: str | None, info: ValidationInfo) -> str | None:
        return None if address is None else check_address(address, info.data.get("port"))

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        return None if url is None else check_url(url)

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if (self.address is None) == (self.url is None):
            raise ValueError("give an address with its port, or a url, and not both")
        if self.address is not None and self.port is None:
            raise ValueError("an address needs its port")
        if self.url is not None and self.port is not None:
            raise ValueError("a port belongs to an address; a url holds its own")
        return self

    def spec(self) -> EndpointSpec:
        return EndpointSpec(
            name=self.name,
            url=self.url or address_url(self.address or "", self.port or 0),
            models=self.models,
            weight=self.weight,
            tier=self.tier,
            api_key=self.api_key.get_secret_value() if self.api_key else None,
            headers={name: value.get_secret_value() for name, value in self.headers.items()},
            tls=Tls(**self.tls.model_dump()) if self.tls else None,
            labels=self.labels,
        )

    def overlay(self) -> dict[str, Any]:
        """The resilience this row changes; its own sections win over those under `resilience`."""
        limit = {"bulkhead": {"max_concurrent_calls": self.max_concurrent_calls}}
        return merged(self.resilience, self.sections(), limit if self.max_concurrent_calls else {})
