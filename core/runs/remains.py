"""What an attempt leaves: its outputs with their digests, what it said, and whether that is what was asked for."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.core.errors import StorageFailed
from sluiceway.core.provenance import manifest
from sluiceway.core.provenance.digest import digest_of_bytes, digest_of_file
from sluiceway.core.provenance.inputs import input_at
from sluiceway.core.provenance.manifest import Manifest
from sluiceway.core.provenance.statcache import cache_here
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.remote.local import staged_beside
from sluiceway.core.runs import messages
from sluiceway.core.runs.declared import Checked, check, whole_only
from sluiceway.core.runs.messages import Lines, Progress, Result
from sluiceway.core.runs.receipt import Left, Output, RunReceipt
from sluiceway.core.runs.retries import kept_change
from sluiceway.core.runs.visibility import until_visible
from sluiceway.core.slurm.job import EndingKind
from sluiceway.core.store.durable import Storing, content_of
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.host import Attempt, JobHost
    from sluiceway.core.runs.messages import Message
    from sluiceway.core.runs.request import RunRequest
    from sluiceway.core.slurm.job import Ending

_MOST_KEPT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What an attempt left: on this machine, and what was to stay where it was made."""

    outputs: tuple[Output, ...]
    left: tuple[Left, ...]
    trouble: str | None
    warnings: tuple[str, ...]
    told: tuple[Message, ...]
    cpu_seconds: float | None


async def gather(attempt: Attempt, ending: Ending, *, host: JobHost, clock: Clock) -> Remains:
    """Bring home what an attempt left."""
    folder = attempt.folder
    texts = {
        name: await host.fetch(folder, place.relative_to(folder.path))
        for name, place in (("stdout", folder.stdout), ("stderr", folder.stderr), ("messages", folder.messages))
    }
    if attempt.request.runtime is not None and folder.index is None:
        await host.fetch(folder, folder.entered.relative_to(folder.path))
    outcome: dict[str, Any] = {}
    if ending.outcome is not None:
        place = await host.fetch(folder, folder.outcome.relative_to(folder.path))
        outcome = json.loads(await asyncio.to_thread(place.read_bytes))
    made = whole_only(outcome.get("outputs", []), attempt.request.outputs, attempt.request.markers)
    outputs, left = _divided(attempt, [each for each in made if each["digest"]], host)
    for each in outputs:
        await _visible(each, await host.fetch(folder, folder.output(each.name).relative_to(folder.path)), clock)
    checked = Checked()
    if ending.kind is EndingKind.SUCCEEDED:
        checked = await asyncio.to_thread(_checked, attempt, made)
    return Remains(
        outputs=outputs,
        left=left,
        trouble=checked.trouble,
        warnings=checked.warnings,
        told=await asyncio.to_thread(_told, texts["messages"]),
        cpu_seconds=outcome.get("cpu_seconds"),
    )


def _divided(
    attempt: Attempt, made: list[dict[str, Any]], host: JobHost
) -> tuple[tuple[Output, ...], tuple[Left, ...]]:
    """Divide what was made into what is to be brought here and what is to stay."""
    request, there = attempt.request, attempt.folder.at(host.base)
    files = [(Output(name=each["name"], digest=each["digest"], size=each["size"]), each["patterns"]) for each in made]
    outputs = tuple(file for file, patterns in files if not request.is_left(patterns))
    stays = [file for file, patterns in files if request.is_left(patterns)]
    left = (
        Left(name=each.name, digest=each.digest, size=each.size, path=str(there.output(each.name))) for each in stays
    )
    return outputs, tuple(left)


async def _visible(output: Output, place: Path, clock: Clock) -> None:
    """Wait until an output shows that was written, at least with all its bytes."""

    async def look() -> bool | None:
        return await asyncio.to_thread(lambda: place.is_file() and place.stat().st_size == output.size) or None

    await until_visible(look, clock=clock, machine=platform.node(), source=place)


