"""Artifacts: outputs by the digest of their content, sealed where they lie, never moved or written again.

An artifact is the folder `artifacts/<first two digits>/<digits>/` with the output itself, called `content`, and its
`record.json`; the manifest that came with it lies where every output has it, and each manifest that ever came with that
content in `manifests/`. It is made elsewhere in the store, closed to writing, brought to the disk, and takes its place
in one rename: whoever is killed leaves a whole artifact or none.

The output that was put stays where it is, so that what names its own place stays true; the store has bytes of its own.
What is no longer as it was put goes to `quarantine/`, and is as if it had never been there.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core.errors import ArtifactUnknown, StorageFailed, TreeUnreadable, VerificationFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.seal import NOT_CONTENT
from sluiceway.core.provenance.tree import Kind, Looking, digest_of_tree, listing, text_of
from sluiceway.core.store.durable import Storing, content_of, flush, write_whole
from sluiceway.core.store.holds import Hold, Holds
from sluiceway.core.store.parcel import Parcel
from sluiceway.core.store.placing import Placing, close
from sluiceway.core.store.record import Damage, sealed, unsealed
from sluiceway.core.store.scratch import Scratch
from sluiceway.core.store.sharing import Sharing, this_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sluiceway.core.provenance.key import Json
    from sluiceway.core.provenance.tree import Cache, Entry
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

CONTENT, RECORD = "content", "record.json"
ARTIFACTS: Final = "artifacts"
"""The folder of a store that they lie in."""
_VERSION: Final = 1
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_TAKEN: Final = (errno.ENOTEMPTY, errno.EEXIST)
_READABLE: Final = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An artifact: where its content is, and what was written down when it was put.

    Attributes:
        is_folder: Whether the content is a folder.
        size: How many bytes its files have.
        files: How many files it has.
        name: What the output was called that was put first.
        stored: When that was.
        submitted_by: Who put it.
        manifest: The digest of the manifest that came with it.
        has_own: Whether a manifest of ours lies at the root of the folder, and is no part of the content.
        facts: What else whoever put it wrote down.
    """

    digest: str
    path: Path
    is_folder: bool
    size: int
    files: int
    name: str
    stored: datetime
    submitted_by: str
    manifest: str | None
    has_own: bool
    facts: dict[str, Any] = field(default_factory=dict)


