from __future__ import annotations

import io
import json
import logging

import pytest

from app.telemetry.logs import configure_logging
from app.telemetry.options import LoggingOptions


@pytest.fixture
def speak():
    """Configures the logging of this process and gives what is written; puts everything back."""
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.asgi", "httpx", "httpcore", "alembic", "app.noisy")
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.level, list(each.handlers), each.propagate) for each in loggers]
    stream = io.StringIO()

    def configure(**options):
        configure_logging(LoggingOptions(**options), stream)
        return stream

    yield configure
    for each, (level, handlers, propagate) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.handlers[:] = handlers
        each.propagate = propagate


def test_an_event_is_one_line_of_json(speak):
    stream = speak()
    logging.getLogger("app.part").info("endpoint %s: %s", "gpu-a", 'open\n{"level":"fake"}\u2028')
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    event = json.loads(lines[0])
    assert (event["level"], event["logger"]) == ("info", "app.part")
    assert event["message"] == 'endpoint gpu-a: open\n{"level":"fake"}\u2028'
    assert event["time"].endswith("+00:00")


@pytest.mark.parametrize("shape", ["json", "text"])
def test_exceptions_stay_in_the_line(speak, shape):
    stream = speak(format=shape)
    try:
        raise ValueError("wrong\nthing")
    except ValueError:
        logging.getLogger("app").exception("a bug")
    assert len(stream.getvalue().splitlines()) == 1
    assert "Traceback" in stream.getvalue()


def test_text_escapes_control_characters(speak):
    stream = speak(format="text")
    logging.getLogger("app").warning("red \x1b[31m\n")
    assert stream.getvalue().endswith("warning app: red \\x1b[31m\\n\n")


@pytest.mark.parametrize("secret", ["sk-abcdefghijklmnop", "Bearer abc.def-ghi_jkl=", "bearer   abcdefgh"])
def test_keys_are_masked(speak, secret):
    stream = speak(level="debug")
    logging.getLogger("app").debug("header %s seen", secret)
    assert secret.split()[-1].removeprefix("sk-") not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_long_messages_are_cut(speak):
    stream = speak()
    logging.getLogger("app").info("x" * 1_000_000)
    assert len(stream.getvalue()) < 10_000


def test_levels_of_single_loggers_can_be_set(speak):
    stream = speak(level="warning", levels={"app.noisy": "debug"})
    logging.getLogger("app.other").info("not this")
    logging.getLogger("app.noisy").debug("but this")
    assert "but this" in stream.getvalue()
    assert "not this" not in stream.getvalue()


def test_uvicorn_speaks_through_us_and_only_of_trouble(speak):
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
    stream = speak()
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["logger"] == "uvicorn.error"
    assert not logging.getLogger("uvicorn").handlers
