"""What a home names: the outputs that there are, what went into them, and the steps that its runs have sealed."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sluiceway.core import settings
from sluiceway.core.catalog.refreshed import NAME as ACCOUNT
from sluiceway.core.catalog.refreshed import Account
from sluiceway.core.errors import SluicewayError, StorageFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.outputs import is_output
from sluiceway.core.registry import notes
from sluiceway.core.registry.background import blocking
from sluiceway.core.runs.folder import RUNS
from sluiceway.core.runs.streams import STEPS
from sluiceway.core.store.artifacts import ARTIFACTS, CONTENT, ArtifactStore
from sluiceway.core.store.durable import Storing, content_of
from sluiceway.core.store.homes import Homes
from sluiceway.core.store.objects import ObjectStore
from sluiceway.core.store.wanted import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sluiceway.core.provenance.ledger import Entry
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.store.gc import Garbage
    from sluiceway.core.store.trash import Collected

log = logging.getLogger(__name__)

SCORES: Final = "score_reference"
"""The recipe of what is made of results of scores."""


def named_by(home: Path, clock: Clock) -> set[str]:
    """Give the digests that a home names; raises where its ledger or its runs cannot be read, for then nobody knows."""
    with Storing("read what is named by", home):
        entries = Ledger(home / "ledger", clock=clock).history().entries
    latest = {each.output: each for each in entries}
    # An output that is no longer there names nothing.
    outputs = {digest for entry in latest.values() if _is_there(entry) for digest in _named_by_output(entry)}
    return outputs | set(_named_by_runs(home / RUNS))


def kept_in(home: Path, clock: Clock) -> list[Path]:
    """Give where the artifacts of a home lie that came with a manifest: in its own store, or in the one it shares.

    Of a store that others use, too, what they alone have sealed is theirs, and so is what another user has put that
    this home has not sealed. All the rest is of this home, also where its ledger was lost.
    """
    shared = settings.load().store_dir
    store = ArtifactStore(shared or home / "store", clock=clock)
    found = list(store.every())
    if shared is not None:
        ours = _sealed_in(home, clock)
        theirs = {digest for each in Homes(store).others(home) for digest in _sealed_in(each, clock)}
        found = [each for each in found if each in ours or (each not in theirs and _is_mine(store.place_of(each)))]
    contents = (store.place_of(each) / CONTENT for each in found)
    return [each for each in contents if is_output(each)]


def _sealed_in(home: Path, clock: Clock) -> set[str]:
    """Give the digests of all that was ever made in a home, as far as this user may know."""
    made: set[str] = set()
    with contextlib.suppress(SluicewayError, OSError):
        made |= {
            each.data_version for each in Ledger(home / "ledger", clock=clock).history().entries if each.data_version
        }
        made |= set(_named_by_runs(home / RUNS))
    return made


def _is_mine(place: Path) -> bool:
    with contextlib.suppress(OSError):
        return place.stat().st_uid == os.geteuid()
    return False


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
    """Collect the garbage of a store that this home uses, and of its results: what it or any other home names stays."""
    home, clock = settings.load().home.absolute(), garbage.store.clock
    homes = {home, *Homes(garbage.store).every()}
    collected = garbage.collect({digest for each in homes for digest in named_by(each, clock)}, do=do)
    if do:
        _note(garbage, collected.restored, home)
    found = _results(home, clock)
    if not found.store.folder.is_dir() or _of_an_unknown_make(home, found):
        return collected
    released = _released(home, clock)
    results = found.collect(released, grace=garbage.grace, keep_trash=garbage.keep_trash, do=do)
    return replace(collected, results=results)


def restore_here(garbage: Garbage, name: str) -> None:
    """Bring an artifact, or a result of this home, back from the trash."""
    home = settings.load().home.absolute()
    results = _results(home, garbage.store.clock).trash()
    if name in results.names() and name not in garbage.in_trash():
        results.restore(name)
        return
    garbage.restore(name)
    _note(garbage, [name], home)


def _note(garbage: Garbage, restored: Iterable[str], home: Path) -> None:
    """Keep the home's registry as the store is now."""
    store = garbage.store
    contents = [store.place_of(each) / CONTENT for each in restored]
    blocking(notes.note_collected(store.folder / ARTIFACTS, contents, home))


def _results(home: Path, clock: Clock) -> Results:
    return Results(store=ObjectStore(home / "store"), clock=clock)


def _released(home: Path, clock: Clock) -> set[str]:
    """Give the results that refreshes have, by their accounts beside their tables; these may be away for a while."""
    outputs = {each.output for each in Ledger(home / "ledger", clock=clock).history().entries}
    folders = {os.path.split(each)[0] for each in outputs}
    accounts = [Account.read(Path(each)) for each in folders if (Path(each) / ACCOUNT).is_file()]
    return {key for account in accounts for entry in account.scores.values() for key in entry.keys.values()}


def _of_an_unknown_make(home: Path, results: Results) -> bool:
    """Tell of scores that were laid out before it was written down which results they need: then all stay."""
    known = results.outputs()
    for place in {each.output for each in Ledger(home / "ledger", clock=results.clock).history().entries}:
        if place not in known and _recipe_of(place) == SCORES:
            repair = "score into that folder once more, or remove it"
            tell(log, "results not collected", level=logging.WARNING, output=place, reason="old", repair=repair)
            return True
    return False


def _recipe_of(place: str) -> str | None:
    with contextlib.suppress(ValueError, AttributeError, OSError):
        recipe: str | None = json.loads(content_of(manifests.path_of(Path(place))) or b"{}").get("recipe")
        return recipe
    return None
