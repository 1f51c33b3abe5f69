"""Every release of the catalogue that was seen here, in order; the same one is kept once."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog.release import Release
from sluiceway.core.events import tell
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from pathlib import Path

    from sluiceway.core.genetics.build import Build
    from sluiceway.core.remote.clock import Clock

log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"(\d{6})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRelease:
    """A release, its number here, and when it was first seen."""

    number: int
    seen: datetime
    release: Release


class History:
    """The folder of the releases for one build; whoever adds to it holds the catalogue's lock."""

    def __init__(self, home: Path, build: Build | None) -> None:
        """Use the folder below this home."""
        self.folder = home / "catalog" / "releases" / (build or "submitted")

    def numbers(self) -> list[int]:
        """Give the number of each release, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(each.name) for each in self.folder.iterdir())
        return sorted(int(each[1]) for each in found if each)

    def read(self, number: int) -> SeenRelease | None:
        """Give a release; none where there is none of that number, or its file is damaged, which is told."""
        path = self.folder / f"{number:06}.json"
        try:
            content = content_of(path)
            document = None if content is None else unsealed(content, name=path.name)
        except (Damage, OSError) as error:
            tell(log, "release unreadable", level=logging.WARNING, path=str(path), reason=str(error))
            return None
        if document is None:
            return None
        seen = datetime.fromisoformat(document["seen"])
        return SeenRelease(number=number, seen=seen, release=Release.of(document["release"]))

    def latest(self) -> SeenRelease | None:
        """Give the newest release that can be read."""
        readable = (self.read(number) for number in reversed(self.numbers()))
        return next((each for each in readable if each is not None), None)

    def keep(self, release: Release, *, clock: Clock) -> SeenRelease:
        """Add a release, unless the newest one tells the same; then only what to ask the server by is renewed."""
        before = self.latest()
        if before is not None and before.release.digest == release.digest:
            if before.release.document() != release.document():
                self._write(before.number, before.seen, release)
            return before
        number, seen = max(self.numbers(), default=0) + 1, clock.now()
        self._write(number, seen, release)
        return SeenRelease(number=number, seen=seen, release=release)

    def _write(self, number: int, seen: datetime, release: Release) -> None:
        path = self.folder / f"{number:06}.json"
        with Storing("write", path):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, sealed({"seen": seen.isoformat(), "release": release.document()}))
