"""Asks the catalogue what it has now, and makes the metadata anew where they have changed; brings scores on demand."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sluiceway.core.catalog import metadata_audit
from sluiceway.core.catalog.arrivals import Seen
from sluiceway.core.catalog.client import Client
from sluiceway.core.catalog.fetch import Fetched, Fetcher, NotFetched
from sluiceway.core.catalog.history import History, SeenRelease
from sluiceway.core.catalog.metadata import TRAITS_FILE, clean
from sluiceway.core.catalog.metadata_folder import (
    Metadata,
    adopt,
    metadata_folder,
    read_metadata,
    sheets_of,
    write_metadata,
)
from sluiceway.core.catalog.release import (
    Change,
    Release,
    Upstream,
    ask,
    bring_sheets,
    changes,
    read_release,
    sheet_path,
)
from sluiceway.core.errors import AuthenticationFailed, CatalogOffline, MetadataBroken, ScoreUnknown, UpstreamFailed
from sluiceway.core.events import tell
from sluiceway.core.store.durable import Storing, write_whole
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from pathlib import Path

    from sluiceway.core.catalog.metadata_audit import Finding
    from sluiceway.core.catalog.source import CatalogSource, Manners
    from sluiceway.core.genetics.build import Build
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class Hub(Protocol):
    """Where somebody publishes cleaned metadata; asked before the catalogue itself is."""

    @property
    def name(self) -> str:
        """What to call it."""

    async def bring_metadata(self, folder: Path) -> bool:
        """Put the parquet files of the metadata into a folder; false where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a look at the catalogue gave: the release, what has changed what is odd about the metadata.

    `n_asked` is how many questions that took.
    """

    release: SeenRelease
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    metadata: Metadata
    n_asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPlace:
    """Where the catalogue is kept, and whom to ask for what is not."""

    home: Path
    cache: Path
    source: CatalogSource
    clock: Clock
    build: Build | None
    offline: bool = False
    manners: Manners | None = None
    hub: Hub | None = None

    @property
    def sheets(self) -> Path:
        """The folder of the sheets as they came; it may be deleted."""
        return self.cache / "catalog"

    def client(self) -> Client:
        """Give a connection, or refuse one where nobody may be asked."""
        return Client(self.source, clock=self.clock, manners=self.manners)

    def require_online(self, what: str) -> None:
        """Refuse to ask anybody where that is not wanted."""
        if self.offline:
            raise CatalogOffline(what=what, folder=self.home / "catalog")


async def refresh(place: CatalogPlace, *, progress: Callable[[str, int, int], None] = lambda *_: None) -> Refreshed:
    """Ask what the catalogue has now, keep that with what was seen before, and clean its metadata if they are new.

    Metadata with errors do not take the place of those that are here: MetadataBroken names the first error.
    """
    place.require_online("what the catalogue has now")
    history = History(place.home, place.build)
    with exclusive(place.home / "catalog" / "refresh", purpose="catalog refresh"):
        before = history.latest()
        async with place.client() as client:
            release = await read_release(
                client,
                place.sheets,
                build=place.build,
                before=None if before is None else before.release,
                tell_of=lambda done, of: progress("catalogue", done, of),
            )
            metadata, findings = await _metadata(place, client, release)
        seen = history.keep(release, clock=place.clock)
    changed = tuple(changes(None if before is None else before.release, release))
    tell(log, "catalogue seen", release=release.date, scores=len(release.scores), changes=len(changed))
    return Refreshed(release=seen, changes=changed, findings=tuple(findings), metadata=metadata, n_asked=client.n_asked)


async def metadata_here(place: CatalogPlace, *, again: bool = False) -> Metadata:
    """Give the metadata: those that are here, else what the hub has, else what the catalogue has.

    Args:
        place: Where they are kept, and whom to ask.
        again: Bring them also where they are here.
    """
    folder = metadata_folder(place.home)
    found = read_metadata(folder)
    if found is not None and not again:
        return found
    place.require_online("the metadata")
    with exclusive(place.home / "catalog" / "refresh", purpose="catalog metadata"):
        if place.hub is not None and (found := await _from_hub(place.hub, folder)) is not None:
            return found
        async with place.client() as client:
            current = await client.json("release/current") or {}
            await _bring_traits(place, client)
            sheets = await bring_sheets(client, place.sheets)
        return _cleaned(place, sheets, current.get("date"))[0]


async def pull(
    place: CatalogPlace,
    scores: Sequence[str] | None,
    *,
    again: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Fetched | NotFetched]:
    """Bring scores here: those of these ids, or all of the release that was seen last.

    Raises:
        ScoreUnknown: The catalogue lists none of that id, also when it is asked now.
    """
    place.require_online("scoring files")
    seen = History(place.home, place.build).latest()
    known = {} if seen is None else seen.release.scores
    async with place.client() as client:
        if scores is None:
            wanted = [each for each in known.values() if each.is_there]
        else:
            wanted = await _wanted(client, place, known, dict.fromkeys(scores))
        fetcher = Fetcher(client, place.home, build=place.build, clock=place.clock)
        return await fetcher.fetch(wanted, again=again, tell_of=lambda done, of: progress("scoring files", done, of))


def waited(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Do asynchronous work from where there may be a loop already, which then stands still meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # Who asks, and for which run, is known to the caller's context alone.
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(context.run, asyncio.run, work).result()


async def _wanted(
    client: Client, place: CatalogPlace, known: Mapping[str, Upstream], scores: Iterable[str]
) -> list[Upstream]:
    """Find out what the catalogue has of each score, and refuse ids that it does not know."""

    async def one(pgs_id: str) -> Upstream:
        # What was seen the last time may have been revised since.
        before = known.get(pgs_id)
        released = None if before is None else before.released
        return await ask(client, pgs_id, place.build, before=before, released=released)

    wanted = list(await asyncio.gather(*(one(each) for each in scores)))
    unknown = tuple(each.pgs_id for each in wanted if not each.is_there)
    if unknown:
        raise ScoreUnknown(scores=unknown, release=place.source.files)
    return wanted


async def _metadata(place: CatalogPlace, client: Client, release: Release) -> tuple[Metadata, list[Finding]]:
    """Clean the metadata, unless those that are here were made of the same sheets."""
    folder = metadata_folder(place.home)
    found = read_metadata(folder)
    if found is not None and sheets_of(folder) == dict(release.sheets):
        tables = {name: found.table(name) for name in found.digests}
        return found, metadata_audit.audit(tables)
    await _bring_traits(place, client)
    return await asyncio.to_thread(_cleaned, place, dict(release.sheets), release.date)


def _cleaned(place: CatalogPlace, sheets: dict[str, str], date: str | None) -> tuple[Metadata, list[Finding]]:
    """Clean and look through the sheets that came; those that cannot be used are brought again the next time."""
    try:
        return _usable(place, sheets, date)
    except MetadataBroken:
        for name in sheets:
            Seen.forget(sheet_path(place.sheets, name))
        raise


def _usable(place: CatalogPlace, sheets: dict[str, str], date: str | None) -> tuple[Metadata, list[Finding]]:
    tables = clean(place.sheets)
    findings = metadata_audit.audit(tables)
    for each in findings:
        level = logging.WARNING if each.severity == "ERROR" else logging.DEBUG
        tell(log, "metadata finding", level=level, table=each.table, code=each.code, n=each.n)
    wrong = next((each for each in findings if each.severity == "ERROR"), None)
    if wrong is not None:
        reason = f"{wrong.table}: {wrong.code}, {wrong.n} times: {', '.join(wrong.examples) or 'nothing there'}"
        raise MetadataBroken(path=place.sheets, reason=reason)
    return write_metadata(metadata_folder(place.home), tables, release=date, sheets=sheets), findings


async def _bring_traits(place: CatalogPlace, client: Client) -> None:
    """Ask for what the sheets do not tell of traits: their categories, other names, and the scores of child terms."""
    terms = await client.pages("trait/all", include_child_associated_pgs_ids="1")
    with Storing("write", place.sheets):
        place.sheets.mkdir(parents=True, exist_ok=True)
    write_whole(place.sheets / TRAITS_FILE, json.dumps(terms).encode())


async def _from_hub(hub: Hub, folder: Path) -> Metadata | None:
    """Have the hub put its tables beside, and take them when they can be read."""
    beside = folder.with_name("metadata.incoming")
    shutil.rmtree(beside, ignore_errors=True)
    with Storing("write", beside):
        beside.mkdir(parents=True)
    try:
        has_some = await hub.bring_metadata(beside)
    except (AuthenticationFailed, UpstreamFailed) as error:
        # The catalogue itself has them, too.
        tell(log, "hub passed over", level=logging.WARNING, hub=hub.name, reason=str(error))
        has_some = False
    if not has_some or adopt(beside, origin=hub.name, release=None) is None:
        shutil.rmtree(beside, ignore_errors=True)
        return None
    with Storing("write", folder):
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    return read_metadata(folder)
