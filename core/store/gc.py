"""Garbage: artifacts that nothing names and nobody has used for a while go to the trash, and later for good.

What is named is marked from roots: tags, links, holds of living processes, and whatever the caller knows, such as the
outputs that there are; and from each marked artifact on, the inputs that its manifests name. Moving to the trash is one
rename, and so is coming back. Whoever is killed in between leaves a store in which each artifact is in its place or in
the trash; the next one goes on. Whenever roots cannot be read, nothing is collected.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sluiceway.core.errors import ArtifactUnknown, StorageFailed
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.store.durable import Storing
from sluiceway.core.store.links import Links
from sluiceway.core.store.tags import Tags
from sluiceway.core.store.trash import GRACE, Trash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluiceway.core.store.artifacts import ArtifactStore
    from sluiceway.core.store.trash import Collected


@dataclass(slots=True, kw_only=True)
class Garbage:
    """The garbage of one store."""

    store: ArtifactStore
    grace: timedelta = GRACE
    keep_trash: timedelta = GRACE
    _edges: dict[str, set[str]] = field(default_factory=dict)

    def collect(self, named: Iterable[str], *, do: bool = False) -> Collected:
        """Collect what is garbage, or only tell what would be.

        Args:
            named: What is named outside of the store: the digests of outputs and inputs that there are.
            do: Whether anything is changed.
        """
        outside = set(named)
        self._edges = self._read_edges()
        # A link whose place has gone is named for a while.
        return self.trash.collect(lambda: self._reached(outside | self._named_inside(do=do)), do=do, what="artifacts")

    def restore(self, digest: str) -> None:
        """Bring an artifact back from the trash; one that is in its place is left there."""
        self.trash.restore(digest)
        if self.store.verified(digest) is None:
            raise ArtifactUnknown(name=digest, reason="what was in the trash is damaged, and in quarantine now")

    def in_trash(self) -> list[str]:
        """Give what can be restored."""
        return self.trash.names()

    @property
    def trash(self) -> Trash:
        """Where it goes."""
        return Trash(shelf=self.store, folder=self.store.folder / "trash", grace=self.grace, keep=self.keep_trash)

    def _named_inside(self, *, do: bool) -> set[str]:
        named = {str(each.digest) for each in Tags(self.store).every()} | self.store.holds.held()
        links, now = Links(self.store), self.store.clock.now()
        for link in links.every():
            if link.is_there:
                named.add(link.digest)
            elif link.lost is None and self.grace:
                named.add(link.digest)
                if do:
                    links.lose(link, now)
            elif link.lost is not None and now - datetime.fromisoformat(link.lost) < self.grace:
                named.add(link.digest)
            elif do:
                links.forget(link.path)
        return named

    def _read_edges(self) -> dict[str, set[str]]:
        """Read which inputs each content had, by all manifests that ever came with it."""
        edges: dict[str, set[str]] = {}
        for path in self.store.manifests_in():
            with Storing("read the manifest", path):
                content = path.read_bytes()
            if digest_of_bytes(content).removeprefix("sha256:") != path.stem:
                reason = "it was changed; whatever it names could be collected by mistake, so nothing is"
                raise StorageFailed(what="read the manifest", path=path, reason=reason)
            document = json.loads(content)
            inputs = {each["digest"] for each in document["inputs"] or () if each["digest"]}
            edges.setdefault(document["data_version"], set()).update(inputs)
        return edges

    def _reached(self, roots: set[str]) -> set[str]:
        marked: set[str] = set()
        waiting = list(roots)
        while waiting:
            each = waiting.pop()
            if each not in marked:
                marked.add(each)
                waiting += self._edges.get(each, ())
        return marked