def receipt_of(attempt: Attempt, ending: Ending, remains: Remains) -> RunReceipt:
    """Say how an attempt ended; one that did not make what was asked for has failed, whatever its exit code."""
    folder, outcome = attempt.folder, ending.outcome
    again = kept_change(folder)
    return RunReceipt(
        key=folder.run.key,
        run_id=folder.run.run_id,
        attempt=folder.number,
        place=attempt.place,
        job_id=str(ending.job),
        ending=EndingKind.FAILED if remains.trouble else ending.kind,
        why=remains.trouble or f"{ending.kind}: {ending.evidence}",
        exit_code=ending.exit_code,
        signal=ending.signal,
        folder=Path(folder.path),
        stdout=Path(folder.stdout),
        stderr=Path(folder.stderr),
        work=Path(folder.work),
        outputs=remains.outputs,
        left=remains.left,
        started=None if outcome is None else outcome.started,
        ended=None if outcome is None else outcome.ended,
        host=None if outcome is None else outcome.host,
        peak_memory=None if outcome is None else outcome.peak_memory,
        cpu_seconds=remains.cpu_seconds,
        retry=None if again is None else again.why,
        value=next((each.value for each in reversed(remains.told) if isinstance(each, Result)), None),
        messages=tuple(each for each in remains.told if not isinstance(each, Progress))[-_MOST_KEPT:],
        warnings=(*_warned(attempt.request), *remains.warnings),
    )


def manifest_of(request: RunRequest, receipt: RunReceipt) -> Manifest:
    """Say how what an attempt made came to be; what the payload itself ran with is its own to say."""
    asked = {
        "command": [_shown(each) for each in request.command],
        "arguments": [_shown(each) for each in request.arguments],
        "environment": {_shown(name): _shown(value) for name, value in request.environment.items()},
        "outputs": [_shown(str(each)) for each in request.declared],
        "parameters": dict(request.parameters),
    }
    runtime = request.runtime
    if runtime is not None:
        asked["runtime"] = {
            "name": _shown(runtime.name),
            **{name: _shown(text) for name, text in runtime.identity.items()},
        }
    entered = _told_by_nodes(receipt.folder)
    seconds = (receipt.ended - receipt.started).total_seconds() if receipt.ended and receipt.started else None
    return Manifest(
        output_id=receipt.run_id,
        output_type="run",
        content_key=receipt.key,
        ending=manifest.Ending(
            status="ok" if receipt.succeeded else "failed",
            exit_code=receipt.exit_code,
            signal=receipt.signal,
            error=None if receipt.succeeded else _shown(receipt.why),
        ),
        parameters=asked,
        inputs=read_by(request),
        outputs=tuple(
            manifest.File(name=_shown(each.name), digest=each.digest, size=each.size) for each in receipt.outputs
        ),
        environment=_environment(runtime, entered),
        container=request.container if runtime is None else runtime.ran_in(entered) or request.container,
        git=_git(request),
        host=manifest.Host(name=receipt.host),
        run_id=receipt.run_id,
        attempt=receipt.attempt,
        sluiceway_version=manifest.this_version(),
        times=manifest.Times(started=receipt.started, finished=receipt.ended),
        resources=manifest.Resources(
            cpu_seconds=receipt.cpu_seconds, wall_seconds=seconds, peak_memory_bytes=receipt.peak_memory
        ),
        warnings=tuple(map(_shown, (*receipt.warnings, *_left_there(receipt)))) or None,
    )


def _left_there(receipt: RunReceipt) -> tuple[str, ...]:
    """Say of what was made and cannot be looked at here where it is."""
    return tuple(
        f"{each.name!r} was left on {receipt.place}: {each.path!r}, {each.size} bytes, {each.digest}"
        for each in receipt.left
    )


def _told_by_nodes(folder: Path) -> dict[str, Any]:
    """Give what the node told on entering the environment; of an array's elements, what they all told alike."""
    files = (folder / "entered.json", *sorted(folder.glob("t*/entered.json")))
    told: list[dict[str, Any]] = [json.loads(content) for content in map(content_of, files) if content] or [{}]
    return {name: value for name, value in told[0].items() if all(each.get(name) == value for each in told)}


