"""Outputs that are sealed, and a ledger of their own, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluiceway.core.provenance.explain import Now
from sluiceway.core.provenance.ledger import Ledger
from sluiceway.core.provenance.manifest import Ending, Manifest
from sluiceway.core.provenance.seal import seal
from sluiceway.core.provenance.statcache import StatCache
from sluiceway.core.provenance.status import Effort, OutputStatus, status_of
from sluiceway.core.provenance.verify import Depth, Finding, verify
from sluiceway.core.remote.clock import SystemClock

OK = Ending(status="ok", exit_code=0)


@dataclass
class Project:
    """A folder of outputs, their ledger, and what is known of their files."""

    folder: Path
    clock: SystemClock = field(default_factory=SystemClock)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger", clock=self.clock)

    @property
    def cache(self) -> StatCache:
        return StatCache(self.folder / "cache", clock=self.clock)

    def out(self, name: str) -> Path:
        return self.folder / "outputs" / name

    def seal(self, name: str, files: dict[str, str] | str | None, **fields: Any) -> Path:
        """Seal an output: a folder of files, a file, or nothing."""
        output = self.out(name)
        output.parent.mkdir(exist_ok=True)
        if isinstance(files, str):
            output.write_text(files)
        for each, content in files.items() if isinstance(files, dict) else ():
            (output / each).parent.mkdir(parents=True, exist_ok=True)
            (output / each).write_text(content)
        with self.cache as cache:
            seal(self.manifest(name, **fields), output, ledger=self.ledger, cache=cache)
        return output

    def manifest(self, name: str, **fields: Any) -> Manifest:
        return Manifest(**{"output_id": name, "ending": OK, **fields})

    def findings(self, *outputs: Path, depth: Depth = Depth.FULL) -> tuple[Finding, ...]:
        return verify(outputs, ledger=self.ledger, cache=self.cache, depth=depth).findings

    def flaws(self, *outputs: Path, depth: Depth = Depth.FULL) -> list[str]:
        return [each.flaw.value for each in self.findings(*outputs, depth=depth)]

    def status(self, output: Path, effort: Effort = Effort.USUAL) -> OutputStatus:
        return status_of(output, history=self.ledger.history(), now=Now(cache=self.cache), effort=effort)
