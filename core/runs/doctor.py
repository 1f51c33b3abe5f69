"""Looks whether a cluster has all that runs need, and says of what it lacks why that matters and what to do.

Everything is asked in one go, and judged here; nothing is left behind there. A job is submitted only where that is
asked for: nothing else shows that every node sees the base folder, and has the Python that runs need.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, LiteralString

from sluiceway.core.errors import SluicewayError, SlurmRefused
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs.access import access_to
from sluiceway.core.runs.request import RunRequest
from sluiceway.core.runs.run import run
from sluiceway.core.slurm.job import JobSpec
from sluiceway.core.slurm.parse import Frames, Unreachable, read_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.clusters import ClusterSettings
    from sluiceway.core.runs.host import JobHost
    from sluiceway.core.runs.place import Place
    from sluiceway.core.runs.run import Runs

_SOON = timedelta(minutes=3)
_SLURM = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")
_TOOLS = ("awk", "base64", "flock", "sha256sum", "stat", "sync", "tar", "timeout", "xargs")
_LITTLE_SPACE_KIB, _LITTLE_NAMES = 1 << 20, 10_000
_MUCH_SKEW = timedelta(seconds=30)
_OLDEST_PYTHON = (3, 6)

_EXAMINE: LiteralString = """
base=$1 python=$2 cluster=$3
shift 3
short() { timeout 30 "$@" 2>&1 </dev/null; }
tell() { tag=$1; shift; said=$(short "$@"); code=$?; printf '%s\\n' "$said" | sed "s/^/@$tag /"; echo "@$tag= $code"; }
echo "@now $(date +%s.%N)"
for each in "$@"; do command -v "$each" >/dev/null || echo "@missing $each"; done
tell version sinfo --version
tell ping scontrol ping
tell account sacct -n -X -P -S now-1minute -u "$(id -u)" --format=JobID
tell config scontrol show config
tell partitions sinfo ${cluster:+-M "$cluster"} -h -o '%R %a'
tell python "$python" -I -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])'
tell write sh -c 'name=$(mktemp "$1/.doctor.XXXXXX") && echo x >"$name" && sync "$name" && rm -f "$name"' sh "$base"
tell space df -Pk "$base"
tell names df -Pi "$base"
if command -v quota >/dev/null; then tell quota quota -w; fi
echo @end
"""


class Health(StrEnum):
    """What came of a check."""

    OK = "ok"
    DOUBTFUL = "doubtful"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that runs need, whether it is there, and what to do where it is not."""

    what: str
    health: Health
    said: str
    advice: str = ""


async def tried(runs: Runs, host: JobHost, place: Place) -> Check:
    """Run a tiny job as any other run is run, from its submit to its receipt."""
    request = RunRequest(command=("hostname",), title="a doctor's job")
    began = runs.clock.now()
    try:
        receipt = await run(request, runs=runs, host=host, place=place, fresh=True)
    except SluicewayError as error:
        return _failed("job", str(error), "What a job asks for must be something that the cluster grants.")
    seconds = (runs.clock.now() - began).total_seconds()
    if not receipt.succeeded:
        advice = f"Look at {receipt.folder}: do the nodes see the base folder, and have they that Python?"
        return _failed("job", f"{receipt.job_id} ended: {receipt.why}", advice)
    return _ok("job", f"{receipt.job_id} ran on {receipt.host} and was back after {seconds:.1f} s")


async def examine(settings: ClusterSettings, clock: Clock) -> AsyncIterator[Check]:
    """Check a cluster, the connection first: without it there are no more checks."""
    began = clock.now()
    try:
        access = await access_to(settings, clock)
    except SluicewayError as error:
        yield _failed("connection", str(error), "Try ssh by hand with the same user, key and known_hosts.")
        return
    yield _ok("connection", f"{access.shell.machine} in {(clock.now() - began).total_seconds():.1f} s")
    asked = clock.now()
    names = (*_SLURM, *_TOOLS)
    command = Command.script(_EXAMINE, str(access.base), settings.python, settings.slurm_cluster, *names)
    try:
        frames = read_frames(await access.shell.run(command, timeout=_SOON))
    except SluicewayError as error:
        frames = Unreachable(str(error))
    if isinstance(frames, Unreachable):
        yield _failed("shell", frames.reason, "The login shell there must be able to run sh; look at its start files.")
        return
    for each in _judged(frames, settings, access, asked=asked, answered=clock.now()):
        yield each
    yield await _estimated(access)


def _judged(
    frames: Frames, settings: ClusterSettings, access: Access, *, asked: datetime, answered: datetime
) -> Iterator[Check]:
    yield _commands(frames)
    yield _versions(frames, settings)
    yield _controller(frames)
    yield _accounting(frames)
    yield _partition(frames, settings)
    yield _base(frames, access)
    yield _room(frames)
    yield _skew(frames, asked=asked, answered=answered)


def _commands(frames: Frames) -> Check:
    missing = frames.of("missing").lines
    if not missing:
        return _ok("commands", "all are on the PATH of a command sent over SSH")
    advice = (
        "Load Slurm's module in a file that non-interactive shells read, such as ~/.bashrc, and install the others."
    )
    if missing == ("flock",):
        advice = "Without flock, never submit from two processes at once."
        return Check(what="commands", health=Health.DOUBTFUL, said="flock is missing", advice=advice)
    return _failed("commands", f"missing on the PATH there: {', '.join(missing)}", advice)


