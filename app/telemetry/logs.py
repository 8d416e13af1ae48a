"""The process's log: one event is one line on stdout, whatever is in it, and no key ever is."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from app.telemetry.options import LoggingOptions

_SECRET = re.compile(r"(sk-|[Bb]earer\s+)[\w.~+/=-]{6,}")
_LONGEST = 8192
_TALKATIVE = ("uvicorn.error", "httpx", "httpcore", "alembic")
"""Loggers of libraries whose information is of no use to operators."""


class JsonFormatter(logging.Formatter):
    """ASCII JSON: time, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = _clean(self.formatException(record.exc_info))
        return json.dumps(event, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """For people; line breaks and control characters are escaped here too."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        text = _clean(text).encode("unicode_escape").decode("ascii")
        return f"{_time(record)} {record.levelname.lower():7} {record.name}: {text}"


def configure_logging(options: LoggingOptions, stream: TextIO | None = None) -> None:
    """Replace every handler of the root logger; the libraries' loggers, uvicorn's too, speak through it."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(options.level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name, level in options.levels.items():
        logging.getLogger(name).setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _clean(text: str) -> str:
    text = _SECRET.sub(r"\1***", text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
