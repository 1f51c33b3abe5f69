"""Whether what runs left where it was made is still there as it was made: asked there, and digested there.

Whatever keeps the answer away, a machine that is out of reach or a file system that is not mounted, makes it unknown:
neither whole nor gone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, LiteralString

from sluiceway.core.errors import SluicewayError
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import listing
from sluiceway.core.runs.folder import RUNS
from sluiceway.core.slurm.parse import Unreachable, read_frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.receipt import Left
    from sluiceway.core.runs.run import Runs

    ShellAt = Callable[[str], Awaitable[Shell]]

_ANSWER_LIMIT = timedelta(minutes=30)
# So much is read in that time by a slow file system, too, and so many paths are no long command.
_MOST_BYTES, _MOST_FILES = 1 << 36, 100

# One line for each file, in their order. What stat fails to find for another reason than its absence may be there.
_LOOK: LiteralString = """
base=$1; shift
say() { printf '@found %s' "$1"; printf '%s' "${2-}" | tr '\\n' ' '; echo; }
for file; do
    if told=$(LC_ALL=C stat -L -- "$file" 2>&1 >/dev/null); then
        if [ ! -f "$file" ]; then say other ' it is no file'
        elif digest=$(sha256sum <"$file"); then say "sha256:${digest%% *}"
        else say unknown ' it cannot be read'; fi
        continue
    fi
    case $told in
        *": No such file or directory" | *": Not a directory")
            if [ -d "$base" ]; then say missing; else say unknown " the folder $base is not there"; fi ;;
        *) say unknown " $told" ;;
    esac
done
echo @end
"""


class Found(StrEnum):
    """What became of a file that was left."""

    OK = "ok"
    MISSING = "missing"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A file that was left, and what became of it."""

    run_id: str
    place: str
    base: str
    file: Left
    found: Found = Found.UNKNOWN
    why: str = ""

    def as_json(self) -> dict[str, str | int]:
        """Give it as JSON has it."""
        told = {name: getattr(self.file, name) for name in ("name", "path", "size", "digest")}
        return {"run_id": self.run_id, "place": self.place, **told, "found": str(self.found), "why": self.why}


def every_left(runs: Runs, names: Sequence[str] = ()) -> list[Looked]:
    """Give what the latest attempts at runs left, of these runs or of all; nobody was asked yet."""
    chosen = names or [each.run_id for each in listing.every_run(runs)]
    receipts = (runs.receipt(listing.attempt_of(runs, name)[0].run) for name in chosen)
    return [
        Looked(run_id=each.run_id, place=each.place, base=file.path.partition(f"/{RUNS}/")[0], file=file)
        for each in receipts
        if each is not None
        for file in each.left
    ]


async def look(files: Sequence[Looked], *, shell_at: ShellAt) -> list[Looked]:
    """Ask the places of files what became of them; all places at once, and of each a bounded number of files."""
    ordered = sorted(files, key=lambda each: (each.place, each.base))
    groups = [list(group) for _, group in groupby(ordered, key=lambda each: (each.place, each.base))]
    answers = await asyncio.gather(*(_look_at(group, shell_at) for group in groups))
    known = {(each.run_id, each.file): each for group in answers for each in group}
    return [known[each.run_id, each.file] for each in files]


async def _look_at(files: list[Looked], shell_at: ShellAt) -> list[Looked]:
    try:
        shell = await shell_at(files[0].place)
    except SluicewayError as error:
        return [_unknown(each, str(error)) for each in files]
    return [found for some in _portions(files) for found in await _asked(shell, some)]


def _portions(files: list[Looked]) -> Iterator[list[Looked]]:
    portion: list[Looked] = []
    for each in files:
        is_full = len(portion) == _MOST_FILES or sum(one.file.size for one in [*portion, each]) > _MOST_BYTES
        if portion and is_full:
            yield portion
            portion = []
        portion.append(each)
    yield portion


async def _asked(shell: Shell, files: list[Looked]) -> list[Looked]:
    command = Command.script(_LOOK, files[0].base, *(each.file.path for each in files))
    try:
        frames = read_frames(await shell.run(command, timeout=_ANSWER_LIMIT))
    except SluicewayError as error:
        return [_unknown(each, str(error)) for each in files]
    if isinstance(frames, Unreachable):
        return [_unknown(each, frames.reason) for each in files]
    said = frames.of("found").lines
    if len(said) != len(files):
        return [_unknown(each, f"{shell.machine} told of {len(said)} files, not of {len(files)}") for each in files]
    return [_judged(each, line) for each, line in zip(files, said, strict=True)]


def _unknown(asked: Looked, why: str) -> Looked:
    return replace(asked, found=Found.UNKNOWN, why=why)


def _judged(asked: Looked, line: str) -> Looked:
    word, _, why = line.partition(" ")
    if word == asked.file.digest:
        return replace(asked, found=Found.OK)
    match word:
        case "missing":
            return replace(asked, found=Found.MISSING, why="it is not there")
        case "unknown":
            return _unknown(asked, why)
        case _:
            return replace(asked, found=Found.DAMAGED, why=why or f"it has {word}, and had {asked.file.digest}")