def _versions(frames: Frames, settings: ClusterSettings) -> Check:
    python = frames.of("python")
    said = f"{frames.value('version')}; {settings.python} is Python {frames.value('python')}"
    try:
        found = tuple(int(part) for part in frames.value("python").split("."))
    except ValueError:
        found = ()
    if python.exit_code == 0 and found >= _OLDEST_PYTHON:
        return _ok("versions", said)
    advice = "Set `python` of this cluster to a Python 3.6 or newer that exists on every node."
    return _failed("versions", said, advice)


def _controller(frames: Frames) -> Check:
    said = "; ".join(frames.of("ping").lines)
    if frames.of("ping").exit_code == 0 and "is UP" in said:
        return _ok("controller", said)
    return _failed("controller", said, "slurmctld does not answer; runs wait until it does. Ask the cluster's people.")


def _accounting(frames: Frames) -> Check:
    told = frames.of("account")
    if told.exit_code == 0:
        return _ok("accounting", "sacct answers")
    age = _config(frames, "MinJobAge") or "some minutes"
    advice = f"Without accounts, a job that ended longer ago than MinJobAge ({age}) is known by its outcome file alone."
    return Check(what="accounting", health=Health.DOUBTFUL, said="; ".join(told.lines), advice=advice)


def _partition(frames: Frames, settings: ClusterSettings) -> Check:
    up = [line.split()[0] for line in frames.of("partitions").lines if line.endswith(" up")]
    wanted = (settings.resources.partition or "").split(",") if settings.resources.partition else []
    strange = [each for each in wanted if each not in up]
    if strange or not up:
        advice = "Set `resources.partition` of this cluster to one that is up."
        return _failed("partitions", f"not up: {', '.join(strange) or 'any'}; up: {', '.join(up) or 'none'}", advice)
    return _ok("partitions", f"up: {', '.join(up)}")


def _base(frames: Frames, access: Access) -> Check:
    if frames.of("write").exit_code == 0:
        return _ok("base folder", f"{access.base} can be written")
    advice = "Set `base` of this cluster to a folder of yours on a file system that every node sees."
    return _failed("base folder", f"{access.base}: {'; '.join(frames.of('write').lines)}", advice)


def _room(frames: Frames) -> Check:
    kibibytes, names = _available(frames, "space"), _available(frames, "names")
    quota = "; ".join(line.strip() for line in frames.of("quota").lines if line.strip())
    parts = ["unknown space" if kibibytes is None else f"{kibibytes / 2**20:.1f} GiB free"]
    parts += [] if names is None else [f"{names} more files"]
    said = ", ".join(parts) + (f"; quota: {quota}" if quota else "; no quota is told")
    is_tight = (kibibytes or _LITTLE_SPACE_KIB) < _LITTLE_SPACE_KIB or (names or _LITTLE_NAMES) < _LITTLE_NAMES
    if is_tight or "*" in quota:
        advice = "Make room: a job whose folder is full loses its outcome, and counts as failed."
        return Check(what="room", health=Health.DOUBTFUL, said=said, advice=advice)
    return _ok("room", said)


def _skew(frames: Frames, *, asked: datetime, answered: datetime) -> Check:
    there = datetime.fromtimestamp(float(frames.value("now")), tz=asked.tzinfo)
    skew = max(asked - there, there - answered, timedelta())
    said = f"{skew.total_seconds():.1f} s apart at least"
    if skew < _MUCH_SKEW:
        return _ok("clocks", said)
    advice = "Times in logs and receipts do not fit together; let both machines ask a time server. Runs are safe."
    return Check(what="clocks", health=Health.DOUBTFUL, said=said, advice=advice)


async def _estimated(access: Access) -> Check:
    """Ask for what jobs usually ask for, without submitting anything."""
    nowhere = PurePosixPath("/dev/null")
    spec = JobSpec(
        token="sw-doctor",  # noqa: S106 - a job's name
        comment="",
        resources=access.settings.resources,
        command=("true",),
        folder=access.base,
        stdout=nowhere,
        stderr=nowhere,
        outcome=nowhere,
    )
    try:
        return _ok("usual job", (await access.cluster.estimate(spec)).said)
    except SlurmRefused as error:
        advice = "Change `resources` of this cluster: account, partition, qos and limits must fit together."
        return _failed("usual job", error.reason, advice)
    except SluicewayError as error:
        return _failed("usual job", str(error), "The connection broke; try again.")


def _available(frames: Frames, name: str) -> int | None:
    """Give the fourth figure of df's second line; file systems without a fixed number of names write a dash or 0."""
    lines = frames.of(name).lines
    fields = lines[-1].split() if len(lines) > 1 else []
    return int(fields[3]) or None if len(fields) > 3 and fields[3].isdecimal() else None


def _config(frames: Frames, name: str) -> str:
    found = (line.partition("=") for line in frames.of("config").lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), "")


def _ok(what: str, said: str) -> Check:
    return Check(what=what, health=Health.OK, said=said)


def _failed(what: str, said: str, advice: str) -> Check:
    return Check(what=what, health=Health.FAILED, said=said, advice=advice)
