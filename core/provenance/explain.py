"""Why an output is not what would be made now: which fields of its manifest differ, from what to what, in what file."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import ManifestBroken, TreeUnreadable
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.provenance.key import canonical_json
from sluiceway.core.provenance.places import Places
from sluiceway.core.provenance.software import file_of
from sluiceway.core.provenance.verify import folder_of_manifest, place_seen, version_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from sluiceway.core.provenance.manifest import Environment, Input, Manifest
    from sluiceway.core.provenance.tree import Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One field that differs: what it was, what it is, and the file that holds it, where there is one."""

    field: str
    old: JsonValue
    new: JsonValue
    file: str | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        where = f" in {self.file!r}" if self.file else ""
        return f"{self.field}: {_said(self.old)} -> {_said(self.new)}{where}"


def reasons(old: Manifest, new: Manifest) -> tuple[Reason, ...]:
    """Give every field that counts and differs between two manifests: what is done, then inputs, then software."""
    if new is old:
        return ()
    return tuple(
        Reason(field=name, old=before, new=after, file=file or _file_of(name))
        for name, before, after, file in _fields(old, new)
        if not _is_same(before, after)
    )


@dataclass(slots=True, kw_only=True)
class Now:
    """How inputs and software are now; each is looked at once, so this is not to be kept for long."""

    cache: Cache | None = None
    _places: Places = field(default_factory=Places)
    _folder: tuple[Path, str] | None = None
    _there: dict[str, Path | None] = field(default_factory=dict)
    _inputs: dict[Path, str | None] = field(default_factory=dict)
    _modules: dict[str, str | None] = field(default_factory=dict)
    _versions: dict[str, str | None] = field(default_factory=dict)

    def of(self, manifest: Manifest, output: Path) -> Manifest:
        """Give the manifest that the same work would have now: inputs, modules and distributions as they are.

        What cannot be seen from here stays as it was: an input without a path, one that is not there any more, a module
        of somebody else's. Where all stays as it was, it is this very manifest.
        """
        inputs = None
        if manifest.inputs is not None:
            inputs = tuple(self._input(each, output) for each in manifest.inputs)
        environment = self._environment(manifest.environment)
        if environment == manifest.environment and inputs == manifest.inputs:
            return manifest
        return manifest.model_copy(update={"inputs": inputs, "environment": environment})

    def unseen(self, manifest: Manifest, output: Path) -> tuple[str, ...]:
        """Give the inputs of which nobody can tell from here whether they changed."""
        return tuple(_label(each) for each in manifest.inputs or () if self._place(each, output) is None)

    def _place(self, recorded: Input, output: Path) -> Path | None:
        """Give where an input lies that can be seen from here."""
        if recorded.path is None or recorded.digest is None:
            return None
        if self._folder is None or self._folder[0] is not output:
            self._folder = output, folder_of_manifest(output, self._places)
        place = place_seen(recorded.path, self._folder[1])
        if place not in self._there:
            path = Path(place)
            self._there[place] = path if path.exists() else None
        return self._there[place]

    def _input(self, recorded: Input, output: Path) -> Input:
        path = self._place(recorded, output)
        if path is None:
            return recorded
        if path not in self._inputs:
            self._inputs[path] = _version_there(path, self.cache)
        if self._inputs[path] == recorded.digest:
            return recorded
        return recorded.model_copy(update={"digest": self._inputs[path]})

    def _environment(self, environment: Environment) -> Environment:
        if environment.modules is None and environment.distributions is None:
            return environment
        update: dict[str, Mapping[str, str | None]] = {}
        if environment.modules is not None:
            for each in filter(_is_ours, environment.modules.keys() - self._modules.keys()):
                self._modules[each] = _module_digest(each)
            ours = {each: self._modules[each] for each in environment.modules if _is_ours(each)}
            update["modules"] = {**environment.modules, **ours}
        if environment.distributions is not None:
            for each in environment.distributions.keys() - self._versions.keys():
                self._versions[each] = _installed(each)
            update["distributions"] = {each: self._versions[each] for each in environment.distributions}
        return environment.model_copy(update=update)


