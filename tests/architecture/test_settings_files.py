"""What is written about the settings is what the schema says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.settings import ConfigError, Settings, load
from tests.settings_keys import keys

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
PLACEHOLDERS = {"SLUICE_ADMIN_TOKEN", "SLUICE_SECRET"}


def variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))


def test_the_example_lists_every_variable_with_its_default():
    listed = {name: value for name, value in variables(EXAMPLE).items() if name.startswith("SLUICE_")}
    expected = {
        key.variable: "" if key.default == "null" else key.default
        for key in keys()
        if "[]." not in key.path and "<name>" not in key.path
    }
    assert listed.keys() - expected.keys() == set()
    assert {name: value for name, value in expected.items() if listed.get(name) != value} == {
        name: expected[name] for name in PLACEHOLDERS
    }


def test_the_examples_defaults_load_as_the_defaults():
    listed = {name: value for name, value in variables(EXAMPLE).items() if name not in PLACEHOLDERS}
    assert load(environ=listed) == Settings()


def test_the_example_as_it_is_refuses_to_start():
    active = dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE))
    with pytest.raises(ConfigError) as raised:
        load(environ=active)
    assert [path for path, _ in raised.value.problems] == ["admin_token", "secret"]
    assert all("placeholder" in message for _, message in raised.value.problems)


def test_the_guide_explains_every_key_with_its_default():
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]*)` \| (.+) \|$", GUIDE, re.MULTILINE)
    assert {path: default for path, default, _ in rows} == {key.path: key.default for key in keys()}
    assert len(rows) == len({path for path, *_ in rows})
    assert all(meaning.strip() for *_, meaning in rows)


@pytest.mark.parametrize("name", ["sluice.yaml", "sluice.demo.yaml", "sluice.example.yaml"])
def test_configurations_that_are_shipped_load(name):
    assert load(ROOT / "deploy" / name, environ={}).endpoints


@pytest.mark.parametrize("number", range(2))
def test_configurations_in_the_guide_load(number, tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text(re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[number], encoding="utf-8")
    assert load(path, environ={"GPU_B_KEY": "key"}).endpoints


WHOLE = """
server: {host: 0.0.0.0, port: 9000, max_body: 10MiB, max_header: 32KiB, max_headers: 100, header_timeout: 10s,
         body_timeout: 30s, write_stall: 60s, commit_after: 5s, ping: 15s, lame_duck: 3s, drain: 120s,
         trusted_proxies: [], expose_endpoint: false}
transport: direct
ops: {host: 127.0.0.1, port: 9001, allow: [127.0.0.1/32, "::1/128"]}
auth: {mode: keys, cache_grace: 1h}
routing: {strategy: least_load, spill: full, session_header: x-user-id, default_model: null}
resilience:
  timeouts: {connect: 2s, first_byte: {base: 120s, per_1k_prompt_tokens: 2s, max: 600s}, idle: 300s, total: 590s,
             stream_total: 3600s}
  breaker: {sliding_window_size: 20, sliding_window_age: 60s, minimum_calls: 5, failure_rate_threshold: 50,
            consecutive_failures: 3, wait_in_open: 10s, max_wait_in_open: 60s, half_open_calls: 5}
  bulkhead: {max_concurrent_calls: 256}
  queue: {max_wait: 10s, max_length: 1024}
  ejection: {max_ejected: 50}
  retry: {max_attempts: 2, budget_ratio: 0.1, budget_min_per_second: 3}
health: {interval: 5s, interval_down: 1s, timeout: 5s, healthy_after: 2, unhealthy_after: 3}
scrape: {interval: 15s, timeout: 2s}
ledger: {commit: store, max_wait: 2s, journal: {path: sluice-journal.db, max_bytes: 256MiB}, when_full: refuse,
         retention: 400d, timezone: UTC}
policy: {max_n: 8, cache_salt: off}
metrics: {tenant_label: true, max_tenants: 500}
logging: {level: info, format: json, access: {enabled: true, sample: 1.0, exclude: [/health, /ready]}}
"""


def test_the_promised_defaults_are_the_defaults(tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text(WHOLE, encoding="utf-8")
    assert load(path, environ={}) == Settings()


def test_the_promised_rows_load(tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text(
        """
admin: {tokens: [{name: alice, role: operator, token: "env:ALICE"}]}
vllm_endpoints:
  - {name: gpu-a, address: 10.0.0.10, port: 8000, weight: 3}
  - {name: gpu-b, url: "https://vllm.example.com/v1", weight: 1, tier: 1, api_key: "env:GPU_B_KEY",
     models: {llama: Meta-Llama-3.1-8B}, tls: {ca: file}, headers: {}, max_concurrent_calls: 64}
model_config:
  qwen3: {preferred_endpoints: [gpu-a], strict_preferred: false, aliases: [gpt-4o], fallbacks: [llama],
          reasoning_family: qwen3, defaults: {temperature: 0.7}, accounting: exact, json_upstream: json,
          price: {prompt: 0.2, cached: 0.1, completion: 0.6}, timeouts: {idle: 600s}}
policy: {refuse: [prompt_embeds, chat_template], max_n: 8, cache_salt: off}
""",
        encoding="utf-8",
    )
    settings = load(path, environ={"ALICE": "0123456789abcdef", "GPU_B_KEY": "key"})
    assert [row.name for row in settings.endpoints] == ["gpu-a", "gpu-b"]
    assert settings.models["qwen3"].timeouts == {"idle": "600s"}
