"""nginx as a reverse proxy that buffers no answer: what a gateway written in C costs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.process import accepts, free_port, running, wait

_CONFIGURATION = """
{user}worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid {folder}/nginx.pid;
error_log /dev/null crit;
events {{ worker_connections 32768; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_max_body_size 16m;
  client_body_buffer_size 2m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream fleet {{
    {servers}
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
      proxy_pass http://fleet;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""


def found() -> str | None:
    """Its path on this machine."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(ports: Sequence[int], cpus: set[int]) -> Iterator[tuple[int, int]]:
    """Its process and port; raises FileNotFoundError where there is none."""
    binary = found()
    if binary is None:
        raise FileNotFoundError("nginx")
    with tempfile.TemporaryDirectory(prefix="bench-nginx-") as folder:
        port = free_port()
        servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in ports)
        user = "user root;\n" if os.geteuid() == 0 else ""
        written = Path(folder, "nginx.conf")
        written.write_text(_CONFIGURATION.format(user=user, folder=folder, port=port, servers=servers))
        with running([binary, "-c", str(written), "-p", folder], cpus) as process:
            wait(partial(accepts, port))
            yield process.pid, port
