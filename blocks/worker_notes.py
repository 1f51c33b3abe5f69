"""What a slurm worker notes of each flow run that it submits, so that the next worker goes on where one was killed.

A note is a folder of its own in sluiceway's home, there from before anything is submitted until the flow run's state is
right. Its lock is held by the process that sees to the flow run, and goes with it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

_NOTES, _NOTE, _TOLD = "worker", "note.json", "told.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A flow run that became a run of ours: which, which time it was submitted, and where."""

    flow_run: UUID
    submission: UUID
    key: str
    pool: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """The notes of one home about one work pool."""

    home: Path
    pool: str

    def alone(self, flow_run: UUID) -> AbstractContextManager[None]:
        """Keep every other process from seeing to this flow run; raises OutputBusy where one does."""
        return exclusive(self._folder(flow_run), purpose="see to a flow run")

    def write(self, note: Note) -> None:
        """Write a note, or another one in its place; what was told of another submission is forgotten."""
        folder = self._folder(note.flow_run)
        known = self.read(note.flow_run)
        with Storing("note the flow run in", folder):
            folder.mkdir(parents=True, exist_ok=True)
            if known is not None and known.key != note.key:
                (folder / _TOLD).unlink(missing_ok=True)
        fields = {name: str(value) for name, value in asdict(note).items()}
        write_whole(folder / _NOTE, json.dumps(fields).encode())

    def read(self, flow_run: UUID) -> Note | None:
        """Give a note; none where there is none of this pool."""
        content = content_of(self._folder(flow_run) / _NOTE)
        if content is None:
            return None
        fields: dict[str, Any] = json.loads(content)
        ids = {name: UUID(fields[name]) for name in ("flow_run", "submission")}
        note = Note(**{**fields, **ids})
        return note if note.pool == self.pool else None

    def all(self) -> list[Note]:
        """Give every note of this pool."""
        with contextlib.suppress(FileNotFoundError):
            names = sorted(each.name for each in (self.home / _NOTES).iterdir())
            found = [self.read(UUID(name)) for name in names]
            return [each for each in found if each is not None]
        return []

    def forget(self, flow_run: UUID) -> None:
        """Remove a note."""
        shutil.rmtree(self._folder(flow_run), ignore_errors=True)

    def told(self, flow_run: UUID) -> dict[str, int]:
        """Give how many lines of each stream were told."""
        content = content_of(self._folder(flow_run) / _TOLD)
        return {} if content is None else dict(json.loads(content))

    def keep_told(self, flow_run: UUID, lines: dict[str, int]) -> None:
        """Note how many lines were told."""
        if self._folder(flow_run).is_dir():
            write_whole(self._folder(flow_run) / _TOLD, json.dumps(lines).encode())

    def _folder(self, flow_run: UUID) -> Path:
        return self.home / _NOTES / str(flow_run)
