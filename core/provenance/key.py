"""The content key: one name for "this work on these contents", shared by planner, caches and everything that compares.

Two requests have the same key exactly when they have the same kind, the same input contents, the same parameters, the
same text of the modules that do the work, and the same versions of what those modules import. Paths, hosts, times,
resources and the place where it runs are not in it.

The preimage is framed, so that no two requests can write the same bytes: every text is its length in eight bytes,
little end first, then itself in UTF-8; every table is the number of its rows, then its rows by name. It begins with a
domain tag that holds this form's version; then come kind, inputs, parameters, modules, environment. Parameters are
canonical JSON: keys sorted, no white space, no escapes that JSON does not require, no NaN. The key is the preimage's
SHA-256.

>>> content_key("count", inputs={"table": "sha256:00"}, parameters={"rows": 3}, modules={}, environment={})
'sha256:0ba9d71c3366b3d8d3bbc0393e3a02b22e475c63352e141fe367e1ff0ab27db1'
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from sluiceway.core.errors import NotCanonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

_DOMAIN = "sluiceway content key v1"
# Most of what is asked about, and never refused.
_PLAIN = frozenset({str, int, bool, type(None)})


def content_key(
    kind: str,
    *,
    inputs: Mapping[str, str],
    parameters: Mapping[str, Json],
    modules: Mapping[str, str],
    environment: Mapping[str, str],
) -> str:
    """Give the key of a piece of work.

    Args:
        kind: What is done, such as `score`.
        inputs: The digest of each input's content, by the input's role.
        parameters: Everything else that was asked for.
        modules: The digest of each module's text, by its name; see `core.provenance.software`.
        environment: The version of each distribution that those modules import, by its name.
    """
    preimage = b"".join(
        (
            _framed(_DOMAIN),
            _framed(kind),
            _table(inputs),
            _framed(canonical_json(parameters)),
            _table(modules),
            _table(environment),
        )
    )
    return f"sha256:{hashlib.sha256(preimage).hexdigest()}"


def canonical_json(value: Json) -> str:
    """Give the one text of a JSON value; whatever JSON cannot hold, or would change, is refused.

    >>> canonical_json({"b": [1, 2.5, None], "a": "ü"})
    '{"a":"ü","b":[1,2.5,null]}'
    """
    _require_json(value, where="parameters")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _framed(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(8, "little") + content


def _table(rows: Mapping[str, str]) -> bytes:
    framed = (_framed(name) + _framed(rows[name]) for name in sorted(rows, key=str.encode))
    return len(rows).to_bytes(8, "little") + b"".join(framed)


def _require_json(value: object, *, where: str) -> None:
    """Refuse what `json` would turn into something else without a word: sets, numbers as keys, NaN, dates."""
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise NotCanonical(where=where, value=repr(name), reason="a name must be text")
            if type(each) not in _PLAIN:
                _require_json(each, where=f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            if type(each) not in _PLAIN:
                _require_json(each, where=f"{where}[{number}]")
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124
        raise NotCanonical(where=where, value=repr(value), reason="it is not a finite number")
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise NotCanonical(where=where, value=repr(value), reason=f"JSON has no {type(value).__name__}")
