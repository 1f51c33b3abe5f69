"""What a caller gets of a run: how it ended, where everything lies, what it made. A failed run has one, too."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import RunFailed
from sluiceway.core.provenance import manifest
from sluiceway.core.provenance.digest import digest_of_file
from sluiceway.core.runs import messages
from sluiceway.core.slurm.job import EndingKind

if TYPE_CHECKING:
    from sluiceway.core.runs.messages import Message

_LAST_BYTES, _LAST_LINES = 8192, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that the run made; its name is relative to the payload's working directory."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A file that the run made and that stays where it was made; its path is of that place."""

    name: str
    digest: str
    size: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReceipt:
    """How one attempt at a run ended. Paths are of this machine, but for those of what is left."""

    key: str
    run_id: str
    attempt: int
    place: str
    job_id: str
    ending: EndingKind
    why: str
    exit_code: int | None
    signal: str | None
    folder: Path
    stdout: Path
    stderr: Path
    work: Path
    outputs: tuple[Output, ...]
    started: datetime | None
    ended: datetime | None
    host: str | None
    peak_memory: int | None
    cpu_seconds: float | None
    value: Any = None
    retry: str | None = None
    messages: tuple[Message, ...] = ()
    warnings: tuple[str, ...] = ()
    usage: dict[str, Any] | None = None
    left: tuple[Left, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the work is done."""
        return self.ending is EndingKind.SUCCEEDED

    @property
    def manifest(self) -> Path:
        """The place of the manifest."""
        return manifest.path_of(self.folder)

    def path(self, output: Output) -> Path:
        """Give the place of an output."""
        return self.work / output.name

    @property
    def is_whole(self) -> bool:
        """Whether every output that was brought here is still there as it was made."""
        return all(
            self.path(each).is_file() and digest_of_file(self.path(each)) == each.digest for each in self.outputs
        )

    def require_success(self) -> RunReceipt:
        """Return this receipt, or raise RunFailed."""
        if self.succeeded:
            return self
        raise self.failure

    @property
    def failure(self) -> RunFailed:
        """How the run ended, as the error that it is for whoever needed its work."""
        return RunFailed(run=self.run_id, why=self.why, folder=self.folder, tail=tail_of(self.stderr))

    def as_json(self) -> dict[str, Any]:
        """Give the receipt as JSON has it."""
        fields: dict[str, Any] = asdict(self)
        for name in ("folder", "stdout", "stderr", "work"):
            fields[name] = str(fields[name])
        for name in ("started", "ended"):
            fields[name] = fields[name] and fields[name].isoformat()
        return {**fields, "messages": [messages.as_json(each) for each in self.messages]}

    def to_bytes(self) -> bytes:
        """Give the receipt's file; ASCII alone, so that names which are not UTF-8 survive."""
        return json.dumps(self.as_json(), indent=1, ensure_ascii=True).encode("ascii") + b"\n"

    @classmethod
    def of(cls, content: bytes) -> RunReceipt:
        """Read a receipt's file, or raise ValueError, KeyError or TypeError."""
        fields = json.loads(content)
        for name in ("folder", "stdout", "stderr", "work"):
            fields[name] = Path(fields[name])
        for name in ("started", "ended"):
            fields[name] = fields[name] and datetime.fromisoformat(fields[name])
        fields["ending"] = EndingKind(fields["ending"])
        fields["outputs"] = tuple(Output(**each) for each in fields["outputs"])
        fields["left"] = tuple(Left(**each) for each in fields.get("left", ()))
        fields["warnings"] = tuple(fields.get("warnings", ()))
        fields["messages"] = tuple(messages.parse(json.dumps(each).encode("ascii")) for each in fields["messages"])
        return cls(**fields)


def tail_of(path: Path) -> str:
    """Give the last lines of a file of a run, such as what it complained of."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LAST_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LAST_LINES:])
