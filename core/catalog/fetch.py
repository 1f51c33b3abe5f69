"""Brings scores here: downloaded, checked, parsed, their tables kept; a broken file does not hold up the others.

A file as it came goes when its table has been read back and is what was written; its md5 stays. One that cannot be
parsed goes to `<home>/catalog/quarantine/`, beside a note that says why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog.kept import Kept, KeptTables
from sluiceway.core.catalog.library import Library
from sluiceway.core.catalog.source import scoring_file_name
from sluiceway.core.errors import ScoringFileBroken, UpstreamFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.store.durable import Storing, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sluiceway.core.catalog.client import Client, Received
    from sluiceway.core.catalog.release import Upstream
    from sluiceway.core.genetics.build import Build
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

_PARSED_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A score that is here now; `was_there` where nothing had to be brought."""

    pgs_id: str
    kept: Kept
    was_there: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFetched:
    """A score that could not be had; where its file is what is wrong, the file was set aside."""

    pgs_id: str
    reason: str
    is_permanent: bool
    quarantine: Path | None = None


class Fetcher:
    """Brings scores of one build below one home."""

    def __init__(self, client: Client, home: Path, *, build: Build | None, clock: Clock) -> None:
        """Bring scores by this client."""
        self._client, self._build, self._clock = client, build, clock
        self._tables = KeptTables(home)
        self._library = Library(self._tables.store, clock=clock)
        self._incoming = home / "catalog" / "incoming"
        self._quarantine = home / "catalog" / "quarantine"
        # Each has a file open: thousands at once would be more than a process may have.
        self._arriving = asyncio.Semaphore(client.manners.at_once)
        self._parsing = asyncio.Semaphore(_PARSED_AT_ONCE)

    async def fetch(
        self,
        wanted: Sequence[Upstream],
        *,
        again: bool = False,
        tell_of: Callable[[int, int], None] = lambda *_: None,
    ) -> list[Fetched | NotFetched]:
        """Bring scores, several at once; each ends as one line of the answer, in their order.

        Args:
            wanted: The scores, as the catalogue has them.
            again: Bring also those whose table is there and of the same file.
            tell_of: Is told how many are done, and of how many.
        """
        done = 0

        async def one(upstream: Upstream) -> Fetched | NotFetched:
            nonlocal done
            answer = await self._one(upstream, again=again)
            done += 1
            tell_of(done, len(wanted))
            return answer

        return list(await asyncio.gather(*(one(each) for each in wanted)))

    async def _one(self, upstream: Upstream, *, again: bool) -> Fetched | NotFetched:
        kept = None if again else self._tables.find(upstream.pgs_id, self._build)
        raw = self._incoming / scoring_file_name(upstream.pgs_id, self._build)
        if kept is not None and kept.is_of(upstream):
            _remove(raw)
            return Fetched(pgs_id=upstream.pgs_id, kept=kept, was_there=True)
        try:
            async with self._arriving:
                received = await self._client.download(upstream.link, raw, md5=upstream.md5)
            async with self._parsing:
                return await asyncio.to_thread(self._keep, upstream, received)
        except UpstreamFailed as error:
            return self._not(upstream, error.reason, permanent=not upstream.is_there)
        except ScoringFileBroken as error:
            aside = self._set_aside(raw, upstream, error.said)
            return self._not(upstream, error.said, permanent=True, aside=aside)

    def _keep(self, upstream: Upstream, received: Received) -> Fetched:
        """Parse a file, read its table back, note it, and let go of the file."""
        raw = received.path
        known = self._library.load(raw, again=True)
        broken = next((each for each in known if self._tables.store.verified(each.key) is None), None)
        if broken is not None:
            raise ScoringFileBroken(path=raw, reason="its table was not what was written; the disk may be failing")
        kept = Kept(
            pgs_id=upstream.pgs_id,
            link=upstream.link,
            md5=received.seen.md5,
            sha256=digest_of_file(raw),
            size=received.seen.size,
            etag=received.seen.etag if upstream.md5 is None else None,
            modified=received.seen.modified if upstream.md5 is None else None,
            released=upstream.released,
            keys=tuple(each.key for each in known),
        )
        kept.write(self._tables.note(upstream.pgs_id, self._build))
        _remove(raw)
        (self._quarantine / raw.name).unlink(missing_ok=True)
        tell(log, "score kept", level=logging.DEBUG, score=upstream.pgs_id, md5=kept.md5, bytes=kept.size)
        return Fetched(pgs_id=upstream.pgs_id, kept=kept)

    def _set_aside(self, raw: Path, upstream: Upstream, reason: str) -> Path | None:
        if not raw.is_file():
            return None
        aside = self._quarantine / raw.name
        with Storing("set aside", raw):
            self._quarantine.mkdir(parents=True, exist_ok=True)
            shutil.move(raw, aside)
        told = {**asdict(upstream), "reason": reason, "since": self._clock.now().isoformat()}
        write_whole(aside.with_name(f"{aside.name}.reason.json"), json.dumps(told, indent=1).encode())
        _remove(raw)
        return aside

    def _not(self, upstream: Upstream, reason: str, *, permanent: bool, aside: Path | None = None) -> NotFetched:
        tell(log, "score not fetched", level=logging.WARNING, score=upstream.pgs_id, reason=reason)
        return NotFetched(pgs_id=upstream.pgs_id, reason=reason, is_permanent=permanent, quarantine=aside)


def _remove(raw: Path) -> None:
    for path in (raw, raw.with_name(f".{raw.name}.seen.json")):
        path.unlink(missing_ok=True)
