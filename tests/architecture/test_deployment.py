"""What is shipped beside the code: images, compose files, dashboards and rules agree with it and hold no secret."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from app.telemetry.exposition import Metrics, Readings
from app.telemetry.metrics import CallMetrics

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
SKIPPED = {".venv", ".git", ".sluice", "node_modules", "__pycache__", ".hypothesis", "vectors"}
REGISTRIES = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "docker" + ".io",
    "ghcr" + ".io",
    "quay" + ".io",
    "npmjs" + ".org",
]


def texts():
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if name not in SKIPPED and not name.endswith("_cache")]
        for name in names:
            path = Path(folder, name)
            if path.stat().st_size < 2_000_000:
                yield path, path.read_bytes().decode("utf-8", "ignore")


def test_no_registry_host_is_named_anywhere():
    assert [str(path) for path, text in texts() if any(host in text for host in REGISTRIES)] == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_pin_with_hashes_and_name_no_host(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9._-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_both_locks_agree():
    pins = [
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    ]
    assert {name: version for name, version in pins[0].items() if pins[1].get(name) != version} == {}
    assert not (ROOT / "uv.lock").exists()


def test_only_the_data_port_is_published():
    assert {name: row["ports"] for name, row in SERVICES.items() if "ports" in row} == {
        "gateway": ["${GATEWAY_PORT:-9000}:9000"]
    }


def test_every_image_is_pinned():
    images = [re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", row["image"]) for row in SERVICES.values()]
    assert [image for image in images if ":" not in image or image.endswith(":latest")] == []


def test_no_password_has_a_default():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for name in ("GRAFANA_PW", "POSTGRES_PASSWORD", "SLUICE_SECRET", "SLUICE_ADMIN_TOKEN"):
        assert set(re.findall(r"\$\{" + name + r"([^}]*)\}", text)) == {":?set it in .env"}


def test_every_long_runner_is_bounded_and_its_log_rotated():
    for name, row in SERVICES.items():
        assert row["logging"]["options"] == {"max-size": "50m", "max-file": "5", "compress": "true"}, name
        assert row["networks"] == ["vllm-net"], name
        if name not in ("vllm", "migrate"):
            assert row["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
    limits = SERVICES["gateway"]["deploy"]["resources"]["limits"]
    assert limits == {"cpus": "0.5", "memory": "512M"}


def test_the_gateway_runs_without_privileges_and_has_time_to_drain():
    gateway = SERVICES["gateway"]
    assert gateway["read_only"] is True
    assert gateway["cap_drop"] == ["ALL"]
    assert any(volume.endswith("/etc/sluice/sluice.yaml:ro") for volume in gateway["volumes"])
    assert int(gateway["stop_grace_period"].removesuffix("s")) > 120 + 3


def test_health_is_asked_without_curl():
    checks = [str(row["healthcheck"]) for row in SERVICES.values() if "healthcheck" in row]
    assert not any("curl" in check or "wget" in check for check in checks)
    assert "curl" not in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_mounted_file_exists():
    for row in SERVICES.values():
        for volume in row.get("volumes", ()):
            source = re.sub(r"^\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            if source.startswith("./deploy"):
                assert (ROOT / source).exists(), source


def test_the_image_is_not_roots_and_is_installed_by_hash():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER (?!root|0\b)\d+:0$", text, re.MULTILINE)
    assert "--require-hashes -r requirements.lock" in text
    assert "SLUICE_DATABASE_URL=sqlite:////data/sluice.db" in text


def compose_plugin() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("overlay", [None, "static-ip", "local-ports"])
def test_compose_accepts_the_files(overlay):
    if not compose_plugin():
        return
    files = ["-f", "compose.yaml", *(("-f", f"deploy/compose.{overlay}.yaml") if overlay else ())]
    secrets = dict.fromkeys(
        ("GRAFANA_PW", "POSTGRES_PASSWORD", "SLUICE_SECRET", "SLUICE_ADMIN_TOKEN"), "x" * 20
    )
    command = ["docker", "compose", *files, "--profile", "*", "config", "--quiet"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | secrets, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def offered_metrics() -> set[str]:
    row = dict.fromkeys(
        (
            "breaker", "draining", "health", "inflight", "kv_usage", "limit", "name", "running", "state",
            "waiting",
        ), 1,
    )  # fmt: skip
    fleet = {"endpoints": [row], "models": {}}
    readings = Readings(
        fleet=lambda: fleet,
        inflight=dict,
        limits=list,
        ledger_pending=lambda: 0,
        journal_backlog=lambda: 0,
        store_up=lambda: True,
        shared_limits_up=lambda: True,
        loop_lag=lambda: 0,
        reload_successful=lambda: True,
    )
    return {family.name for family in Metrics(CallMetrics(), readings, {"version": "1"}).collect()}


def test_dashboards_and_rules_ask_for_metrics_that_exist():
    files = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".yml", ".json")]
    asked = {
        re.sub(r"_(?:bucket|count|sum|total)$", "", name)
        for path in files
        for name in re.findall(r"\bsluice_[a-z_]+", path.read_text(encoding="utf-8"))
    }
    assert len(asked) > 20
    assert asked - offered_metrics() == set()


def test_the_dashboard_is_one_valid_page():
    board = json.loads(
        (ROOT / "deploy" / "grafana" / "dashboards" / "sluice.json").read_text(encoding="utf-8")
    )
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    assert all(
        target["expr"].count("(") == target["expr"].count(")")
        for panel in board["panels"]
        for target in panel.get("targets", ())
    )


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert text.rstrip().endswith("limitations under the License.")
