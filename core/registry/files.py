"""What files tell of runs, as the registry's rows: attempts by their folders, other outputs by their manifests.

Whoever writes a row while a run goes on reads it here, as `rebuild` does later. So both write the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import ManifestBroken
from sluiceway.core.provenance import manifest as manifests
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.provenance.ledger import place_of
from sluiceway.core.provenance.tree import digest_of_value
from sluiceway.core.registry.artifacts import Artifact, Edge, artifact_id
from sluiceway.core.registry.events import Event, only_once
from sluiceway.core.registry.moments import moment, plain
from sluiceway.core.registry.record import Finding
from sluiceway.core.registry.runs import Attempt, Run, State, attempt_id
from sluiceway.core.runs.receipt import RunReceipt
from sluiceway.core.slurm.job import EndingKind, JobId
from sluiceway.core.store.durable import content_of

if TYPE_CHECKING:
    from sluiceway.core.provenance.manifest import Manifest
    from sluiceway.core.runs.folder import AttemptFolder

SCORES = "scores"
"""What a run of reference scores is called."""
_RECIPE = "score_reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    """A manifest that lies at its place, and the digest of its file."""

    manifest: Manifest
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The files of an attempt's folder; what is not there, or cannot be read, is none."""

    intent: dict[str, Any]
    job: dict[str, Any]
    started: dict[str, Any]
    cancelled: dict[str, Any]
    receipt: RunReceipt | None
    sealed: _Sealed | None


def attempt_in(folder: AttemptFolder, home: str) -> Finding | None:
    """Give what the files of an attempt tell; none where it was not wholly staged, or has gone."""
    intent = _json(Path(folder.intent))
    if not intent:
        return None
    read = _Read(
        intent=intent,
        job=_json(Path(folder.job)),
        started=_json(Path(folder.started)),
        cancelled=_json(Path(folder.cancelled)),
        receipt=_receipt_of(folder),
        sealed=_sealed(Path(folder.path)),
    )
    attempt = _attempt(folder, read, home)
    run = Run(key=folder.run.key, kind="run", what=plain(intent["what"]))
    artifacts, edges = _made(attempt, read)
    return Finding(run=run, attempt=attempt, artifacts=artifacts, edges=edges, events=_events(run, attempt))


def output_at(output: Path, home: str) -> Finding | None:
    """Give what an output's manifest tells, where it is not that of an attempt; none where there is no manifest."""
    sealed = _sealed(output)
    if sealed is None or sealed.manifest.output_type == "run":
        return None
    manifest = sealed.manifest
    key = manifest.content_key or digest_of_value(["output", manifest.output_id, manifest.recipe])
    kind = SCORES if manifest.recipe == _RECIPE else "output"
    run = Run(key=key, kind=kind, what=plain(manifest.output_id))
    attempt = _attempt_of_output(manifest, sealed.digest, key=key, folder=place_of(output), home=home)
    artifacts = (_whole(attempt, sealed), *(_file(attempt, each) for each in manifest.outputs or ()))
    if attempt.state is State.FAILED:
        artifacts = ()
    edges = _edges(artifacts, manifest)
    return Finding(run=run, attempt=attempt, artifacts=artifacts, edges=edges, events=_events(run, attempt))


def with_state(finding: Finding, state: State) -> Finding:
    """Say of an attempt what no file tells yet."""
    return replace(finding, attempt=replace(finding.attempt, state=state))


def _attempt(folder: AttemptFolder, read: _Read, home: str) -> Attempt:
    place = plain(str(folder.path))
    by, receipt = read.intent.get("by") or {}, read.receipt
    known = Attempt(
        id=attempt_id(home, place),
        key=folder.run.key,
        home=home,
        folder=place,
        number=folder.number,
        place=plain(read.intent["place"]),
        token=folder.token,
        state=State.RUNNING if read.job or read.started else State.INTENDED,
        job_id=_job_id(read),
        intended_at=_at(read.intent.get("at")) or 0,
        submitted_at=_at(read.job.get("at") or read.started.get("started")),
        manifest=None if read.sealed is None else read.sealed.digest,
        submitted_by=by.get("user"),
        flow_run_id=by.get("flow_run_id"),
        task_run_id=by.get("task_run_id"),
    )
    if receipt is not None:
        return _ended(known, receipt)
    if "ended" in read.cancelled:
        why = plain(read.cancelled.get("refused", "cancelled"))
        over = replace(known, state=State.FAILED, ending=EndingKind.CANCELLED, why=why)
        return replace(over, ended_at=_at(read.cancelled["ended"]))
    return known


def _ended(known: Attempt, receipt: RunReceipt) -> Attempt:
    return replace(
        known,
        state=State.SUCCEEDED if receipt.succeeded else State.FAILED,
        job_id=receipt.job_id,
        started_at=moment(receipt.started),
        ended_at=moment(receipt.ended),
        ending=receipt.ending,
        why=plain(receipt.why),
        exit_code=receipt.exit_code,
        signal=receipt.signal,
        host=plain(receipt.host),
        peak_memory=receipt.peak_memory,
        cpu_seconds=receipt.cpu_seconds,
    )


