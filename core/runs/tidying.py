"""Runs that are old enough to go: here and on their clusters, by age and number, and never one that may be running.

Nothing else removes a run. One whose end nobody has seen stays, however old it is: its job may be running yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.errors import OutputBusy, SluicewayError, Unreachable
from sluiceway.core.events import tell
from sluiceway.core.runs import listing, place
from sluiceway.core.runs.folder import RUNS
from sluiceway.core.runs.listing import Standing
from sluiceway.core.runs.run import intent_of
from sluiceway.core.runs.slurm_job import KEPT
from sluiceway.core.slurm import commands, parse
from sluiceway.core.store.durable import Storing, write_whole
from sluiceway.core.store.lock import NAME, exclusive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from sluiceway.core.runs.access import Access
    from sluiceway.core.runs.folder import RunFolder
    from sluiceway.core.runs.run import Runs

    # Removes runs' folders at a place, by their names, and gives those that had to stay.
    Remove = Callable[[str, list[str]], Awaitable[set[str]]]

log = logging.getLogger(__name__)

_OVER = (Standing.OK, Standing.FAILED)
_AT_ONCE = 500
_ANSWER_LIMIT = timedelta(minutes=10)
# A run that waits for its turn has had its inputs brought, and links to them only when it is submitted.
_SPARED = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What stays: runs younger than this, the latest so many, and where asked for every one that failed."""

    younger_than: timedelta = timedelta(days=30)
    latest: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """Which runs are gone, or would be, and which could not go, with the reason."""

    gone: tuple[str, ...]
    kept: dict[str, str]


def doomed(runs: Runs, keep: Keep, now: datetime) -> list[RunFolder]:
    """Give the runs that are to go, the latest first."""
    found = []
    for number, each in enumerate(listing.every_run(runs)):
        is_old = now - datetime.fromisoformat(each.at) > keep.younger_than
        may_go = each.standing in _OVER and not (keep.failed and each.standing is Standing.FAILED)
        if is_old and may_go and number >= keep.latest:
            found.append(listing.attempt_of(runs, each.run_id)[0].run)
    return found


async def tidy(runs: Runs, keep: Keep, *, remove: Remove, dry_run: bool = False) -> Tidied:
    """Remove runs that are to go, first where they ran: one whose place does not answer stays here as well.

    Args:
        runs: The runs of this home.
        keep: What stays.
        remove: Removes folders of runs at another place.
        dry_run: Say which would go, and remove nothing.
    """
    folders = await asyncio.to_thread(doomed, runs, keep, runs.clock.now())
    if dry_run:
        return Tidied(gone=tuple(each.run_id for each in folders), kept={})
    gone, kept = [], {}
    with contextlib.ExitStack() as held:
        mine = []
        for each in folders:
            try:
                held.enter_context(exclusive(Path(each.path), purpose="remove"))
            except OutputBusy as error:
                kept[each.run_id] = str(error)
            else:
                mine.append(each)
        # Somebody may have begun a new attempt just before.
        still = set(await asyncio.to_thread(doomed, runs, keep, runs.clock.now()))
        mine = [each for each in mine if each in still]
        troubles = await _remove_there(mine, remove)
        for each in mine:
            if each.name in troubles:
                kept[each.run_id] = troubles[each.name]
            else:
                await asyncio.to_thread(_remove_here, runs, each)
                gone.append(each.run_id)
    tell(log, "runs removed", gone=len(gone), kept=len(kept))
    return Tidied(gone=tuple(gone), kept=kept)


async def _remove_there(folders: Iterable[RunFolder], remove: Remove) -> dict[str, str]:
    """Remove runs at each of their places; give those for which that did not work, with the reason."""
    by_place: dict[str, list[str]] = {}
    for each in folders:
        for where in _places(each):
            by_place.setdefault(where, []).append(each.name)
    troubles: dict[str, str] = {}
    for where, names in by_place.items():
        try:
            still = await remove(where, names)
        except SluicewayError as error:
            troubles |= dict.fromkeys(names, str(error))
        else:
            troubles |= dict.fromkeys(still, f"a job of that name waits or runs at {where}")
    return troubles


def _places(folder: RunFolder) -> set[str]:
    """Give the places, other than this machine, at which attempts ran."""
    attempts = folder.attempts(each.name for each in Path(folder.path).iterdir())
    intents = (intent_of(each) for each in attempts)
    named = {str(each["place"]) for each in intents if each is not None}
    return {each for each in named if not isinstance(place.parse(each), place.Local)}


def _remove_here(runs: Runs, folder: RunFolder) -> None:
    """Remove all of a run but the number of its last attempt: Slurm remembers jobs by it, so it is not used again."""
    here, last = Path(folder.path), runs.last(folder)
    with Storing("remove", here):
        if last is not None:
            ended = {"removed": folder.run_id, "ended": runs.clock.now().isoformat()}
            write_whole(Path(last.cancelled), json.dumps(ended).encode())
            _empty(here, {Path(last.path), Path(folder.receipt), here / NAME})
            _empty(Path(last.path), {Path(last.cancelled), Path(last.intent)})
            # Last, so that a run whose removal was cut short is listed, and goes the next time.
            Path(last.intent).unlink(missing_ok=True)
        Path(folder.receipt).unlink(missing_ok=True)


def _empty(folder: Path, stay: set[Path]) -> None:
    for each in set(folder.iterdir()) - stay:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


async def remove_at(access: Access, names: Sequence[str]) -> set[str]:
    """Remove runs' folders from a cluster; give those that stay, for a job of such a name waits or runs there.

    Raises:
        Unreachable: Nobody could say whether one does.
    """
    still = set()
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        command = commands.remove_runs(access.base / RUNS, some, cluster=access.settings.slurm_cluster)
        frames = parse.read_frames(await access.shell.run(command, timeout=_ANSWER_LIMIT))
        if isinstance(frames, parse.Unreachable):
            raise Unreachable(machine=access.shell.machine, reason=frames.reason)
        still |= {*some} - {*frames.of("gone").lines}
    return still


async def remove_inputs_at(access: Access, *, younger_than: timedelta) -> list[str]:
    """Remove from a cluster what no run there needs any more of the inputs that are kept by content; give their names.

    Raises:
        Unreachable: Nobody could say what is needed; nothing was removed.
    """
    minutes = math.ceil(max(younger_than, _SPARED) / timedelta(minutes=1))
    command = commands.remove_kept(access.base / KEPT, access.base / RUNS, minutes=minutes)
    frames = parse.read_frames(await access.shell.run(command, timeout=_ANSWER_LIMIT))
    if isinstance(frames, parse.Unreachable):
        raise Unreachable(machine=access.shell.machine, reason=frames.reason)
    gone = list(frames.of("gone").lines)
    tell(log, "inputs removed", machine=access.shell.machine, gone=len(gone))
    return gone
