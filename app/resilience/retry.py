"""Retries: what happens after a first attempt has failed; built only then, for it costs 25 µs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

_WAIT = wait_random_exponential(multiplier=0.025, max=0.25)


class RetryOptions(BaseModel):
    """`max_attempts` counts those that may have started work; `budget_ratio` is retries per call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=2, ge=1)
    budget_ratio: float = Field(default=0.1, ge=0)
    budget_min_per_second: float = Field(default=3.0, ge=0)


def retrying(
    options: RetryOptions,
    may_go_on: Callable[[BaseException], bool],
    *,
    free: Callable[[], bool],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncRetrying:
    """Attempts until one succeeds or `may_go_on` refuses; the last error is raised as it is.

    `may_go_on` is asked once per failed attempt. After a `free` failure the next attempt follows at
    once; after a costly one it waits, at random, up to 25 ms, doubling to 250 ms: those that one
    endpoint's death drove out together do not arrive together elsewhere.
    """

    def wait(state: RetryCallState) -> float:
        return 0.0 if free() else _WAIT(state)

    async def pause(seconds: float) -> None:
        if seconds:
            await sleep(seconds)

    return AsyncRetrying(sleep=pause, wait=wait, retry=retry_if_exception(may_go_on))
