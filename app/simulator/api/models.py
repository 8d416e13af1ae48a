"""GET /v1/models: one entry for each served name."""

from __future__ import annotations

from app.simulator.api.call import Call
from app.simulator.api.identity import random_id


def models(call: Call) -> None:
    """`created` is the time of the question, as in vLLM."""
    options, now = call.instance.options, int(call.instance.now())
    names = () if call.instance.unloaded else options.served_names
    data = [
        {
            "id": name,
            "object": "model",
            "created": now,
            "owned_by": "vllm",
            "root": options.root,
            "parent": None,
            "max_model_len": options.max_model_len,
            "permission": [
                {
                    "id": f"modelperm-{random_id()}",
                    "object": "model_permission",
                    "created": now,
                    "allow_create_engine": False,
                    "allow_sampling": True,
                    "allow_logprobs": True,
                    "allow_search_indices": False,
                    "allow_view": True,
                    "allow_fine_tuning": False,
                    "organization": "*",
                    "group": None,
                    "is_blocking": False,
                }
            ],
        }
        for name in names
    ]
    call.json({"object": "list", "data": data})
