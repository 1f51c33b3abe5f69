"""Steps of a running job: each becomes an artifact once its marker appears, while the job goes on.

A step is a folder that holds a marker, a file whose pattern was declared, such as `checkpoints/step-*/DONE`. Whoever
writes the marker says that the step is whole. It is sealed once, as it is then: by a manifest that the ledger knows,
and a copy in the store that nothing the job does later can reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sluiceway.core.errors import SluicewayError, TreeUnreadable, VerificationFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.ledger import ledger_here
from sluiceway.core.provenance.manifest import Ending, Manifest, Times
from sluiceway.core.provenance.seal import files_in
from sluiceway.core.provenance.tree import Looking, listing, text_of
from sluiceway.core.registry import files, notes
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs import place
from sluiceway.core.runs.remains import read_by
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.homes import store_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluiceway.core.provenance.key import Json
    from sluiceway.core.provenance.ledger import Ledger
    from sluiceway.core.runs.folder import AttemptFolder
    from sluiceway.core.runs.host import Attempt
    from sluiceway.core.store.artifacts import ArtifactStore

log = logging.getLogger(__name__)

STEPS: Final = "steps.json"
_MANIFESTS: Final = "steps"
_PAUSE_SECONDS: Final = 1.0


@contextlib.asynccontextmanager
async def sealing(attempt: Attempt) -> AsyncIterator[None]:
    """Seal an attempt's steps while the block lasts; those of one that runs elsewhere are out of reach for now."""
    if not attempt.request.markers or not isinstance(place.parse(attempt.place), place.Local):
        yield
        return
    over = asyncio.Event()
    looking = asyncio.create_task(_looking(steps_of(attempt), over))
    try:
        yield
    finally:
        over.set()
        await looking


async def collect(attempt: Attempt) -> None:
    """Seal what steps of an attempt are not sealed yet, now that what it made is here, and let the registry know."""
    steps = await asyncio.to_thread(steps_of, attempt)
    await asyncio.to_thread(steps.look)
    for each in await asyncio.to_thread(steps.kept):
        await notes.note_output(each.parent.name, partial(files.output_at, each), Path(attempt.folder.run.base))


async def _looking(steps: Steps, over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            await asyncio.to_thread(steps.look)
        except SluicewayError as error:
            # The job goes on, and whoever collects it looks again.
            tell(log, "steps not sealed", level=logging.WARNING, reason=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _PAUSE_SECONDS)


def steps_of(attempt: Attempt) -> Steps:
    """Give the steps of an attempt."""
    folder, request, clock = attempt.folder, attempt.request, SystemClock()
    about = Manifest(
        output_id=folder.run.run_id,
        ending=Ending(status="ok"),
        parameters=dict(request.parameters),
        inputs=read_by(request),
        run_id=folder.run.run_id,
        attempt=folder.number,
        sluiceway_version=manifests.this_version(),
    )
    return Steps(
        folder=folder, markers=request.markers, about=about, store=store_here(clock), ledger=ledger_here(clock)
    )


@dataclass(slots=True, kw_only=True)
class Steps:
    """The steps of one attempt; looked for as often as one likes, by one at a time."""

    folder: AttemptFolder
    markers: Sequence[str]
    about: Manifest
    store: ArtifactStore
    ledger: Ledger
    _sealed: dict[str, str] | None = field(default=None)

    def kept(self) -> list[Path]:
        """Give where the steps that are sealed lie in the store."""
        return [found.path for each in self._known().values() if (found := self.store.find(each)) is not None]

    def look(self) -> list[str]:
        """Seal the steps whose markers are there, and give the names of those that were not sealed before."""
        known = self._known()
        work, found = Path(self.folder.work), []
        for step in sorted({each.parent for marker in self.markers for each in work.glob(marker) if each.is_file()}):
            name = text_of(step.relative_to(work))
            if name not in known:
                try:
                    known[name] = self._seal(step, name)
                except (TreeUnreadable, VerificationFailed) as error:
                    # Somebody writes there although the marker says that nobody does; the next look may find it whole.
                    tell(log, "step not whole", level=logging.WARNING, step_name=name, reason=str(error))
                else:
                    found.append(name)
        return found

    def _seal(self, step: Path, name: str) -> str:
        entries = listing(step, Looking(plain=True))
        content = {
            "output_id": f"{self.about.output_id}/{name}",
            "output_type": "step",
            "data_version": entries[0].digest,
            "outputs": files_in(entries, step),
            "ending": Ending(status="ok"),
            "times": Times(finished=self.store.clock.now()),
        }
        beside = Path(self.folder.path) / _MANIFESTS / f"{quote(name, safe='')}.{manifests.FOLDERS_NAME}"
        with self.store.holds.own() as held:
            held.add(entries[0].digest)
            with Storing("write", beside):
                beside.parent.mkdir(exist_ok=True)
            sealed = self.ledger.enter(self.about.model_copy(update=content), step, into=beside)
            facts: dict[str, Json] = {"run": self.folder.run.key, "attempt": self.folder.number, "step": name}
            artifact = self.store.put(step, manifest=manifests.encoded(sealed), facts=facts, held=held)
            # While it is held: from now on the run names it.
            write_whole(self._file, json.dumps({**self._known(), name: artifact.digest}).encode())
        tell(log, "step sealed", run_id=self.folder.run.run_id, step_name=name, artifact=artifact.digest)
        return artifact.digest

    def _known(self) -> dict[str, str]:
        if self._sealed is None:
            self._sealed = dict(json.loads(content_of(self._file) or b"{}"))
        return self._sealed

    @property
    def _file(self) -> Path:
        return Path(self.folder.path) / STEPS
