"""What an output came from, and what came from it: outputs, inputs, and the addresses that those came from.

Manifests and the ledger tell it, and no file's content is read. An output is known by its manifest's digest, wherever
it was copied; an input belongs to the output in whose folder it lies, or that has its digest.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import InputMissing, ManifestBroken
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.provenance.tree import text_of
from sluiceway.core.provenance.verify import place_of_input
from sluiceway.core.store.durable import content_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.provenance.ledger import Entry, History
    from sluiceway.core.provenance.manifest import Input, Manifest


class NodeKind(StrEnum):
    """What something in a lineage is."""

    OUTPUT = "output"
    INPUT = "input"
    ORIGIN = "origin"


class Direction(StrEnum):
    """Which way to look."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An output, an input that no output is known for, or the address that an input came from."""

    id: str
    kind: NodeKind
    label: str
    path: str | None = None
    digest: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """That one was read for the other, and as what; whether the first is still what was read, where that is known."""

    source: str
    target: str
    role: str
    is_current: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything on one side of an output."""

    root: str
    direction: Direction
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """An output with its manifest; one that is not there any more is known by its ledger's entry alone."""

    node: Node
    path: Path
    manifest: Manifest | None


@dataclass(slots=True, kw_only=True)
class Tracer:
    """Looks at manifests, each once."""

    history: History
    _made: dict[Path, _Made | None] = field(default_factory=dict)
    _owners: dict[Path, _Made | None] = field(default_factory=dict)
    _by_data: dict[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find entries by the content that they are of; the latest counts."""
        self._by_data = {each.data_version: each for each in self.history.entries if each.data_version is not None}

    def trace(self, output: Path, direction: Direction) -> Lineage:
        """Give everything that an output came from, or that came from it."""
        root = self._at(output)
        if root is None:
            raise InputMissing(what="the manifest", path=manifests.path_of(output))
        graph = _Graph(root.node)
        known = [*self._everything(), root] if direction is Direction.DOWN else []
        waiting, seen = deque([root]), set[str]()
        if direction is Direction.DOWN:
            for each in known:
                self._add_inputs(each, graph)
            return graph.reachable(root.node.id, direction)
        while waiting:
            each = waiting.popleft()
            if each.node.id not in seen:
                seen.add(each.node.id)
                waiting += self._add_inputs(each, graph)
        return graph.reachable(root.node.id, direction)

    def _add_inputs(self, made: _Made, graph: _Graph) -> list[_Made]:
        graph.add(made.node)
        upstream = []
        for each in made.manifest.inputs or () if made.manifest is not None else ():
            place = None if each.path is None else place_of_input(made.path, each.path)
            source = self._source(each, place)
            if source is not None:
                graph.add(source.node)
                graph.join(source.node, made.node, each.role, is_current=_is_current(each, place, source))
                upstream.append(source)
                continue
            node = _input(each, place)
            graph.add(node)
            graph.join(node, made.node, each.role)
            if each.origin is not None:
                origin = Node(id=each.origin, kind=NodeKind.ORIGIN, label=each.origin, url=each.origin)
                graph.add(origin)
                graph.join(origin, node, "came from")
        return upstream

    def _source(self, recorded: Input, place: Path | None) -> _Made | None:
        """Give the output that an input is, or is a part of."""
        owner = None if place is None else self._owner(place)
        if owner is not None:
            return owner
        entry = None if recorded.digest is None else self._by_data.get(recorded.digest)
        return None if entry is None else self._entered(entry)

    def _owner(self, place: Path) -> _Made | None:
        if place not in self._owners:
            self._owners[place] = next(
                (made for each in (place, *place.parents) if (made := self._holding(each, place)) is not None), None
            )
        return self._owners[place]

    def _holding(self, output: Path, place: Path) -> _Made | None:
        """Give the output here if its manifest names what lies at a place in it."""
        made = self._at(output) if is_output(output) else None
        if made is None or made.manifest is None or output == place:
            return made
        names = {each.name for each in made.manifest.outputs or ()}
        own = place.relative_to(output)
        inside = own.relative_to("work") if own.parts[:1] == ("work",) else own
        is_part = any(
            each.as_posix() in names or any(n.startswith(f"{each}/") for n in names) for each in (own, inside)
        )
        return made if is_part else None

    def _at(self, output: Path) -> _Made | None:
        if output not in self._made:
            self._made[output] = self._read(output)
        return self._made[output]

    def _read(self, output: Path) -> _Made | None:
        place = manifests.path_of(output)
        content = content_of(place)
        if content is None:
            return None
        digest = digest_of_bytes(content)
        try:
            manifest = manifests.decoded(content, place, is_ours=digest in self.history.by_manifest)
        except ManifestBroken:
            return None
        return _Made(node=_output(manifest, digest, output), path=output, manifest=manifest)

    def _everything(self) -> Iterator[_Made]:
        """Give every output of the ledger that is still there."""
        for place in {each.output: each for each in self.history.entries}:
            made = self._at(Path(place))
            if made is not None:
                yield made

    def _entered(self, entry: Entry) -> _Made:
        made = self._at(Path(entry.output))
        if made is not None and made.node.id == entry.manifest:
            return made
        node = Node(
            id=entry.manifest,
            kind=NodeKind.OUTPUT,
            label=entry.output_id,
            path=entry.output,
            digest=entry.data_version,
        )
        return _Made(node=node, path=Path(entry.output), manifest=None)


class _Graph:
    """Nodes and edges, each once."""

    def __init__(self, root: Node) -> None:
        self._nodes = {root.id: root}
        self._edges: dict[tuple[str, str, str], Edge] = {}

    def add(self, node: Node) -> None:
        self._nodes.setdefault(node.id, node)

    def join(self, source: Node, target: Node, role: str, *, is_current: bool | None = None) -> None:
        key = (source.id, target.id, role)
        self._edges.setdefault(key, Edge(source=source.id, target=target.id, role=role, is_current=is_current))

    def reachable(self, root: str, direction: Direction) -> Lineage:
        """Give what can be reached from a node, in the order in which it is met."""
        near: dict[str, list[Edge]] = {}
        for each in self._edges.values():
            near.setdefault(each.target if direction is Direction.UP else each.source, []).append(each)
        found, edges, waiting = {root: self._nodes[root]}, [], deque([root])
        while waiting:
            for each in near.get(waiting.popleft(), ()):
                edges.append(each)
                other = each.source if direction is Direction.UP else each.target
                if other not in found:
                    found[other] = self._nodes[other]
                    waiting.append(other)
        return Lineage(root=root, direction=direction, nodes=tuple(found.values()), edges=tuple(edges))


def _output(manifest: Manifest, digest: str, output: Path) -> Node:
    label = manifest.output_id if manifest.output_type != "run" else f"run {manifest.output_id[:8]}"
    label += " (failed)" if manifest.ending.status == "failed" else ""
    path = text_of(os.path.abspath(output))  # noqa: PTH100 - a link is named, not followed
    return Node(id=digest, kind=NodeKind.OUTPUT, label=label, path=path, digest=manifest.data_version)


def _input(recorded: Input, place: Path | None) -> Node:
    path = None if place is None else text_of(place)
    label = recorded.name or (place.name if place is not None else recorded.role)
    return Node(
        id=f"{recorded.role}:{path or label}:{recorded.digest}",
        kind=NodeKind.INPUT,
        label=label,
        path=path,
        digest=recorded.digest,
    )


def _is_current(recorded: Input, place: Path | None, source: _Made) -> bool | None:
    """Tell whether an output is still the one that was read; of a part of one, its manifest alone does not tell."""
    version = source.node.digest
    whole = place is None or place.resolve() == source.path.resolve()
    return recorded.digest == version if whole and version is not None else None
