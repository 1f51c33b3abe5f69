"""The state of each output in one word, with what made it so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.provenance import explain
from sluiceway.core.provenance.ledger import place_of
from sluiceway.core.provenance.verify import Depth, Flaw, Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sluiceway.core.provenance.explain import Now
    from sluiceway.core.provenance.ledger import History
    from sluiceway.core.provenance.manifest import Manifest


class Status(StrEnum):
    """The words for the state of an output, everywhere."""

    OK = "ok"
    STALE = "stale"
    MISSING = "missing"
    DAMAGED = "damaged"
    FAILED = "failed"
    RUNNING = "running"
    ALIAS = "alias"


class Effort(StrEnum):
    """How much is read: nothing but manifests; files that were not read before; or everything."""

    QUICK = "quick"
    USUAL = "usual"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStatus:
    """An output's state.

    Attributes:
        why: What made it so: findings, or the fields that differ.
        unseen: Inputs of which nobody can tell from here whether they changed.
        target: For an alias, the output that it stands for.
    """

    output: Path
    status: Status
    output_id: str | None = None
    why: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    target: Path | None = None


def status_of(
    output: Path,
    *,
    history: History,
    now: Now,
    effort: Effort = Effort.USUAL,
    running: Mapping[str, str] | None = None,
) -> OutputStatus:
    """Tell the state of an output; the registry knows the places that are being written, and by which runs."""
    return statuses([output], history=history, now=now, effort=effort, running=running)[0]


def statuses(
    outputs: Iterable[Path],
    *,
    history: History,
    now: Now,
    effort: Effort = Effort.USUAL,
    running: Mapping[str, str] | None = None,
) -> list[OutputStatus]:
    """Tell the state of each output, in their order; what several have in common is looked at once."""
    depth = Depth.FULL if effort is Effort.FULL else Depth.FAST
    verifier = Verifier(history=history, cache=now.cache, depth=depth)
    running = running or {}
    return [
        _without_looking(each, running) or _seen(each, verifier, now, is_quick=effort is Effort.QUICK)
        for each in outputs
    ]


def _seen(output: Path, verifier: Verifier, now: Now, *, is_quick: bool) -> OutputStatus:
    manifest, found = verifier.manifest(output)
    if manifest is None:
        gone = found[0].flaw is Flaw.MISSING_MANIFEST
        return OutputStatus(output=output, status=Status.MISSING if gone else Status.DAMAGED, why=(str(found[0]),))
    if not found and not os.path.lexists(output):
        failed = manifest.ending.status == "failed"
        said = "" if failed else f"{str(output)!r} is not there"
        return _status(output, manifest, Status.FAILED if failed else Status.MISSING, said or _ending(manifest))
    found += [] if is_quick else verifier.data(output, manifest)
    if found:
        return _status(output, manifest, Status.DAMAGED, *map(str, found))
    if manifest.ending.status == "failed":
        return _status(output, manifest, Status.FAILED, _ending(manifest))
    return _staleness(output, manifest, now)


def _without_looking(output: Path, running: Mapping[str, str]) -> OutputStatus | None:
    if output.is_symlink() and output.exists():
        return OutputStatus(output=output, status=Status.ALIAS, target=output.resolve())
    writer = running.get(place_of(output)) if running else None
    if writer is None:
        return None
    return OutputStatus(output=output, status=Status.RUNNING, why=(f"{writer} is making it",))


def begun_below(paths: Iterable[Path], outputs: Iterable[Path], running: Mapping[str, str]) -> list[Path]:
    """Give what is being made at or below these paths and is not among the outputs there: it has no manifest yet."""
    known = {place_of(each) for each in outputs} if running else set()
    roots = [Path(place_of(each)) for each in paths] if running else []
    return [Path(each) for each in running if each not in known and any(Path(each).is_relative_to(r) for r in roots)]


def _staleness(output: Path, manifest: Manifest, now: Now) -> OutputStatus:
    reasons = explain.reasons(manifest, now.of(manifest, output))
    return OutputStatus(
        output=output,
        status=Status.STALE if reasons else Status.OK,
        output_id=manifest.output_id,
        why=tuple(map(str, reasons)),
        unseen=now.unseen(manifest, output),
    )


def _status(output: Path, manifest: Manifest, status: Status, *why: str) -> OutputStatus:
    return OutputStatus(output=output, status=status, output_id=manifest.output_id, why=why)


def _ending(manifest: Manifest) -> str:
    ending = manifest.ending
    return ending.error or f"it ended with exit code {ending.exit_code}, signal {ending.signal}"
