"""How much memory a run may take, and how many scores go over a panel together within it.

What a batch takes grows with its scores times the people, and with the rows of a range; everything else is the same for
every batch. The numbers here are upper bounds of what was measured, so that a batch stays below its share.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sluiceway.core import settings
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.slurm.resources import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluiceway.core.genetics.reference import Reference

_MEBIBYTE: Final = 1 << 20
_SHARE: Final = 0.75
"""What we take of a machine where nothing is said; the rest is for the system and its cache of files."""
_FIXED: Final = 300 * _MEBIBYTE
"""Python with its libraries and compiled loops."""
_BLOCK: Final = 6 * 1024
"""Lines of a block of genotypes that each worker holds, with what is listed of them."""
_ROW: Final = 300
"""Bytes for a row while its score is read, and again while its range is matched."""
_UNEVEN: Final = 3
"""A range may have so many times its share of the rows."""
_TOTAL: Final = {Ploidy.AUTOSOME: 12, Ploidy.X: 20, Ploidy.Y: 12, Ploidy.MT: 12}
"""Bytes of a score and person in the sums and missing calls of one ploidy."""
_MOST_SCORES: Final = 512
_HELD: Final = 256 * _MEBIBYTE
"""Of a batch's rows, so many bytes stay in memory where there is room; more would save little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The memory that a run may take, in bytes, and how many ranges it scores at once."""

    limit: int
    workers: int

    @classmethod
    def of(cls, asked: str | None, *, workers: int) -> Budget:
        """Take what was asked for, else what the settings say, else a share of what this machine gives us."""
        text = asked or settings.load().memory
        limit = Memory.parse(text).mebibytes * _MEBIBYTE if text else int(_SHARE * memory_here())
        return cls(limit=limit, workers=workers)

    def cut(self, reference: Reference, rows: Sequence[int]) -> Iterator[slice]:
        """Divide scores, of so many rows each, into batches that stay within; one that is too large goes alone."""
        start = 0
        while start < len(rows):
            end = start + 1
            while end < min(len(rows), start + _MOST_SCORES):
                if self.needed(reference, rows[start : end + 1]) > self.limit:
                    break
                end += 1
            yield slice(start, end)
            start = end

    def needed(self, reference: Reference, rows: Sequence[int]) -> int:
        """Give what a batch of scores of so many rows takes at most."""
        samples, ranges = reference.table.n_samples, len(reference.ranges)
        ploidies = {Ploidy(each.ploidy) for each in reference.ranges}
        totals = sum(_TOTAL[each] for each in ploidies)
        # Each worker has one partial result, and one more waits.
        partials = (self.workers + 1) * max(_TOTAL[each] for each in ploidies)
        in_a_range = min(sum(rows), _UNEVEN * sum(rows) // ranges) * self.workers
        return (
            _FIXED
            + self.workers * _BLOCK * samples
            + len(rows) * samples * (totals + partials)
            + _ROW * (in_a_range + max(rows, default=0))
        )

    def room(self, reference: Reference, rows: Sequence[int]) -> int:
        """Give how many bytes of its rows such a batch may hold besides."""
        return max(0, min(_HELD, self.limit - self.needed(reference, rows)))

    def __str__(self) -> str:
        """Write it for people."""
        gibibytes = self.limit / (1 << 30)
        return f"{gibibytes:.1f} GiB" if gibibytes >= 1 else f"{self.limit / _MEBIBYTE:.0f} MiB"


def memory_here(root: Path = Path("/")) -> int:
    """Give the memory that this process may use: the least of the machine's, its cgroups' and its Slurm job's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_of_cgroups(root), *_of_slurm()])


def _of_cgroups(root: Path) -> Iterator[int]:
    """Give the limit of each group that this process is in, by either version of cgroups."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            top = root / "sys/fs/cgroup" / controllers
            own = top / path.lstrip("/")
            # A container may see its group as the top alone, whatever its path is outside.
            for group in (own, *own.parents[: len(own.relative_to(top).parts)], top):
                yield from _read(group / ("memory.limit_in_bytes" if controllers else "memory.max"))


def _read(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdecimal() and int(text):
        yield int(text)


def _of_slurm() -> Iterator[int]:
    job = settings.Foreign()
    if job.slurm_mem_per_node:
        yield job.slurm_mem_per_node * _MEBIBYTE
    elif job.slurm_mem_per_cpu and job.slurm_cpus_on_node:
        yield job.slurm_mem_per_cpu * job.slurm_cpus_on_node * _MEBIBYTE
