"""One TLS context per setting, for calls and probes alike; a changed file makes a new one."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from app.core.endpoint import Tls

_SYSTEM = Tls()


def ssl_context(tls: Tls | None) -> ssl.SSLContext:
    """For connections opened from now on; None stands for the system's authorities.

    Raises OSError (ssl.SSLError is one) for files that are missing or wrong.
    """
    tls = tls or _SYSTEM
    files = (tls.ca, tls.cert, tls.key)
    return _load(tls, tuple(Path(path).stat().st_mtime_ns if path else 0 for path in files))


@lru_cache(maxsize=256)
def _load(tls: Tls, changed: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key)
    context.set_alpn_protocols(["http/1.1"])
    return context
