"""The last release that a new one is compared with: the hub's where it has another than is here, else the one here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.publish.audit import Finding
from sluiceway.core.publish.comparison import Before
from sluiceway.core.store import frames

if TYPE_CHECKING:
    import polars as pl

    from sluiceway.core.publish.hub import HubDataset, Seen
    from sluiceway.core.publish.snapshot import Version


def baseline(
    panel: str, local: Version | None, hub: HubDataset | None, seen: Seen | None
) -> tuple[Before | None, list[Finding]]:
    """Give a panel's table of distributions as it was last published, and what is wrong with that."""
    path = f"data/{panel}_distributions.parquet"
    theirs = None if seen is None else seen.release
    if hub is not None and seen is not None and theirs is not None and _has_another(theirs, local, path):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "distributions.parquet"
            hub.bring(seen, path, file)
            return _before(panel, theirs, frames.read_parquet(file)), []
    if local is None or path not in local.files:
        return None, []
    if not local.is_whole(path):
        said = f"the last release's {path} is not as it was published, so nothing is compared with it"
        return None, [Finding(severity="WARN", code="previous_damaged", said=said, n=1)]
    return _before(panel, local, frames.read_parquet(local.folder / path)), []


def _has_another(theirs: Version, local: Version | None, path: str) -> bool:
    mine = None if local is None else local.files.get(path)
    return path in theirs.files and (mine is None or mine.digest != theirs.files[path].digest)


def _before(panel: str, version: Version, distributions: pl.DataFrame) -> Before:
    facts = version.facts.get(panel, {})
    return Before(distributions=distributions, made_with=facts.get("made_with", {}))
