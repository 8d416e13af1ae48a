"""Configurations written for others: a semantic router's file and Resilience4j's sections."""

from __future__ import annotations

import logging
from typing import Any

from app.settings.problems import ConfigError, Problem

logger = logging.getLogger(__name__)

FOREIGN_SECTIONS = frozenset({
    "api", "auto_model_name", "bert_model", "categories", "classifier", "decisions", "default_model",
    "default_reasoning_effort", "embedding_models", "embedding_rules", "external_models", "fact_check_rules",
    "feedback_detector", "hallucination_mitigation", "include_config_models_in_list", "keyword_rules", "listeners",
    "looper", "memory", "model_selection", "observability", "prompt_guard", "reasoning_families", "response_api",
    "router", "semantic_cache", "strategy", "tools", "user_feedback_rules", "vector_store",
})  # fmt: skip
FOREIGN_MODEL_KEYS = frozenset({
    "access_key", "api_format", "description", "external_model_ids", "loras", "param_size", "pii_policy", "pricing",
    "quality_score", "reasoning_description", "reasoning_effort", "use_reasoning",
})  # fmt: skip
FOREIGN_ENDPOINT_KEYS = frozenset({"health_check_path", "monitoring", "protocol", "provider_profile", "type"})
FOREIGN_MECHANISM_KEYS = frozenset({
    "automatic_transition_from_open_to_half_open_enabled", "base_config", "cancel_running_future",
    "event_consumer_buffer_size", "register_health_indicator", "sliding_window_type",
})  # fmt: skip

_MECHANISMS = {
    "circuitbreaker": "breaker",
    "bulkhead": "bulkhead",
    "timelimiter": "timeouts",
    "retry": "retry",
}


def translate(layer: dict[str, Any]) -> dict[str, Any]:
    """The layer in our own words; warns once for each key that means nothing here. Raises ConfigError."""
    layer = _without(layer, FOREIGN_SECTIONS, "")
    rows = layer.get("vllm_endpoints")
    if isinstance(rows, list):
        layer["vllm_endpoints"] = [
            _row(row, FOREIGN_ENDPOINT_KEYS, f"vllm_endpoints[{place}].") for place, row in enumerate(rows)
        ]
    models = layer.get("model_config")
    if isinstance(models, dict):
        layer["model_config"] = {
            name: _row(row, FOREIGN_MODEL_KEYS, f"model_config.{name}.") for name, row in models.items()
        }
    if "resilience4j" in layer:
        adopted = _resilience4j(layer.pop("resilience4j"))
        layer["resilience"] = adopted | (layer.get("resilience") or {})
    if isinstance(layer.get("resilience"), dict):
        layer["resilience"] = _own_words(layer["resilience"])
    return layer


def _row(row: Any, foreign: frozenset[str], place: str) -> Any:
    if not isinstance(row, dict):
        return {} if row is None else row
    row = _own_words(_without(row, foreign, place))
    if isinstance(row.get("resilience"), dict):
        row["resilience"] = _own_words(row["resilience"])
    return row


def _without(section: dict[str, Any], foreign: frozenset[str], place: str) -> dict[str, Any]:
    for key in section:
        if _snake(key) in foreign:
            logger.warning("ignored %s%s: it means nothing to this gateway", place, key)
    return {key: value for key, value in section.items() if _snake(key) not in foreign}


def _resilience4j(section: Any) -> dict[str, Any]:
    """`circuitbreaker.instances.<one name>` over `circuitbreaker.configs.default`, and so for the others."""
    adopted: dict[str, Any] = {}
    for mechanism, body in (section or {}).items():
        place = f"resilience4j.{mechanism}"
        if mechanism not in _MECHANISMS or not isinstance(body, dict):
            raise ConfigError([Problem(place, f"unknown key; known: {', '.join(_MECHANISMS)}")])
        instances = body.get("instances") or {}
        if len(instances) > 1:
            several = "several instances; what differs belongs to the rows of vllm_endpoints"
            raise ConfigError([Problem(f"{place}.instances", several)])
        merged = dict((body.get("configs") or {}).get("default") or {})
        for options in instances.values():
            merged |= options or {}
        adopted[mechanism] = _without(merged, FOREIGN_MECHANISM_KEYS, f"{place}.")
    return adopted


def _own_words(section: dict[str, Any]) -> dict[str, Any]:
    """Mechanisms by our names; a bulkhead's wait is our queue's, a time limiter's limit our total."""
    section = {_MECHANISMS.get(key, key): value for key, value in section.items()}
    _move(section, "bulkhead", "max_wait_duration", "queue", "max_wait")
    _move(section, "timeouts", "timeout_duration", "timeouts", "total")
    return section


def _move(section: dict[str, Any], source: str, key: str, target: str, new_key: str) -> None:
    body = section.get(source)
    if not isinstance(body, dict):
        return
    for name in body:
        if _snake(name) == key:
            section[source] = {other: value for other, value in body.items() if other != name}
            section[target] = {new_key: body[name]} | (section.get(target) or {})


def _snake(key: Any) -> str:
    return str(key).replace("-", "_")
