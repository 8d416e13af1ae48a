"""Configurations that exist elsewhere load as they are."""

from __future__ import annotations

import textwrap

import pytest

from app.settings import fleet_plan, load


@pytest.fixture
def loaded(tmp_path):
    def loaded(text: str):
        path = tmp_path / "config.yaml"
        path.write_text(textwrap.dedent(text))
        return load(path, environ={})

    return loaded


def urls(settings) -> dict[str, str]:
    return {row.name: row.spec().url for row in settings.endpoints}


@pytest.mark.parametrize(
    "snippet",
    [
        """
        vllm_endpoints:
          - name: "endpoint1"
            address: "172.28.0.20"
            port: 8002
            weight: 1
        """,
        """
        vllm_endpoints:
            -   name: "endpoint1"
                address: "172.28.0.20"
                port: 8002
                weight: 1
        """,
        'vllm_endpoints: [{name: "endpoint1", address: "172.28.0.20", port: 8002, weight: 1}]',
    ],
)
def test_s0_02_one_endpoint_however_it_is_indented(loaded, snippet):
    assert urls(loaded(snippet)) == {"endpoint1": "http://172.28.0.20:8002"}


def test_s0_09_three_to_one(loaded):
    settings = loaded("""
        vllm_endpoints:
          - name: "endpoint1"
            address: "10.0.0.10"
            port: 8000
            weight: 3  # gets 3x traffic
          - name: "endpoint2"
            address: "10.0.0.11"
            port: 8000
            weight: 1
    """)
    assert [row.spec().weight for row in settings.endpoints] == [3, 1]


def test_s0_10_to_13_clusters_with_preferences_and_reasoning_families(loaded):
    settings = loaded("""
        vllm_endpoints:
          - name: "gpu_cluster_a"
            address: "10.0.1.10"
            port: 8000
            weight: 1
          - name: "gpu_cluster_b"
            address: "10.0.2.10"
            port: 8000
            weight: 1

        model_config:
          "qwen3":
            reasoning_family: "qwen3"
            preferred_endpoints: ["gpu_cluster_a"]
          "llama":
            reasoning_family: "llama"
            preferred_endpoints: ["gpu_cluster_b"]
    """)
    plan = fleet_plan(settings)
    assert plan.models["qwen3"].preferred_endpoints == ("gpu_cluster_a",)
    assert plan.models["llama"].preferred_endpoints == ("gpu_cluster_b",)
    assert settings.models["qwen3"].reasoning_family == "qwen3"


def test_s0_15_ipv6(loaded):
    settings = loaded("""
        vllm_endpoints:
          - name: "ipv6_endpoint"
            address: "2001:db8::1"
            port: 8000
            weight: 1
    """)
    assert urls(settings) == {"ipv6_endpoint": "http://[2001:db8::1]:8000"}


def test_s0_18_a_service_or_pod_ip(loaded):
    settings = loaded("""
        vllm_endpoints:
          - name: "k8s-vllm-service"
            address: "10.96.100.50"
            port: 8000
            weight: 1
    """)
    assert urls(settings) == {"k8s-vllm-service": "http://10.96.100.50:8000"}


def test_s0_19_two_data_centres_and_a_spare(loaded):
    settings = loaded("""
        vllm_endpoints:
          - name: "dc1-primary"
            address: "10.1.0.10"
            port: 8000
            weight: 2
          - name: "dc1-secondary"
            address: "10.1.0.11"
            port: 8000
            weight: 1
          - name: "dc2-primary"
            address: "10.2.0.10"
            port: 8000
            weight: 1  # DR, lower weight
    """)
    assert [row.spec().weight for row in settings.endpoints] == [2, 1, 1]


def test_s0_28_a_semantic_routers_whole_file(loaded, caplog):
    settings = loaded("""
        bert_model: {model_id: sentence-transformers/all-MiniLM-L12-v2, threshold: 0.6, use_cpu: true}
        semantic_cache: {enabled: false, similarity_threshold: 0.8}
        tools: {enabled: false, top_k: 3}
        prompt_guard: {enabled: true, threshold: 0.7}
        vllm_endpoints:
          - {name: endpoint1, address: 172.28.0.20, port: 8002, weight: 1}
        model_config:
          "qwen3":
            reasoning_family: "qwen3"
            preferred_endpoints: ["endpoint1"]
            pii_policy: {allow_by_default: true}
        classifier: {category_model: {threshold: 0.6}}
        categories: [{name: math, model_scores: [{model: qwen3, score: 1.0}]}]
        default_model: "qwen3"
        reasoning_families: {qwen3: {type: chat_template_kwargs, parameter: enable_thinking}}
        default_reasoning_effort: high
    """)
    assert urls(settings) == {"endpoint1": "http://172.28.0.20:8002"}
    assert len([record for record in caplog.records if "ignored" in record.getMessage()]) == 10


def test_s4_22_instances_with_equal_weights(loaded):
    settings = loaded("""
        vllm:
          instances:
            - url: http://vllm-server-1:8000/v1
              weight: 50
              model: deepseek-r1
            - url: http://vllm-server-2:8000/v1
              weight: 50
              model: deepseek-r1
    """)
    assert urls(settings) == {
        "instance-1": "http://vllm-server-1:8000",
        "instance-2": "http://vllm-server-2:8000",
    }
    assert {row.weight for row in settings.endpoints} == {50}
    assert settings.endpoints[0].models == {"deepseek-r1": "deepseek-r1"}


RESILIENCE4J = """
    circuitbreaker:
      instances:
        vllmService:
          sliding-window-size: 20
          failure-rate-threshold: 50
          wait-duration-in-open-state: 30s
          permitted-number-of-calls-in-half-open-state: 5
    bulkhead:
      instances:
        vllmService:
          max-concurrent-calls: 32
          max-wait-duration: 10s
    timelimiter:
      instances:
        vllmService:
          timeout-duration: 60s
"""


def test_s4_24_to_26_resilience4j_as_spring_writes_it(loaded):
    resilience = loaded("resilience4j:" + RESILIENCE4J).resilience
    assert resilience.breaker.sliding_window_size == 20
    assert resilience.breaker.failure_rate_threshold == 50
    assert resilience.breaker.wait_in_open == 30.0
    assert resilience.breaker.half_open_calls == 5
    assert resilience.bulkhead.max_concurrent_calls == 32
    assert resilience.queue.max_wait == 10.0
    assert resilience.timeouts.total == 60.0


def test_s4_24_the_same_names_in_our_own_section_and_on_one_endpoint(loaded):
    settings = loaded("""
        resilience:
          breaker: {wait-duration-in-open-state: 30s, permitted_number_of_calls_in_half_open_state: 4}
          bulkhead: {max-concurrent-calls: 32, max-wait-duration: 10s}
        vllm_endpoints:
          - {name: a, address: 10.0.0.1, port: 8000, breaker: {wait_duration_in_open_state: 5s}}
    """)
    plan = fleet_plan(settings)
    assert plan.resilience_for(None, "a").breaker.wait_in_open == 5.0
    assert plan.resilience_for(None, "a").breaker.half_open_calls == 4
    assert plan.resilience.queue.max_wait == 10.0
