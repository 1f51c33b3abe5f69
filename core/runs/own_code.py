"""Which code is the user's own: the modules that travel with a function, and whose texts its key is made of.

A module is the user's own if it is Python source outside the standard library and every folder of installed packages:
a script, the files beside it, a repository that is on the path or installed in place. Everything else, and sluiceway,
goes by name and has to be installed where the function is called.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
import sysconfig
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.provenance.software import Software, imports, versions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
# They start the work; what it computes does not depend on them.
_BYSTANDERS = frozenset({"prefect", "sluiceway"})


def own_modules() -> list[ModuleType]:
    """Give every module of the user's own that this process has imported."""
    # A module may stand in the table under a name that is not its own, and a few put something else there.
    loaded = [module for name, module in sorted(sys.modules.items()) if getattr(module, "__name__", None) == name]
    return [module for module in loaded if source_of(module.__name__) is not None]


def own_software(modules: Iterable[str]) -> Software:
    """Give the texts of these modules and of the user's own that they import, and the versions of all others."""
    texts: dict[str, bytes] = {}
    foreign: set[str] = set()
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        file = source_of(name)
        if file is None:
            foreign.add(name.partition(".")[0])
        elif name not in texts:
            texts[name] = file.read_bytes()
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            found = _imports(texts[name], package)
            # Packages run before what is in them.
            waiting += {outer for each in found for outer in accumulate(each.split("."), "{}.{}".format)}
    return Software(
        modules={name: f"sha256:{hashlib.sha256(text).hexdigest()}" for name, text in sorted(texts.items())},
        environment=versions(foreign - _BYSTANDERS),
    )


def source_of(module: str) -> Path | None:
    """Give the file of a module of the user's own, imported or not; none where it is not one."""
    if module.partition(".")[0] in _BYSTANDERS:
        return None
    loaded = sys.modules.get(module)
    place = _place(module) if loaded is None else getattr(loaded, "__file__", None)
    return _own(place) if isinstance(place, str) else None


def is_installed(file: Path) -> bool:
    """Tell whether a file is one of the standard library or of an installed distribution."""
    return not _INSTALLED.isdisjoint(file.parts) or any(file.is_relative_to(each) for each in _STANDARD)


def _imports(text: bytes, package: str) -> frozenset[str]:
    try:
        return imports(text, package)
    except (SyntaxError, ValueError):
        # It is named somewhere, and cannot be imported: then nothing depends on it.
        return frozenset()


def _place(module: str) -> str | None:
    """Find the file of a module that is not imported, without importing anything."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None or not rest:
        return None if spec is None else spec.origin
    for folder in spec.submodule_search_locations or ():
        inside = Path(folder, *rest)
        for file in (inside.with_suffix(".py"), inside / "__init__.py"):
            if file.is_file():
                return str(file)
    return None


@functools.cache
def _own(place: str) -> Path | None:
    file = Path(place).resolve()
    return file if file.suffix == ".py" and file.is_file() and not is_installed(file) else None
