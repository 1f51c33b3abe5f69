"""Small JSON documents that carry their own digest, so that no changed byte is taken for what was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import NotCanonical
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.key import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.provenance.key import Json


class Damage(ValueError):
    """What was read is not what was written; the text says how that shows."""


def sealed(document: Mapping[str, Json]) -> bytes:
    r"""Give a document's one form in bytes, with its digest.

    >>> sealed({"a": 1})
    b'{"digest":"sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862","record":{"a":1}}\n'
    """
    record = canonical_json(document).encode()
    return b'{"digest":"%b","record":%b}\n' % (digest_of_bytes(record).encode(), record)


def unsealed(content: bytes, *, name: str) -> dict[str, Any]:
    """Give the document back; Damage unless these are exactly the bytes that were written."""
    try:
        document = json.loads(content)["record"]
        # Not the digest alone: white space, an escape or a second key of one name would pass it.
        intact = isinstance(document, dict) and sealed(document) == content
    except (ValueError, KeyError, TypeError, RecursionError, NotCanonical) as error:
        raise Damage(f"{name} cannot be read: {error!r}") from error
    if not intact:
        raise Damage(f"{name} is not as it was written")
    return dict(document)
