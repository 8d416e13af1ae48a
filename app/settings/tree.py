"""The whole configuration as one tree; each mechanism's Options hang where the file has their section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.resilience.options import Resilience
from app.server.options import OpsOptions, ServerOptions
from app.settings.access import AdminOptions, AdminToken, AuthOptions, StrongSecret
from app.settings.addresses import check_url
from app.settings.endpoints import EndpointOptions
from app.settings.models import ModelOptions
from app.settings.routing import RoutingOptions
from app.telemetry.options import LoggingOptions, MetricsOptions
from app.tenancy.ledger import LedgerOptions
from app.upstream.health import HealthOptions
from app.upstream.scrape import ScrapeOptions
from app.wire.request import Policy


def _database(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("sqlite:///", "postgresql://")):
        raise ValueError("begins with sqlite:/// (then a path) or postgresql://")
    return url


def _redis(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("begins with redis://, rediss:// (TLS) or unix:// (then a socket's path)")
    return url


class InstanceOptions(BaseModel, frozen=True, extra="forbid"):
    """The short form of an endpoint."""

    url: Annotated[str, AfterValidator(check_url)]
    weight: int = Field(1, ge=0)
    model: str | None = None


class VllmOptions(BaseModel, frozen=True, extra="forbid"):
    """Instances become the endpoints instance-1, instance-2, …"""

    instances: tuple[InstanceOptions, ...] = ()


class Settings(BaseSettings):
    """What was configured, complete and checked; frozen. Made by `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True, env_prefix="SLUICE_"
    )

    database_url: Annotated[SecretStr, AfterValidator(_database)] = SecretStr("sqlite:///sluice.db")
    redis_url: Annotated[SecretStr, AfterValidator(_redis)] | None = None
    admin_token: StrongSecret | None = None
    secret: StrongSecret | None = None
    secret_previous: StrongSecret | None = None

    server: ServerOptions = ServerOptions()
    transport: Literal["direct", "httpx"] = "direct"
    ops: OpsOptions = OpsOptions()
    auth: AuthOptions = AuthOptions()
    admin: AdminOptions = AdminOptions()
    vllm_endpoints: tuple[EndpointOptions, ...] = ()
    vllm: VllmOptions = VllmOptions()
    models: dict[str, ModelOptions] = Field(default={}, alias="model_config")
    routing: RoutingOptions = RoutingOptions()
    resilience: Resilience = Resilience()
    health: HealthOptions = HealthOptions()
    scrape: ScrapeOptions = ScrapeOptions()
    ledger: LedgerOptions = LedgerOptions()
    policy: Policy = Policy()
    metrics: MetricsOptions = MetricsOptions()
    logging: LoggingOptions = LoggingOptions()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` gives: it has spelled, checked and merged the file, the environment and the flags."""
        return (init_settings,)

    @property
    def endpoints(self) -> tuple[EndpointOptions, ...]:
        """Rows of both forms, in the order of the file."""
        return self.vllm_endpoints + tuple(
            EndpointOptions(
                name=f"instance-{number}",
                url=instance.url,
                weight=instance.weight,
                models={instance.model: instance.model} if instance.model else None,
            )
            for number, instance in enumerate(self.vllm.instances, start=1)
        )

    @property
    def admin_tokens(self) -> tuple[AdminToken, ...]:
        """Everybody who may operate, the admin "root" first; empty: the admin API is off."""
        if self.admin_token is None:
            return self.admin.tokens
        return (AdminToken(name="root", role="admin", token=self.admin_token), *self.admin.tokens)
