"""Brings the scoring files of a refresh, and remembers over restarts how often each could not be brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sluiceway.core.catalog.fetch import Fetched, Fetcher, NotFetched
from sluiceway.core.catalog.refresh import waited
from sluiceway.core.errors import UpstreamFailed
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.software import software_of
from sluiceway.core.store.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluiceway.core.catalog.refresh import CatalogPlace
    from sluiceway.core.catalog.release import Upstream
    from sluiceway.core.store.failures import Failure

_AT_ONCE: Final = 64
_SURELY_DOWN: Final = 8
"""So many files that all fail at once are no fault of theirs."""


class Bringing:
    """Brings files of one build below one home."""

    def __init__(self, place: CatalogPlace, progress: Callable[[str, int, int], None]) -> None:
        """Bring files to this place."""
        self._place, self._progress = place, progress
        self._failures = ObjectStore(place.home / "catalog" / "fetches")
        # A file that one version of our code cannot read, the next may.
        self._software = software_of("sluiceway.core.catalog.scoring_file")

    def failure(self, upstream: Upstream) -> Failure | None:
        """Give how bringing this very file has failed."""
        return self._failures.failure(self._key(upstream))

    def bring(self, wanted: Sequence[Upstream]) -> int:
        """Bring files, and give how many came; each that did not has one try less.

        Raises:
            CatalogOffline: Nobody may be asked.
            UpstreamFailed: The catalogue gives no file at all; that is held against none of them.
        """
        if wanted:
            self._place.require_online("scoring files")
        brought = 0
        for first in range(0, len(wanted), _AT_ONCE):
            part = wanted[first : first + _AT_ONCE]
            answers = waited(self._bring(part, first, len(wanted)))
            failed = [each for each in answers if isinstance(each, NotFetched)]
            self._require_some(part, failed)
            upstream = {each.pgs_id: each for each in part}
            for each in failed:
                self._note(upstream[each.pgs_id], each)
            brought += len(answers) - len(failed)
        return brought

    async def _bring(self, part: Sequence[Upstream], first: int, of: int) -> list[Fetched | NotFetched]:
        async with self._place.client() as client:
            fetcher = Fetcher(client, self._place.home, build=self._place.build, clock=self._place.clock)
            return await fetcher.fetch(
                part, again=True, tell_of=lambda done, _: self._progress("scoring files brought", first + done, of)
            )

    def _require_some(self, part: Sequence[Upstream], failed: Sequence[NotFetched]) -> None:
        is_down = len(failed) == len(part) >= _SURELY_DOWN and not any(each.is_permanent for each in failed)
        if is_down:
            url = part[0].link
            raise UpstreamFailed(machine=url.split("/")[2], url=url, tries=len(part), reason=failed[0].reason)

    def _note(self, upstream: Upstream, failed: NotFetched) -> None:
        self._failures.failed(
            self._key(upstream), failed.reason, permanent=failed.is_permanent, clock=self._place.clock
        )

    def _key(self, upstream: Upstream) -> str:
        """Name a file by what the catalogue says of its content, so that a revised one is tried anew."""
        unmarked = {"etag": upstream.etag, "modified": upstream.modified, "released": upstream.released}
        return content_key(
            "fetch",
            inputs={},
            parameters={"link": upstream.link, "md5": upstream.md5, **(unmarked if upstream.md5 is None else {})},
            modules=self._software.modules,
            environment=self._software.environment,
        )
