from __future__ import annotations

import ast
import json
import shlex
from dataclasses import replace

import pytest

from app.cli.greeting import Greeting

GREETING = Greeting(
    "http://127.0.0.1:9000",
    "http://127.0.0.1:9001",
    "sk-secret",
    "token",
    models=["it's a model", "other"],
    endpoints=["http://127.0.0.1:1", "http://127.0.0.1:2"],
    simulated=True,
    command=".venv/bin/sluice",
)


def line(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def snippet(text):
    lines = text.splitlines()
    at = lines.index("import openai")
    return "\n".join(lines[at : at + 5]) + "\n"


def test_it_tells_where_everything_is():
    text = GREETING.text({})
    for told in (
        "2 simulated vLLM endpoints",
        "http://127.0.0.1:9000/v1",
        "sk-secret",
        "it's a model, other",
        "token",
    ):
        assert told in text
    assert line(text, "export").endswith("SLUICE_ADMIN_TOKEN=token; .venv/bin/sluice usage")


def test_the_curl_line_is_what_a_shell_understands():
    words = shlex.split(line(GREETING.text({}), "curl"))
    assert words[1] == "http://127.0.0.1:9000/v1/chat/completions"
    assert "Authorization: Bearer sk-secret" in words
    assert json.loads(words[-1])["model"] == "it's a model"


@pytest.mark.parametrize("proxied", [False, True])
def test_the_snippet_is_five_lines_of_python(proxied):
    text = GREETING.text({"HTTP_PROXY": "http://proxy:3128"} if proxied else {})
    assert len(ast.parse(snippet(text)).body) == 4
    assert '"it\'s a model"' in snippet(text)
    assert ("trust_env=False" in snippet(text)) is proxied


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_where_a_proxy_is_set_curl_goes_past_it(name):
    assert shlex.split(line(GREETING.text({name: "http://proxy"}), "curl"))[1:3] == ["--noproxy", "*"]
    assert "--noproxy" not in GREETING.text({name: ""})


def test_endpoints_that_named_no_model_are_doubted():
    silent = replace(GREETING, models=[], simulated=False, endpoints=["http://10.0.0.1:8000"])
    assert "None of them has named its models" in silent.text({})
    assert "1 vLLM endpoint: http://10.0.0.1:8000" in silent.text({})
    assert '"model": "MODEL"' in line(silent.text({}), "curl")