def unseen(manifest: Manifest, output: Path) -> tuple[str, ...]:
    """Give the inputs of which nobody can tell from here whether they changed."""
    return Now().unseen(manifest, output)


def _is_same(before: JsonValue, after: JsonValue) -> bool:
    """Compare as JSON does: in Python, 1 is True and 1.0."""
    if isinstance(before, str | None) or isinstance(after, str | None):
        return before == after
    return canonical_json(before) == canonical_json(after)


@functools.cache
def _file_of(name: str) -> str | None:
    kind, _, module = name.partition(".")
    file = file_of(module) if kind == "modules" and _is_ours(module) else None
    return None if file is None else str(file)


def _fields(old: Manifest, new: Manifest) -> Iterator[tuple[str, JsonValue, JsonValue, str | None]]:
    for name in ("output_id", "recipe", "universe"):
        yield name, getattr(old, name), getattr(new, name), None
    for name in ("decisions", "parameters"):
        yield from _deeper(name, getattr(old, name), getattr(new, name))
    yield from _inputs(old, new)
    for name in ("modules", "distributions"):
        before, after = getattr(old.environment, name) or {}, getattr(new.environment, name) or {}
        # Most often all are the same.
        for each in sorted({*before, *after}) if before != after else ():
            yield f"{name}.{each}", before.get(each), after.get(each), None
    yield "lock_digest", old.environment.lock_digest, new.environment.lock_digest, None
    for name in ("image", "digest"):
        yield f"container.{name}", getattr(old.container, name, None), getattr(new.container, name, None), None
    if old.environment.modules is None and old.environment.modules == new.environment.modules:
        # Where the code's parts are not listed, it has one digest.
        yield "code_version", old.code_version, new.code_version, None


def _deeper(name: str, old: JsonValue, new: JsonValue) -> Iterator[tuple[str, JsonValue, JsonValue, str | None]]:
    """Go down into tables, so that one value is named and not all of it."""
    if isinstance(old, dict) and isinstance(new, dict):
        for each in sorted({*old, *new}):
            if each in old and each in new:
                yield from _deeper(f"{name}.{each}", old[each], new[each])
            else:
                # A null that is there is not the same as none.
                yield f"{name}.{each}", _there(old, each), _there(new, each), None
    else:
        yield name, old, new, None


def _there(table: Mapping[str, JsonValue], name: str) -> JsonValue:
    return "null" if name in table and table[name] is None else table.get(name)


def _inputs(old: Manifest, new: Manifest) -> Iterator[tuple[str, JsonValue, JsonValue, str | None]]:
    before, after = _by_label(old), _by_label(new)
    for label in dict.fromkeys((*before, *after)):
        ours, theirs = before.get(label), after.get(label)
        either = theirs or ours
        path = either.path if either is not None else None
        yield f"inputs.{label}", _digest(ours), _digest(theirs), path


def _by_label(manifest: Manifest) -> dict[str, Input]:
    """Give inputs by role; those that share one, by its name or number, too."""
    labelled: dict[str, Input] = {}
    for number, each in enumerate(manifest.inputs or ()):
        label = _label(each)
        labelled[label if label not in labelled else f"{label}[{number}]"] = each
    return labelled


def _label(recorded: Input) -> str:
    return recorded.role if recorded.name is None else f"{recorded.role}[{recorded.name}]"


def _digest(recorded: Input | None) -> str | None:
    return None if recorded is None else recorded.digest


def _version_there(path: Path, cache: Cache | None) -> str | None:
    try:
        return version_at(path, cache) if path.exists() else None
    except (TreeUnreadable, ManifestBroken):
        return None


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "sluiceway"


def _module_digest(name: str) -> str | None:
    file = file_of(name)
    return None if file is None else digest_of_file(file)


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _said(value: JsonValue) -> str:
    return "nothing" if value is None else str(value)
