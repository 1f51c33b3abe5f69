# mypy: ignore-errors
"""Puts the context of RO-Crate 1.1, which the package rocrate 0.11 ships, into the cache of a validator: this CACHE.

The validator reads the context from https://w3id.org, or in its offline mode from that cache alone.
"""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests_cache
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

ADDRESS = "https://w3id.org/ro/crate/1.1/context"


class Shipped(HTTPAdapter):
    """Answers with the file instead of the network."""

    def send(self, request: Any, **_: Any) -> Any:
        # Found, not imported: it needs packages that nobody else here does.
        (package,) = getattr(find_spec("rocrate"), "submodule_search_locations", ())
        content = Path(package, "data", "ro-crate.jsonld").read_bytes()
        headers = {"Content-Type": "application/ld+json"}
        raw = HTTPResponse(body=io.BytesIO(content), status=200, headers=headers, preload_content=False)
        return self.build_response(request, raw)


session = requests_cache.CachedSession(cache_name=sys.argv[1], expire_after=-1, backend="sqlite")
session.mount("https://", Shipped())
assert session.get(ADDRESS, headers={"Accept": "application/ld+json"}).ok
