"""Which code does a piece of work: the text of our own modules, and the versions of the distributions they import.

Only what the work imports counts, so that a new version of a library that only draws tables does not compute everything
anew. Imports are read from the text, in functions as well; those for type checkers alone are left out.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

import sluiceway
from sluiceway.core.errors import InputMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PACKAGE = "sluiceway"
# Where statements hold other statements.
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The code of a piece of work: digests of module texts, and versions of distributions, each by name."""

    modules: dict[str, str]
    environment: dict[str, str]


def software_of(*modules: str) -> Software:
    """Give the code that these modules of ours run, with everything of ours that they import."""
    texts = _with_imports(modules)
    foreign = {name.partition(".")[0] for text in texts.values() for name in imports(text)}
    return Software(
        modules={name: f"sha256:{hashlib.sha256(text).hexdigest()}" for name, text in sorted(texts.items())},
        environment=versions(foreign - {_PACKAGE}),
    )


def versions(modules: Iterable[str]) -> dict[str, str]:
    """Give the version of each distribution that these modules, by their first names, belong to."""
    return {
        each: version(each)
        for name in sorted(set(modules) - sys.stdlib_module_names)
        for each in _distributions_of(name)
    }


def _with_imports(modules: tuple[str, ...]) -> dict[str, bytes]:
    # Most names are imported by many modules, and to look for a file takes longer than to look here.
    seen: set[str] = set()
    texts: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = file_of(name)
        if file is None:
            if name in modules:
                raise InputMissing(what="the source of the module", path=Path(name))
            continue
        texts[name] = file.read_bytes()
        waiting += [each for each in imports(texts[name]) if each.startswith(f"{_PACKAGE}.")]
    return texts


def file_of(module: str) -> Path | None:
    """Give the file of a module of ours; none where the name is not one, but something inside of one."""
    place = "/".join([sluiceway.__path__[0], *module.split(".")[1:]])
    return next((Path(file) for file in (f"{place}.py", f"{place}/__init__.py") if Path(file).is_file()), None)


@functools.cache
def imports(text: bytes, package: str = "") -> frozenset[str]:
    """Give every name that a module's text imports, as far as it is written out: `from a import b` may be a.b or a.

    Imports that begin with a dot count from the package that the module is in.
    """
    found: set[str] = set()
    for node in _at_run_time(_parsed(text).body):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, package)
            found |= {source, *(f"{source}.{each.name}" for each in node.names)}
    return frozenset(found - {""})


def _parsed(text: bytes) -> ast.Module:
    """Parse a module as far as it imports: behind its last import stands most of it, and parsing takes long."""
    last = text.rfind(b"import")
    end = text.find(b"\n", last) + 1 or len(text)
    if text[last:end].rstrip().endswith(b"("):
        end = text.find(b")", end) + 1 or len(text)
    with contextlib.suppress(SyntaxError):
        return ast.parse(text[:end])
    # The word stood elsewhere, such as in a text.
    return ast.parse(text)


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Give the module that names are imported from, where one that begins with a dot counts from this package."""
    above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _at_run_time(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Give all statements, those inside of others too, but not what is for type checkers alone."""
    for node in statements:
        if isinstance(node, ast.If) and _is_about_checking(node.test):
            yield from _at_run_time(node.orelse)
            continue
        yield node
        for inside in _BLOCKS:
            yield from _at_run_time(getattr(node, inside, ()))


def _is_about_checking(test: ast.expr) -> bool:
    return any("TYPE_CHECKING" in (getattr(each, "id", None), getattr(each, "attr", None)) for each in ast.walk(test))


@functools.cache
def _distributions_of(name: str) -> tuple[str, ...]:
    """Give the distributions that a module belongs to: its namesake, where that has it as no namespace."""
    with contextlib.suppress(PackageNotFoundError):
        namesake = distribution(name)
        if re.search(rf"^{re.escape(name)}(/__init__)?\.", namesake.read_text("RECORD") or "", re.MULTILINE):
            return (namesake.metadata["Name"],)
    # To look through everything that is installed takes a while.
    return tuple(_distributions().get(name, ()))


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {name: sorted(set(found)) for name, found in packages_distributions().items()}
