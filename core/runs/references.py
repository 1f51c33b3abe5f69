"""What a home names: the outputs that there are, what went into them, and the steps that its runs have sealed."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core import settings
from sluiceway.core.errors import StorageFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.runs.folder import RUNS
from sluiceway.core.runs.streams import STEPS
from sluiceway.core.store.artifacts import CONTENT, ArtifactStore
from sluiceway.core.store.durable import Storing, content_of
from sluiceway.core.store.homes import Homes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sluiceway.core.provenance.ledger import Entry
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.store.gc import Collected, Garbage

log = logging.getLogger(__name__)


def named_by(home: Path, clock: Clock) -> set[str]:
    """Give the digests that a home names; raises where its ledger or its runs cannot be read, for then nobody knows."""
    with Storing("read what is named by", home):
        entries = Ledger(home / "ledger", clock=clock).history().entries
    latest = {each.output: each for each in entries}
    # An output that is no longer there names nothing.
    outputs = {digest for entry in latest.values() if _is_there(entry) for digest in _named_by_output(entry)}
    return outputs | set(_named_by_runs(home / RUNS))


def kept_in(home: Path, clock: Clock) -> list[Path]:
    """Give where the artifacts of a home's own store lie that came with a manifest."""
    store = ArtifactStore(home / "store", clock=clock)
    contents = (store.place_of(each) / CONTENT for each in store.every())
    return [each for each in contents if is_output(each)]


def _is_there(entry: Entry) -> bool:
    # Of a name that is no UTF-8, only what people are shown was written down.
    return os.path.lexists(entry.output) or "\\" in entry.output


def _named_by_output(entry: Entry) -> Iterator[str]:
    if entry.data_version is not None:
        yield entry.data_version
    place = manifests.path_of(Path(entry.output))
    try:
        document: Any = json.loads(content_of(place) or b"{}")
        yield from (str(each["digest"]) for each in document.get("inputs") or () if each["digest"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        # It names nothing that anybody could check; the output itself stays.
        tell(log, "manifest unreadable", level=logging.WARNING, file=str(place), reason=str(error))


def _named_by_runs(folder: Path) -> Iterator[str]:
    with Storing("look for runs in", folder, foreign=True):
        kept = sorted(folder.glob(f"*/a*/{STEPS}"))
    for each in kept:
        try:
            steps = json.loads(content_of(each) or b"{}")
            yield from (str(digest) for digest in steps.values())
        except (ValueError, AttributeError) as error:
            raise StorageFailed(what="read the sealed steps", path=each, reason=str(error)) from error


def collect_here(garbage: Garbage, *, do: bool) -> Collected:
    """Collect the garbage of a store that this home uses: what it or any other home names stays."""
    homes = {settings.load().home.absolute(), *Homes(garbage.store).every()}
    return garbage.collect({digest for each in homes for digest in named_by(each, garbage.store.clock)}, do=do)