class ArtifactStore:
    """A folder of artifacts; several processes, and where it is shared several users, may use it at once."""

    def __init__(self, folder: Path, *, clock: Clock, cache: Cache | None = None, group: str | None = None) -> None:
        """Use this folder, which is made when needed.

        Args:
            folder: The store.
            clock: Tells the time.
            cache: What is known of files that were read before; without it, every look reads everything.
            group: The Unix group whose members share the store; by default it is its user's.
        """
        self.folder = folder.absolute()
        self.clock = clock
        self.sharing = Sharing(group=group)
        self.quarantine = self.folder / "quarantine"
        self.holds = Holds(self.folder / "holds", self.sharing)
        self._artifacts = self.folder / ARTIFACTS
        self._manifests = self.folder / "manifests"
        self._incoming = Scratch(self.folder / "incoming")
        self._cache = cache

    def put(
        self,
        source: Path,
        *,
        how: Placing = Placing.COPY,
        manifest: bytes | None = None,
        facts: Mapping[str, Json] | None = None,
        held: Hold | None = None,
    ) -> Artifact:
        """Keep a file or a folder, unless the same is there; the source stays as it is.

        Args:
            source: The output. One with a manifest beside it must be what that says, and both are kept.
            how: How its bytes get there.
            manifest: Its manifest, where that lies elsewhere.
            facts: What else is to be written down.
            held: Keeps it from being collected before anything names it.
        """
        parcel = Parcel.of(source, manifest, self._cache)
        if held is not None:
            held.add(parcel.digest)
        if parcel.manifest is not None:
            self._keep_manifest(parcel.manifest)
        return self._used(parcel.digest) or self._stored(parcel, how, facts or {})

    def find(self, digest: str) -> Artifact | None:
        """Give an artifact whose record is intact; its content is not looked at."""
        return self._whole(digest, lambda _: None)

    def verified(self, digest: str, *, full: bool = False) -> Artifact | None:
        """Give an artifact whose content is as it was put; files that are known not to have changed are not read."""

        def compare(artifact: Artifact) -> None:
            found = self._content(artifact, full=full)
            if found != digest and not full:
                # What is remembered of a file is never held against it: before that, it is read.
                found = self._content(artifact, full=True)
            if found != digest:
                raise Damage(f"its content has {found}")

        return self._whole(digest, compare)

    def require(self, digest: str) -> Artifact:
        """Give an artifact that is as it was put, or raise ArtifactUnknown."""
        found = self.verified(digest)
        if found is None:
            raise ArtifactUnknown(name=digest, reason="the store has none of this digest, or it was damaged")
        return found

    def every(self) -> Iterator[str]:
        """Give the digests of all artifacts, by the names of folders alone."""
        for shard in sorted(_inside(self._artifacts)):
            yield from (f"sha256:{each.name}" for each in sorted(_inside(shard)) if len(each.name) == 64)

    def manifests_in(self) -> Iterator[Path]:
        """Give the files of all manifests that ever came with an artifact."""
        for shard in sorted(_inside(self._manifests)):
            yield from sorted(each for each in _inside(shard) if not each.name.startswith("."))

    def place_of(self, digest: str) -> Path:
        """Give the folder of an artifact, whether it is there or not."""
        digits = _digits(digest)
        return self._artifacts / digits[:2] / digits

    def last_used(self, digest: str) -> datetime | None:
        """Give when an artifact was last put, linked or named; none where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return datetime.fromtimestamp((self.place_of(digest) / RECORD).stat().st_mtime, UTC)
        return None

    def touch(self, digest: str) -> None:
        """Let an artifact count as used now; one of somebody else's is left as it is."""
        now = self.clock.now().timestamp()
        with contextlib.suppress(PermissionError):
            os.utime(self.place_of(digest) / RECORD, (now, now))

    @contextlib.contextmanager
    def locked(self, *, alone: bool = False) -> Iterator[None]:
        """Keep whoever collects garbage out while something comes to be named; alone, keep out everybody."""
        with self.sharing.locked(self.folder / "artifacts.lock", alone=alone):
            yield

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Give a folder in the store that goes when the block ends."""
        with contextlib.ExitStack() as undo:
            with Storing("write to the store", self.folder):
                self.sharing.folder(self.folder / "incoming")
                staged = undo.enter_context(self._incoming.own(purpose="artifacts"))
            yield staged

    def _used(self, digest: str) -> Artifact | None:
        """Give an artifact that is there and whole; from now on it is used."""
        with self.locked():
            if self.find(digest) is not None:
                self.touch(digest)
        return self.verified(digest)

    def _stored(self, parcel: Parcel, how: Placing, facts: Mapping[str, Json]) -> Artifact:
        final = self.place_of(parcel.digest)
        with self.staging() as staging:
            fresh = staging / "artifact"
            with Storing("keep", parcel.source):
                fresh.mkdir()
                parcel.lay_out(fresh / CONTENT, how)
                self._seal(fresh, parcel, facts)
                self._take_place(fresh, parcel.digest, staging=staging)
        tell(log, "artifact stored", artifact=parcel.digest, output=str(parcel.source))
        return _read(final, parcel.digest)

    def _seal(self, fresh: Path, parcel: Parcel, facts: Mapping[str, Json]) -> None:
        """Close what was laid out, compare it with what was meant, and write its record last."""
        close(fresh / CONTENT)
        entries = listing(fresh / CONTENT, parcel.looking(self._cache))
        if entries[0].digest != parcel.digest:
            reason = f"{str(parcel.source)!r} was changed while it was kept: it has {entries[0].digest}"
            raise VerificationFailed(failed=1, reason=f"{reason}, and not {parcel.digest}")
        written = self._record(parcel, entries, facts)
        write_whole(fresh / RECORD, sealed(written))
        (fresh / RECORD).chmod(_READABLE)
        now = self.clock.now().timestamp()
        os.utime(fresh / RECORD, (now, now))
        self.sharing.item(fresh)
        flush(fresh)

    def _record(self, parcel: Parcel, entries: list[Entry], facts: Mapping[str, Json]) -> dict[str, Json]:
        return {
            "version": _VERSION,
            "digest": parcel.digest,
            "is_folder": entries[0].kind is Kind.FOLDER,
            "size": sum(each.size for each in entries),
            "files": sum(each.kind is Kind.FILE for each in entries),
            "name": text_of(parcel.source.name),
            "stored": self.clock.now().isoformat(),
            "submitted_by": this_user(),
            "manifest": None if parcel.manifest is None else digest_of_bytes(parcel.manifest),
            "has_own": parcel.has_own,
            "facts": dict(facts),
        }

    def _take_place(self, fresh: Path, digest: str, *, staging: Path) -> None:
        final = self.place_of(digest)
        with self.locked():
            self.sharing.folder(final.parent)
            for number in range(1_000):
                try:
                    fresh.rename(final)
                except OSError as error:
                    if error.errno not in _TAKEN:
                        raise
                else:
                    flush(final.parent)
                    flush(final.parent.parent)
                    return
                # Somebody else was faster; or it is damaged, and out of the way by now.
                if self.verified(digest) is not None:
                    self.touch(digest)
                    return
                with contextlib.suppress(FileNotFoundError):
                    final.rename(staging / f"displaced.{number}")

    def _keep_manifest(self, content: bytes) -> None:
        digits = _digits(digest_of_bytes(content))
        kept = self._manifests / digits[:2] / f"{digits}.json"
        if content_of(kept) == content:
            return
        with Storing("keep a manifest in", kept):
            self.sharing.folder(self._manifests)
            self.sharing.folder(kept.parent)
        write_whole(kept, content)
        kept.chmod(_READABLE)

    def _content(self, artifact: Artifact, *, full: bool) -> str:
        leave_out = NOT_CONTENT if artifact.has_own else frozenset()
        try:
            if artifact.path.is_symlink():
                raise Damage("its content is a link")
            return digest_of_tree(artifact.path, Looking(cache=self._cache, full=full, leave_out=leave_out))
        except TreeUnreadable as error:
            raise Damage(f"its content cannot be read: {error.reason}") from error

    def _whole(self, digest: str, look: Callable[[Artifact], object]) -> Artifact | None:
        final = self.place_of(digest)
        while (looked_at := _identity(final)) is not None:
            try:
                artifact = _read(final, digest)
                look(artifact)
            except Damage as damage:
                # Between two reads somebody may have put it anew; then there is another look.
                if _identity(final) == looked_at and not self._set_aside(final, digest, reason=str(damage)):
                    return None
            else:
                return artifact
        return None

    def _set_aside(self, final: Path, digest: str, *, reason: str) -> bool:
        """Move a damaged artifact to the quarantine, where somebody can look at it; false where only others may."""
        with Storing("set aside the artifact", final):
            self.sharing.folder(self.quarantine)
            aside = Path(tempfile.mkdtemp(dir=self.quarantine, prefix=f"{final.name}."))
            try:
                final.rename(aside / "artifact")
            except FileNotFoundError:
                # Another process was faster.
                aside.rmdir()
                return True
            except PermissionError:
                aside.rmdir()
                tell(log, "artifact damaged", level=logging.WARNING, artifact=digest, reason=reason, quarantine=None)
                return False
            flush(final.parent)
        tell(log, "artifact damaged", level=logging.WARNING, artifact=digest, reason=reason, quarantine=str(aside))
        # The disk may be full; the artifact is out of the way all the same.
        with contextlib.suppress(StorageFailed):
            write_whole(aside / "reason.txt", f"{reason}\n".encode())
        return True


def _read(final: Path, digest: str) -> Artifact:
    try:
        content = (final / RECORD).read_bytes()
        record = unsealed(content, name=RECORD)
        is_there = os.path.lexists(final / CONTENT)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise Damage(f"its record cannot be read: {error}") from error
    except OSError as error:
        raise StorageFailed(what="read the artifact", path=final, reason=str(error)) from error
    if record.pop("version") != _VERSION:
        raise StorageFailed(what="read the artifact", path=final, reason="its record is of another version")
    if record["digest"] != digest or not is_there:
        raise Damage(f"its record is of {record['digest']}" if is_there else "its content is not there")
    return Artifact(path=final / CONTENT, **{**record, "stored": datetime.fromisoformat(record["stored"])})


def _inside(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def _identity(final: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = final.lstat()
        return found.st_dev, found.st_ino
    return None


def _digits(digest: str) -> str:
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise ArtifactUnknown(name=digest, reason="it is no digest")
    return found[1]
