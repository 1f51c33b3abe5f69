"""What is about to become an artifact: a source, the digest that it must have, and the manifest that comes with it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.provenance.seal import NOT_CONTENT
from sluiceway.core.provenance.tree import Looking, digest_of_tree
from sluiceway.core.store.durable import content_of, flush
from sluiceway.core.store.placing import Placing, place

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.provenance.tree import Cache

_READABLE: Final = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is to be kept: a source, the digest that it must have, and its manifest."""

    source: Path
    digest: str
    manifest: bytes | None
    leave_out: frozenset[bytes]
    has_own: bool

    @classmethod
    def of(cls, source: Path, manifest: bytes | None, cache: Cache | None) -> Parcel:
        """Look at a source; one that is a sealed output must have the digest that its manifest says."""
        is_sealed = manifest is None and is_output(source)
        leave_out = NOT_CONTENT if is_sealed else frozenset()
        where = manifests.path_of(source)
        content = content_of(where) if is_sealed else manifest
        said = None if content is None else manifests.decoded(content, where).data_version
        digest = said or digest_of_tree(source, Looking(cache=cache, leave_out=leave_out))
        # A folder may have a file of that name, which is content like any other.
        has_room = is_sealed or not os.path.lexists(where)
        has_own = content is not None and source.is_dir() and has_room
        return cls(source=source, digest=digest, manifest=content, leave_out=leave_out, has_own=has_own)

    def looking(self, cache: Cache | None) -> Looking:
        """Give how the content is looked at once it is laid out."""
        return Looking(cache=cache, leave_out=NOT_CONTENT if self.has_own else frozenset())

    def lay_out(self, content: Path, how: Placing) -> None:
        """Bring the source to the place of a content, with its manifest."""
        place(self.source, content, how=how, leave_out=frozenset(os.fsdecode(each) for each in self.leave_out))
        if self.manifest is not None and (self.has_own or not content.is_dir()):
            beside = manifests.path_of(content)
            beside.write_bytes(self.manifest)
            beside.chmod(_READABLE)
            flush(beside)
