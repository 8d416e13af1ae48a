"""The usage of one answer that several endpoints wrote, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.outcome import Usage

if TYPE_CHECKING:
    from app.core.call import Metered
    from app.core.outcome import UsageSource

_LESS_CERTAIN: tuple[UsageSource, ...] = ("upstream", "counted", "estimated")


def joined(
    first: Usage, source: UsageSource, later: Usage, later_source: UsageSource
) -> tuple[Usage, UsageSource]:
    """The caller's prompt once, and what was generated in all; no more certain than its parts.

    What a later endpoint read again is not charged.
    """
    if later_source == "estimated":
        return first, source
    if source == "estimated":
        return later, later_source
    usage = Usage(
        prompt=first.prompt,
        completion=first.completion + later.completion,
        cached=first.cached,
        reasoning=first.reasoning + later.reasoning,
    )
    return usage, max(source, later_source, key=_LESS_CERTAIN.index)


class JointMeter:
    """What is known at any moment, while a later endpoint writes."""

    __slots__ = ("_first", "_later", "_source")

    def __init__(self, first: Usage, source: UsageSource, later: Metered) -> None:
        self._first = first
        self._source = source
        self._later = later

    @property
    def usage(self) -> Usage:
        return self._joined[0]

    @property
    def usage_source(self) -> UsageSource:
        return self._joined[1]

    @property
    def suspect(self) -> bool:
        """The endpoint that writes now stated counts that cannot be true."""
        return self._later.suspect

    @property
    def _joined(self) -> tuple[Usage, UsageSource]:
        return joined(self._first, self._source, self._later.usage, self._later.usage_source)
