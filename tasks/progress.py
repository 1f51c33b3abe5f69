"""Shows how far a run is on its page in Prefect: a progress artifact for each kind of work that tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from prefect.artifacts import create_progress_artifact, update_progress_artifact

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sluiceway.core.remote.clock import Clock

_PAUSE = timedelta(seconds=2)
"""How long an artifact stays as it is: each change of it is a request to the server."""


@dataclass(slots=True, kw_only=True)
class _Shown:
    artifact: UUID
    since: datetime
    changed: datetime


class ProgressArtifacts:
    """Is told how far each kind of work is; to be called inside a flow or a task."""

    def __init__(self, clock: Clock, *, key: str) -> None:
        """Name the artifacts by this key and the kind of work."""
        self._clock = clock
        self._key = key
        self._shown: dict[str, _Shown] = {}

    def __call__(self, what: str, done: int, of: int) -> None:
        """Show that so much is done, unless that was shown a moment ago."""
        now = self._clock.now()
        shown = self._shown.get(what)
        share = 100 * done / of if of else 100.0
        if shown is None:
            self._shown[what] = _Shown(artifact=self._create(what, done, of, share), since=now, changed=now)
        elif done == of or now - shown.changed >= _PAUSE:
            shown.changed = now
            text = f"{what}: {done} of {of}; {_left(now - shown.since, share)}"
            # _sync: whoever tells of downloads does so inside of a loop, where Prefect would give a coroutine.
            update_progress_artifact(shown.artifact, progress=share, description=text, _sync=True)  # type: ignore[call-arg]

    def _create(self, what: str, done: int, of: int, share: float) -> UUID:
        key = f"{self._key}-{what.replace(' ', '-')}"
        told = f"{what}: {done} of {of}"
        # It gives a coroutine to asynchronous callers alone.
        return cast("UUID", create_progress_artifact(share, key=key, description=told, _sync=True))  # type: ignore[call-arg]


def _left(passed: timedelta, share: float) -> str:
    if share >= 100:
        return f"done after {round(passed.total_seconds())} seconds"
    # The first step began before anything was told, so this is a little less than the truth.
    return f"about {round(passed.total_seconds() * (100 - share) / share)} seconds to go" if share else "just begun"
