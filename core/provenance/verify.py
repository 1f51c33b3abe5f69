"""Whether outputs are what their manifests say, the manifests what was sealed, and the inputs what was read.

Each thing that is wrong is a finding that names the file, what was expected, and what was found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import LedgerBroken, ManifestBroken, TreeUnreadable, VerificationFailed
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.ledger import History
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.provenance.places import Places
from sluiceway.core.provenance.seal import CONTENT, content_at, files_in
from sluiceway.core.provenance.tree import digest_of_tree, listing
from sluiceway.core.store.durable import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluiceway.core.provenance.ledger import Entry, Ledger
    from sluiceway.core.provenance.manifest import Input, Manifest
    from sluiceway.core.provenance.tree import Cache, Looking


class Flaw(StrEnum):
    """What can be wrong."""

    MISSING_MANIFEST = "missing_manifest"
    BROKEN_MANIFEST = "broken_manifest"
    FORGED_MANIFEST = "forged_manifest"
    SUPERSEDED_MANIFEST = "superseded_manifest"
    UNKNOWN_MANIFEST = "unknown_manifest"
    MISSING_DATA = "missing_data"
    TAMPERED_DATA = "tampered_data"
    UNREADABLE_DATA = "unreadable_data"
    BROKEN_CHAIN = "broken_chain"
    BROKEN_LEDGER = "broken_ledger"


class Depth(StrEnum):
    """How much is looked at.

    `fast` reads only files that changed since they were last read; `full` reads every file; `chain` is full, and also
    follows each input to where it came from and insists on the ledger.
    """

    FAST = "fast"
    FULL = "full"
    CHAIN = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: with which file of which output, what was expected there, what was found."""

    flaw: Flaw
    output: Path
    file: Path
    expected: str | None
    found: str | None
    said: str

    def __str__(self) -> str:
        """Say it in one sentence."""
        compared = f" (expected {self.expected or 'nothing'}, found {self.found or 'nothing'})"
        return f"{self.flaw}: {str(self.file)!r} {self.said}{compared if self.expected or self.found else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at, and everything that is wrong with it."""

    outputs: tuple[Path, ...]
    findings: tuple[Finding, ...]
    head: str | None

    def require_sound(self) -> None:
        """Raise VerificationFailed where anything is wrong."""
        if self.findings:
            raise VerificationFailed(failed=len(self.findings), reason=str(self.findings[0]))


@dataclass(slots=True, kw_only=True)
class Verifier:
    """Looks at outputs, one after another; what they are made of is looked at once."""

    history: History
    cache: Cache | None = None
    depth: Depth = Depth.FAST
    _seen: set[Path] = field(default_factory=set)
    _looking: dict[bool, Looking] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Say once how outputs are looked at."""
        self._looking = {full: replace(CONTENT, cache=self.cache, full=full) for full in (False, True)}

    def findings(self, output: Path) -> list[Finding]:
        """Give everything that is wrong with an output."""
        manifest, found = self.manifest(output)
        if manifest is None:
            return found
        found += self.data(output, manifest)
        return found + self._chain(output, manifest) if self.depth is Depth.CHAIN else found

    def manifest(self, output: Path) -> tuple[Manifest | None, list[Finding]]:
        """Read an output's manifest, and give what is wrong with it."""
        place, last = manifests.path_of(output), self.history.last_of(output)
        expected = None if last is None else last.manifest
        content = content_of(place)
        if content is None:
            said = "is not there: nothing tells how this came to be"
            return None, [_finding(Flaw.MISSING_MANIFEST, output, place, expected, None, said)]
        digest = digest_of_bytes(content)
        try:
            manifest = manifests.decoded(content, place, is_ours=digest in self.history.by_manifest)
        except ManifestBroken as error:
            return None, [_finding(Flaw.BROKEN_MANIFEST, output, place, expected, digest, f"is none: {error.reason}")]
        return manifest, self._entered(output, digest, last)

    def data(self, output: Path, manifest: Manifest) -> list[Finding]:
        """Give what is wrong with an output's content."""
        if manifest.data_version is None and manifest.outputs is None:
            return []
        try:
            fast = self.depth is Depth.FAST
            if fast and not self._data(output, manifest, full=False):
                return []
            # What is remembered of a file is never held against it: before that, it is read.
            return self._data(output, manifest, full=True)
        except TreeUnreadable as error:
            if not output.exists():
                said = "is not there"
                return [_finding(Flaw.MISSING_DATA, output, output, manifest.data_version, None, said)]
            said = f"cannot be read: {error.reason}"
            return [_finding(Flaw.UNREADABLE_DATA, output, error.path, manifest.data_version, None, said)]

    def _data(self, output: Path, manifest: Manifest, *, full: bool) -> list[Finding]:
        looking = self._looking[full]
        if manifest.data_version is not None and digest_of_tree(output, looking) == manifest.data_version:
            return []
        root = _root(output, manifest)
        entries = listing(root, replace(looking, plain=True))
        if entries[0].digest == manifest.data_version:
            return []
        wrong = _by_file(output, root, manifest, files_in(entries, output))
        if manifest.data_version is None or (wrong and manifest.outputs is not None):
            return wrong
        said = "was changed: in links, empty folders or permissions to execute, for the files that are listed are whole"
        return [_finding(Flaw.TAMPERED_DATA, output, output, manifest.data_version, entries[0].digest, said)]

    def _entered(self, output: Path, digest: str, last: Entry | None) -> list[Finding]:
        """Compare a manifest with what the ledger has of its output."""
        entry = self.history.by_manifest.get(digest)
        if entry is not None and (last is None or entry == last):
            return []
        place = manifests.path_of(output)
        if entry is None and last is not None:
            said = "is not the one that was sealed"
            return [_finding(Flaw.FORGED_MANIFEST, output, place, last.manifest, digest, said)]
        if entry is None and self.depth is Depth.CHAIN:
            return [_finding(Flaw.UNKNOWN_MANIFEST, output, place, None, digest, "is not in the ledger")]
        if entry is not None and last is not None and entry.output == last.output and entry != last:
            said = "is an earlier one: it was put back, or the run after it never finished"
            return [_finding(Flaw.SUPERSEDED_MANIFEST, output, place, last.manifest, digest, said)]
        return []

    def _chain(self, output: Path, manifest: Manifest) -> list[Finding]:
        self._seen.add(output.resolve())
        return [
            finding
            for each in manifest.inputs or ()
            if each.path is not None and each.digest is not None
            for finding in self._input(output, each, place_of_input(output, each.path))
        ]

    def _input(self, output: Path, recorded: Input, path: Path) -> list[Finding]:
        try:
            found = version_at(path, self.cache, full=True)
        except TreeUnreadable as error:
            said = f"was read as {recorded.role!r}, and cannot be read: {error.reason}"
            return [_finding(Flaw.BROKEN_CHAIN, output, path, recorded.digest, None, said)]
        upstream = is_output(path) and path.resolve() not in self._seen
        wrong = self.findings(path) if upstream else []
        if found != recorded.digest:
            said = f"is not what was read as {recorded.role!r}"
            wrong.append(_finding(Flaw.BROKEN_CHAIN, output, path, recorded.digest, found, said))
        return wrong


