"""Which results are wanted: a list for each output that is made of them, so that garbage can be told from results.

A list names its output by its place, and counts while something lies there. It is written before a run looks which
results there are, and once more when the output is sealed, without what that needs no longer. It goes with the last of
its results, so that a disk which was away for a while still counts when it is back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core.errors import StorageFailed
from sluiceway.core.store.durable import Storing, content_of, write_whole
from sluiceway.core.store.objects import RECORD
from sluiceway.core.store.record import Damage, sealed, unsealed
from sluiceway.core.store.sharing import Sharing
from sluiceway.core.store.trash import GRACE, Trash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.store.objects import ObjectStore, Stored
    from sluiceway.core.store.trash import Collected

_LISTS: Final = "wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    path: Path
    output: Path
    keys: frozenset[str]

    @property
    def is_there(self) -> bool:
        return os.path.lexists(self.output)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The results of scores in a store, and which of them are wanted."""

    store: ObjectStore
    clock: Clock
    sharing: Sharing = field(default_factory=Sharing)

    def want(self, output: Path, keys: Iterable[str], *, also: bool) -> None:
        """Say which results an output is made of, or is about to be; they count as used now.

        Args:
            output: The output's place.
            keys: The keys of its results, whether they are there or not.
            also: Whether it still needs those that it needed before.
        """
        wanted = set(keys)
        place = os.path.realpath(output)
        path = self._folder / f"{hashlib.sha256(os.fsencode(place)).hexdigest()}.json"
        with self.locked():
            if also and (content := content_of(path)) is not None:
                wanted |= _listed(path, content).keys
            with Storing("write", path):
                self._folder.mkdir(parents=True, exist_ok=True)
            told = {"output": os.fsencode(place).decode("latin-1"), "keys": sorted(wanted)}
            write_whole(path, sealed(told))
            for each in wanted:
                self.touch(each)

    def outputs(self) -> set[str]:
        """Give the places of all outputs that have said what they need."""
        return {str(each.output) for each in self._lists()}

    def collect(
        self, named: Iterable[str] = (), *, grace: timedelta = GRACE, keep_trash: timedelta = GRACE, do: bool
    ) -> Collected:
        """Move results to the trash that no output needs, and that are not named; a list that is damaged stops it.

        Args:
            named: What is needed by others than outputs.
            grace: How long a result stays that nothing needs.
            keep_trash: How long it stays in the trash.
            do: Whether anything is changed.
        """
        others = set(named)
        found = self.trash(grace, keep_trash).collect(lambda: others | self._named(), do=do, what="results")
        if do:
            self._forget()
        return found

    def trash(self, grace: timedelta = GRACE, keep_trash: timedelta = GRACE) -> Trash:
        """Give where they go."""
        return Trash(shelf=self, folder=self.store.folder / "trash" / "results", grace=grace, keep=keep_trash)

    def every(self) -> Iterator[str]:
        """Give the keys of all results."""
        return self.store.every()

    def place_of(self, key: str) -> Path:
        """Give the folder of a result, whether it is there or not."""
        return self.store.place_of(key)

    def find(self, key: str) -> Stored | None:
        """Give a result whose record is intact."""
        return self.store.get(key)

    def last_used(self, key: str) -> datetime | None:
        """Give when a result was made, or last found by a run; none where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return datetime.fromtimestamp((self.place_of(key) / RECORD).stat().st_mtime, UTC)
        return None

    def touch(self, key: str) -> None:
        """Let a result count as used now."""
        now = self.clock.now().timestamp()
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.utime(self.place_of(key) / RECORD, (now, now))

    def locked(self, *, alone: bool = False) -> AbstractContextManager[None]:
        """Keep out whoever collects while something comes to be wanted; alone, keep out everybody."""
        return self.sharing.locked(self.store.folder / "results.lock", alone=alone)

    def staging(self) -> AbstractContextManager[Path]:
        """Give a folder in the store that goes when the block ends."""
        return self.store.staging()

    def _named(self) -> set[str]:
        return {key for each in self._lists() if each.is_there for key in each.keys}

    def _forget(self) -> None:
        """Remove the lists of outputs that are gone, of which no result is left to come back for."""
        with self.locked(alone=True):
            left = {*self.every(), *self.trash().names()}
            for each in self._lists():
                if not each.is_there and not each.keys & left:
                    each.path.unlink(missing_ok=True)

    def _lists(self) -> list[_Listed]:
        with contextlib.suppress(FileNotFoundError):
            paths = sorted(each for each in self._folder.iterdir() if not each.name.startswith("."))
            return [_listed(each, content_of(each) or b"") for each in paths]
        return []

    @property
    def _folder(self) -> Path:
        return self.store.folder / _LISTS


def _listed(path: Path, content: bytes) -> _Listed:
    try:
        told = unsealed(content, name=path.name)
        output = Path(os.fsdecode(told["output"].encode("latin-1")))
        return _Listed(path=path, output=output, keys=frozenset(told["keys"]))
    except (Damage, KeyError, TypeError, AttributeError, UnicodeEncodeError) as error:
        reason = f"{error}; whatever it names could be collected by mistake, so nothing is"
        raise StorageFailed(what="read which results are wanted", path=path, reason=reason) from error
