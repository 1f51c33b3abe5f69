"""A panel's entries in the order of the genome, whatever the order of its file, in little memory.

What is read at a time is sorted and put on disk as a part. A sample of all parts' keys divides the keys into stretches
of about as many entries each; a stretch is read from every part that reaches into it, sorted, and done with before the
next one. A panel is nearly always in order: then each part is read once, from its beginning to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]

FIELDS: Final[dict[str, np.dtype[Any]]] = {
    "key": np.dtype(np.uint64),
    "ref": np.dtype(np.uint64),
    "alt": np.dtype(np.uint64),
    "variant": np.dtype(np.uint32),
    "allele": np.dtype(np.uint8),
    "multiallelic": np.dtype(np.bool_),
    "ploidy": np.dtype(np.uint8),
}
"""What is known of an entry before it is measured; the names are those of a variant table."""

ENTRY: Final = np.dtype(list(FIELDS.items()))
"""One ALT allele of one row of the genotypes."""

_EVERY: Final = 1024
_SAMPLES_OF_A_STRETCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Entries that follow each other, with their names."""

    entries: NDArray[np.void]
    names: pl.DataFrame


class SortedEntries:
    """Takes entries in the order of their rows, and gives them by key; where keys are alike, the earlier row is first.

    Attributes:
        n: How many entries were added.
    """

    def __init__(self, folder: Path, *, at_once: int) -> None:
        """Keep the entries in a new folder, of which about `at_once` are in memory at a time."""
        folder.mkdir()
        self.n = 0
        self._folder = folder
        self._parts: list[Keys] = []
        self._every = max(1, min(_EVERY, at_once // _SAMPLES_OF_A_STRETCH))
        self._samples_at_once = max(1, at_once // self._every)

    def add(self, entries: NDArray[np.void], names: pl.DataFrame) -> None:
        """Add the entries of the next rows, and their names, as many as are to be in memory at a time."""
        keys = entries["key"]
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            entries, names = entries[order], names[order]
        part = len(self._parts)
        entries.tofile(self._entries(part))
        names.write_ipc(self._names(part), compression="lz4")
        self._parts.append(entries["key"][:: self._every].copy())
        self.n += entries.size

    def stretches(self) -> Iterator[Stretch]:
        """Give all entries, sorted, once; where there are none, one stretch of none."""
        sample = np.sort(np.concatenate(self._parts))
        cuts = np.unique(sample[self._samples_at_once :: self._samples_at_once])
        bounds = [self._bounds(part, cuts) for part in range(len(self._parts))]
        for number in range(cuts.size + 1):
            slices = [(part, ends[number], ends[number + 1]) for part, ends in enumerate(bounds)]
            stretch = self._read([each for each in slices if each[1] < each[2]] or slices[:1])
            self._forget([part for part, _, end in slices if end == bounds[part][-1]])
            yield stretch

    def _bounds(self, part: int, cuts: Keys) -> list[int]:
        """Give where the stretches begin and end in a part; entries with the same key are never in two."""
        keys = np.fromfile(self._entries(part), ENTRY)["key"]
        return [0, *np.searchsorted(keys, cuts).tolist(), keys.size]

    def _read(self, slices: list[tuple[int, int, int]]) -> Stretch:
        entries = np.concatenate([
            np.fromfile(self._entries(part), ENTRY, count=high - low, offset=low * ENTRY.itemsize)
            for part, low, high in slices
        ])  # fmt: skip
        names = pl.concat([
            frames.scan_ipc(self._names(part)).slice(low, high - low).collect() for part, low, high in slices
        ])  # fmt: skip
        if len(slices) > 1:
            order = np.argsort(entries["key"], kind="stable")
            entries, names = entries[order], names[order]
        return Stretch(entries=entries, names=names)

    def _forget(self, parts: list[int]) -> None:
        """Make room on the disk: these parts were read to their end."""
        for part in parts:
            self._entries(part).unlink(missing_ok=True)
            self._names(part).unlink(missing_ok=True)

    def _entries(self, part: int) -> Path:
        return self._folder / f"{part}.entries"

    def _names(self, part: int) -> Path:
        return self._folder / f"{part}.names"