def _environment(runtime: Runtime | None, entered: dict[str, Any]) -> manifest.Environment:
    """Give what is known of the packages that it ran with; the interpreter is the node's."""
    locked = None if runtime is None else runtime.identity.get("lock")
    return manifest.Environment(lock_digest=locked, python=entered.get("python"))


def _git(request: RunRequest) -> manifest.Git:
    """Give the state of the code that was given along, else of the repository that the script lies in."""
    if request.runtime is not None and request.runtime.git is not None:
        return request.runtime.git
    return manifest.Git() if request.code is None else request.code.git


def _warned(request: RunRequest) -> tuple[str, ...]:
    code = () if request.code is None else request.code.warnings
    return code if request.runtime is None else (*code, *request.runtime.warnings)


def read_by(request: RunRequest) -> tuple[manifest.Input, ...]:
    """Give what a request reads; of a script's, where it lies, so that a change is seen."""
    if request.script is None:
        # Calls and scores give files of a moment.
        return tuple(
            manifest.Input(role="input", name=_shown(name), digest=each.digest, size=each.size)
            for name, each in request.inputs.items()
        )
    modules = () if request.code is None else request.code.modules
    with cache_here(SystemClock()) as cache:
        script = input_at(request.script.path, role="script", read=request.script.digest, cache=cache)
        code = [
            input_at(each.file, role="module", name=each.name, read=digest_of_bytes(each.content), cache=cache)
            for each in modules
        ]
        inputs = [
            input_at(each.path, role="input", name=_shown(name), read=each.digest, cache=cache)
            for name, each in request.inputs.items()
        ]
    return (script, *code, *inputs)


def _shown(text: str) -> str:
    """Give a text that UTF-8 can hold: its bytes that are none are written out, backslash and number."""
    return text.encode("utf-8", "backslashreplace").decode()


def lay_out(receipt: RunReceipt, out: Path) -> None:
    """Copy what a run printed and made into a folder, with its manifest; each output is checked against its digest."""
    with exclusive(out, purpose="run"):
        for file in (receipt.stdout, receipt.stderr, receipt.manifest):
            if file.is_file():
                _copy(file, out / file.name, digest=None)
        # Last: an output may be called like one of them.
        for each in receipt.outputs:
            _copy(receipt.path(each), out / each.name, digest=each.digest)


def _copy(source: Path, target: Path, *, digest: str | None) -> None:
    with Storing("copy to", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with staged_beside(target) as staged:
            shutil.copyfile(source, staged)
            shutil.copymode(source, staged)
            if digest is not None and digest_of_file(staged) != digest:
                reason = f"{str(source)!r} is not what the run made"
                raise StorageFailed(what="copy to", path=target, reason=reason)


def _checked(attempt: Attempt, made: list[dict[str, Any]]) -> Checked:
    """Look whether an attempt that ended well has done what was asked for."""
    trouble = _trouble(attempt.request, made)
    if trouble is not None:
        return Checked(trouble=trouble)
    named = [(each["name"], each["patterns"]) for each in made]
    return check(attempt.request.declared, named, Path(attempt.folder.work))


def _trouble(request: RunRequest, made: list[dict[str, Any]]) -> str | None:
    """Say why an attempt that ended well has not done what was asked for."""
    unreadable = next((each for each in made if not each["digest"]), None)
    if unreadable is not None:
        return f"the output {unreadable['name']!r} cannot be read: {unreadable['error']}"
    met = {pattern for each in made for pattern in each["patterns"]}
    missing = [each for each in request.outputs if each not in met]
    if missing:
        return f"the declared output {missing[0]!r} was not made"
    changed = [each.path for each in request.inputs.values() if not each.is_as_it_was]
    return f"the input {str(changed[0])!r} was changed before the run had ended" if changed else None


def _told(file: Path) -> tuple[Message, ...]:
    lines = Lines()
    return tuple(messages.parse(each) for part in (lines.feed(content_of(file) or b""), lines.end()) for each in part)