def _attempt_of_output(manifest: Manifest, digest: str, *, key: str, folder: str, home: str) -> Attempt:
    ending, times = manifest.ending, manifest.times
    return Attempt(
        id=attempt_id(home, folder),
        key=key,
        home=home,
        folder=folder,
        number=manifest.attempt or 1,
        place="local",
        state=State.SUCCEEDED if ending.status == "ok" else State.FAILED,
        job_id=manifest.slurm.job_id,
        intended_at=moment(times.started) or 0,
        started_at=moment(times.started),
        ended_at=moment(times.finished),
        ending=EndingKind.SUCCEEDED if ending.status == "ok" else EndingKind.FAILED,
        why=plain(ending.error),
        exit_code=ending.exit_code,
        signal=ending.signal,
        host=plain(manifest.host.name),
        peak_memory=manifest.resources.peak_memory_bytes,
        cpu_seconds=manifest.resources.cpu_seconds,
        manifest=digest,
        submitted_by=manifest.submitted_by,
        flow_run_id=manifest.prefect.flow_run_id,
        task_run_id=manifest.prefect.task_run_id,
    )


def _made(attempt: Attempt, read: _Read) -> tuple[tuple[Artifact, ...], tuple[Edge, ...]]:
    """Give what an attempt made; what one that failed has left is nothing that anybody may rely on."""
    if attempt.state is not State.SUCCEEDED or read.receipt is None:
        return (), ()
    work = plain(str(read.receipt.work))
    files = tuple(
        replace(_blank(attempt, work, plain(each.name)), digest=each.digest, size=each.size)
        for each in read.receipt.outputs
    )
    artifacts = (_whole(attempt, read.sealed), *files)
    return artifacts, () if read.sealed is None else _edges(artifacts, read.sealed.manifest)


def _whole(attempt: Attempt, sealed: _Sealed | None) -> Artifact:
    whole = _blank(attempt, attempt.folder, "")
    if sealed is None:
        return whole
    manifest = sealed.manifest
    named = replace(whole, output_id=plain(manifest.output_id), output_type=plain(manifest.output_type))
    sizes = [each.size for each in manifest.outputs or ()]
    return replace(named, digest=manifest.data_version, size=sum(sizes) if sizes else None)


def _file(attempt: Attempt, file: manifests.File) -> Artifact:
    # A file that is the output itself has its manifest beside it, and goes by its own name.
    place = Path(attempt.folder)
    inside = place if place.is_dir() else place.parent
    return replace(_blank(attempt, str(inside), plain(file.name)), digest=file.digest, size=file.size)


def _blank(attempt: Attempt, place: str, name: str) -> Artifact:
    return Artifact(
        id=artifact_id(attempt.home, place, name),
        home=attempt.home,
        place=place,
        name=name,
        digest=None,
        size=None,
        manifest=attempt.manifest,
        key=attempt.key,
        attempt=attempt.id,
    )


def _edges(artifacts: tuple[Artifact, ...], manifest: Manifest) -> tuple[Edge, ...]:
    if not artifacts:
        return ()
    return tuple(
        Edge(
            output=artifacts[0].id,
            number=number,
            role=plain(each.role),
            name=plain(each.name),
            digest=each.digest,
            size=each.size,
            path=plain(each.path),
        )
        for number, each in enumerate(manifest.inputs or ())
    )


def _events(run: Run, attempt: Attempt) -> tuple[Event, ...]:
    """Say what happened to an attempt, as far as its files tell."""
    told = {"run": run.what, "attempt": attempt.number, "place": attempt.place}
    happened: list[tuple[str, int, dict[str, Any]]] = [("run intended", attempt.intended_at, {})]
    if attempt.submitted_at is not None:
        happened.append(("job submitted", attempt.submitted_at, {"job": attempt.job_id}))
    if attempt.state in {State.SUCCEEDED, State.FAILED}:
        at = attempt.ended_at or attempt.submitted_at or attempt.intended_at
        happened.append((f"run {attempt.state}", at, {"why": attempt.why}))
    return tuple(
        Event(
            at=at,
            kind=kind,
            home=attempt.home,
            key=run.key,
            attempt=attempt.id,
            told={**told, **more},
            once=only_once(attempt.id, kind, at),
        )
        for kind, at, more in happened
    )


def _receipt_of(folder: AttemptFolder) -> RunReceipt | None:
    """Read how an attempt ended: from its own folder; of those from before receipts lay there, only the last one's."""
    for place in (folder.receipt, folder.run.receipt):
        content = content_of(Path(place))
        try:
            receipt = None if content is None else RunReceipt.of(content)
        except (ValueError, KeyError, TypeError):
            continue
        if receipt is not None and receipt.attempt == folder.number:
            return receipt
    return None


def _sealed(output: Path) -> _Sealed | None:
    path = manifests.path_of(output)
    content = content_of(path)
    if content is None:
        return None
    try:
        return _Sealed(manifest=manifests.decoded(content, path), digest=digest_of_bytes(content))
    except ManifestBroken:
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(content_of(path) or b"{}")
    except (ValueError, OSError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _job_id(read: _Read) -> str | None:
    if read.job:
        return str(JobId(int(read.job["job"]), cluster=read.job.get("cluster")))
    return str(read.started["job_id"]) if "job_id" in read.started else None


def _at(text: str | None) -> int | None:
    return None if text is None else moment(datetime.fromisoformat(text))
