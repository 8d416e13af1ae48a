"""Where an endpoint is: an address takes an IP and nothing else, a url takes names; each rule is said plainly."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"//[^/@]*@")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")


def check_address(text: str, port: int | None) -> str:
    """An IPv4 or IPv6 address in its shortest form. Raises ValueError with the line to write instead."""
    try:
        ip = ip_address(text)
    except ValueError:
        rule, host, own_port = _broken_rule(text)
        suffix = own_port or port
        line = f"url: {_scheme(text)}://{host}" + (f":{suffix}" if suffix else "")
        shown = _CREDENTIALS.sub("//", text)
        raise ValueError(f"{shown!r} {rule}; an address is an IP, v4 or v6. Write instead: {line}") from None
    if ip.is_unspecified or ip.is_multicast:
        raise ValueError(f"{text!r} is not the address of one machine")
    return str(ip)


def address_url(address: str, port: int) -> str:
    """The URL of an address that was checked; IPv6 in brackets."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"


def check_url(text: str) -> str:
    """scheme://host[:port] without the path. Raises ValueError with a plain message that holds no password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or its port is malformed") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("a url begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a url holds no user name and no password; use api_key")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("a url holds no query and no fragment")
    if parts.path.rstrip("/") not in ("", "/v1"):
        raise ValueError(f"a url ends after the host and port, or in /v1; it ends in {parts.path!r}")
    host = parts.hostname or ""
    if port == 0 or not (_ip(host) or _HOST.fullmatch(host)):
        raise ValueError("a url names a host, and a port from 1 to 65535 if any")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _broken_rule(text: str) -> tuple[str, str, int | None]:
    """What `text` holds besides an IP, the host in it, and the port in it."""
    match = _SCHEME.match(text)
    rest = text[match.end() :] if match else text
    host, slash, _ = rest.partition("/")
    host = host.rpartition("@")[2]
    port = None
    if _ip(host) is None:
        bare, colon, digits = host.rpartition(":")
        if colon and digits.isdigit():
            host, port = bare.strip("[]"), int(digits)
        host = host.strip("[]")
    if match:
        rule = "holds a scheme"
    elif slash:
        rule = "holds a path"
    elif port:
        rule = "holds a port"
    else:
        rule = "is a name" if _ip(host) is None else "holds brackets"
    return rule, f"[{host}]" if ":" in host else host, port


def _scheme(text: str) -> str:
    return "https" if text.lower().startswith("https://") else "http"


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
