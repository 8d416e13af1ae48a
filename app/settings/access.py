"""Who may call, and who may operate; secrets that anybody could guess are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, field_validator

from app.core.units import Seconds

Role = Literal["admin", "operator", "viewer"]

SHORTEST_SECRET = 16
PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "replace-me",
    "replace_me",
    "placeholder",
    "your-",
    "example",
)


def strong(secret: SecretStr) -> SecretStr:
    """Raises ValueError for a placeholder or a short secret; the message does not repeat it."""
    text = secret.get_secret_value()
    if any(word in text.lower() for word in PLACEHOLDERS):
        raise ValueError("is a placeholder; make a real one, for example with: openssl rand -hex 32")
    if len(text) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} characters; try: openssl rand -hex 32")
    return secret


StrongSecret = Annotated[SecretStr, AfterValidator(strong)]


class AuthOptions(BaseModel, frozen=True, extra="forbid"):
    """`keys`: every call needs one; `open`: every call is tenant "default".

    `cache_grace`: for so long known keys live on while the store is away.
    """

    mode: Literal["keys", "open", "header"] = "keys"
    cache_grace: Seconds = 3600.0

    @field_validator("mode")
    @classmethod
    def _is_built(cls, mode: str) -> str:
        if mode == "header":
            raise ValueError("'header' is not implemented yet; use keys")
        return mode


class AdminToken(BaseModel, frozen=True, extra="forbid"):
    """One operator's credential; its name is what the audit shows."""

    name: str = Field(min_length=1, max_length=64)
    role: Role
    token: StrongSecret


class AdminOptions(BaseModel, frozen=True, extra="forbid"):
    """Tokens beside SLUICE_ADMIN_TOKEN, which is the admin "root"."""

    tokens: tuple[AdminToken, ...] = ()
