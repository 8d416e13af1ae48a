"""What the demo prints: where it is, and lines that work when they are pasted. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_QUESTION = [{"role": "user", "content": "hello"}]


@dataclass(frozen=True, slots=True)
class Greeting:
    """`url` and `ops_url` without a path; `models` are those that answered; `command` is this program."""

    url: str
    ops_url: str
    key: str
    admin_token: str
    models: Sequence[str]
    endpoints: Sequence[str]
    simulated: bool
    command: str = "sluice"

    def text(self, environ: Mapping[str, str]) -> str:
        """Plain lines that nothing wraps; where a proxy is set, the lines go past it."""
        proxied = any(environ.get(name) or environ.get(name.upper()) for name in _PROXIES)
        kind = "simulated vLLM" if self.simulated else "vLLM"
        noun = "endpoint" if len(self.endpoints) == 1 else "endpoints"
        return "\n".join(
            [
                "",
                f"Sluice runs before {len(self.endpoints)} {kind} {noun}: {', '.join(self.endpoints)}",
                *self._doubt(),
                "",
                f"  base URL     {self.url}/v1",
                f"  API key      {self.key}",
                f"  model        {', '.join(self.models) or 'none yet'}",
                f"  admin token  {self.admin_token}",
                f"  operators    {self.ops_url}/status  /metrics  /admin/docs",
                "",
                "In a shell:",
                "",
                self._curl(proxied),
                "",
                "In Python (pip install openai):",
                "",
                *self._python(proxied),
                "",
                "Tenants, keys, usage:",
                "",
                f"export SLUICE_URL={self.ops_url} SLUICE_ADMIN_TOKEN={self.admin_token}; {self.command} usage",
                "",
                "Ctrl-C stops it. Calls from here on:",
            ]
        )

    @property
    def _model(self) -> str:
        return self.models[0] if self.models else "MODEL"

    def _doubt(self) -> list[str]:
        if self.models:
            return []
        return ["None of them has named its models yet: are the addresses right, do they need VLLM_API_KEY?"]

    def _curl(self, proxied: bool) -> str:
        body = json.dumps({"model": self._model, "messages": _QUESTION})
        words = ["curl", *(["--noproxy", "*"] if proxied else []), f"{self.url}/v1/chat/completions"]
        words += [
            "-H",
            f"Authorization: Bearer {self.key}",
            "-H",
            "Content-Type: application/json",
            "-d",
            body,
        ]
        return " ".join(word if word.startswith("-") else shlex.quote(word) for word in words)

    def _python(self, proxied: bool) -> list[str]:
        more = ", http_client=openai.DefaultHttpxClient(trust_env=False)" if proxied else ""
        create = "client.chat.completions.create"
        question = f"model={json.dumps(self._model)}, messages={json.dumps(_QUESTION)}, stream=True"
        return [
            "import openai",
            f'client = openai.OpenAI(base_url="{self.url}/v1", api_key="{self.key}"{more})',
            f"stream = {create}({question})",
            "for chunk in stream:",
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
        ]
