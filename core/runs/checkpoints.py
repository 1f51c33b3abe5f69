"""The running totals of a batch, kept on disk now and then, so that an interrupted run's ranges are not read again.

A file holds a line that says what follows, sealed, and then the arrays as they are in memory, with a row per score.
Totals do not depend on the batch, so any later batch of scores that are all in one file can begin from it. A file that
is not as it was written is removed, and its ranges are read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from sluiceway.core.errors import StorageFailed
from sluiceway.core.events import tell
from sluiceway.core.provenance.digest import digest_of_bytes
from sluiceway.core.store.durable import Storing, write_parts
from sluiceway.core.store.record import Damage, sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.genetics.ranges import Range
    from sluiceway.core.genetics.reference import Staged
    from sluiceway.core.genetics.totals import Totals
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.store.scratch import Scratch

_log = logging.getLogger(__name__)

_VERSION: Final = 1
_SUFFIX: Final = ".totals"
_LONGEST_LINE: Final = 1 << 24
_OLDEST: Final = timedelta(days=14)
_SHARE: Final = 20
"""Keeping totals may take one part in so many of a run's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file says of the totals in it: of which scores, over how many ranges of which plan."""

    path: Path
    plan: str
    keys: tuple[str, ...]
    done: int
    digest: str
    arrays: tuple[tuple[str, str, tuple[int, ...]], ...]
    start: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the first line of a file."""
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
        said = unsealed(line, name=path.name)
        if said["version"] != _VERSION:
            raise Damage(f"{path.name} is of version {said['version']}")
        return cls(
            path=path,
            plan=said["plan"],
            keys=tuple(said["keys"]),
            done=said["done"],
            digest=said["digest"],
            arrays=tuple((name, dtype, tuple(shape)) for name, dtype, shape in said["arrays"]),
            start=len(line),
        )

    def state(self, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Give the totals of these scores after comparing the digest of all; Damage where it is another."""
        place = {key: number for number, key in enumerate(self.keys)}
        rows = np.array([place[key] for key in keys], np.intp)
        found: dict[str, NDArray[Any]] = {}
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            with memoryview(content) as whole, whole[self.start :] as body:
                if _tagged(hashlib.sha256(body)) != self.digest:
                    raise Damage(f"the totals in {self.path.name} are not as they were written")
            at = self.start
            for name, dtype, shape in self.arrays:
                array = np.frombuffer(content, dtype, int(np.prod(shape)), at).reshape(shape)
                found[name] = array[rows]
                at += array.nbytes
                del array
        return found


class Checkpoints:
    """A folder of checkpoints."""

    def __init__(self, folder: Path, *, scratch: Scratch, clock: Clock, every: timedelta) -> None:
        """Keep totals here, not more often than this; where it is no time at all, after each range."""
        self._folder = folder
        self._scratch = scratch
        self._clock = clock
        self._every = every

    def begun(self, ranges: Sequence[Range]) -> list[Checkpoint]:
        """Give what interrupted runs left of this plan of ranges, the farthest first; what is damaged or old goes."""
        plan = _plan(ranges)
        found = [each for path in sorted(self._folder.glob(f"*{_SUFFIX}")) if (each := self._usable(path))]
        return sorted((each for each in found if each.plan == plan), key=lambda each: -each.done)

    def of_batch(self, ranges: Sequence[Range], keys: Sequence[str], begun: Checkpoint | None) -> BatchTotals:
        """Give the keeper of a batch's totals, by the keys of its scores' results, and what it may begin from."""
        name = digest_of_bytes("\n".join([_plan(ranges), *keys]).encode()).removeprefix("sha256:")[:32]
        path = self._folder / f"{name}{_SUFFIX}"
        write = partial(_write, path, scratch=self._scratch, plan=_plan(ranges))
        return BatchTotals(path, keys, begun, write=write, clock=self._clock, every=self._every)

    def _usable(self, path: Path) -> Checkpoint | None:
        try:
            if self._clock.now() - datetime.fromtimestamp(path.stat().st_mtime, UTC) < _OLDEST:
                return Checkpoint.read(path)
            path.unlink(missing_ok=True)
        except (Damage, OSError) as error:
            drop(path, reason=str(error))
        return None


class BatchTotals:
    """Keeps the totals of one batch; gives back those of an interrupted one."""

    def __init__(
        self,
        path: Path,
        keys: Sequence[str],
        begun: Checkpoint | None,
        *,
        write: Callable[..., None],
        clock: Clock,
        every: timedelta,
    ) -> None:
        self._path, self._keys, self._begun, self._write = path, keys, begun, write
        self._clock = clock
        self._every = every
        self._next = clock.now() + every

    def restore(self, totals: Totals, staged: Staged) -> int:  # noqa: ARG002 - of a score that is not read, none is asked
        """Put back what was kept, and tell how many ranges are in it; none where it is damaged."""
        if self._begun is None:
            return 0
        try:
            totals.restore(self._begun.state(self._keys))
        except (Damage, OSError, ValueError) as error:
            drop(self._begun.path, reason=str(error))
            return 0
        tell(_log, "batch resumed", scores=len(self._keys), ranges=self._begun.done)
        return self._begun.done

    def keep(self, totals: Totals, staged: Staged, done: int) -> None:
        """Keep these totals of so many ranges, if it is time; a full disk is told, and ends nothing."""
        before = self._clock.now()
        if before < self._next:
            return
        # A score that could not be read has no totals; another run may be able to read it.
        read = [number for number in range(len(self._keys)) if number not in staged.unread]
        state = totals.state()
        if staged.unread:
            state = {name: array[read] for name, array in state.items()}
        try:
            self._write(state, keys=[self._keys[number] for number in read], done=done)
        except StorageFailed as error:
            tell(_log, "totals not kept", level=logging.WARNING, reason=str(error))
        after = self._clock.now()
        self._next = after + (max(self._every, _SHARE * (after - before)) if self._every else self._every)

    def forget(self) -> None:
        """Remove what was kept: every result is safe."""
        self._path.unlink(missing_ok=True)


def drop(path: Path, *, reason: str) -> None:
    """Remove a checkpoint that cannot be used; its ranges are read again."""
    tell(_log, "totals damaged", level=logging.WARNING, file=str(path), reason=reason)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _write(
    path: Path, state: Mapping[str, NDArray[Any]], *, scratch: Scratch, plan: str, keys: Sequence[str], done: int
) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.data)
    line = sealed(
        {
            "version": _VERSION,
            "plan": plan,
            "keys": list(keys),
            "done": done,
            "digest": _tagged(digest),
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
        }
    )
    with Storing("keep the totals", path), scratch.own(purpose="totals") as folder:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parts(folder / path.name, [line, *(array.data for array in arrays.values())])
        (folder / path.name).replace(path)


def _plan(ranges: Sequence[Range]) -> str:
    return digest_of_bytes(repr([(each.low, each.high, each.ploidy) for each in ranges]).encode())


def _tagged(digest: Any) -> str:
    return f"sha256:{digest.hexdigest()}"
