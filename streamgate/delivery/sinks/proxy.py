"""Which proxy a URL is reached through, as other programs read it from the environment."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

__all__ = ["proxy_for"]


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy of HTTP_PROXY or HTTPS_PROXY for a URL, unless NO_PROXY names its host.

    The names may be in small letters, which win; HTTP_PROXY in capitals is not believed where
    REQUEST_METHOD is set, since there it may come from a request.
    """
    parts = urlsplit(url)
    found: dict[str, str] = {}
    for name, value in environment.items():
        if name.lower().endswith("_proxy") and not name.islower() and value:
            found[name.lower()[:-6]] = value
    if "REQUEST_METHOD" in environment:
        found.pop("http", None)
    for name, value in environment.items():
        if name.endswith("_proxy") and name.islower():
            # Set to nothing, it takes back what the name in capitals says.
            found[name[:-6]] = value
    proxy = found.get(parts.scheme) or found.get("all")
    if not proxy:
        return None
    bypass = cast(Any, urllib.request).proxy_bypass_environment
    if bypass(parts.netloc.rpartition("@")[2], {"no": found.get("no", "")}):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
