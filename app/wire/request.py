"""What a request asks for, read strictly: a wrong type is refused, an unknown field travels on untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from pydantic import BaseModel, Field, field_validator

from app.core.errors import InvalidRequest, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.core.surface import Dialect, Surface

UsageWanted = Literal["none", "final", "continuous"]

_MAX_MODEL_NAME = 256
_MAX_TOKENS = 10**9
_TOKEN_LIMITS: Mapping[str, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}


class Policy(BaseModel, frozen=True, extra="forbid"):
    """What callers may ask of an engine.

    `refuse`: fields answered with 400; the defaults are those that could harm the engine or other tenants.
    `max_n`: the most choices per prompt. `cache_salt`: whether tenants share the engines' prefix caches.
    """

    refuse: tuple[str, ...] = (
        "prompt_embeds",
        "mm_processor_kwargs",
        "allowed_local_media_path",
        "kv_transfer_params",
        "data_parallel_rank",
        "request_id",
        "chat_template",
    )
    max_n: int = Field(default=8, gt=0)
    cache_salt: Literal["off", "tenant"] = "off"

    @field_validator("cache_salt", mode="before")
    @classmethod
    def _bare_off_in_yaml_means_false(cls, value: object) -> object:
        return "off" if value is False else value


class Params(Struct, frozen=True):
    """`n` is choices per prompt, `prompts` how many prompts a completion was given.

    `max_tokens` is per choice, None when the caller set no limit.
    """

    model: str | None = None
    stream: bool = False
    n: int = 1
    prompts: int = 1
    max_tokens: int | None = None
    include_usage: bool = False
    continuous: bool = False

    @property
    def choices(self) -> int:
        return self.n * self.prompts

    @property
    def completion_limit(self) -> int | None:
        """Tokens over all choices."""
        return None if self.max_tokens is None else self.max_tokens * self.choices

    @property
    def usage_wanted(self) -> UsageWanted:
        """What of the usage the caller's stream shows."""
        if not self.include_usage:
            return "none"
        return "continuous" if self.continuous else "final"


def read(surface: Surface, body: Mapping[str, Any], policy: Policy) -> Params:
    """Raises InvalidRequest with the field's name as `param`, or ModelNotFound for a name no model can have."""
    if not body.keys().isdisjoint(policy.refuse):
        for name in policy.refuse:
            if body.get(name) is not None:
                raise InvalidRequest(f"This gateway does not accept the field '{name}'.", param=name)
    messages = body.get("messages")
    if messages is not None and not isinstance(messages, list):
        raise InvalidRequest("'messages' must be an array.", param="messages")
    stream = surface.streams and "stream" in body and _flag(body, "stream")
    include, continuous = _stream_options(body) if stream and surface.options else (False, False)
    counts_choices = surface.dialect in {"chat", "completions"}
    if counts_choices and "best_of" in body:
        _choices(body, "best_of", policy.max_n)
    return Params(
        model=_model(body),
        stream=stream,
        n=_choices(body, "n", policy.max_n) if counts_choices and "n" in body else 1,
        prompts=_prompts(body) if surface.dialect == "completions" else 1,
        max_tokens=_token_limit(body, surface.dialect),
        include_usage=include,
        continuous=include and continuous,
    )


def _model(body: Mapping[str, Any]) -> str | None:
    model = body.get("model")
    if isinstance(model, str) and model.isprintable() and 0 < len(model) <= _MAX_MODEL_NAME:
        return model
    if model is None or model == "":
        return None
    if not isinstance(model, str) or "\0" in model:
        raise InvalidRequest("'model' must be a string of printable characters.", param="model")
    raise ModelNotFound(param="model")


def _flag(body: Mapping[str, Any], name: str, label: str = "") -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        label = label or name
        raise InvalidRequest(f"'{label}' must be true or false.", param=label)
    return bool(value)


def _stream_options(body: Mapping[str, Any]) -> tuple[bool, bool]:
    options = body.get("stream_options")
    if options is None:
        return False, False
    if not isinstance(options, dict):
        raise InvalidRequest("'stream_options' must be an object.", param="stream_options")
    return (
        _flag(options, "include_usage", "stream_options.include_usage"),
        _flag(options, "continuous_usage_stats", "stream_options.continuous_usage_stats"),
    )


def _choices(body: Mapping[str, Any], name: str, limit: int) -> int:
    value = body.get(name)
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= limit:
        raise InvalidRequest(f"'{name}' must be an integer from 1 to {limit}.", param=name)
    return value


def _token_limit(body: Mapping[str, Any], dialect: Dialect) -> int | None:
    limit = None
    for name in _TOKEN_LIMITS.get(dialect, ()):
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= _MAX_TOKENS:
            raise InvalidRequest(f"'{name}' must be an integer from 0 to {_MAX_TOKENS}.", param=name)
        if limit is None:
            limit = value
    return limit


def _prompts(body: Mapping[str, Any]) -> int:
    """A list of token ids is one prompt; any other list holds one prompt per element."""
    prompt = body.get("prompt")
    if not isinstance(prompt, list) or not prompt or type(prompt[0]) is int:
        return 1
    return len(prompt)