def verify(outputs: Iterable[Path], *, ledger: Ledger, cache: Cache | None, depth: Depth) -> Verdict:
    """Look at outputs, and at the ledger; see Depth for how much is looked at."""
    wrong: list[Finding] = []
    try:
        history = ledger.history()
    except LedgerBroken as error:
        history = History([])
        wrong.append(_finding(Flaw.BROKEN_LEDGER, error.path, error.path, None, None, f"is broken: {error.reason}"))
    verifier = Verifier(history=history, cache=cache, depth=depth)
    looked = tuple(outputs)
    wrong += [finding for each in looked for finding in verifier.findings(each)]
    # An input of several outputs is told once.
    return Verdict(outputs=looked, findings=tuple(dict.fromkeys(wrong)), head=history.head)


def version_at(path: Path, cache: Cache | None, *, full: bool = False) -> str:
    """Give the digest of what lies at a path; of an output, what its manifest says, unless all is to be read."""
    if is_output(path) and not full:
        content = content_of(manifests.path_of(path))
        recorded = None if content is None else manifests.decoded(content, manifests.path_of(path)).data_version
        if recorded is not None:
            return recorded
    return content_at(path, cache, full=full)


def place_of_input(output: Path, path: str) -> Path:
    """Give where an input lies, which a manifest names as seen from its own folder."""
    return Path(place_seen(path, folder_of_manifest(output, Places())))


def folder_of_manifest(output: Path, places: Places) -> str:
    """Give the folder that an output's manifest lies in, without links."""
    return places.of(output) if output.is_dir() else places.of_folder(output)


def place_seen(path: str, folder: str) -> str:
    """Give where a path leads that is seen from a folder, which has no links: a `..` behind one leads elsewhere."""
    return os.path.normpath(path if path.startswith("/") else f"{folder.rstrip('/')}/{path}")


def _root(output: Path, manifest: Manifest) -> Path:
    """Give the folder that the names of an output's files are relative to: an attempt at a run made them elsewhere."""
    work = output / "work"
    return work if manifest.output_type == "run" and work.is_dir() else output


def _by_file(output: Path, root: Path, manifest: Manifest, found: Iterable[manifests.File]) -> list[Finding]:
    before = {each.name: each.digest for each in manifest.outputs or ()}
    now = {each.name: each.digest for each in found}
    # Without a digest of the whole, other files may lie beside those that are listed.
    names = {*before, *now} if manifest.data_version is not None else {*before}
    wrong = []
    for name in sorted(names):
        file = root / name if root.is_dir() else root
        was, is_now = before.get(name), now.get(name)
        if was is not None and is_now is None:
            wrong.append(_finding(Flaw.MISSING_DATA, output, file, was, None, "is not there"))
        elif was != is_now:
            said = "is in no manifest" if was is None else "was changed"
            wrong.append(_finding(Flaw.TAMPERED_DATA, output, file, was, is_now, said))
    return wrong


def _finding(flaw: Flaw, output: Path, file: Path, expected: str | None, found: str | None, said: str) -> Finding:
    return Finding(flaw=flaw, output=output, file=file, expected=expected, found=found, said=said)
