"""What a payload sees of an environment: the order that enter.py carries out where the work is done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """How a payload enters an environment at one place; texts are data, and no shell ever reads them as anything else.

    Attributes:
        name: The environment's name.
        identity: What it is, for keys and manifests.
        variables: What is set, unless the request sets it.
        path: Folders that are put before PATH.
        python: The environment's interpreter, which is the node's own; empty where there is none.
        python_path: Folders that are put before PYTHONPATH.
        prepare: A command whose environment, after it has run, is the payload's.
        prefix: Words that are put before the payload.
        machine: The architecture that it is for, such as x86_64; empty where any will do.
        sealed: Files that have to be there; each says that what it belongs to is whole.
        container: How a container is run, for `contained.py`; none where there is none.
    """

    name: str
    identity: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    python: str = ""
    python_path: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    machine: str = ""
    sealed: tuple[str, ...] = ()
    container: Mapping[str, Any] | None = None

    def document(self) -> bytes:
        """Give it as enter.py reads it."""
        fields = {
            "name": self.name,
            "variables": dict(self.variables),
            "path": self.path,
            "python": self.python,
            "python_path": self.python_path,
            "prepare": self.prepare,
            "prefix": self.prefix,
            "machine": self.machine,
            "sealed": self.sealed,
            "container": self.container,
        }
        return json.dumps(fields, sort_keys=True, ensure_ascii=True).encode("ascii")
