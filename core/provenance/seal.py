"""Sealing an output: its bytes are brought to the disk, digested, written into its manifest, entered in the ledger."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.manifest import File
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.provenance.tree import Kind, Looking, digest_of_tree, listing
from sluiceway.core.store import lock
from sluiceway.core.store.durable import Storing, flush

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sluiceway.core.provenance.ledger import Ledger
    from sluiceway.core.provenance.manifest import Manifest
    from sluiceway.core.provenance.tree import Cache, Entry

# What lies at the root of an output and is no part of it.
NOT_CONTENT: Final = frozenset({manifests.FOLDERS_NAME.encode(), lock.NAME.encode()})
CONTENT: Final = Looking(leave_out=NOT_CONTENT)
"""How an output is looked at: everything in it, save its own manifest and the lock of whoever writes it."""


def seal(manifest: Manifest, output: Path, *, ledger: Ledger, cache: Cache | None = None) -> Manifest:
    """Complete the manifest of an output that is done, write it to its place, and give it.

    Args:
        manifest: All that is known but the output's own content, which is filled in here.
        output: A file or a folder; of a run that failed, it may not be there.
        ledger: Where the manifest is entered.
        cache: Learns the files' digests, so that nobody reads them again soon.
    """
    if not os.path.lexists(output):
        return ledger.enter(manifest, output)
    with Storing("bring to the disk", output):
        entries = listing(output, replace(CONTENT, cache=cache, plain=True))
        for each in entries:
            if each.kind is not Kind.LINK:
                flush(output / os.fsdecode(each.name))
    content = {"data_version": entries[0].digest, "outputs": files_in(entries, output)}
    return ledger.enter(manifest.model_copy(update=content), output)


def content_at(path: Path, cache: Cache | None = None, *, full: bool = False) -> str:
    """Give the digest of what lies at a path; where that is an output, its own manifest is no part of it."""
    looking = CONTENT if is_output(path) else Looking()
    return digest_of_tree(path, replace(looking, cache=cache, full=full))


def files_in(entries: Iterable[Entry], output: Path) -> tuple[File, ...]:
    """Give the files of an output as a manifest lists them; a file that is the output goes by its own name."""
    return tuple(
        File(name=each.text or output.name, digest=each.content, size=each.size)
        for each in entries
        if each.kind is Kind.FILE and each.content is not None
    )
