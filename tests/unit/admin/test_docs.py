"""The admin REST described."""

from __future__ import annotations

from app.admin.docs import page


async def test_the_description_holds_every_path_and_body(admin):
    document = (await admin.get("http://ops/admin/openapi.json")).json()
    assert document["servers"] == [{"url": "/admin"}]
    assert {"get", "post"} == set(document["paths"]["/v1/tenants"])
    assert {"get", "patch", "delete"} == set(document["paths"]["/v1/tenants/{tenant_id}"])
    assert "/v1/fleet/{endpoint}/drain" in document["paths"]
    assert document["components"]["schemas"]["TenantNew"]["additionalProperties"] is False
    assert "for" in document["components"]["schemas"]["FleetOrder"]["properties"]
    schemas = document["components"]["schemas"]
    assert {"Rehearsed", "DryRun", "CallExplained", "AttemptShown", "LimitForecast"} <= schemas.keys()
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert not [path for path in document["paths"] if "{path" in path]


async def test_the_page_needs_nothing_from_elsewhere(admin):
    answer = await admin.get("http://ops/admin/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for line in (
        "POST /admin/v1/tenants<",
        "DELETE /admin/v1/keys/{key_id}<",
        "TenantNew",
        "FleetOrder",
        "?group_by=",
    ):
        assert line in answer.text
    assert "<script" not in answer.text
    assert "//" not in answer.text.replace("<!doctype", "")


def test_whatever_is_described_cannot_become_markup():
    operation = {"tags": ["<b>"], "description": "<script>", "parameters": [{"in": "path", "name": "<i>"}]}
    text = page({"paths": {"/<u>": {"get": operation}}})
    assert not [tag for tag in ("<b>", "<script>", "<i>", "<u>") if tag in text]
