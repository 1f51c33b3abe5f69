"""What is told of a run of reference scores: what was there before; to the registry, that it began and what it made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sluiceway.core.events import tell
from sluiceway.core.provenance.key import content_key
from sluiceway.core.provenance.ledger import place_of
from sluiceway.core.provenance.manifest import Prefect
from sluiceway.core.registry import files, notes
from sluiceway.core.registry.asker import by_whom
from sluiceway.core.registry.background import blocking
from sluiceway.core.registry.moments import moment, plain
from sluiceway.core.registry.record import Finding
from sluiceway.core.registry.runs import Attempt, Run, State, attempt_id
from sluiceway.core.store.wanted import Results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluiceway.core.genetics.reference import Reference
    from sluiceway.core.provenance.software import Software
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.planned import Planned
    from sluiceway.core.runs.reference_scoring import Asked
    from sluiceway.core.store.objects import ObjectStore

log = logging.getLogger(__name__)


def key_of(asked: Asked, reference: Reference, planned: Sequence[Planned], software: Software) -> str:
    """Name the work of a run of scores by its contents: not by where it is done, nor by where the results go."""
    scores = {f"score:{each.name}": each.score.digest for each in planned if each.score is not None}
    return content_key(
        "scores",
        inputs={"panel": reference.panel.digest, **scores},
        parameters={"policy": asked.policy.model_dump(mode="json"), "asked": asked.choices},
        modules=software.modules,
        environment=software.environment,
    )


def found(scores: int, *, of: int) -> None:
    """Say why scores are not scored, where some are not."""
    if scores:
        reason = "they were scored on the same panel by the same rules and code, and are as they were"
        tell(log, "cache hit", scores=scores, of=of, reason=reason)


def wanted(out: Path, planned: Sequence[Planned], store: ObjectStore, clock: Clock, *, also: bool) -> None:
    """Say which results a folder needs, so that nobody collects them."""
    keys = [each.key for each in planned if each.key is not None]
    Results(store=store, clock=clock).want(out, keys, also=also)


def begun(asked: Asked, key: str, *, home: Path, clock: Clock) -> None:
    """Say that a run has begun to make what will lie in its folder; best effort."""
    folder, by, at = place_of(asked.out), by_whom(), moment(clock.now())
    what = plain(f"scores on the panel {asked.panel.name}")

    def made(name: str) -> Finding:
        attempt = Attempt(
            id=attempt_id(name, folder),
            key=key,
            home=name,
            folder=folder,
            number=1,
            place="local",
            state=State.RUNNING,
            intended_at=at,
            submitted_by=by["user"],
            flow_run_id=by["flow_run_id"],
            task_run_id=by["task_run_id"],
        )
        return Finding(run=Run(key=key, kind=files.SCORES, what=what), attempt=attempt)

    blocking(notes.note_output(what, made, home))


def sealed(out: Path, *, home: Path) -> None:
    """Write down what a run has made, as its manifest says; best effort."""
    blocking(notes.note_output(str(out), lambda name: files.output_at(out, name), home))


def asked_for(key: str) -> dict[str, Any]:
    """Give the fields of a manifest that say what work this was, and who asked for it."""
    by = by_whom()
    prefect = Prefect(flow_run_id=by["flow_run_id"], task_run_id=by["task_run_id"])
    return {"content_key": key, "submitted_by": by["user"], "prefect": prefect}
